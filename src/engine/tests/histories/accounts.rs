//! Space and references, counted anew from the indexes and the files, against what the engine counted.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::base::limits::BLOCK_BYTES;
use crate::engine::format::record::{RECORD_HEADER_BYTES, Record, RecordHeader};
use crate::engine::format::segment::{SegmentHeader, SegmentKind};
use crate::engine::format::{Location, SegmentId};
use crate::io::sim::SimDisk;

/// What a location of the index must lead to.
#[derive(Debug, PartialEq, Eq)]
enum Identity {
    Version(BucketId, Vec<u8>, VersionId, u64),
    Upload(BucketId, Vec<u8>, UploadId),
    Part(BucketId, Vec<u8>, UploadId, u16),
    Bucket(BucketId),
    Config(String),
    Event(EventId),
    Rename(Vec<u8>, u64),
}

/// A count of everything on a node that has served on drives that did not fail since its start.
pub struct Audit<'a> {
    pub simulation: &'a Simulation,
    pub drives: usize,
    /// Drives failed to read, so that segments may have been set aside.
    pub had_failures: bool,
    /// A drive was full since the start: what a rename owes may have found no room, and waits for the next start.
    pub was_full: bool,
}

/// Counts everything anew on a node at rest of whose drives none failed.
pub fn audit(simulation: &Simulation, drives: usize, node: &Node) {
    Audit { simulation, drives, had_failures: false, was_full: false }.audit(node);
}

impl Audit<'_> {
    /// Once background work has come to rest.
    pub fn audit(&self, node: &Node) {
        let logs = self.audit_logs(node);
        self.audit_extents(node);
        self.audit_names(&logs);
        for engine in &node.engines {
            let inner = &engine.inner;
            let damages = engine.damages();
            assert_eq!(damages.count, 0, "nothing is damaged: {:?}", damages.list);
            let owed = inner.index.borrow().renames.len() + inner.renaming.borrow().len();
            assert!(owed == 0 || self.was_full, "the source of a rename is owed");
            assert!(inner.releases.borrow().iter().all(Vec::is_empty), "references were not given back");
        }
    }

    fn disks(&self) -> impl Iterator<Item = SimDisk> {
        (0..self.drives).map(|drive| self.simulation.disk(drive))
    }

    /// Files of a kind by segment, with their drive.
    fn files(&self, is_log: bool) -> BTreeMap<SegmentId, (SimDisk, crate::io::FileEntry)> {
        let mut found = BTreeMap::new();
        for disk in self.disks() {
            for file in disk.list().expect("powered") {
                let id = match FileName::parse(&file.name) {
                    Some(FileName::Log(id)) if is_log => id,
                    Some(FileName::Data(id)) if !is_log => id,
                    _ => continue,
                };
                let old = found.insert(id, (disk.clone(), file));
                assert!(old.is_none(), "segment {id} is on two drives");
            }
        }
        found
    }

    /// Every record that an index refers to is in the log, whole, and what the index takes it for; and the
    /// live bytes of each segment are theirs. Returns the segments that are needed.
    fn audit_logs(&self, node: &Node) -> BTreeSet<SegmentId> {
        let files = self.files(true);
        let mut needed = BTreeSet::new();
        let mut known = BTreeSet::new();
        for engine in &node.engines {
            let mut live: BTreeMap<SegmentId, u64> = BTreeMap::new();
            for (location, identity) in locations(engine) {
                let record = read_at(&files, location);
                assert!(is_of(&record, &identity), "{location:?} should be {identity:?} and is {record:?}");
                assert_eq!(record.owner(node.engines.len()), engine.me(), "{identity:?} has another owner");
                *live.entry(location.segment).or_default() += u64::from(location.length);
            }
            let index = engine.inner.index.borrow();
            assert_eq!(index.live_log_bytes(), live.values().sum::<u64>(), "live bytes of the log");
            for (segment, bytes) in live {
                assert_eq!(index.live_bytes_in(segment), bytes, "live bytes of log segment {segment}");
                needed.insert(segment);
            }
            let position = engine.inner.log.position();
            for (id, segment) in engine.inner.log.sealed_segments() {
                let file = files.get(&id).unwrap_or_else(|| panic!("log segment {id} has no file"));
                assert!(segment.bytes_used <= file.1.bytes, "{id} uses {segment:?} of {:?}", file.1);
                known.insert(id);
            }
            known.insert(position.segment);
        }
        let lost: Vec<_> = needed.difference(&known).collect();
        assert!(lost.is_empty(), "nobody takes care of log segments {lost:?}");
        // Beside those, each core has one prepared at most.
        let own = files.keys().filter(|id| !known.contains(id)).count();
        assert!(own <= node.engines.len(), "log segments that nobody knows: {:?} of {known:?}", files.keys());
        needed
    }

    /// Extents lie within their files, apart from each other, on allocated blocks; they and their references
    /// are exactly those that the indexes hold; and beyond them little is allocated.
    fn audit_extents(&self, node: &Node) {
        let mut held: BTreeMap<ExtentId, (u32, u32)> = BTreeMap::new();
        for engine in &node.engines {
            engine.inner.index.borrow().for_each_slice(|slice| {
                assert!(slice.start + slice.length <= slice.extent_bytes, "{slice:?}");
                let (bytes, references) = held.entry(slice.extent).or_insert((slice.extent_bytes, 0));
                assert_eq!(*bytes, slice.extent_bytes, "two lengths of {:?}", slice.extent);
                *references += 1;
            });
        }
        let references: BTreeMap<_, _> = held.iter().map(|(extent, (_, count))| (*extent, *count)).collect();
        let counted: BTreeMap<ExtentId, u32> =
            node.engines.iter().flat_map(|engine| engine.inner.extents.references()).collect();
        assert_eq!(counted, references, "references to extents");
        let files = self.files(false);
        let mut live: BTreeMap<SegmentId, Vec<std::ops::Range<u64>>> = BTreeMap::new();
        for (extent, (bytes, _)) in &held {
            let blocks = u64::from(bytes.div_ceil(BLOCK_BYTES as u32) + 1);
            let start = u64::from(extent.block);
            live.entry(extent.segment).or_default().push(start..start + blocks);
        }
        let open: BTreeSet<_> =
            node.engines.iter().filter_map(|it| it.inner.extents.open_segment()).collect();
        for (segment, ranges) in &live {
            let (disk, file) = files.get(segment).unwrap_or_else(|| panic!("data segment {segment} is gone"));
            let allocated = disk.allocated(&file.name).expect("listed");
            let mut last = 1;
            for range in ranges {
                assert!(range.start >= last, "extents of segment {segment} overlap at block {}", range.start);
                last = range.end;
                let bytes = range.start * BLOCK_BYTES as u64..range.end * BLOCK_BYTES as u64;
                let is_whole = allocated.iter().any(|it| it.start <= bytes.start && bytes.end <= it.end);
                assert!(
                    is_whole && bytes.end <= file.bytes,
                    "a hole in a live extent: {range:?} of {segment}"
                );
            }
            let blocks: u64 = ranges.iter().map(|range| range.end - range.start).sum();
            let owner = &node.engines[*segment as usize % node.engines.len()];
            assert_eq!(owner.inner.extents.live_blocks_of(*segment), blocks, "live blocks of {segment}");
            let bytes_max = (blocks + 1 + 16) * BLOCK_BYTES as u64;
            let is_tight = open.contains(segment) || file.bytes_allocated <= bytes_max;
            assert!(is_tight, "{file:?} should take no more than {bytes_max}: {allocated:?} for {ranges:?}");
        }
        let stray: Vec<_> = files.keys().filter(|id| !live.contains_key(id) && !open.contains(id)).collect();
        assert!(stray.is_empty(), "data segments that nothing refers to: {stray:?}");
    }

    /// Nothing lies about but segments, checkpoints and a superblock.
    fn audit_names(&self, needed: &BTreeSet<SegmentId>) {
        for disk in self.disks() {
            for file in disk.list().expect("powered") {
                match FileName::parse(&file.name) {
                    Some(FileName::Log(id)) if needed.contains(&id) => {
                        let header = bytes_of(&disk, &file.name, 0, BLOCK_BYTES);
                        let header = SegmentHeader::decode(&header).expect("a segment that is needed");
                        assert_eq!((header.kind, header.id), (SegmentKind::Log, id));
                    }
                    Some(_) => {}
                    None if self.had_failures && file.name.starts_with("damaged-") => {}
                    None => assert!(file.name.starts_with(SUPERBLOCK_NAME), "{file:?} is of nobody"),
                }
            }
        }
    }
}

/// Every place of the log that a core's index refers to.
fn locations(engine: &SimEngine) -> Vec<(Location, Identity)> {
    let index = engine.inner.index.borrow();
    let mut found = Vec::new();
    for (bucket, shard) in &index.buckets {
        for (key, entry) in shard.walk(std::ops::Bound::Unbounded) {
            let identity = Identity::Version(*bucket, key.to_vec(), entry.version(), entry.sequence);
            found.push((entry.location, identity));
        }
        for ((key, id), entry) in &shard.uploads {
            found.push((entry.location, Identity::Upload(*bucket, key.clone(), *id)));
            for (number, part) in &entry.parts {
                found.push((part.location, Identity::Part(*bucket, key.clone(), *id, *number)));
            }
        }
    }
    found.extend(index.table.iter().map(|(id, (_, location))| (*location, Identity::Bucket(*id))));
    let config = index.config.iter().map(|(name, (_, location))| (*location, Identity::Config(name.clone())));
    found.extend(config);
    found.extend(index.events.after(None).map(|(id, entry)| (entry.location, Identity::Event(id))));
    let renames = index.renames.values();
    found.extend(renames.map(|(it, location)| (*location, Identity::Rename(it.to.clone(), it.sequence))));
    found
}

fn is_of(record: &Record, identity: &Identity) -> bool {
    let found = match record {
        Record::ObjectPut(put) => Identity::Version(put.bucket, put.key.clone(), put.version(), put.sequence),
        Record::DeleteMarkerPut(put) => {
            Identity::Version(put.bucket, put.key.clone(), put.version(), put.sequence)
        }
        Record::UploadCreated { bucket, upload } => Identity::Upload(*bucket, upload.key.clone(), upload.id),
        Record::PartPut(put) => Identity::Part(put.bucket, put.key.clone(), put.upload, put.part.number),
        Record::BucketPut(bucket) => Identity::Bucket(bucket.id),
        Record::ConfigPut { name, .. } => Identity::Config(name.clone()),
        Record::EventQueued(event) => Identity::Event(event.id),
        Record::RenameCommitted(rename) => Identity::Rename(rename.to.clone(), rename.sequence),
        _ => return false,
    };
    found == *identity
}

fn read_at(files: &BTreeMap<SegmentId, (SimDisk, crate::io::FileEntry)>, at: Location) -> Record {
    let (disk, file) = files.get(&at.segment).unwrap_or_else(|| panic!("{at:?} is in no file"));
    let bytes = bytes_of(disk, &file.name, at.offset.into(), at.length as usize);
    let header = RecordHeader::decode(&bytes).unwrap_or_else(|_| panic!("{at:?} is no record"));
    assert_eq!(header.record_bytes(), bytes.len(), "{at:?} is of another length");
    let (meta, payload) = bytes[RECORD_HEADER_BYTES..].split_at(header.meta_bytes as usize);
    assert!(header.check_meta(meta) && header.check_payload(payload), "{at:?} is damaged");
    let payload = Bytes::copy_from_slice(payload);
    Record::decode(header.kind, meta, payload).unwrap_or_else(|_| panic!("{at:?} cannot be understood"))
}

fn bytes_of(disk: &SimDisk, name: &str, offset: u64, length: usize) -> Vec<u8> {
    disk.peek(name, offset, length).unwrap_or_else(|error| panic!("{name}: {error}"))
}
