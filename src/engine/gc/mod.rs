//! Background work of a core: giving references back, freeing extents, checkpoints, cleaning of the log, scrub.

mod clean;
mod salvage;
pub(super) mod scrub;

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::format::{FileName, SegmentId};
use super::log::{LogSegment, error_of};
use super::message::Request;
use super::shared::Shared;
use super::types::EngineError;
use super::{Engine, checkpoint};
use crate::io::{Disk, Host, TimestampMs};

pub(super) use clean::ASIDE;

/// Pause between looks at what there is to do.
const PAUSE: Duration = Duration::from_millis(1000);

/// Pause between attempts to free what somebody still reads.
const READERS_PAUSE: Duration = Duration::from_millis(20);

/// What cleaning could not free, or not yet.
#[derive(Default)]
pub struct Cleaning {
    futile_bytes: Cell<u64>,
    /// Whether segments of earlier generations were there, for which deletions must be kept.
    had_old_segments: Cell<bool>,
    /// The segment whose live records could not all be read, and until when it stays all the same.
    doubts: Cell<Option<(SegmentId, TimestampMs)>>,
}

impl Cleaning {
    /// Bytes that no live record has and that a pass over the whole log left all the same: padding, and
    /// deletions that must be kept. Without this a core would clean for ever.
    fn futile_bytes(&self, shared: &Shared) -> u64 {
        let keeps_less = self.had_old_segments.get() && shared.old_segments.load(Ordering::SeqCst) == 0;
        if keeps_less { 0 } else { self.futile_bytes.get() }
    }

    fn note_futile(&self, bytes: u64, shared: &Shared) {
        self.futile_bytes.set(bytes);
        self.had_old_segments.set(shared.old_segments.load(Ordering::SeqCst) > 0);
    }
}

/// Starts the background tasks of a core that has recovered; `data` are its data segments.
pub fn start<H: Host>(engine: &Engine<H>, data: Vec<(SegmentId, u64, u64)>) {
    let releasing = engine.clone();
    engine.host().spawn(async move { releasing.run_releases().await });
    let reaping = engine.clone();
    engine.host().spawn(async move {
        reaping.extents().free_unreferenced(&data).await;
        loop {
            let condemned = reaping.extents().condemned();
            if reaping.extents().reap().await {
                continue;
            }
            if reaping.extents().has_condemned() {
                reaping.host().sleep(READERS_PAUSE).await;
            } else {
                condemned.await;
            }
        }
    });
    let holding = engine.clone();
    engine.host().spawn(async move { holding.run_holds().await });
    let scrubbing = engine.clone();
    engine.host().spawn(async move { scrubbing.run_scrub().await });
    let maintaining = engine.clone();
    engine.host().spawn(async move { maintaining.run_maintenance().await });
}

impl<H: Host> Engine<H> {
    /// Sends references back to the owners of their extents, in batches.
    async fn run_releases(&self) {
        loop {
            let mut any = false;
            for owner in 0..self.cores() {
                let extents = std::mem::take(&mut self.inner.releases.borrow_mut()[owner]);
                if extents.is_empty() {
                    continue;
                }
                any = true;
                if let Err(error) = self.ask(owner, Request::ExtentsRelease { extents }).await {
                    tracing::debug!("references were not given back: {error}; recovery will find them");
                }
            }
            if !any {
                self.inner.release_work.wait().await;
            }
        }
    }

    async fn run_maintenance(&self) {
        loop {
            self.host().sleep(PAUSE).await;
            if self.inner.stopping.get() {
                return;
            }
            if let Err(error) = self.maintain().await {
                tracing::warn!("background work: {error}");
            }
        }
    }

    /// Has a core write a checkpoint now, after what it has under way in the background.
    pub async fn write_checkpoint(&self, core: usize) -> Result<(), EngineError> {
        self.ask(core, Request::Checkpoint).await.map(drop)
    }

    pub(super) async fn checkpoint_now(&self) -> Result<(), EngineError> {
        let _turn = self.inner.maintenance.acquire(1).await;
        self.check_running()?;
        checkpoint::write(self).await
    }

    /// Writes a checkpoint if one is due, then cleans while that frees more than it copies.
    pub(super) async fn maintain(&self) -> Result<(), EngineError> {
        let _turn = self.inner.maintenance.acquire(1).await;
        let state = &self.inner.checkpoint;
        let due = state.log_bytes_since(self.inner.log.bytes_written())
            >= state.log_bytes_due(self.inner.options.checkpoint_log_bytes);
        if due || !state.has_any() {
            checkpoint::write(self).await?;
        }
        if self.inner.shared.checkpoints_missing.load(Ordering::SeqCst) > 0 {
            return Ok(());
        }
        self.drop_old_checkpoints().await?;
        // Each segment that is there now is cleaned once at most: what a pass leaves, another would leave.
        let pass_end = self.inner.log.position().segment;
        while self.cleaning_pays() && !self.inner.stopping.get() {
            match self.oldest_cleanable() {
                Some((id, it)) if it.generation == self.inner.identity.generation && id >= pass_end => {
                    self.inner.cleaning.note_futile(self.dead_log_bytes(), &self.inner.shared);
                    return Ok(());
                }
                Some((id, segment)) => {
                    if !self.clean(id, segment).await? {
                        return Ok(());
                    }
                }
                // All that could be cleaned may be needed to replay on the oldest checkpoint.
                None => {
                    let before = self.inner.checkpoint.oldest_position();
                    checkpoint::write(self).await?;
                    if self.inner.checkpoint.oldest_position() == before {
                        checkpoint::write(self).await?;
                    }
                    if self.oldest_cleanable().is_none() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether more than half of the log is dead, and enough for it to matter; beside what cleaning left.
    fn cleaning_pays(&self) -> bool {
        let used = self.inner.log.bytes_used();
        let dead = self.dead_log_bytes().saturating_sub(self.inner.cleaning.futile_bytes(&self.inner.shared));
        // With little room left, moving more is better than refusing.
        let share = if self.inner.log.is_scarce() { used / 8 } else { used / 2 };
        dead > share && dead > 2 * self.inner.options.log_segment_bytes
    }

    /// Bytes of the log that are of no live record: dead ones, but padding and deletions that still hide
    /// something, too.
    fn dead_log_bytes(&self) -> u64 {
        self.inner.log.bytes_used().saturating_sub(self.inner.index.borrow().live_log_bytes())
    }

    /// The segment that cleaning takes next: all that could hold what its deletions hide are gone.
    pub(super) fn oldest_cleanable(&self) -> Option<(SegmentId, LogSegment)> {
        let generation = self.inner.identity.generation;
        let oldest = self.inner.checkpoint.oldest_position()?.segment;
        let sealed = self.inner.log.sealed_segments();
        let cleanable = sealed.into_iter().filter(|(id, it)| it.generation != generation || *id < oldest);
        cleanable.min_by_key(|(id, segment)| (segment.generation, *id))
    }

    /// Checkpoints of earlier generations would bring back what cleaning forgets, whichever drive they are
    /// on. Once they are gone, no others come.
    async fn drop_old_checkpoints(&self) -> Result<(), EngineError> {
        if self.inner.checkpoint.old_dropped() {
            return Ok(());
        }
        for disk in self.host().disks() {
            self.drop_old_checkpoints_of(disk).await?;
        }
        self.inner.checkpoint.set_old_dropped();
        Ok(())
    }

    async fn drop_old_checkpoints_of(&self, disk: &H::Disk) -> Result<(), EngineError> {
        let failed = |error: std::io::Error| error_of("removing an old checkpoint", &error);
        let mut any = false;
        for file in disk.list().map_err(failed)? {
            let name = FileName::parse(&file.name);
            let Some(FileName::Checkpoint { generation, .. } | FileName::CheckpointDraft { generation, .. }) =
                name
            else {
                continue;
            };
            if generation < self.inner.identity.generation {
                match disk.remove(&file.name).await {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
                    _ => any = true,
                }
            }
        }
        if any { self.inner.shared.sync_directory(disk).await.map_err(failed) } else { Ok(()) }
    }
}
