//! What the log says that is stored: a second, plain account of the index, kept without its code, so that one
//! can be held against the other.

use std::collections::BTreeMap;

use crate::base::crc32c;
use crate::engine::events::{EventId, route_of};
use crate::engine::format::checkpoint::CheckpointEntry;
use crate::engine::format::record::{ObjectPut, Record, StoredPayload};
use crate::engine::format::{Location, Slice};
use crate::engine::index::{
    ChecksumCode, Entry, EntryFlags, EntryPayload, EventEntry, PartEntry, UploadEntry,
};
use crate::engine::rename::{Rename, RenameId};
use crate::engine::types::{Bucket, BucketId, UploadId, Usage};
use crate::engine::{core_of, owner_of};

use super::report::ObjectName;
use crate::base::etag::ETag;

/// A value of the configuration, of which nothing but this may ever be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    pub bytes: u64,
    crc: u32,
    pub location: Location,
}

impl ConfigEntry {
    fn new(value: &[u8], location: Location) -> Self {
        Self { bytes: value.len() as u64, crc: crc32c::crc32c(value), location }
    }
}

/// Contents of a bucket.
#[derive(Debug, Default)]
pub struct Contents {
    /// Versions of each key, newest first.
    pub keys: BTreeMap<Box<[u8]>, Vec<Entry>>,
    pub uploads: BTreeMap<(Vec<u8>, UploadId), UploadEntry>,
}

/// Everything that is stored.
#[derive(Debug, Default)]
pub struct Catalogue {
    pub buckets: BTreeMap<BucketId, Contents>,
    pub table: BTreeMap<BucketId, (Bucket, Location)>,
    pub config: BTreeMap<String, ConfigEntry>,
    pub events: BTreeMap<EventId, EventEntry>,
    pub renames: BTreeMap<RenameId, (Rename, Location)>,
}

/// Something stored, as it differs between two catalogues.
#[derive(Clone, Debug)]
pub struct Item {
    /// Where its record stands.
    pub location: Location,
    pub what: &'static str,
    pub object: Option<ObjectName>,
}

impl Catalogue {
    /// Applies a record that stands at `location`, in the order of the log.
    pub fn apply(&mut self, record: Record, location: Location) {
        match record {
            Record::ObjectPut(put) => {
                if let Some(id) = put.upload {
                    self.contents(put.bucket).uploads.remove(&(put.key.clone(), id));
                }
                let (bucket, key) = (put.bucket, put.key.clone());
                self.place(bucket, &key, entry_of(put, location));
            }
            Record::DeleteMarkerPut(put) => {
                let entry = Entry {
                    bytes: 0,
                    sequence: put.sequence,
                    etag: ETag { digest: [0; 16], parts: 0 },
                    checksum: ChecksumCode::default(),
                    flags: EntryFlags::new(put.is_null, true, false),
                    location,
                    payload: EntryPayload::Inline,
                };
                self.place(put.bucket, &put.key, entry);
            }
            Record::VersionDeleted { bucket, key, version } => {
                let keys = &mut self.contents(bucket).keys;
                if let Some(versions) = keys.get_mut(&*key) {
                    versions.retain(|entry| entry.version() != version);
                    if versions.is_empty() {
                        keys.remove(&*key);
                    }
                }
            }
            Record::BucketPut(bucket) => drop(self.table.insert(bucket.id, (bucket, location))),
            Record::BucketDeleted { id } => {
                self.table.remove(&id);
            }
            Record::ConfigPut { name, value } => {
                self.config.insert(name, ConfigEntry::new(&value, location));
            }
            Record::ConfigDeleted { name } => {
                self.config.remove(&name);
            }
            Record::EventQueued(event) => {
                let route = route_of(event.bucket, &event.key);
                self.events.insert(event.id, EventEntry { route, location });
            }
            Record::EventDone { id, .. } => {
                self.events.remove(&id);
            }
            Record::RenameCommitted(rename) => {
                self.renames.insert(rename.id(), (rename, location));
            }
            Record::RenameDone { id } => {
                self.renames.remove(&id);
            }
            Record::UploadCreated { bucket, upload } => {
                let uploads = &mut self.contents(bucket).uploads;
                let name = (upload.key.clone(), upload.id);
                let entry = UploadEntry { upload, location, parts: BTreeMap::new() };
                // Moved by the cleaner: its parts stay.
                uploads.entry(name).and_modify(|known| known.location = location).or_insert(entry);
            }
            Record::PartPut(put) => {
                let upload = self.contents(put.bucket).uploads.get_mut(&(put.key, put.upload));
                let part = PartEntry { part: put.part, slices: put.slices, location };
                if let Some(upload) = upload {
                    upload.parts.insert(part.part.number, part);
                }
            }
            Record::UploadAborted { bucket, key, id } => {
                self.contents(bucket).uploads.remove(&(key, id));
            }
        }
    }

    /// Takes an entry of a checkpoint up.
    pub fn restore(&mut self, entry: CheckpointEntry) {
        match entry {
            CheckpointEntry::Bucket { bucket, location } => {
                self.table.insert(bucket.id, (bucket, location));
            }
            CheckpointEntry::Config { name, value, location } => {
                self.config.insert(name, ConfigEntry::new(&value, location));
            }
            CheckpointEntry::Event { id, entry } => drop(self.events.insert(id, entry)),
            CheckpointEntry::Rename { rename, location } => {
                self.renames.insert(rename.id(), (rename, location));
            }
            CheckpointEntry::Object { bucket, key, entry } => self.place(bucket, &key, entry),
            CheckpointEntry::Upload { bucket, entry } => {
                let name = (entry.upload.key.clone(), entry.upload.id);
                self.contents(bucket).uploads.insert(name, entry);
            }
        }
    }

    fn contents(&mut self, bucket: BucketId) -> &mut Contents {
        self.buckets.entry(bucket).or_default()
    }

    /// Makes `entry` a version, in place of the one of the same name.
    pub fn place(&mut self, bucket: BucketId, key: &[u8], entry: Entry) {
        let keys = &mut self.contents(bucket).keys;
        let Some(versions) = keys.get_mut(key) else {
            // Nearly every key has one version: room for one.
            keys.insert(key.into(), vec![entry]);
            return;
        };
        versions.retain(|other| other.version() != entry.version());
        let at = versions.partition_point(|other| other.sequence > entry.sequence);
        versions.insert(at, entry);
    }

    /// Takes up what another core has.
    pub fn absorb(&mut self, mut other: Self) {
        for (bucket, mut contents) in other.buckets {
            let mine = self.contents(bucket);
            mine.keys.append(&mut contents.keys);
            mine.uploads.append(&mut contents.uploads);
        }
        self.table.append(&mut other.table);
        self.config.append(&mut other.config);
        self.events.append(&mut other.events);
        self.renames.append(&mut other.renames);
    }

    /// Drops what belongs to buckets that `table` does not have: the engine does so when one is deleted.
    pub fn drop_buckets_beyond(&mut self, table: &BTreeMap<BucketId, (Bucket, Location)>) {
        self.buckets.retain(|id, _| table.contains_key(id));
    }

    /// Drops what `core` of `cores` owns.
    pub fn drop_keys_of(&mut self, core: usize, cores: usize) {
        for (bucket, contents) in &mut self.buckets {
            contents.keys.retain(|key, _| owner_of(*bucket, key, cores) != core);
            contents.uploads.retain(|(key, _), _| owner_of(*bucket, key, cores) != core);
        }
        self.events.retain(|_, event| core_of(event.route, cores) != core);
        self.renames.retain(|id, _| owner_of(id.0, &id.1, cores) != core);
    }

    /// Calls `visit` with each slice that something refers to, and with the name of what refers to it.
    pub fn for_each_slice(&self, mut visit: impl FnMut(&Slice, &dyn Fn() -> ObjectName)) {
        for (bucket, contents) in &self.buckets {
            for (key, entry) in contents.versions() {
                let name = || ObjectName::version(*bucket, key, entry.version());
                entry.payload.slices().iter().for_each(|slice| visit(slice, &name));
            }
            for ((key, id), upload) in &contents.uploads {
                let name = || ObjectName::upload(*bucket, key, *id);
                let slices = upload.parts.values().flat_map(|part| &part.slices);
                slices.for_each(|slice| visit(slice, &name));
            }
        }
    }

    /// Calls `visit` with each record that something still needs.
    pub fn for_each_item(&self, mut visit: impl FnMut(Item)) {
        let item = |location, what, object| Item { location, what, object };
        for (bucket, location) in self.table.values() {
            visit(item(*location, "bucket", Some(ObjectName::key(bucket.id, b""))));
        }
        self.config.values().for_each(|it| visit(item(it.location, "entry of the configuration", None)));
        self.events.values().for_each(|it| visit(item(it.location, "event", None)));
        for (rename, location) in self.renames.values() {
            visit(item(*location, "rename", Some(ObjectName::key(rename.bucket, &rename.to))));
        }
        for (bucket, contents) in &self.buckets {
            for (key, entry) in contents.versions() {
                let name = ObjectName::version(*bucket, key, entry.version());
                visit(item(entry.location, "version", Some(name)));
            }
            for ((key, id), upload) in &contents.uploads {
                let name = ObjectName::upload(*bucket, key, *id);
                visit(item(upload.location, "upload", Some(name.clone())));
                upload.parts.values().for_each(|it| visit(item(it.location, "part", Some(name.clone()))));
            }
        }
    }

    /// What each bucket of the table holds.
    pub fn usage(&self, bucket: BucketId) -> Usage {
        let mut usage = Usage::default();
        let Some(contents) = self.buckets.get(&bucket) else { return usage };
        for versions in contents.keys.values() {
            let is_object = versions.first().is_some_and(|newest| !newest.is_delete_marker());
            usage.objects += u64::from(is_object);
            usage.versions += versions.len() as u64 - u64::from(is_object);
            usage.bytes = versions.iter().fold(usage.bytes, |sum, entry| sum.saturating_add(entry.bytes));
        }
        usage
    }
}

impl Contents {
    /// All versions of all keys.
    pub fn versions(&self) -> impl Iterator<Item = (&[u8], &Entry)> {
        self.keys.iter().flat_map(|(key, versions)| versions.iter().map(move |entry| (&**key, entry)))
    }
}

fn entry_of(put: ObjectPut, location: Location) -> Entry {
    Entry {
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
    }
}

/// Name of what a record is about, as far as it is about an object.
pub fn object_of(record: &Record) -> Option<ObjectName> {
    match record {
        Record::ObjectPut(put) => Some(ObjectName::version(put.bucket, &put.key, put.version())),
        Record::DeleteMarkerPut(put) => Some(ObjectName::version(put.bucket, &put.key, put.version())),
        Record::VersionDeleted { bucket, key, version } => Some(ObjectName::version(*bucket, key, *version)),
        Record::UploadCreated { bucket, upload } => Some(ObjectName::upload(*bucket, &upload.key, upload.id)),
        Record::PartPut(put) => Some(ObjectName::upload(put.bucket, &put.key, put.upload)),
        Record::UploadAborted { bucket, key, id } => Some(ObjectName::upload(*bucket, key, *id)),
        Record::EventQueued(event) => Some(match event.version {
            Some(version) => ObjectName::version(event.bucket, &event.key, version),
            None => ObjectName::key(event.bucket, &event.key),
        }),
        Record::RenameCommitted(rename) => Some(ObjectName::key(rename.bucket, &rename.to)),
        Record::RenameDone { id: (bucket, to, _) } => Some(ObjectName::key(*bucket, to)),
        Record::BucketPut(bucket) => Some(ObjectName::key(bucket.id, b"")),
        Record::BucketDeleted { id } => Some(ObjectName::key(*id, b"")),
        Record::ConfigPut { .. } | Record::ConfigDeleted { .. } | Record::EventDone { .. } => None,
    }
}

/// The core that owns an entry of a checkpoint, among `cores`.
pub fn owner_of_entry(entry: &CheckpointEntry, cores: usize) -> usize {
    match entry {
        CheckpointEntry::Bucket { .. } | CheckpointEntry::Config { .. } => 0,
        CheckpointEntry::Event { entry, .. } => core_of(entry.route, cores),
        CheckpointEntry::Rename { rename, .. } => owner_of(rename.bucket, &rename.to, cores),
        CheckpointEntry::Object { bucket, key, .. } => owner_of(*bucket, key, cores),
        CheckpointEntry::Upload { bucket, entry } => owner_of(*bucket, &entry.upload.key, cores),
    }
}

/// The place of an entry in the order of a checkpoint; strictly rising.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    Bucket(BucketId),
    Config(String),
    Event(EventId),
    Rename(RenameId),
    Version(BucketId, u8, Box<[u8]>, std::cmp::Reverse<u64>, UploadId),
}

impl Order {
    pub fn of(entry: &CheckpointEntry) -> Self {
        match entry {
            CheckpointEntry::Bucket { bucket, .. } => Self::Bucket(bucket.id),
            CheckpointEntry::Config { name, .. } => Self::Config(name.clone()),
            CheckpointEntry::Event { id, .. } => Self::Event(*id),
            CheckpointEntry::Rename { rename, .. } => Self::Rename(rename.id()),
            CheckpointEntry::Object { bucket, key, entry } => {
                Self::Version(*bucket, 0, key.clone(), std::cmp::Reverse(entry.sequence), [0; 16])
            }
            CheckpointEntry::Upload { bucket, entry } => {
                let key = entry.upload.key.clone().into_boxed_slice();
                Self::Version(*bucket, 1, key, std::cmp::Reverse(0), entry.upload.id)
            }
        }
    }
}
