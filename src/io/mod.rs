//! The seam under the engine: what it may ask of the world. [`crate::ring`] answers with io_uring,
//! [`sim`] with a seeded simulation; the engine cannot tell which. [`directory`] only reads, for tools.

pub mod buffer;
pub mod directory;
pub mod scatter;
pub mod sim;

use std::future::Future;
use std::io;
use std::ops::{Deref, Range};
use std::time::Duration;

use bytes::Bytes;

use crate::base::local::oneshot;

pub use buffer::{Buffer, BufferUsage, Pool};
pub use scatter::{Place, Run, Scatter, Scattered};

/// Milliseconds since the Unix epoch.
pub type TimestampMs = u64;

/// Everything a core offers to the code that runs on it.
pub trait Host: Clone + 'static {
    type Disk: Disk;

    /// The drives, in the order of the configuration; at least one.
    fn disks(&self) -> &[Self::Disk];

    /// This core's buffers.
    fn pool(&self) -> &Pool;

    /// Wall clock.
    fn now(&self) -> TimestampMs;

    /// Time since some moment that all cores have in common; it never goes back. For measuring.
    fn monotonic(&self) -> Duration;

    /// Fills `bytes` with unpredictable (in the simulation: seeded) bytes.
    fn random(&self, bytes: &mut [u8]);

    /// Runs `task` on this core until it ends.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);

    /// Lets every other task of the core that can run do so first. Another task does the waking: executors
    /// may run a task that wakes itself again at once.
    fn yield_now(&self) -> impl Future<Output = ()> + 'static {
        let (sender, turn) = oneshot::<()>();
        self.spawn(async move { drop(sender) });
        async move {
            turn.await;
        }
    }

    /// Waits at least `duration` of monotonic time.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + 'static;
}

/// One drive: a flat directory of files.
///
/// - A buffer belongs to its operation from submission to completion; dropping a future never frees what
///   the kernel may still write.
/// - Offsets and lengths of reads and writes are multiples of [`crate::base::limits::BLOCK_BYTES`].
/// - Nothing is durable before [`Disk::sync`] of the file returned, unless [`Durability::Durable`] was asked
///   for; names are durable after [`Disk::sync_directory`].
/// - After a failed write or sync the state of what was not yet durable is unknown; callers must not retry
///   and call it durable.
pub trait Disk: Clone + 'static {
    /// An open file; closes when the last clone and the last operation on it are gone.
    type File: Clone + 'static;

    /// Its place among the host's drives.
    fn number(&self) -> usize;

    /// Opens or makes a file. [`io::ErrorKind::ResourceBusy`] means that too many files are open: it may work later.
    fn open(&self, name: &str, mode: OpenMode) -> impl Future<Output = io::Result<Self::File>>;

    /// Reads into `buffer[range]` of its whole memory; fewer bytes only at the end of the file. The buffer's
    /// length grows, if need be, to cover what was read.
    fn read(
        &self,
        file: &Self::File,
        offset: u64,
        buffer: Buffer,
        range: Range<usize>,
    ) -> impl Future<Output = (io::Result<usize>, Buffer)>;

    /// Writes all of `buffer[range]`, of its whole memory.
    fn write(
        &self,
        file: &Self::File,
        offset: u64,
        buffer: Buffer,
        range: Range<usize>,
        durability: Durability,
    ) -> impl Future<Output = (io::Result<()>, Buffer)>;

    /// Makes all completed writes of the file durable (fdatasync).
    fn sync(&self, file: &Self::File) -> impl Future<Output = io::Result<()>>;

    /// Reserves space and extends the file to hold `range` (fallocate); new bytes read as zeros.
    fn allocate(&self, file: &Self::File, range: Range<u64>) -> impl Future<Output = io::Result<()>>;

    /// Frees the space of `range`, which then reads as zeros; the file's length stays.
    fn punch(&self, file: &Self::File, range: Range<u64>) -> impl Future<Output = io::Result<()>>;

    /// Replaces `to` by `from` atomically; durable after [`Disk::sync_directory`].
    fn rename(&self, from: &str, to: &str) -> impl Future<Output = io::Result<()>>;

    fn remove(&self, name: &str) -> impl Future<Output = io::Result<()>>;

    fn sync_directory(&self) -> impl Future<Output = io::Result<()>>;

    /// All files of the drive. For start and control work: it may block.
    fn list(&self) -> io::Result<Vec<FileEntry>>;

    /// Space of the file system under the drive. For control work: it may block briefly.
    fn space(&self) -> io::Result<Space>;
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    Write,
    /// A file that must not exist yet, for reading and writing.
    Create,
}

/// When a write may complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// As soon as the device has it; durable after [`Disk::sync`].
    Buffered,
    /// When it is durable (RWF_DSYNC).
    Durable,
}

/// A file of a drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    pub name: String,
    /// Length in bytes.
    pub bytes: u64,
    /// Bytes of the drive it occupies: less than `bytes` where holes were punched.
    pub bytes_allocated: u64,
}

/// Space of a drive, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub bytes_total: u64,
    /// What an unprivileged process may still allocate.
    pub bytes_free: u64,
}

/// A run of payload bytes on its way to a socket.
pub enum Chunk {
    /// Shared bytes: inline payloads.
    Bytes(Bytes),
    /// Part of a pool buffer: payload read from an extent.
    Buffer(Buffer, Range<usize>),
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Buffer(buffer, range) => &buffer[range.clone()],
        }
    }
}
