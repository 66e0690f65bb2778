//! Walks over what this core owns of a bucket, for background work that looks at everything once in a while.
//! A step holds the core no longer than its count; between steps anything may change.

use std::ops::Bound;

use super::Engine;
use super::index::{BucketIndex, Entry};
use super::types::{BucketId, Upload, UploadId};
use super::version::{VersionId, modified_of};
use crate::io::{Host, TimestampMs};

/// Where a scan goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanPosition {
    key: Vec<u8>,
    sequence: u64,
    /// Versions of the key up to this one.
    versions: u64,
}

/// What a scan shows of a version or a delete marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScannedVersion {
    pub key: Vec<u8>,
    pub version: VersionId,
    /// For a [`super::Condition`] that lets a deletion happen only if nothing has changed.
    pub sequence: u64,
    pub is_latest: bool,
    pub is_delete_marker: bool,
    /// Whether the key has no other version.
    pub is_only: bool,
    pub bytes: u64,
    /// Since when it is not current: when the next newer version was made; none for what is current.
    pub noncurrent_since: Option<TimestampMs>,
    /// Versions of the key that are newer and not current either.
    pub noncurrent_newer: u64,
}

impl ScannedVersion {
    /// When the version was made.
    pub fn modified(&self) -> TimestampMs {
        modified_of(self.sequence)
    }
}

impl<H: Host> Engine<H> {
    /// The next versions of a bucket that this core owns, at most `count_max`, in order of key and then newest
    /// first; and where the next step goes on, if there may be more.
    pub fn scan(
        &self,
        bucket: BucketId,
        after: Option<&ScanPosition>,
        count_max: usize,
    ) -> (Vec<ScannedVersion>, Option<ScanPosition>) {
        let index = self.inner.index.borrow();
        match index.buckets.get(&bucket) {
            Some(shard) => scan(shard, after, count_max),
            None => (Vec::new(), None),
        }
    }

    /// The next multipart uploads in progress of a bucket that this core owns, in order of key and id.
    pub fn scan_uploads(
        &self,
        bucket: BucketId,
        after: Option<(Vec<u8>, UploadId)>,
        count_max: usize,
    ) -> Vec<Upload> {
        let index = self.inner.index.borrow();
        let Some(shard) = index.buckets.get(&bucket) else { return Vec::new() };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let uploads = shard.uploads.range((from, Bound::Unbounded)).take(count_max);
        uploads.map(|(_, entry)| entry.upload.clone()).collect()
    }
}

fn scan(
    shard: &BucketIndex,
    after: Option<&ScanPosition>,
    count_max: usize,
) -> (Vec<ScannedVersion>, Option<ScanPosition>) {
    let mut walk = match after {
        Some(position) => shard.walk_after(&position.key, position.sequence),
        None => shard.walk(Bound::Unbounded),
    }
    .peekable();
    let mut before = after.cloned();
    let mut scanned = Vec::new();
    while scanned.len() < count_max {
        let Some((key, entry)) = walk.next() else { return (scanned, None) };
        let newer = before.take().filter(|before| before.key == key);
        let is_last = walk.peek().is_none_or(|(next, _)| *next != key);
        let version = describe(key, &entry, newer.as_ref(), is_last);
        before = Some(ScanPosition {
            key: newer.as_ref().map_or_else(|| key.to_vec(), |newer| newer.key.clone()),
            sequence: entry.sequence,
            versions: newer.map_or(0, |newer| newer.versions) + 1,
        });
        scanned.push(version);
    }
    (scanned, before)
}

fn describe(key: &[u8], entry: &Entry, newer: Option<&ScanPosition>, is_last: bool) -> ScannedVersion {
    ScannedVersion {
        key: key.to_vec(),
        version: entry.version(),
        sequence: entry.sequence,
        is_latest: newer.is_none(),
        is_delete_marker: entry.is_delete_marker(),
        is_only: newer.is_none() && is_last,
        bytes: entry.bytes,
        noncurrent_since: newer.map(|newer| modified_of(newer.sequence)),
        noncurrent_newer: newer.map_or(0, |newer| newer.versions - 1),
    }
}
