//! A shard's share of a bucket. What is current stands apart from all else, so that a listing of objects
//! meets no old versions and buckets without versioning pay nothing for them.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::packed::{Item, Packed, Versions};
use super::{Entry, RecordPlace, UploadEntry};
use crate::engine::types::{UploadId, Usage};
use crate::engine::version::VersionId;

/// A shard's share of a bucket. Of the versions of a key, the one with the greatest sequence is the newest.
#[derive(Debug, Default)]
pub struct BucketIndex {
    /// The newest version of each key, if it is no delete marker.
    pub objects: Packed,
    /// All other versions, and all delete markers.
    pub versions: Packed,
    /// Sequences of those null versions that are among `versions`.
    nulls: BTreeMap<Box<[u8]>, u64>,
    pub uploads: BTreeMap<(Vec<u8>, UploadId), UploadEntry>,
    bytes: u64,
    /// Of the parts of `uploads`.
    pub part_bytes: u64,
}

impl BucketIndex {
    /// What the shard holds of the bucket.
    pub fn usage(&self) -> Usage {
        let (objects, versions) = (self.objects.len() as u64, self.versions.len() as u64);
        Usage { objects, versions, bytes: self.bytes }
    }

    /// Bytes of all versions, and of the parts of uploads.
    pub fn bytes_held(&self) -> u64 {
        self.bytes + self.part_bytes
    }

    /// The newest version of a key.
    pub fn newest(&self, key: &[u8]) -> Option<Entry> {
        self.objects.newest(key).or_else(|| self.newest_kept(key))
    }

    /// A version of a key by its name.
    pub fn version(&self, key: &[u8], version: VersionId) -> Option<Entry> {
        let current = self.objects.newest(key).filter(|entry| entry.version() == version);
        current.or_else(|| self.version_kept(key, version))
    }

    /// A version of a key by its name, unless it is current.
    pub fn version_kept(&self, key: &[u8], version: VersionId) -> Option<Entry> {
        if self.versions.is_empty() {
            return None;
        }
        let sequence = match version {
            VersionId::Null => *self.nulls.get(key)?,
            VersionId::Numbered(sequence) => sequence,
        };
        self.versions.get(key, sequence).filter(|entry| entry.version() == version)
    }

    /// Where the records of the newest versions of a key stand, delete markers left out.
    pub fn newest_records(&self, key: &[u8], count_max: usize) -> Vec<RecordPlace> {
        let newest = self.walk(Bound::Included(key)).take_while(|(other, _)| *other == key);
        let objects = newest.take(count_max).filter(|(_, entry)| !entry.is_delete_marker());
        objects.map(|(_, entry)| entry.record()).collect()
    }

    /// Makes `entry` a version of `key`; returns the version of the same name that it replaces.
    pub fn place(&mut self, key: &[u8], entry: Entry) -> Option<Entry> {
        self.bytes += entry.bytes;
        let replaced = self.replace(key, entry);
        self.bytes -= replaced.as_ref().map_or(0, |old| old.bytes);
        replaced
    }

    fn replace(&mut self, key: &[u8], entry: Entry) -> Option<Entry> {
        if !entry.is_delete_marker() {
            match self.objects.newest(key) {
                None if self.versions.is_empty() => return self.objects.insert(key, &entry),
                Some(old) if old.version() == entry.version() && old.sequence <= entry.sequence => {
                    self.objects.remove(key, old.sequence);
                    self.objects.insert(key, &entry);
                    return Some(old);
                }
                _ => {}
            }
        }
        let replaced = self.detach(key, entry.version());
        self.attach(key, entry);
        replaced
    }

    /// Removes a version. If it was the newest, the next one takes its place.
    pub fn remove(&mut self, key: &[u8], version: VersionId) -> Option<Entry> {
        let removed = self.detach(key, version)?;
        self.bytes -= removed.bytes;
        Some(removed)
    }

    /// All entries, in no order.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        let all = self.objects.from(Bound::Unbounded).chain(self.versions.from(Bound::Unbounded));
        all.map(|(_, entry)| entry)
    }

    /// All versions from a key on, in order of key and then newest first.
    pub fn walk(&self, from: Bound<&[u8]>) -> Walk<'_> {
        let from = from_place(from);
        Walk::new(self.objects.from(from), self.versions.from(from))
    }

    /// All current objects from a key on, in order.
    pub fn walk_objects(&self, from: Bound<&[u8]>) -> Versions<'_> {
        self.objects.from(from_place(from))
    }

    /// All versions in the same order, after the place of one that need not be there any more.
    pub fn walk_after(&self, key: &[u8], sequence: u64) -> Walk<'_> {
        let from = Bound::Excluded((key, sequence));
        Walk::new(self.objects.from(from), self.versions.from(from))
    }

    /// The newest of a key's versions that are not current.
    pub fn newest_kept(&self, key: &[u8]) -> Option<Entry> {
        if self.versions.is_empty() { None } else { self.versions.newest(key) }
    }

    fn attach(&mut self, key: &[u8], entry: Entry) {
        let current = self.objects.newest(key);
        let newest = current.as_ref().map(|entry| entry.sequence);
        let newest = newest.or_else(|| self.newest_kept(key).map(|entry| entry.sequence));
        if newest.is_some_and(|newest| newest > entry.sequence) {
            return self.keep(key, entry);
        }
        if let Some(old) = current {
            self.objects.remove(key, old.sequence);
            self.keep(key, old);
        }
        if entry.is_delete_marker() {
            self.keep(key, entry);
        } else {
            self.objects.insert(key, &entry);
        }
    }

    fn keep(&mut self, key: &[u8], entry: Entry) {
        if entry.is_null() {
            self.nulls.insert(key.into(), entry.sequence);
        }
        self.versions.insert(key, &entry);
    }

    fn detach(&mut self, key: &[u8], version: VersionId) -> Option<Entry> {
        if let Some(current) = self.objects.newest(key).filter(|entry| entry.version() == version) {
            let removed = self.objects.remove(key, current.sequence);
            self.promote(key);
            return removed;
        }
        let sequence = self.version_kept(key, version)?.sequence;
        let removed = self.take_kept(key, sequence)?;
        if removed.is_delete_marker() {
            self.promote(key);
        }
        Some(removed)
    }

    /// Makes the newest version current, if nothing is and it is an object.
    fn promote(&mut self, key: &[u8]) {
        if self.versions.is_empty() || self.objects.newest(key).is_some() {
            return;
        }
        let newest = self.newest_kept(key).filter(|entry| !entry.is_delete_marker());
        let sequence = newest.map(|entry| entry.sequence);
        if let Some(entry) = sequence.and_then(|sequence| self.take_kept(key, sequence)) {
            self.objects.insert(key, &entry);
        }
    }

    fn take_kept(&mut self, key: &[u8], sequence: u64) -> Option<Entry> {
        let entry = self.versions.remove(key, sequence)?;
        if entry.is_null() {
            self.nulls.remove(key);
        }
        Some(entry)
    }
}

/// Before, or behind, all versions of a key.
fn from_place(from: Bound<&[u8]>) -> Bound<(&[u8], u64)> {
    match from {
        Bound::Included(key) => Bound::Included((key, u64::MAX)),
        Bound::Excluded(key) => Bound::Excluded((key, 0)),
        Bound::Unbounded => Bound::Unbounded,
    }
}

/// All versions of a bucket in order of key and then newest first.
pub struct Walk<'a> {
    objects: Versions<'a>,
    versions: Versions<'a>,
    /// The next one of each.
    object: Option<Item<'a>>,
    version: Option<Item<'a>>,
}

impl<'a> Walk<'a> {
    fn new(mut objects: Versions<'a>, mut versions: Versions<'a>) -> Self {
        let (object, version) = (objects.next(), versions.next());
        Self { objects, versions, object, version }
    }

    /// Passes over everything before `key`, which is not before the next version.
    pub fn seek(&mut self, key: &[u8]) {
        if self.object.as_ref().is_some_and(|(next, _)| *next < key) {
            self.objects.seek(key);
            self.object = self.objects.next();
        }
        if self.version.as_ref().is_some_and(|(next, _)| *next < key) {
            self.versions.seek(key);
            self.version = self.versions.next();
        }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let is_object_next = match (&self.object, &self.version) {
            // What is current is the newest of its key.
            (Some((key, _)), Some((other, _))) => key <= other,
            (current, _) => current.is_some(),
        };
        if is_object_next {
            std::mem::replace(&mut self.object, self.objects.next())
        } else {
            std::mem::replace(&mut self.version, self.versions.next())
        }
    }
}
