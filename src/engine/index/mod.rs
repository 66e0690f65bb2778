//! The index of a shard, in memory and ordered: what every key the core owns holds, and where.
//!
//! [`Index::apply`] is the only way to change it, for a record that just became durable as for one that
//! recovery replays. Applying a record twice, or on an index that already knows later records of other keys,
//! changes nothing more: checkpoints are written while the index changes and rely on it.

mod bucket;
pub mod listing;
mod owed;
mod packed;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use super::format::record::{DeleteMarkerPut, ObjectPut, PartPut, Record, StoredPayload, version_of};
use super::format::{Location, SegmentId, Slice};
use super::rename::{Rename, RenameId};
use super::types::{Bucket, BucketId, Condition, ETagMatch, EngineError, Part, Upload, UploadId, Usage};
use super::version::{VersionId, modified_of};
use crate::base::checksum::{Checksum, ChecksumAlgorithm, ChecksumKind};
use crate::base::etag::ETag;
use crate::io::TimestampMs;

pub use bucket::BucketIndex;
pub use owed::{EventEntry, Events};

/// What HEAD, LIST and the start of GET need of an object; the rest is in its log record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub bytes: u64,
    /// Its place among the versions of its key; see [`modified_of`].
    pub sequence: u64,
    pub etag: ETag,
    pub checksum: ChecksumCode,
    pub flags: EntryFlags,
    pub location: Location,
    pub payload: EntryPayload,
}

/// What kind of version an entry is, in the bits that stand on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryFlags(u8);

impl EntryFlags {
    const NULL: u8 = 1;
    const DELETE_MARKER: u8 = 2;
    /// It has a retention or a legal hold, perhaps one whose time is over: the record says more.
    const LOCKED: u8 = 4;
    /// All bits.
    const ALL: u8 = Self::NULL | Self::DELETE_MARKER | Self::LOCKED;

    pub fn new(is_null: bool, is_delete_marker: bool, is_locked: bool) -> Self {
        let bit = |is: bool, bit| if is { bit } else { 0 };
        let kind = bit(is_null, Self::NULL) | bit(is_delete_marker, Self::DELETE_MARKER);
        Self(kind | bit(is_locked, Self::LOCKED))
    }

    pub fn code(self) -> u8 {
        self.0
    }

    /// Reads the number on disk.
    pub fn from_code(code: u8) -> Option<Self> {
        (code <= Self::ALL).then_some(Self(code))
    }
}

/// Algorithm and kind of a checksum in one byte, as on disk; 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChecksumCode(pub u8);

impl ChecksumCode {
    pub fn of(checksum: Option<&Checksum>) -> Self {
        Self(checksum.map_or(0, |it| it.algorithm as u8 | (it.kind as u8) << 4))
    }

    pub fn names(self) -> Option<(ChecksumAlgorithm, ChecksumKind)> {
        Some((ChecksumAlgorithm::from_code(self.0 & 0xf)?, ChecksumKind::from_code(self.0 >> 4)?))
    }
}

/// Where an object's payload is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryPayload {
    /// In the log record.
    Inline,
    /// One slice: nearly every large object.
    One(Slice),
    Many(Rc<[Slice]>),
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
            _ => Self::Many(slices.into()),
        }
    }
}

/// Where the record of a version stands, and what tells it from others that might stand there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordPlace {
    pub location: Location,
    pub sequence: u64,
}

impl Entry {
    pub fn record(&self) -> RecordPlace {
        RecordPlace { location: self.location, sequence: self.sequence }
    }

    /// The name of the version.
    pub fn version(&self) -> VersionId {
        version_of(self.sequence, self.is_null())
    }

    pub fn modified(&self) -> TimestampMs {
        modified_of(self.sequence)
    }

    pub fn is_null(&self) -> bool {
        self.flags.0 & EntryFlags::NULL != 0
    }

    pub fn is_delete_marker(&self) -> bool {
        self.flags.0 & EntryFlags::DELETE_MARKER != 0
    }

    pub fn is_locked(&self) -> bool {
        self.flags.0 & EntryFlags::LOCKED != 0
    }

    /// Whether `condition` holds of this version, or of nothing being there.
    pub fn check(entry: Option<&Self>, condition: &Condition) -> Result<(), EngineError> {
        if condition.absent && entry.is_some() {
            return Err(EngineError::ConditionFailed);
        }
        if entry.is_some_and(|entry| condition.differs.contains(&entry.etag)) {
            return Err(EngineError::ConditionFailed);
        }
        let demands = condition.matches.is_some()
            || condition.size.is_some()
            || condition.modified_seconds.is_some()
            || condition.sequence.is_some();
        if !demands {
            return Ok(());
        }
        let entry = entry.ok_or(EngineError::ConditionOnMissing)?;
        let etag_holds = match &condition.matches {
            None | Some(ETagMatch::Any) => true,
            Some(ETagMatch::OneOf(etags)) => etags.contains(&entry.etag),
        };
        let size_holds = condition.size.is_none_or(|bytes| bytes == entry.bytes);
        let seconds = entry.modified() / 1000;
        let time_holds = condition.modified_seconds.is_none_or(|wanted| wanted == seconds)
            && condition.sequence.is_none_or(|wanted| wanted == entry.sequence);
        if etag_holds && size_holds && time_holds { Ok(()) } else { Err(EngineError::ConditionFailed) }
    }

    /// Whether `condition` of a deletion without a version holds of the newest version. A delete marker is no
    /// object that `If-Match: *` could find and has no ETag that could match, but it has a size and a time.
    pub fn check_newest(newest: Option<&Self>, condition: &Condition) -> Result<(), EngineError> {
        match &condition.matches {
            Some(ETagMatch::Any) if newest.is_some_and(Self::is_delete_marker) => {
                Err(EngineError::ConditionOnMissing)
            }
            Some(ETagMatch::OneOf(_)) if newest.is_some_and(Self::is_delete_marker) => {
                Err(EngineError::ConditionFailed)
            }
            _ => Self::check(newest, condition),
        }
    }
}

/// A multipart upload in progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadEntry {
    pub upload: Upload,
    pub location: Location,
    pub parts: BTreeMap<u16, PartEntry>,
}

impl UploadEntry {
    /// Bytes of its parts.
    pub fn bytes(&self) -> u64 {
        self.parts.values().map(|part| part.part.bytes).sum()
    }
}

/// A stored part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartEntry {
    pub part: Part,
    pub slices: Vec<Slice>,
    pub location: Location,
}

/// Everything a core owns.
#[derive(Debug, Default)]
pub struct Index {
    pub buckets: BTreeMap<BucketId, BucketIndex>,
    /// The table of buckets; on core 0 only.
    pub table: BTreeMap<BucketId, (Bucket, Location)>,
    /// The node's configuration; on core 0 only.
    pub config: BTreeMap<String, (Arc<[u8]>, Location)>,
    /// Events that are not done, of keys that the core owns.
    pub events: Events,
    /// Renames to keys that the core owns whose source may still be there.
    pub renames: BTreeMap<RenameId, (Rename, Location)>,
    /// Bytes of live records by log segment.
    live: BTreeMap<SegmentId, u64>,
}

impl Index {
    /// What is current under a key, unless that is a delete marker.
    pub fn object(&self, bucket: BucketId, key: &[u8]) -> Option<Entry> {
        self.buckets.get(&bucket)?.objects.newest(key)
    }

    /// The version of that name, or the newest one, which may be a delete marker.
    pub fn version(&self, bucket: BucketId, key: &[u8], version: Option<VersionId>) -> Option<Entry> {
        let shard = self.buckets.get(&bucket)?;
        match version {
            Some(version) => shard.version(key, version),
            None => shard.newest(key),
        }
    }

    pub fn upload(&self, bucket: BucketId, key: &[u8], id: UploadId) -> Option<&UploadEntry> {
        self.buckets.get(&bucket)?.uploads.get(&(key.to_vec(), id))
    }

    /// The first upload of a bucket, in order of key and id.
    pub fn first_upload(&self, bucket: BucketId) -> Option<(Vec<u8>, UploadId)> {
        self.buckets.get(&bucket)?.uploads.keys().next().cloned()
    }

    pub fn usage(&self, bucket: BucketId) -> Usage {
        self.buckets.get(&bucket).map(BucketIndex::usage).unwrap_or_default()
    }

    /// Bytes of all versions of a bucket, and of the parts of its uploads.
    pub fn bytes_held(&self, bucket: BucketId) -> u64 {
        self.buckets.get(&bucket).map_or(0, BucketIndex::bytes_held)
    }

    /// Bytes of live records in all log segments.
    pub fn live_log_bytes(&self) -> u64 {
        self.live.values().sum()
    }

    /// Applies a durable record that stands at `location`. Returns the slices that nothing of this shard
    /// refers to any more.
    pub fn apply(&mut self, record: Record, location: Location) -> Vec<Slice> {
        match record {
            Record::ObjectPut(put) => self.apply_put(put, location),
            Record::VersionDeleted { bucket, key, version } => self.apply_delete(bucket, &key, version),
            Record::DeleteMarkerPut(put) => self.apply_marker(put, location),
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
            Record::EventQueued(event) => {
                self.apply_event(&event, location);
                Vec::new()
            }
            Record::EventDone { id, .. } => {
                self.apply_event_done(id);
                Vec::new()
            }
            Record::RenameCommitted(rename) => {
                self.set_rename(rename, location);
                Vec::new()
            }
            Record::RenameDone { id } => {
                self.apply_rename_done(&id);
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
        let entry = Entry {
            bytes: put.bytes,
            sequence: put.sequence,
            etag: put.attributes.etag,
            checksum: ChecksumCode::of(put.attributes.checksum.as_ref()),
            flags: EntryFlags::new(put.is_null, false, !put.attributes.lock.is_none()),
            location,
            payload: match put.payload {
                StoredPayload::Inline(_) => EntryPayload::Inline,
                StoredPayload::Slices(slices) => EntryPayload::of_slices(slices),
            },
        };
        released.extend(self.set(put.bucket, &put.key, entry));
        released
    }

    fn apply_marker(&mut self, put: DeleteMarkerPut, location: Location) -> Vec<Slice> {
        let entry = Entry {
            bytes: 0,
            sequence: put.sequence,
            etag: ETag { digest: [0; 16], parts: 0 },
            checksum: ChecksumCode::default(),
            flags: EntryFlags::new(put.is_null, true, false),
            location,
            payload: EntryPayload::Inline,
        };
        self.set(put.bucket, &put.key, entry)
    }

    /// Makes `entry` a version of `key`; returns the slices of the version that it replaces.
    pub fn set(&mut self, bucket: BucketId, key: &[u8], entry: Entry) -> Vec<Slice> {
        self.account(entry.location);
        let sequence = entry.sequence;
        let Some(old) = self.buckets.entry(bucket).or_default().place(key, entry) else { return Vec::new() };
        self.forget(old.location);
        // The same version, updated or moved: its payload stays where it is.
        if old.sequence == sequence { Vec::new() } else { old.payload.slices().to_vec() }
    }

    fn apply_delete(&mut self, bucket: BucketId, key: &[u8], version: VersionId) -> Vec<Slice> {
        let Some(shard) = self.buckets.get_mut(&bucket) else { return Vec::new() };
        let Some(old) = shard.remove(key, version) else { return Vec::new() };
        self.forget(old.location);
        old.payload.slices().to_vec()
    }

    fn apply_part(&mut self, put: PartPut, location: Location) -> Vec<Slice> {
        let shard = self.buckets.entry(put.bucket).or_default();
        let Some(entry) = shard.uploads.get_mut(&(put.key, put.upload)) else {
            // The upload ended later in the log than this record, and a checkpoint knows it already.
            return put.slices;
        };
        let part = PartEntry { part: put.part, slices: put.slices, location };
        shard.part_bytes += part.part.bytes;
        let old = entry.parts.insert(part.part.number, part);
        shard.part_bytes -= old.as_ref().map_or(0, |old| old.part.bytes);
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
        let shard = self.buckets.entry(bucket).or_default();
        shard.part_bytes += entry.bytes();
        let replaced = shard.uploads.insert(name, entry);
        shard.part_bytes -= replaced.as_ref().map_or(0, UploadEntry::bytes);
    }

    /// Ends an upload; returns the slices of all parts but the `used` ones.
    pub fn remove_upload(&mut self, bucket: BucketId, key: &[u8], id: UploadId, used: &[u16]) -> Vec<Slice> {
        let Some(shard) = self.buckets.get_mut(&bucket) else { return Vec::new() };
        let Some(entry) = shard.uploads.remove(&(key.to_vec(), id)) else { return Vec::new() };
        shard.part_bytes -= entry.bytes();
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
        let Some(mut shard) = self.buckets.remove(&bucket) else { return Vec::new() };
        let mut released = Vec::new();
        let uploads = std::mem::take(&mut shard.uploads);
        for entry in shard.entries() {
            self.forget(entry.location);
            released.extend_from_slice(entry.payload.slices());
        }
        for entry in uploads.into_values() {
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
                let entry = self.version(put.bucket, &put.key, Some(put.version()));
                entry.is_some_and(|entry| entry.location == location)
            }
            Record::DeleteMarkerPut(put) => {
                let entry = self.version(put.bucket, &put.key, Some(put.version()));
                entry.is_some_and(|entry| entry.location == location)
            }
            Record::VersionDeleted { bucket, key, version } => {
                self.version(*bucket, key, Some(*version)).is_none()
            }
            Record::BucketPut(bucket) => {
                self.table.get(&bucket.id).is_some_and(|(_, current)| *current == location)
            }
            Record::BucketDeleted { id } => !self.table.contains_key(id),
            Record::ConfigPut { name, .. } => {
                self.config.get(name).is_some_and(|(_, current)| *current == location)
            }
            Record::ConfigDeleted { name } => !self.config.contains_key(name),
            Record::EventQueued(event) => self.events.location(event.id) == Some(location),
            Record::EventDone { id, .. } => self.events.location(*id).is_none(),
            Record::RenameCommitted(rename) => {
                self.renames.get(&rename.id()).is_some_and(|(_, current)| *current == location)
            }
            Record::RenameDone { id } => !self.renames.contains_key(id),
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
            shard.entries().for_each(|entry| entry.payload.slices().iter().for_each(&mut visit));
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

    /// Log segments that hold live records.
    pub fn live_segments(&self) -> Vec<SegmentId> {
        self.live.keys().copied().collect()
    }

    /// Bytes of live records in one log segment.
    pub fn live_bytes_in(&self, segment: SegmentId) -> u64 {
        self.live.get(&segment).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
