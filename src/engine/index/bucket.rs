//! A shard's share of a bucket. What is current stands apart from all else, so that a listing of objects
//! meets no old versions and buckets without versioning pay nothing for them.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::{Entry as Slot, Range};
use std::iter::Peekable;
use std::ops::Bound;

use super::{Entry, RecordPlace, UploadEntry};
use crate::engine::types::{UploadId, Usage};
use crate::engine::version::VersionId;

/// A shard's share of a bucket. Of the versions of a key, the one with the greatest sequence is the newest.
#[derive(Debug, Default)]
pub struct BucketIndex {
    /// The newest version of each key, if it is no delete marker.
    pub objects: BTreeMap<Box<[u8]>, Entry>,
    /// All other versions, and all delete markers.
    pub versions: BTreeMap<VersionKey, Entry>,
    /// Sequences of those null versions that are among `versions`.
    nulls: BTreeMap<Box<[u8]>, u64>,
    pub uploads: BTreeMap<(Vec<u8>, UploadId), UploadEntry>,
    bytes: u64,
}

impl BucketIndex {
    /// What the shard holds of the bucket.
    pub fn usage(&self) -> Usage {
        let (objects, versions) = (self.objects.len() as u64, self.versions.len() as u64);
        Usage { objects, versions, bytes: self.bytes }
    }

    /// The newest version of a key.
    pub fn newest(&self, key: &[u8]) -> Option<&Entry> {
        self.objects.get(key).or_else(|| self.newest_kept(key))
    }

    /// A version of a key by its name.
    pub fn version(&self, key: &[u8], version: VersionId) -> Option<&Entry> {
        if let Some(entry) = self.objects.get(key).filter(|entry| entry.version() == version) {
            return Some(entry);
        }
        self.version_kept(key, version)
    }

    /// A version of a key by its name, unless it is current.
    pub fn version_kept(&self, key: &[u8], version: VersionId) -> Option<&Entry> {
        if self.versions.is_empty() {
            return None;
        }
        let sequence = match version {
            VersionId::Null => *self.nulls.get(key)?,
            VersionId::Numbered(sequence) => sequence,
        };
        let entry = self.versions.get(&(key, sequence) as &dyn VersionPlace);
        entry.filter(|entry| entry.version() == version)
    }

    /// Where the records of the newest versions of a key stand, delete markers left out.
    pub fn newest_records(&self, key: &[u8], count_max: usize) -> Vec<RecordPlace> {
        let newest = self.walk(Bound::Included(key)).take_while(|(other, _)| *other == key);
        let objects = newest.take(count_max).filter(|(_, entry)| !entry.is_delete_marker());
        objects.map(|(_, entry)| entry.record()).collect()
    }

    /// Makes `entry` a version of `key`; returns the version of the same name that it replaces.
    pub fn place(&mut self, key: Box<[u8]>, entry: Entry) -> Option<Entry> {
        self.bytes += entry.bytes;
        let replaced = self.replace(key, entry);
        self.bytes -= replaced.as_ref().map_or(0, |old| old.bytes);
        replaced
    }

    fn replace(&mut self, key: Box<[u8]>, entry: Entry) -> Option<Entry> {
        let is_object = !entry.is_delete_marker();
        let key = match self.objects.entry(key) {
            Slot::Vacant(slot) if is_object && self.versions.is_empty() => {
                slot.insert(entry);
                return None;
            }
            Slot::Occupied(mut slot)
                if is_object
                    && slot.get().version() == entry.version()
                    && slot.get().sequence <= entry.sequence =>
            {
                return Some(slot.insert(entry));
            }
            Slot::Vacant(slot) => slot.into_key(),
            Slot::Occupied(slot) => slot.key().clone(),
        };
        let replaced = self.detach(&key, entry.version());
        self.attach(key, entry);
        replaced
    }

    /// Removes a version. If it was the newest, the next one takes its place.
    pub fn remove(&mut self, key: &[u8], version: VersionId) -> Option<Entry> {
        let removed = self.detach(key, version)?;
        self.bytes -= removed.bytes;
        Some(removed)
    }

    /// Takes all entries out.
    pub fn into_entries(self) -> impl Iterator<Item = Entry> {
        self.objects.into_values().chain(self.versions.into_values())
    }

    /// All entries, in no order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.objects.values().chain(self.versions.values())
    }

    /// All versions from a key on, in order of key and then newest first.
    pub fn walk(&self, from: Bound<&[u8]>) -> Walk<'_> {
        let versions = match from {
            Bound::Included(key) => self.versions_from(Bound::Included((key, u64::MAX))),
            Bound::Excluded(key) => self.versions_from(Bound::Excluded((key, 0))),
            Bound::Unbounded => self.versions_from(Bound::Unbounded),
        };
        let objects = self.objects.range::<[u8], _>((from, Bound::Unbounded));
        Walk { objects: objects.peekable(), versions: versions.peekable() }
    }

    /// All versions in the same order, after the place of one that need not be there any more.
    pub fn walk_after(&self, key: &[u8], sequence: u64) -> Walk<'_> {
        let is_newest_older = self.objects.get(key).is_some_and(|entry| entry.sequence < sequence);
        let from = if is_newest_older { Bound::Included(key) } else { Bound::Excluded(key) };
        let objects = self.objects.range::<[u8], _>((from, Bound::Unbounded));
        let versions = self.versions_from(Bound::Excluded((key, sequence)));
        Walk { objects: objects.peekable(), versions: versions.peekable() }
    }

    fn versions_from(&self, from: Bound<(&[u8], u64)>) -> Range<'_, VersionKey, Entry> {
        let place;
        let bound: Bound<&dyn VersionPlace> = match from {
            Bound::Included(at) => {
                place = at;
                Bound::Included(&place)
            }
            Bound::Excluded(at) => {
                place = at;
                Bound::Excluded(&place)
            }
            Bound::Unbounded => Bound::Unbounded,
        };
        self.versions.range::<dyn VersionPlace + '_, _>((bound, Bound::Unbounded))
    }

    /// The newest of a key's versions that are not current.
    pub fn newest_kept(&self, key: &[u8]) -> Option<&Entry> {
        if self.versions.is_empty() {
            return None;
        }
        let (place, entry) = self.versions_from(Bound::Included((key, u64::MAX))).next()?;
        (*place.key == *key).then_some(entry)
    }

    fn attach(&mut self, key: Box<[u8]>, entry: Entry) {
        if self.newest(&key).is_some_and(|newest| newest.sequence > entry.sequence) {
            return self.keep(key, entry);
        }
        if entry.is_delete_marker() {
            if let Some((key, old)) = self.objects.remove_entry(&key) {
                self.keep(key, old);
            }
            return self.keep(key, entry);
        }
        let older = match self.objects.entry(key) {
            Slot::Vacant(slot) => {
                slot.insert(entry);
                None
            }
            Slot::Occupied(mut slot) => {
                let old = slot.insert(entry);
                Some((slot.key().clone(), old))
            }
        };
        if let Some((key, old)) = older {
            self.keep(key, old);
        }
    }

    fn keep(&mut self, key: Box<[u8]>, entry: Entry) {
        if entry.is_null() {
            self.nulls.insert(key.clone(), entry.sequence);
        }
        self.versions.insert(VersionKey { key, sequence: entry.sequence }, entry);
    }

    fn detach(&mut self, key: &[u8], version: VersionId) -> Option<Entry> {
        if self.objects.get(key).is_some_and(|entry| entry.version() == version) {
            let removed = self.objects.remove(key);
            self.promote(key);
            return removed;
        }
        let sequence = self.version_kept(key, version)?.sequence;
        let removed = self.take_kept(key, sequence)?.1;
        if removed.is_delete_marker() {
            self.promote(key);
        }
        Some(removed)
    }

    /// Makes the newest version current, if nothing is and it is an object.
    fn promote(&mut self, key: &[u8]) {
        if self.versions.is_empty() || self.objects.contains_key(key) {
            return;
        }
        let newest = self.newest_kept(key).filter(|entry| !entry.is_delete_marker());
        let sequence = newest.map(|entry| entry.sequence);
        if let Some((place, entry)) = sequence.and_then(|sequence| self.take_kept(key, sequence)) {
            self.objects.insert(place.key, entry);
        }
    }

    fn take_kept(&mut self, key: &[u8], sequence: u64) -> Option<(VersionKey, Entry)> {
        let (place, entry) = self.versions.remove_entry(&(key, sequence) as &dyn VersionPlace)?;
        if entry.is_null() {
            self.nulls.remove(key);
        }
        Some((place, entry))
    }
}

/// All versions of a bucket in order of key and then newest first.
pub struct Walk<'a> {
    objects: Peekable<Range<'a, Box<[u8]>, Entry>>,
    versions: Peekable<Range<'a, VersionKey, Entry>>,
}

impl<'a> Iterator for Walk<'a> {
    type Item = (&'a [u8], &'a Entry);

    fn next(&mut self) -> Option<Self::Item> {
        let is_object_next = match (self.objects.peek(), self.versions.peek()) {
            // What is current is the newest of its key.
            (Some((key, _)), Some((place, _))) => *key <= &place.key,
            (current, _) => current.is_some(),
        };
        if is_object_next {
            self.objects.next().map(|(key, entry)| (&**key, entry))
        } else {
            self.versions.next().map(|(place, entry)| (&*place.key, entry))
        }
    }
}

/// Place of a version among those that are not current: by key, then newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionKey {
    pub key: Box<[u8]>,
    pub sequence: u64,
}

impl Ord for VersionKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

impl PartialOrd for VersionKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What a place is compared by; borrowed, so that a look-up needs no key of its own.
pub trait VersionPlace {
    fn place(&self) -> (&[u8], std::cmp::Reverse<u64>);
}

impl VersionPlace for VersionKey {
    fn place(&self) -> (&[u8], std::cmp::Reverse<u64>) {
        (&self.key, std::cmp::Reverse(self.sequence))
    }
}

impl VersionPlace for (&[u8], u64) {
    fn place(&self) -> (&[u8], std::cmp::Reverse<u64>) {
        (self.0, std::cmp::Reverse(self.1))
    }
}

impl<'a> Borrow<dyn VersionPlace + 'a> for VersionKey {
    fn borrow(&self) -> &(dyn VersionPlace + 'a) {
        self
    }
}

impl PartialEq for dyn VersionPlace + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for dyn VersionPlace + '_ {}

impl Ord for dyn VersionPlace + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

impl PartialOrd for dyn VersionPlace + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
