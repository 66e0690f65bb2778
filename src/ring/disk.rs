//! A data directory as [`Disk`]: each call is one or a few operations of the storage ring.

use std::ffi::CString;
use std::fs;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use io_uring::{opcode, squeue, types};
use rustix::fs::{Mode, OFlags};

use super::host::monotonic;
use super::meters::{Meters, Operation, OperationCounts};
use super::queue::{Held, Ring};
use crate::base::limits::BLOCK_BYTES;
use crate::io::{Buffer, Disk, Durability, FileEntry, OpenMode, Space};

/// Bytes of one read or write operation; the kernel takes at most 2 GiB less a page.
const OPERATION_BYTES_MAX: usize = 1 << 30;

/// A data directory, with its core's storage ring.
#[derive(Clone)]
pub struct RingDisk {
    inner: Rc<DiskInner>,
}

struct DiskInner {
    ring: Ring,
    number: usize,
    directory: Rc<OwnedFd>,
    path: PathBuf,
    /// Files are opened with O_DIRECT.
    direct: bool,
    durable_write: DurableWrite,
    meters: Meters,
}

/// How a durable write is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DurableWrite {
    /// RWF_DSYNC: one command to a drive that can write past its cache (FUA) or has no volatile one.
    Flag,
    /// A write linked to an fdatasync. On other drives the kernel turns RWF_DSYNC into the same two steps,
    /// but takes the second on a work queue of the interrupted CPU, which costs more CPU time and, on a
    /// busy machine, far more latency.
    LinkedSync,
}

/// An open file of a [`RingDisk`]; closes when the last clone and the last operation on it are gone.
#[derive(Clone)]
pub struct RingFile {
    fd: Rc<OwnedFd>,
}

enum Direction {
    Read,
    Write(Durability),
}

impl RingDisk {
    /// Opens a data directory, which must exist: the `number`th of the host. Warns if its file system refuses
    /// O_DIRECT.
    pub(super) fn open(ring: &Ring, number: usize, path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|error| named(io::Error::from(error), &path.display().to_string()))?;
        let direct = supports_direct(&directory);
        if !direct {
            tracing::warn!(
                "the file system of {} refuses O_DIRECT: its files go through the page cache, at more CPU \
                 time and memory. Use ext4, XFS or another file system with direct I/O for data.",
                path.display()
            );
        }
        let directory = Rc::new(directory);
        let durable_write = durable_write(&directory);
        let (ring, path) = (ring.clone(), path.to_owned());
        let meters = Meters::default();
        Ok(Self {
            inner: Rc::new(DiskInner { ring, number, directory, path, direct, durable_write, meters }),
        })
    }

    /// The data directory.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// What this core's operations on the drive have come to.
    pub fn counts(&self) -> Vec<OperationCounts> {
        self.inner.meters.snapshot()
    }

    /// Moves `buffer[range]` from or to the file until all is done, the file ends or an error comes.
    async fn transfer(
        &self,
        file: &RingFile,
        offset: u64,
        mut buffer: Buffer,
        range: Range<usize>,
        direction: Direction,
    ) -> (io::Result<usize>, Buffer) {
        if let Err(error) = check_transfer(offset, &buffer, &range) {
            return (Err(error), buffer);
        }
        let mut done = 0;
        while done < range.len() {
            let start = range.start + done;
            let bytes = (range.end - start).min(OPERATION_BYTES_MAX);
            let entry = self.entry(file, offset + done as u64, &buffer, start..start + bytes, &direction);
            let held = Held { buffer: Some(buffer), file: Some(file.fd.clone()), ..Held::default() };
            // SAFETY: the entry points into the buffer, whose memory does not move with it, and names the
            // file; `held` owns both.
            let (result, held) = unsafe { self.run_transfer(file, entry, held, bytes, &direction) }.await;
            buffer = held.buffer.expect("held since it was submitted");
            let count = match result {
                Ok(0) => break,
                Ok(count) => count as usize,
                Err(error) => return (Err(error), buffer),
            };
            if count == bytes {
                done += count;
                continue;
            }
            // Short. Reads end within a block only at the end of the file; writes go on from the block that
            // is not whole.
            match direction {
                Direction::Read if !count.is_multiple_of(BLOCK_BYTES) => return (Ok(done + count), buffer),
                Direction::Write(_) if count < BLOCK_BYTES => break,
                _ => done += count - count % BLOCK_BYTES,
            }
        }
        (Ok(done), buffer)
    }

    /// Runs one read or write of `bytes`, with the sync that it may need.
    ///
    /// # Safety
    ///
    /// As for [`Ring::run`].
    async unsafe fn run_transfer(
        &self,
        file: &RingFile,
        entry: squeue::Entry,
        held: Held,
        bytes: usize,
        direction: &Direction,
    ) -> (io::Result<u32>, Held) {
        let synced = matches!(direction, Direction::Write(Durability::Durable))
            && self.inner.durable_write == DurableWrite::LinkedSync;
        if !synced {
            // SAFETY: the caller's promise.
            return unsafe { self.inner.ring.run(entry, held) }.await;
        }
        // SAFETY: the caller's promise; the sync names only the file, which `held` owns.
        let (written, synced, held) =
            unsafe { self.inner.ring.run_synced(entry, sync_entry(file), held) }.await;
        let result = match (written, synced) {
            (Ok(count), Err(error)) if count as usize == bytes => Err(error),
            (written, _) => written,
        };
        (result, held)
    }

    /// The same drive, asked for durable writes in another way.
    #[cfg(test)]
    pub(super) fn with_durable_write(&self, durable_write: DurableWrite) -> Self {
        let DiskInner { ring, number, directory, path, direct, .. } = &*self.inner;
        let (ring, directory, path) = (ring.clone(), directory.clone(), path.clone());
        let (number, direct) = (*number, *direct);
        let meters = Meters::default();
        Self { inner: Rc::new(DiskInner { ring, number, directory, path, direct, durable_write, meters }) }
    }

    fn entry(
        &self,
        file: &RingFile,
        offset: u64,
        buffer: &Buffer,
        range: Range<usize>,
        direction: &Direction,
    ) -> squeue::Entry {
        let fd = types::Fd(file.fd.as_raw_fd());
        let start = buffer.as_ptr().wrapping_add(range.start);
        let bytes = range.len() as u32;
        let piece = self.inner.ring.piece(buffer);
        match (direction, piece) {
            (Direction::Read, Some(piece)) => {
                opcode::ReadFixed::new(fd, start, bytes, piece).offset(offset).build()
            }
            (Direction::Read, None) => opcode::Read::new(fd, start, bytes).offset(offset).build(),
            (Direction::Write(durability), Some(piece)) => opcode::WriteFixed::new(fd, start, bytes, piece)
                .offset(offset)
                .rw_flags(self.write_flags(*durability))
                .build(),
            (Direction::Write(durability), None) => opcode::Write::new(fd, start, bytes)
                .offset(offset)
                .rw_flags(self.write_flags(*durability))
                .build(),
        }
    }

    /// Counts an operation that has just ended.
    fn ended(&self, operation: Operation, began: Duration, bytes: Option<usize>) {
        self.inner.meters.ended(operation, monotonic().saturating_sub(began), bytes);
    }

    fn write_flags(&self, durability: Durability) -> i32 {
        match (durability, self.inner.durable_write) {
            (Durability::Durable, DurableWrite::Flag) => libc::RWF_DSYNC,
            _ => 0,
        }
    }

    /// Runs an operation that names only `file`.
    async fn run_on(&self, file: &Rc<OwnedFd>, entry: squeue::Entry) -> io::Result<()> {
        let held = Held { file: Some(file.clone()), ..Held::default() };
        // SAFETY: the entry has no pointers; the file it names is held.
        unsafe { self.inner.ring.run(entry, held) }.await.0.map(drop)
    }

    /// Runs an operation on names of this directory, made from their addresses.
    async fn run_named(
        &self,
        names: Vec<CString>,
        opens: bool,
        entry: impl FnOnce(types::Fd, &[CString]) -> squeue::Entry,
    ) -> io::Result<u32> {
        let entry = entry(types::Fd(self.inner.directory.as_raw_fd()), &names);
        let held = Held { file: Some(self.inner.directory.clone()), names, opens, buffer: None };
        // SAFETY: the entry points to the names' bytes, which stay on the heap where they are when the
        // vector is moved, and names the directory; `held` owns all of them.
        unsafe { self.inner.ring.run(entry, held) }.await.0
    }
}

impl Disk for RingDisk {
    type File = RingFile;

    fn number(&self) -> usize {
        self.inner.number
    }

    async fn open(&self, name: &str, mode: OpenMode) -> io::Result<RingFile> {
        let access = match mode {
            OpenMode::Read => OFlags::RDONLY,
            OpenMode::Write => OFlags::RDWR,
            OpenMode::Create => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
        };
        let direct = if self.inner.direct { OFlags::DIRECT } else { OFlags::empty() };
        let flags = (access | direct | OFlags::CLOEXEC | OFlags::NOFOLLOW).bits().cast_signed();
        let entry = |directory, names: &[CString]| {
            opcode::OpenAt::new(directory, names[0].as_ptr()).flags(flags).mode(0o600).build()
        };
        let fd =
            self.run_named(vec![c_name(name)?], true, entry).await.map_err(|error| named(error, name))?;
        // SAFETY: the kernel just opened this descriptor for us; nobody else knows it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd.cast_signed()) };
        Ok(RingFile { fd: Rc::new(fd) })
    }

    async fn read(
        &self,
        file: &RingFile,
        offset: u64,
        buffer: Buffer,
        range: Range<usize>,
    ) -> (io::Result<usize>, Buffer) {
        let start = range.start;
        let began = monotonic();
        let (result, mut buffer) = self.transfer(file, offset, buffer, range, Direction::Read).await;
        self.ended(Operation::Read, began, result.as_ref().ok().copied());
        if let Ok(count @ 1..) = result
            && buffer.len() < start + count
        {
            buffer.set_len(start + count);
        }
        (result, buffer)
    }

    async fn write(
        &self,
        file: &RingFile,
        offset: u64,
        buffer: Buffer,
        range: Range<usize>,
        durability: Durability,
    ) -> (io::Result<()>, Buffer) {
        let bytes = range.len();
        let direction = Direction::Write(durability);
        let operation = match durability {
            Durability::Buffered => Operation::Write,
            Durability::Durable => Operation::WriteDurable,
        };
        let began = monotonic();
        let (result, buffer) = self.transfer(file, offset, buffer, range, direction).await;
        let result = match result {
            Ok(count) if count < bytes => Err(io::Error::new(
                io::ErrorKind::WriteZero,
                format!("{count} of {bytes} bytes were written"),
            )),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        self.ended(operation, began, result.is_ok().then_some(bytes));
        (result, buffer)
    }

    async fn sync(&self, file: &RingFile) -> io::Result<()> {
        let began = monotonic();
        let result = self.run_on(&file.fd, sync_entry(file)).await;
        self.ended(Operation::Sync, began, result.is_ok().then_some(0));
        result
    }

    async fn allocate(&self, file: &RingFile, range: Range<u64>) -> io::Result<()> {
        let fd = types::Fd(file.fd.as_raw_fd());
        let bytes = range.end.saturating_sub(range.start);
        let entry = opcode::Fallocate::new(fd, bytes).offset(range.start).build();
        self.run_on(&file.fd, entry).await
    }

    async fn punch(&self, file: &RingFile, range: Range<u64>) -> io::Result<()> {
        let fd = types::Fd(file.fd.as_raw_fd());
        let bytes = range.end.saturating_sub(range.start);
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        let entry = opcode::Fallocate::new(fd, bytes).offset(range.start).mode(mode).build();
        self.run_on(&file.fd, entry).await
    }

    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let entry = |directory: types::Fd, names: &[CString]| {
            opcode::RenameAt::new(directory, names[0].as_ptr(), directory, names[1].as_ptr()).build()
        };
        let names = vec![c_name(from)?, c_name(to)?];
        self.run_named(names, false, entry).await.map(drop).map_err(|error| named(error, from))
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        let entry =
            |directory, names: &[CString]| opcode::UnlinkAt::new(directory, names[0].as_ptr()).build();
        self.run_named(vec![c_name(name)?], false, entry).await.map(drop).map_err(|error| named(error, name))
    }

    async fn sync_directory(&self) -> io::Result<()> {
        let directory = &self.inner.directory;
        self.run_on(directory, opcode::Fsync::new(types::Fd(directory.as_raw_fd())).build()).await
    }

    fn list(&self) -> io::Result<Vec<FileEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.inner.path)? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // Removed since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if metadata.is_file() {
                entries.push(FileEntry {
                    name: entry.file_name().to_string_lossy().into_owned(),
                    bytes: metadata.len(),
                    // stat(2): st_blocks counts units of 512 bytes, whatever the block size.
                    bytes_allocated: metadata.blocks() * 512,
                });
            }
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    fn space(&self) -> io::Result<Space> {
        let space = rustix::fs::fstatvfs(&self.inner.directory)?;
        Ok(Space {
            bytes_total: space.f_blocks.saturating_mul(space.f_frsize),
            bytes_free: space.f_bavail.saturating_mul(space.f_frsize),
        })
    }
}

fn sync_entry(file: &RingFile) -> squeue::Entry {
    opcode::Fsync::new(types::Fd(file.fd.as_raw_fd())).flags(types::FsyncFlags::DATASYNC).build()
}

/// Asks sysfs what the drive under a directory can do.
fn durable_write(directory: &OwnedFd) -> DurableWrite {
    let queue = |attribute: &str| {
        let device = rustix::fs::fstat(directory).ok()?.st_dev;
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        // A partition's attributes are those of its drive, one level up.
        ["queue", "../queue"].iter().find_map(|place| {
            fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/{place}/{attribute}")).ok()
        })
    };
    durable_write_of(queue("write_cache").as_deref(), queue("fua").as_deref())
}

/// What suits a drive, given its sysfs attributes `write_cache` and `fua`; a file system without a drive of
/// its own has none.
pub(super) fn durable_write_of(write_cache: Option<&str>, fua: Option<&str>) -> DurableWrite {
    let written_through = write_cache.is_some_and(|text| text.trim() == "write through");
    let past_cache = fua.is_some_and(|text| text.trim() == "1");
    if written_through || past_cache { DurableWrite::Flag } else { DurableWrite::LinkedSync }
}

/// Whether files of the directory can be opened with O_DIRECT. Tried on a file without a name, where the
/// file system has such; otherwise the first real file will tell.
fn supports_direct(directory: &OwnedFd) -> bool {
    let try_open = |extra: OFlags| {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC | extra;
        rustix::fs::openat(directory.as_fd(), c".", flags, Mode::RUSR | Mode::WUSR)
    };
    !matches!(try_open(OFlags::DIRECT), Err(rustix::io::Errno::INVAL)) || try_open(OFlags::empty()).is_err()
}

/// A name of a flat directory for the kernel.
fn c_name(name: &str) -> io::Result<CString> {
    let illegal = name.is_empty() || name == "." || name == ".." || name.contains('/');
    match CString::new(name) {
        Ok(name) if !illegal => Ok(name),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} cannot name a file"))),
    }
}

/// The same error, saying what it is about. That there are no descriptors left has no kind of its own in the
/// standard library.
fn named(error: io::Error, name: &str) -> io::Error {
    let kind = match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => io::ErrorKind::ResourceBusy,
        _ => error.kind(),
    };
    io::Error::new(kind, format!("{name}: {error}"))
}

/// Refuses what O_DIRECT could not do, or what lies outside of the buffer.
fn check_transfer(offset: u64, buffer: &Buffer, range: &Range<usize>) -> io::Result<()> {
    let aligned = offset.is_multiple_of(BLOCK_BYTES as u64)
        && range.start.is_multiple_of(BLOCK_BYTES)
        && range.end.is_multiple_of(BLOCK_BYTES);
    if aligned && range.start <= range.end && range.end <= buffer.capacity() {
        return Ok(());
    }
    let what = format!("offset {offset} and range {range:?} of {} bytes", buffer.capacity());
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}
