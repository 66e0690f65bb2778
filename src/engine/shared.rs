//! What all cores of a node share: identity of the start at hand, and the read epochs that keep freed
//! payload readable while somebody still reads it. Atomics only.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::health::Failures;
use crate::base::limits::DATA_DIRECTORIES_MAX;
use crate::io::Disk;

/// State that all cores of a node share.
#[derive(Debug)]
pub struct Shared {
    pub node: [u8; 16],
    /// Which start of the node this is.
    pub epoch: u64,
    pub generation: u32,
    pub cores: usize,
    read_epoch: AtomicU64,
    /// Oldest read epoch that each core still reads in; `u64::MAX` for none.
    reading: Box<[Padded]>,
    /// Cores that have not yet written a checkpoint in this generation.
    pub checkpoints_missing: AtomicU32,
    /// Log segments of earlier generations that still exist.
    pub old_segments: AtomicU32,
    /// The highest number of a segment that an index refers to, whether or not its file is there.
    pub segment_max: AtomicU32,
    /// Why making names durable failed, by drive: see [`Shared::sync_directory`].
    names_failures: Box<[OnceLock<String>]>,
    /// By core.
    pub(super) failures: Box<[Failures]>,
}

/// An atomic on a cache line of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Padded(AtomicU64);

impl Shared {
    pub fn new(node: [u8; 16], epoch: u64, generation: u32, cores: usize) -> Self {
        Self {
            node,
            epoch,
            generation,
            cores,
            read_epoch: AtomicU64::new(0),
            reading: (0..cores).map(|_| Padded(AtomicU64::new(u64::MAX))).collect(),
            checkpoints_missing: AtomicU32::new(cores as u32),
            old_segments: AtomicU32::new(0),
            segment_max: AtomicU32::new(0),
            names_failures: (0..DATA_DIRECTORIES_MAX).map(|_| OnceLock::new()).collect(),
            failures: (0..cores).map(|_| Failures::default()).collect(),
        }
    }

    /// Makes the names of a drive durable. After a failure, on any core, what another sync of that drive calls
    /// durable may be lost names: so none is believed any more, and no segment or checkpoint is made there,
    /// until the next start.
    pub async fn sync_directory<D: Disk>(&self, disk: &D) -> std::io::Result<()> {
        let result = disk.sync_directory().await;
        if let Err(error) = &result {
            let drive = disk.number();
            tracing::error!(drive, "no more files are made or removed there until the next start: {error}");
            // The first failure is the one to tell of.
            let _ = self.names_failures[disk.number()].set(format!("syncing the data directory: {error}"));
        }
        if self.names_failure(disk.number()).is_some() {
            return Err(std::io::Error::other("making names of files durable failed"));
        }
        result
    }

    /// Why names of files of a drive cannot be made durable any more, if that is so.
    pub fn names_failure(&self, drive: usize) -> Option<&str> {
        self.names_failures[drive].get().map(String::as_str)
    }

    /// Begins a new read epoch; returns the one before. What was made unreachable before this call may be
    /// reused once [`Shared::is_quiet_since`] says so.
    pub fn retire(&self) -> u64 {
        self.read_epoch.fetch_add(1, Ordering::SeqCst)
    }

    /// Whether nobody reads any more who began in `epoch` or before.
    pub fn is_quiet_since(&self, epoch: u64) -> bool {
        self.reading.iter().all(|core| core.0.load(Ordering::SeqCst) > epoch)
    }
}

/// One core's reads in progress.
#[derive(Clone)]
pub struct Readers {
    inner: Rc<ReadersInner>,
}

struct ReadersInner {
    shared: Arc<Shared>,
    core: usize,
    /// Epochs with their number of reads, ascending.
    active: RefCell<VecDeque<(u64, usize)>>,
}

impl Readers {
    pub fn new(shared: Arc<Shared>, core: usize) -> Self {
        Self { inner: Rc::new(ReadersInner { shared, core, active: RefCell::default() }) }
    }

    /// Keeps everything that can be looked up from now on readable until the pin is dropped.
    ///
    /// The epoch is published before the look-up that follows. Whoever frees something first makes it
    /// unreachable for look-ups, then retires an epoch, then asks who still reads: either it sees this pin,
    /// or the look-up comes later and can't find it.
    pub fn pin(&self) -> ReadPin {
        let mut active = self.inner.active.borrow_mut();
        let epoch = self.inner.shared.read_epoch.load(Ordering::SeqCst);
        match active.back_mut() {
            Some((last, count)) if *last == epoch => *count += 1,
            _ => active.push_back((epoch, 1)),
        }
        if active.len() == 1 {
            self.inner.shared.reading[self.inner.core].0.store(epoch, Ordering::SeqCst);
        }
        ReadPin { readers: self.inner.clone(), epoch }
    }
}

/// Keeps payload readable while it exists.
pub struct ReadPin {
    readers: Rc<ReadersInner>,
    epoch: u64,
}

impl Drop for ReadPin {
    fn drop(&mut self) {
        let mut active = self.readers.active.borrow_mut();
        let at = active.partition_point(|(epoch, _)| *epoch < self.epoch);
        active[at].1 -= 1;
        while active.front().is_some_and(|(_, count)| *count == 0) {
            active.pop_front();
        }
        let oldest = active.front().map_or(u64::MAX, |(epoch, _)| *epoch);
        self.readers.shared.reading[self.readers.core].0.store(oldest, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_retired_stays_until_earlier_readers_are_gone() {
        let shared = Arc::new(Shared::new([0; 16], 1, 0, 2));
        let readers = Readers::new(shared.clone(), 1);
        let first = readers.pin();
        let retired = shared.retire();
        let second = readers.pin();
        assert!(!shared.is_quiet_since(retired));
        drop(second);
        assert!(!shared.is_quiet_since(retired));
        let third = readers.pin();
        drop(first);
        assert!(shared.is_quiet_since(retired));
        assert!(!shared.is_quiet_since(shared.retire()));
        drop(third);
    }
}
