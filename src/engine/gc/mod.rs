//! Background work of a core: giving references back, freeing extents, checkpoints, cleaning of the log.
//!
//! The cleaner takes the oldest segment first: its live records are appended again, then it is removed. So a
//! deletion has outlived everything that it hides once it reaches the old end, and can be dropped there.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::events::{Event, lock_of_event};
use super::extent::remove_file;
use super::format::record::{ObjectPut, PartPut, Record};
use super::format::{FileName, SegmentId};
use super::log::scan::{Opened, Scan, ScanError, Scanned, SegmentScanner};
use super::log::{LogSegment, Urgency, error_of};
use super::message::{Answer, OwnedRecord, Request};
use super::types::EngineError;
use super::{Engine, checkpoint, hash_of};
use crate::base::limits::BLOCK_BYTES;
use crate::io::{Disk, Host};

/// Pause between looks at what there is to do.
const PAUSE: Duration = Duration::from_millis(1000);

/// Pause between attempts to free what somebody still reads.
const READERS_PAUSE: Duration = Duration::from_millis(20);

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

    /// Writes a checkpoint if one is due, then cleans while that frees more than it copies.
    pub(super) async fn maintain(&self) -> Result<(), EngineError> {
        let _turn = self.inner.maintenance.acquire(1).await;
        let state = &self.inner.checkpoint;
        let due =
            state.log_bytes_since(self.inner.log.bytes_written()) >= self.inner.options.checkpoint_log_bytes;
        if due || !state.has_any() {
            checkpoint::write(self).await?;
        }
        if self.inner.shared.checkpoints_missing.load(Ordering::SeqCst) > 0 {
            return Ok(());
        }
        self.drop_old_checkpoints().await?;
        while self.cleaning_pays() && !self.inner.stopping.get() {
            match self.oldest_cleanable() {
                Some((id, segment)) => self.clean(id, segment).await?,
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

    /// Whether more than half of the log is dead, and enough for it to matter.
    fn cleaning_pays(&self) -> bool {
        let used = self.inner.log.bytes_used();
        let dead = used.saturating_sub(self.inner.index.borrow().live_log_bytes());
        // With little room left, moving more is better than refusing.
        let share = if self.inner.log.is_scarce() { used / 8 } else { used / 2 };
        dead > share && dead > 2 * self.inner.options.log_segment_bytes
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

    /// Moves the live records of a segment to the head of their owners' logs and removes it.
    pub(super) async fn clean(&self, id: SegmentId, segment: LogSegment) -> Result<(), EngineError> {
        let name = FileName::Log(id);
        let failed = |error: std::io::Error| error_of(&format!("cleaning {name}"), &error);
        let (disk, file) = self.file(name).await?;
        let scanner = SegmentScanner::open(&disk, file, id).await.map_err(failed)?;
        let Opened::Segment(mut scanner) = scanner else {
            return Err(EngineError::Corrupt(format!("{name}: its header is damaged")));
        };
        let mut scan = Scan { first: None, last: None, end: BLOCK_BYTES as u32 };
        loop {
            let mut records: Vec<OwnedRecord> = Vec::new();
            let mut collect = |scanned: Scanned<'_>| -> Result<(), ScanError> {
                let record = scanned.decode()?;
                if !self.is_surely_dead(&record, &scanned, segment, id) {
                    records.push(OwnedRecord { record, location: scanned.location });
                }
                Ok(())
            };
            let more = scanner.step(&mut scan, &mut collect).await.map_err(|error| match error {
                ScanError::Io(error) => failed(error),
                ScanError::Malformed(at) => EngineError::Corrupt(format!(
                    "{name} at offset {}: a record can't be understood",
                    at.offset
                )),
            })?;
            if !more {
                break;
            }
            self.relocate(records, id).await?;
        }
        // Whatever still lives there stood behind damage that ended the scan: it must not be removed.
        for answer in self.ask_all(|| Request::SegmentUsage { segment: id }).await {
            match answer? {
                Answer::Usage(usage) if usage.bytes == 0 => {}
                Answer::Usage(usage) => {
                    let why =
                        format!("{name} at offset {}: {} live bytes are damaged", scan.end, usage.bytes);
                    return Err(EngineError::Corrupt(why));
                }
                other => return Err(super::unexpected(&other)),
            }
        }
        self.remove_cleaned(id, segment, &disk).await
    }

    /// Whether a record need not move, as far as this core can tell.
    fn is_surely_dead(
        &self,
        record: &Record,
        scanned: &Scanned<'_>,
        segment: LogSegment,
        id: SegmentId,
    ) -> bool {
        if record.owner(self.cores()) != self.me() {
            return false;
        }
        let live = self.inner.index.borrow().is_live(record, scanned.location);
        let hides = match record {
            Record::VersionDeleted { .. }
            | Record::UploadAborted { .. }
            | Record::BucketDeleted { .. }
            | Record::ConfigDeleted { .. }
            | Record::EventDone { .. }
            | Record::RenameDone { .. } => live,
            // Overwritten since, but it also ended its upload.
            Record::ObjectPut(put) => !live && put.upload.is_some(),
            _ => false,
        };
        if hides { self.hides_nothing(segment, id) } else { !live }
    }

    /// Whether no older segment exists that could hold something a deletion in this one hides.
    fn hides_nothing(&self, segment: LogSegment, id: SegmentId) -> bool {
        let generation = self.inner.identity.generation;
        let oldest = self.inner.log.sealed_segments().into_iter().all(|(other, _)| other >= id);
        segment.generation == generation
            && oldest
            && self.inner.shared.old_segments.load(Ordering::SeqCst) == 0
    }

    async fn relocate(&self, records: Vec<OwnedRecord>, segment: SegmentId) -> Result<(), EngineError> {
        let mut by_owner: Vec<Vec<OwnedRecord>> = Vec::new();
        by_owner.resize_with(self.cores(), Vec::new);
        for owned in records {
            by_owner[owned.record.owner(self.cores())].push(owned);
        }
        for (owner, records) in by_owner.into_iter().enumerate().filter(|(_, records)| !records.is_empty()) {
            self.ask(owner, Request::Relocate { records, segment }).await?;
        }
        Ok(())
    }

    /// Appends those records again that are still live, as the owner of their keys.
    pub(super) async fn serve_relocate(
        &self,
        records: Vec<OwnedRecord>,
        segment: SegmentId,
    ) -> Result<(), EngineError> {
        let mut under_way = Vec::with_capacity(records.len());
        for owned in records {
            debug_assert_eq!(owned.location.segment, segment);
            let (done, result) = crate::base::local::oneshot();
            let engine = self.clone();
            self.host().spawn(async move { done.send(engine.relocate_one(owned).await) });
            under_way.push(result);
        }
        for result in under_way {
            result.await.unwrap_or(Err(EngineError::Stopping))?;
        }
        Ok(())
    }

    async fn relocate_one(&self, owned: OwnedRecord) -> Result<(), EngineError> {
        let lock = match &owned.record {
            Record::PartPut(put) => super::shard::lock_of_upload(put.upload),
            Record::UploadCreated { upload, .. } => super::shard::lock_of_upload(upload.id),
            Record::UploadAborted { id, .. } => super::shard::lock_of_upload(*id),
            Record::BucketPut(_) | Record::BucketDeleted { .. } => super::buckets::TABLE_LOCK,
            Record::ConfigPut { .. } | Record::ConfigDeleted { .. } => super::config::CONFIG_LOCK,
            Record::EventQueued(Event { id, .. }) | Record::EventDone { id, .. } => lock_of_event(*id),
            Record::ObjectPut(_)
            | Record::VersionDeleted { .. }
            | Record::DeleteMarkerPut(_)
            | Record::RenameCommitted(_)
            | Record::RenameDone { .. } => {
                let (bucket, key) = owned.record.key().expect("records of objects have a key");
                hash_of(bucket, key)
            }
        };
        let _lock = self.inner.locks.acquire(lock).await;
        if !self.inner.index.borrow().is_live(&owned.record, owned.location) {
            return match owned.record {
                Record::ObjectPut(ObjectPut { bucket, key, upload: Some(id), .. }) => {
                    // The upload's own records may be in segments that are cleaned later.
                    let record = Record::UploadAborted { bucket, key, id };
                    self.inner.log.append(record, Urgency::Relocating).await
                }
                _ => Ok(()),
            };
        }
        let parts = self.parts_of(&owned.record);
        self.inner.log.append(owned.record, Urgency::Relocating).await?;
        let mut under_way = Vec::with_capacity(parts.len());
        for part in parts {
            let (done, result) = crate::base::local::oneshot();
            let log = self.inner.log.clone();
            self.host().spawn(async move { done.send(log.append(part, Urgency::Relocating).await) });
            under_way.push(result);
        }
        for result in under_way {
            result.await.unwrap_or(Err(EngineError::Stopping))?;
        }
        Ok(())
    }

    /// The parts of the upload whose beginning is `record`: they must follow it in the log, since a replay
    /// takes no part of an upload that it does not know yet.
    fn parts_of(&self, record: &Record) -> Vec<Record> {
        let Record::UploadCreated { bucket, upload } = record else { return Vec::new() };
        let index = self.inner.index.borrow();
        let entry = index.upload(*bucket, &upload.key, upload.id);
        let parts = entry.into_iter().flat_map(|entry| entry.parts.values());
        let again = parts.map(|stored| PartPut {
            bucket: *bucket,
            key: upload.key.clone(),
            upload: upload.id,
            part: stored.part.clone(),
            slices: stored.slices.clone(),
        });
        again.map(Record::PartPut).collect()
    }

    /// Removes a segment that holds nothing live, once nobody reads in it any more. The removal is durable
    /// before the next segment may be cleaned.
    async fn remove_cleaned(
        &self,
        id: SegmentId,
        segment: LogSegment,
        disk: &H::Disk,
    ) -> Result<(), EngineError> {
        let name = FileName::Log(id);
        let failed = |error: std::io::Error| error_of(&format!("removing {name}"), &error);
        let epoch = self.inner.shared.retire();
        while !self.inner.shared.is_quiet_since(epoch) {
            if self.inner.stopping.get() {
                return Ok(());
            }
            self.host().sleep(READERS_PAUSE).await;
        }
        remove_file(&self.inner.shared, std::slice::from_ref(disk), name).await.map_err(failed)?;
        self.inner.log.forget_segment(id);
        self.forget_file(name);
        if segment.generation != self.inner.identity.generation {
            self.inner.shared.old_segments.fetch_sub(1, Ordering::SeqCst);
        }
        Ok(())
    }
}
