//! The index of a shard, in memory and ordered: what every key the core owns holds, and where.
//!
//! [`Index::apply`] is the only way to change it, for a record that just became durable as for one that
//! recovery replays. Applying a record twice, or on an index that already knows later records of other keys,
//! changes nothing more: checkpoints are written while the index changes and rely on it.

pub mod listing;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::format::record::{ObjectPut, PartPut, Record, StoredPayload};
use super::format::{Location, SegmentId, Slice};
use super::types::{Bucket, BucketId, Condition, ETagMatch, EngineError, Part, Upload, UploadId, Usage};
use crate::base::checksum::{ChecksumAlgorithm, ChecksumKind};
use crate::base::etag::ETag;
use crate::io::TimestampMs;

/// What HEAD, LIST and the start of GET need of an object; the rest is in its log record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub bytes: u64,
    pub modified: TimestampMs,
    pub etag: ETag,
    /// Algorithm and kind of the checksum, as on disk; 0, 0 for none.
    pub checksum: (u8, u8),
    pub location: Location,
    pub payload: EntryPayload,
}

/// Where an object's payload is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryPayload {
    /// In the log record.
    Inline,
    /// One slice: nearly every large object.
    One(Slice),
    Many(Box<[Slice]>),
}

impl EntryPayload {
    pub fn slices(&self) -> &[Slice] {
        match self {
            Self::Inline => &[],
            Self::One(slice) => std::slice::from_ref(slice),
            Self::Many(slices) => slices,
        }
    }

    pub fn of_slices(slices: Vec<Slice>) -> Self {
        match slices.as_slice() {
            [slice] => Self::One(*slice),
            _ => Self::Many(slices.into_boxed_slice()),
        }
    }
}

impl Entry {
    pub fn checksum_names(&self) -> Option<(ChecksumAlgorithm, ChecksumKind)> {
        let (algorithm, kind) = self.checksum;
        Some((ChecksumAlgorithm::from_code(algorithm)?, ChecksumKind::from_code(kind)?))
    }
}

/// A multipart upload in progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadEntry {
    pub upload: Upload,
    pub location: Location,
    pub parts: BTreeMap<u16, PartEntry>,
}

/// A stored part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartEntry {
    pub part: Part,
    pub slices: Vec<Slice>,
    pub location: Location,
}

/// A shard's share of a bucket.
#[derive(Debug, Default)]
pub struct BucketIndex {
    pub objects: BTreeMap<Box<[u8]>, Entry>,
    pub uploads: BTreeMap<(Vec<u8>, UploadId), UploadEntry>,
    pub usage: Usage,
}

/// Everything a core owns.
#[derive(Debug, Default)]
pub struct Index {
    pub buckets: BTreeMap<BucketId, BucketIndex>,
    /// The table of buckets; on core 0 only.
    pub table: BTreeMap<BucketId, (Bucket, Location)>,
    /// The node's configuration; on core 0 only.
    pub config: BTreeMap<String, (Arc<[u8]>, Location)>,
    /// Bytes of live records by log segment.
    live: BTreeMap<SegmentId, u64>,
}

impl Index {
    pub fn object(&self, bucket: BucketId, key: &[u8]) -> Option<&Entry> {
        self.buckets.get(&bucket)?.objects.get(key)
    }

    pub fn upload(&self, bucket: BucketId, key: &[u8], id: UploadId) -> Option<&UploadEntry> {
        self.buckets.get(&bucket)?.uploads.get(&(key.to_vec(), id))
    }

    pub fn usage(&self, bucket: BucketId) -> Usage {
        self.buckets.get(&bucket).map(|shard| shard.usage).unwrap_or_default()
    }

    /// Bytes of live records in all log segments.
    pub fn live_log_bytes(&self) -> u64 {
        self.live.values().sum()
    }

    /// Whether `condition` holds of what `key` holds now.
    pub fn check(&self, bucket: BucketId, key: &[u8], condition: &Condition) -> Result<(), EngineError> {
        let entry = self.object(bucket, key);
        if condition.absent && entry.is_some() {
            return Err(EngineError::ConditionFailed);
        }
        let demands =
            condition.matches.is_some() || condition.size.is_some() || condition.modified_seconds.is_some();
        if !demands {
            return Ok(());
        }
        let entry = entry.ok_or(EngineError::ConditionOnMissing)?;
        let etag_holds = match &condition.matches {
            None | Some(ETagMatch::Any) => true,
            Some(ETagMatch::OneOf(etags)) => etags.contains(&entry.etag),
        };
        let size_holds = condition.size.is_none_or(|bytes| bytes == entry.bytes);
        let time_holds = condition.modified_seconds.is_none_or(|seconds| seconds == entry.modified / 1000);
        if etag_holds && size_holds && time_holds { Ok(()) } else { Err(EngineError::ConditionFailed) }
    }

    /// Applies a durable record that stands at `location`. Returns the slices that nothing of this shard
    /// refers to any more.
    pub fn apply(&mut self, record: Record, location: Location) -> Vec<Slice> {
        match record {
            Record::ObjectPut(put) => self.apply_put(put, location),
            Record::ObjectDeleted { bucket, key } => self.apply_delete(bucket, &key),
            Record::BucketPut(bucket) => {
                self.account(location);
                if let Some((_, old)) = self.table.insert(bucket.id, (bucket, location)) {
                    self.forget(old);
                }
                Vec::new()
            }
            Record::BucketDeleted { id } => {
                if let Some((_, old)) = self.table.remove(&id) {
                    self.forget(old);
                }
                Vec::new()
            }
            Record::ConfigPut { name, value } => {
                self.account(location);
                if let Some((_, old)) = self.config.insert(name, (value, location)) {
                    self.forget(old);
                }
                Vec::new()
            }
            Record::ConfigDeleted { name } => {
                if let Some((_, old)) = self.config.remove(&name) {
                    self.forget(old);
                }
                Vec::new()
            }
            Record::UploadCreated { bucket, upload } => {
                let uploads = &mut self.buckets.entry(bucket).or_default().uploads;
                let old = match uploads.get_mut(&(upload.key.clone(), upload.id)) {
                    Some(entry) => Some(std::mem::replace(&mut entry.location, location)),
                    None => {
                        let name = (upload.key.clone(), upload.id);
                        uploads.insert(name, UploadEntry { upload, location, parts: BTreeMap::new() });
                        None
                    }
                };
                self.account(location);
                old.into_iter().for_each(|old| self.forget(old));
                Vec::new()
            }
            Record::PartPut(put) => self.apply_part(put, location),
            Record::UploadAborted { bucket, key, id } => self.remove_upload(bucket, &key, id, &[]),
        }
    }

    fn apply_put(&mut self, put: ObjectPut, location: Location) -> Vec<Slice> {
        let mut released = Vec::new();
        if let Some(id) = put.upload {
            let used: Vec<u16> = put.parts.iter().map(|part| part.number).collect();
            released = self.remove_upload(put.bucket, &put.key, id, &used);
        }
        let checksum = put.attributes.checksum.as_ref();
        let entry = Entry {
            bytes: put.bytes,
            modified: put.modified,
            etag: put.attributes.etag,
            checksum: checksum.map_or((0, 0), |it| (it.algorithm as u8, it.kind as u8)),
            location,
            payload: match put.payload {
                StoredPayload::Inline(_) => EntryPayload::Inline,
                StoredPayload::Slices(slices) => EntryPayload::of_slices(slices),
            },
        };
        released.extend(self.set(put.bucket, put.key.into_boxed_slice(), entry));
        released
    }

    /// Makes `entry` what `key` holds; returns the slices of what it held.
    pub fn set(&mut self, bucket: BucketId, key: Box<[u8]>, entry: Entry) -> Vec<Slice> {
        self.account(entry.location);
        let shard = self.buckets.entry(bucket).or_default();
        shard.usage.objects += 1;
        shard.usage.bytes += entry.bytes;
        let Some(old) = shard.objects.insert(key, entry) else { return Vec::new() };
        shard.usage.objects -= 1;
        shard.usage.bytes -= old.bytes;
        self.forget(old.location);
        old.payload.slices().to_vec()
    }

    fn apply_delete(&mut self, bucket: BucketId, key: &[u8]) -> Vec<Slice> {
        let Some(shard) = self.buckets.get_mut(&bucket) else { return Vec::new() };
        let Some(old) = shard.objects.remove(key) else { return Vec::new() };
        shard.usage.objects -= 1;
        shard.usage.bytes -= old.bytes;
        self.forget(old.location);
        old.payload.slices().to_vec()
    }

    fn apply_part(&mut self, put: PartPut, location: Location) -> Vec<Slice> {
        let uploads = &mut self.buckets.entry(put.bucket).or_default().uploads;
        let Some(entry) = uploads.get_mut(&(put.key, put.upload)) else {
            // The upload ended later in the log than this record, and a checkpoint knows it already.
            return put.slices;
        };
        let part = PartEntry { part: put.part, slices: put.slices, location };
        let old = entry.parts.insert(part.part.number, part);
        self.account(location);
        let Some(old) = old else { return Vec::new() };
        self.forget(old.location);
        old.slices
    }

    /// Puts an upload back as a checkpoint had it.
    pub fn restore_upload(&mut self, bucket: BucketId, entry: UploadEntry) {
        self.account(entry.location);
        entry.parts.values().for_each(|part| self.account(part.location));
        let name = (entry.upload.key.clone(), entry.upload.id);
        self.buckets.entry(bucket).or_default().uploads.insert(name, entry);
    }

    /// Ends an upload; returns the slices of all parts but the `used` ones.
    fn remove_upload(&mut self, bucket: BucketId, key: &[u8], id: UploadId, used: &[u16]) -> Vec<Slice> {
        let Some(shard) = self.buckets.get_mut(&bucket) else { return Vec::new() };
        let Some(entry) = shard.uploads.remove(&(key.to_vec(), id)) else { return Vec::new() };
        self.forget(entry.location);
        let mut released = Vec::new();
        for part in entry.parts.into_values() {
            self.forget(part.location);
            if used.binary_search(&part.part.number).is_err() {
                released.extend(part.slices);
            }
        }
        released
    }

    /// Drops a bucket that is gone; returns the slices of uploads (and, after a crash, of anything else)
    /// that were left in it.
    pub fn drop_bucket(&mut self, bucket: BucketId) -> Vec<Slice> {
        let Some(shard) = self.buckets.remove(&bucket) else { return Vec::new() };
        let mut released = Vec::new();
        for entry in shard.objects.into_values() {
            self.forget(entry.location);
            released.extend_from_slice(entry.payload.slices());
        }
        for entry in shard.uploads.into_values() {
            self.forget(entry.location);
            for part in entry.parts.into_values() {
                self.forget(part.location);
                released.extend(part.slices);
            }
        }
        released
    }

    /// Whether the record at `location` is what the index refers to (for deletions: whether nothing is
    /// there, so that the deletion may still be what hides an older record).
    pub fn is_live(&self, record: &Record, location: Location) -> bool {
        match record {
            Record::ObjectPut(put) => {
                self.object(put.bucket, &put.key).is_some_and(|entry| entry.location == location)
            }
            Record::ObjectDeleted { bucket, key } => self.object(*bucket, key).is_none(),
            Record::BucketPut(bucket) => {
                self.table.get(&bucket.id).is_some_and(|(_, current)| *current == location)
            }
            Record::BucketDeleted { id } => !self.table.contains_key(id),
            Record::ConfigPut { name, .. } => {
                self.config.get(name).is_some_and(|(_, current)| *current == location)
            }
            Record::ConfigDeleted { name } => !self.config.contains_key(name),
            Record::UploadCreated { bucket, upload } => {
                let entry = self.upload(*bucket, &upload.key, upload.id);
                entry.is_some_and(|entry| entry.location == location)
            }
            Record::PartPut(put) => {
                let entry = self.upload(put.bucket, &put.key, put.upload);
                let part = entry.and_then(|entry| entry.parts.get(&put.part.number));
                part.is_some_and(|part| part.location == location)
            }
            Record::UploadAborted { bucket, key, id } => self.upload(*bucket, key, *id).is_none(),
        }
    }

    /// Calls `visit` with every slice that the shard refers to, once for each reference.
    pub fn for_each_slice(&self, mut visit: impl FnMut(&Slice)) {
        for shard in self.buckets.values() {
            shard.objects.values().flat_map(|entry| entry.payload.slices()).for_each(&mut visit);
            let parts = shard.uploads.values().flat_map(|entry| entry.parts.values());
            parts.flat_map(|part| &part.slices).for_each(&mut visit);
        }
    }

    fn account(&mut self, location: Location) {
        *self.live.entry(location.segment).or_default() += u64::from(location.length);
    }

    fn forget(&mut self, location: Location) {
        let live = self.live.get_mut(&location.segment).expect("what was accounted is there");
        *live -= u64::from(location.length);
        if *live == 0 {
            self.live.remove(&location.segment);
        }
    }

    /// Bytes of live records in one log segment.
    pub fn live_bytes_in(&self, segment: SegmentId) -> u64 {
        self.live.get(&segment).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
