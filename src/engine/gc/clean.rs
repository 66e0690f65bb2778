//! Cleaning of the log: the oldest segment's live records are appended again, then it is removed. So a deletion
//! has outlived everything that it hides once it reaches the old end, and can be dropped there.
//!
//! What is damaged does not stop it. Everything else moves; then the segment is set aside under another name,
//! for people to look at, and the versions that are lost with it stay in the index until they are deleted.

use std::cell::RefCell;
use std::sync::atomic::Ordering;

use super::READERS_PAUSE;
use crate::base::limits::{BLOCK_BYTES, BUFFER_BYTES, RECORDS_MOVED_TOGETHER_MAX};
use crate::engine::damage::{DamageKind, Flaw};
use crate::engine::events::{Event, lock_of_event};
use crate::engine::extent::{open_to_free, remove_file};
use crate::engine::format::record::{ObjectPut, PartPut, Record};
use crate::engine::format::{FileName, SegmentId};
use crate::engine::log::scan::{Head, Opened, ScanError, Scanned, SegmentScanner};
use crate::engine::log::{LogSegment, Urgency, error_of};
use crate::engine::message::{Answer, OwnedRecord, Request};
use crate::engine::types::EngineError;
use crate::engine::{Engine, hash_of, unexpected};
use crate::io::{Disk, Host, TimestampMs};

/// Live records that cannot be read are given up if that is still so after this time: a path to the drive may have
/// been away, or its controller reset.
const DOUBT_MS: TimestampMs = 10 * 60 * 1000;

/// Put before the name of a segment that is set aside.
pub(in crate::engine) const ASIDE: &str = "damaged-";

impl<H: Host> Engine<H> {
    /// Moves the live records of a segment to the head of their owners' logs and removes it.
    ///
    /// Returns whether it is gone. One with live records that cannot be read stays for now.
    pub(in crate::engine) async fn clean(
        &self,
        id: SegmentId,
        segment: LogSegment,
    ) -> Result<bool, EngineError> {
        let doubts = &self.inner.cleaning.doubts;
        if doubts.get().is_some_and(|(doubted, until)| doubted == id && self.host().now() < until) {
            return Ok(false);
        }
        let name = FileName::Log(id);
        let failed = |error: std::io::Error| error_of(&format!("cleaning {name}"), &error);
        let is_damaged = match self.file(name).await {
            Ok((disk, file)) => match SegmentScanner::open(&disk, file, id).await.map_err(failed)? {
                Opened::Segment(scanner) => self.move_whole(scanner, id, segment).await?,
                Opened::Unused | Opened::Damaged => true,
            },
            Err(EngineError::Corrupt(what)) => {
                let flaw = Flaw { offset: 0, bytes: segment.bytes_used, what };
                self.note_damage(flaw.in_file(DamageKind::Log, name));
                true
            }
            Err(error) => return Err(error),
        };
        // Where the scan met damage, live records may stand that can be read by their places.
        if is_damaged || self.live_bytes_anywhere(id).await? > 0 {
            self.salvage_everywhere(id, 0..u32::MAX, true).await?;
        }
        let lost = self.live_bytes_anywhere(id).await?;
        if lost > 0 && doubts.get().is_none_or(|(doubted, _)| doubted != id) {
            doubts.set(Some((id, self.host().now() + DOUBT_MS)));
            tracing::warn!(
                "cleaning waits: records of {lost} bytes in {name} cannot be read; they may later"
            );
            return Ok(false);
        }
        if is_damaged || lost > 0 {
            self.set_aside(id, segment, lost).await
        } else {
            self.remove_cleaned(id, segment).await
        }
    }

    async fn live_bytes_anywhere(&self, segment: SegmentId) -> Result<u64, EngineError> {
        let mut bytes = 0;
        for answer in self.ask_all(|| Request::SegmentUsage { segment }).await {
            match answer? {
                Answer::Usage(usage) => bytes += usage.bytes,
                other => return Err(unexpected(&other)),
            }
        }
        Ok(bytes)
    }

    /// Moves what is whole; says whether it met damage.
    async fn move_whole(
        &self,
        mut scanner: SegmentScanner<H::Disk>,
        id: SegmentId,
        segment: LogSegment,
    ) -> Result<bool, EngineError> {
        let name = FileName::Log(id);
        let failed = |error: ScanError| match error {
            ScanError::Io(error) => error_of(&format!("cleaning {name}"), &error),
            ScanError::Malformed(at) => {
                let what = format!("{name} at offset {}: a record can't be understood", at.offset);
                EngineError::Corrupt(what)
            }
        };
        let mut is_damaged = false;
        let mut offset = BLOCK_BYTES as u32;
        let mut expected = None;
        let records: RefCell<Vec<OwnedRecord>> = RefCell::default();
        loop {
            if offset >= scanner.end() {
                self.relocate(records.take(), id).await?;
                return Ok(is_damaged);
            }
            let mut collect = |scanned: Scanned<'_>| -> Result<(), ScanError> {
                if !scanned.is_whole {
                    return Ok(());
                }
                let record = scanned.decode()?;
                if !self.is_surely_dead(&record, &scanned, segment, id) {
                    records.borrow_mut().push(OwnedRecord { record, location: scanned.location });
                }
                Ok(())
            };
            let found = scanner.batch(offset).await.map_err(|error| failed(error.into()))?;
            let batch = found.filter(|batch| expected.is_none_or(|expected| expected == batch.sequence));
            let is_whole = match &batch {
                Some(batch) => scanner.visit(offset, batch, &mut collect).await.map_err(failed)?,
                None => false,
            };
            let length =
                batch.map_or(BLOCK_BYTES, |batch| (batch.bytes as usize).next_multiple_of(BLOCK_BYTES));
            let mut next = offset + length as u32;
            if !is_whole {
                let later = scanner.later(next, expected.map_or(0, |expected| expected + 1)).await;
                let later = later.map_err(|error| failed(error.into()))?;
                let is_read = scanner.unreadable.range(u64::from(offset)..u64::from(next)).next().is_none();
                if later.is_none() && is_read {
                    self.relocate(records.take(), id).await?;
                    // Behind the last batch nothing was written, as far as the start or the log itself knows;
                    // or a batch was torn there by a crash, of which nobody was told.
                    if batch.is_none() || self.live_bytes_anywhere(id).await? == 0 {
                        return Ok(is_damaged);
                    }
                }
                is_damaged = true;
                let until = later.map_or(scanner.end(), |(place, _)| place);
                let what = "changes in the log are damaged".to_string();
                let flaw = Flaw { offset: offset.into(), bytes: u64::from(until - offset), what };
                self.note_damage(flaw.in_file(DamageKind::Log, name));
                let head = batch.as_ref().map_or(Head::Unknown, Head::Whole);
                scanner.salvage(offset, head, until, false, &mut collect).await.map_err(failed)?;
                next = match batch {
                    Some(_) => next,
                    None => until,
                };
                expected = match (batch, later) {
                    (Some(batch), _) => Some(batch.sequence + 1),
                    (None, later) => later.map(|(_, batch)| batch.sequence),
                };
            } else {
                expected = batch.map(|batch| batch.sequence + 1);
            }
            // Records that moved together share batches: one by one they would take as much room as before.
            let bytes: usize = records.borrow().iter().map(|owned| owned.location.length as usize).sum();
            if bytes >= BUFFER_BYTES || records.borrow().len() >= RECORDS_MOVED_TOGETHER_MAX {
                self.relocate(records.take(), id).await?;
            }
            offset = next;
        }
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
    pub(in crate::engine) async fn serve_relocate(
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

    pub(super) async fn relocate_one(&self, owned: OwnedRecord) -> Result<(), EngineError> {
        let lock = match &owned.record {
            Record::PartPut(put) => crate::engine::shard::lock_of_upload(put.upload),
            Record::UploadCreated { upload, .. } => crate::engine::shard::lock_of_upload(upload.id),
            Record::UploadAborted { id, .. } => crate::engine::shard::lock_of_upload(*id),
            Record::BucketPut(_) | Record::BucketDeleted { .. } => crate::engine::buckets::TABLE_LOCK,
            Record::ConfigPut { .. } | Record::ConfigDeleted { .. } => crate::engine::config::CONFIG_LOCK,
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
    async fn remove_cleaned(&self, id: SegmentId, segment: LogSegment) -> Result<bool, EngineError> {
        let name = FileName::Log(id);
        if !self.wait_for_readers().await {
            return Ok(false);
        }
        let removed = remove_file(&self.inner.shared, self.host().disks(), name).await;
        removed.map_err(|error| error_of(&format!("removing {name}"), &error))?;
        self.forget_cleaned(id, segment);
        Ok(true)
    }

    /// Gives a damaged segment another name, by which the engine does not know it any more.
    async fn set_aside(&self, id: SegmentId, segment: LogSegment, lost: u64) -> Result<bool, EngineError> {
        let name = FileName::Log(id);
        let failed = |error: std::io::Error| error_of(&format!("setting {name} aside"), &error);
        if !self.wait_for_readers().await {
            return Ok(false);
        }
        match open_to_free(self.host().disks(), name).await {
            Ok((disk, _)) => {
                disk.rename(&name.to_string(), &format!("{ASIDE}{name}")).await.map_err(failed)?;
                self.inner.shared.sync_directory(&disk).await.map_err(failed)?;
                tracing::error!(
                    "{name} is damaged: what is whole was moved, and it is set aside as {ASIDE}{name}; \
                     records of {lost} bytes are lost until what they hold is deleted or written again"
                );
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        self.forget_cleaned(id, segment);
        Ok(true)
    }

    /// Waits until nobody reads any more who began before; `false` if the node stops before.
    async fn wait_for_readers(&self) -> bool {
        let epoch = self.inner.shared.retire();
        while !self.inner.shared.is_quiet_since(epoch) {
            if self.inner.stopping.get() {
                return false;
            }
            self.host().sleep(READERS_PAUSE).await;
        }
        true
    }

    fn forget_cleaned(&self, id: SegmentId, segment: LogSegment) {
        self.inner.meters.segments_cleaned.increment();
        self.inner.meters.bytes_cleaned.add(segment.bytes_used);
        self.inner.log.forget_segment(id);
        self.forget_file(FileName::Log(id));
        if segment.generation != self.inner.identity.generation {
            self.inner.shared.old_segments.fetch_sub(1, Ordering::SeqCst);
        }
    }
}
