//! What the index knows of a part of the log that is damaged: which live records stand there, which of them
//! can still be read, and which can be written again from memory.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};

use crate::base::limits::{DAMAGED_OBJECTS_MAX, DAMAGES_PER_CORE_MAX, WALK_STEP_ENTRIES};
use crate::engine::Engine;
use crate::engine::damage::{Damage, DamageKind, DamagedObject, Flaw};
use crate::engine::format::record::{DeleteMarkerPut, PartPut, Record};
use crate::engine::format::{ExtentId, FileName, Location, SegmentId};
use crate::engine::index::{Entry, RecordPlace};
use crate::engine::message::OwnedRecord;
use crate::engine::types::{BucketId, EngineError};
use crate::engine::version::VersionId;
use crate::io::Host;

/// A live record in the part that is looked at.
enum Live {
    /// A version that is an object: its record must be read.
    Object { bucket: BucketId, key: Vec<u8>, version: VersionId, place: RecordPlace },
    /// An event: its body is only there.
    Event(Location),
    /// Everything else is in memory.
    Known(OwnedRecord),
}

impl<H: Host> Engine<H> {
    /// Looks at every live record of this core in a part of a log segment. Damaged ones are written again
    /// from memory if that has all of them, else they are returned; with `moves`, whole ones are written
    /// again, too.
    pub(in crate::engine) async fn salvage(
        &self,
        segment: SegmentId,
        range: Range<u32>,
        moves: bool,
    ) -> Result<Vec<Damage>, EngineError> {
        let mut damages = Vec::new();
        let mut lost = |flaw: Flaw, objects| {
            if damages.len() < DAMAGES_PER_CORE_MAX {
                damages.push(Damage { objects, ..flaw.in_file(DamageKind::Log, FileName::Log(segment)) });
            }
        };
        for live in self.live_in(segment, range).await {
            // As long as nobody else may remove the segment, nobody needs to be kept from it.
            let _pin = self.inner.readers.pin();
            match live {
                Live::Object { bucket, key, version, place } => {
                    let is_cached = self.inner.cache.borrow_mut().get(&place.location).cloned();
                    let found = self.read_record(place.location).await?;
                    let is_it = |record: &Record| {
                        matches!(record, Record::ObjectPut(put)
                            if put.bucket == bucket && put.key == key && put.sequence == place.sequence)
                    };
                    let flaw = match found {
                        Ok(record) if is_it(&record) => {
                            self.write_again(record, place.location, moves).await?;
                            continue;
                        }
                        Ok(_) => crate::engine::shard::flaw_at(place.location, "it is another record"),
                        Err(flaw) => flaw,
                    };
                    let is_still = |engine: &Self| {
                        let index = engine.inner.index.borrow();
                        let entry = index.version(bucket, &key, Some(version));
                        entry.is_some_and(|entry| entry.location == place.location)
                    };
                    match is_cached {
                        Some(put) => {
                            self.write_again(Record::ObjectPut((*put).clone()), place.location, true).await?
                        }
                        None if is_still(self) => {
                            let object = self.damaged_object(bucket, &key, version);
                            lost(flaw, vec![object]);
                        }
                        None => {}
                    }
                }
                Live::Event(location) => match self.read_record(location).await? {
                    Ok(record @ Record::EventQueued(_)) => self.write_again(record, location, moves).await?,
                    Ok(_) => {}
                    Err(flaw) => lost(flaw, Vec::new()),
                },
                Live::Known(owned) => {
                    let is_whole = !moves && self.read_record(owned.location).await?.is_ok();
                    if !is_whole {
                        self.relocate_one(owned).await?;
                    }
                }
            }
        }
        Ok(damages)
    }

    async fn write_again(&self, record: Record, location: Location, wanted: bool) -> Result<(), EngineError> {
        if wanted { self.relocate_one(OwnedRecord { record, location }).await } else { Ok(()) }
    }

    /// Live records of this core in a part of a segment. The index is walked in steps.
    async fn live_in(&self, segment: SegmentId, range: Range<u32>) -> Vec<Live> {
        let is_in = |location: &Location| {
            let end = location.offset.saturating_add(location.length);
            location.segment == segment && location.offset < range.end && end > range.start
        };
        let mut found = self.tables_in(&is_in);
        let mut after = None;
        while self.inner.index.borrow().live_bytes_in(segment) > 0 {
            let Some(bucket) = self.bucket_after(after) else { break };
            after = Some(bucket);
            self.uploads_in(bucket, &is_in, &mut found);
            let mut place = None;
            loop {
                let mut visit = |key: &[u8], entry: &Entry| {
                    if is_in(&entry.location) {
                        found.push(live_version(bucket, key, entry));
                    }
                };
                place = self.step_over(bucket, place.as_ref(), &mut visit);
                if place.is_none() {
                    break;
                }
                self.host().yield_now().await;
            }
        }
        found
    }

    /// Versions of this core whose payload lies in parts of extents, each with the place of its range among
    /// `ranges`; a bounded number for each.
    pub(in crate::engine) async fn payload_owners(
        &self,
        ranges: &[(ExtentId, Range<u32>)],
    ) -> Vec<(usize, DamagedObject)> {
        let mut places: BTreeMap<ExtentId, Vec<usize>> = BTreeMap::new();
        for (place, (extent, _)) in ranges.iter().enumerate() {
            places.entry(*extent).or_default().push(place);
        }
        let mut named = vec![0; ranges.len()];
        let mut found = Vec::new();
        let mut visit = |bucket: BucketId, key: &[u8], entry: &Entry| {
            for slice in entry.payload.slices() {
                for place in places.get(&slice.extent).into_iter().flatten() {
                    let range = &ranges[*place].1;
                    let overlaps = slice.start < range.end && slice.start + slice.length > range.start;
                    if overlaps && named[*place] < DAMAGED_OBJECTS_MAX {
                        named[*place] += 1;
                        found.push((*place, self.damaged_object(bucket, key, entry.version())));
                    }
                }
            }
        };
        let mut after = None;
        while let Some(bucket) = self.bucket_after(after) {
            after = Some(bucket);
            let mut place = None;
            loop {
                place = self.step_over(bucket, place.as_ref(), &mut |key, entry| visit(bucket, key, entry));
                if place.is_none() {
                    break;
                }
                self.host().yield_now().await;
            }
        }
        found
    }

    fn bucket_after(&self, after: Option<BucketId>) -> Option<BucketId> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.inner.index.borrow().buckets.range((from, Bound::Unbounded)).next().map(|(id, _)| *id)
    }

    /// One step over the versions of a bucket; where it ended, if there may be more.
    fn step_over(
        &self,
        bucket: BucketId,
        after: Option<&Place>,
        visit: &mut dyn FnMut(&[u8], &Entry),
    ) -> Option<Place> {
        let index = self.inner.index.borrow();
        let shard = index.buckets.get(&bucket)?;
        let walk = match after {
            None => shard.walk(Bound::Unbounded),
            Some((key, sequence)) => shard.walk_after(key, *sequence),
        };
        for (count, (key, entry)) in (1..).zip(walk) {
            visit(key, &entry);
            if count == WALK_STEP_ENTRIES {
                return Some((key.into(), entry.sequence));
            }
        }
        None
    }

    fn uploads_in(&self, bucket: BucketId, is_in: &impl Fn(&Location) -> bool, found: &mut Vec<Live>) {
        let index = self.inner.index.borrow();
        let Some(shard) = index.buckets.get(&bucket) else { return };
        for entry in shard.uploads.values() {
            if is_in(&entry.location) {
                // Its parts are written again behind it.
                let record = Record::UploadCreated { bucket, upload: entry.upload.clone() };
                found.push(Live::Known(OwnedRecord { record, location: entry.location }));
            }
            for stored in entry.parts.values().filter(|stored| is_in(&stored.location)) {
                let record = Record::PartPut(PartPut {
                    bucket,
                    key: entry.upload.key.clone(),
                    upload: entry.upload.id,
                    part: stored.part.clone(),
                    slices: stored.slices.clone(),
                });
                found.push(Live::Known(OwnedRecord { record, location: stored.location }));
            }
        }
    }

    fn tables_in(&self, is_in: &impl Fn(&Location) -> bool) -> Vec<Live> {
        let index = self.inner.index.borrow();
        let buckets = index.table.values().map(|(it, at)| (Record::BucketPut(it.clone()), *at));
        let config = index
            .config
            .iter()
            .map(|(name, (value, at))| (Record::ConfigPut { name: name.clone(), value: value.clone() }, *at));
        let renames = index.renames.values().map(|(it, at)| (Record::RenameCommitted(it.clone()), *at));
        let known = buckets.chain(config).chain(renames).filter(|(_, location)| is_in(location));
        let known = known.map(|(record, location)| Live::Known(OwnedRecord { record, location }));
        let events = index.events.after(None).map(|(_, entry)| entry.location).filter(is_in);
        known.chain(events.map(Live::Event)).collect()
    }
}

/// Key and sequence of a version.
type Place = (Box<[u8]>, u64);

fn live_version(bucket: BucketId, key: &[u8], entry: &Entry) -> Live {
    let key = key.to_vec();
    if !entry.is_delete_marker() {
        return Live::Object { bucket, key, version: entry.version(), place: entry.record() };
    }
    let (sequence, is_null) = (entry.sequence, entry.is_null());
    let record = Record::DeleteMarkerPut(DeleteMarkerPut { bucket, key, sequence, is_null });
    Live::Known(OwnedRecord { record, location: entry.location })
}
