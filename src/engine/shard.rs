//! What a core does as the owner of keys: checks, records, look-ups. Answers requests of all cores.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::damage::{Damage, DamageKind, DamagedObject, Flaw, is_unreadable};
use super::events::{EventChange, EventDraft, Told};
use super::format::record::{
    DeleteMarkerPut, ObjectPut, PartPut, RECORD_HEADER_BYTES, Record, RecordHeader, StoredPayload,
};
use super::format::{FileName, Location, SegmentId};
use super::index::{Entry, RecordPlace};
use super::locks::Lock;
use super::log::Urgency;
use super::message::{Answer, Looked, Request};
use super::quota::Promise;
use super::types::*;
use super::version::*;
use super::{Engine, RecordCache, hash_of};
use crate::base::limits::{BLOCK_BYTES, COMPLETED_VERSIONS_MAX};
use crate::io::{Disk, Host, TimestampMs};

type Answered = Result<Answer, EngineError>;

impl<H: Host> Engine<H> {
    /// Answers one request. Handlers of requests that other cores send never wait for another core, but for
    /// the table of buckets on core 0, which nothing waits on in turn: so cores can't wait in a circle.
    pub(super) async fn serve(&self, request: Request) -> Answered {
        match request {
            Request::Get { bucket, key, version } => self.serve_get(bucket, &key, version).await,
            Request::Put { put, condition, events, promised } => {
                let promise = self.redeem(put.bucket, promised);
                self.serve_put(*put, condition, events, promise).await
            }
            Request::Delete { bucket, keys } => self.serve_delete(bucket, keys).await,
            Request::List { bucket, query } => Ok(self.serve_list(bucket, &query)),
            Request::Update { bucket, key, version, update, condition, events } => {
                Box::pin(self.serve_update(bucket, &key, version, update, &condition, events)).await
            }
            Request::RenameBegin { .. }
            | Request::RenameCommit { .. }
            | Request::RenameEnd { .. }
            | Request::RenameDone { .. } => Box::pin(self.serve_rename(request)).await,
            Request::ListVersions { bucket, query } => {
                let index = self.inner.index.borrow();
                let page =
                    index.buckets.get(&bucket).map_or(EMPTY_VERSIONS, |shard| shard.list_versions(&query));
                Ok(Answer::VersionPage(page))
            }
            Request::Checkpoint => Box::pin(self.checkpoint_now()).await.map(|()| Answer::Done),
            Request::Health => Ok(Answer::Health(Box::new(self.own_health()))),
            Request::Usage { bucket } => Ok(Answer::Usage(self.inner.index.borrow().usage(bucket))),
            Request::UsageOfAll => {
                let index = self.inner.index.borrow();
                let all = index.buckets.values().map(|bucket| bucket.usage());
                Ok(Answer::Usage(all.fold(Usage::default(), Usage::plus)))
            }
            Request::UploadCreate { bucket, key, headers } => {
                self.serve_upload_create(bucket, key, headers).await
            }
            Request::UploadGet { bucket, key, id, part_after, count_max } => {
                self.serve_upload_get(bucket, &key, id, part_after, count_max)
            }
            Request::PartPut { put, promised } => {
                let promise = self.redeem(put.bucket, promised);
                self.serve_part_put(*put, promise).await
            }
            Request::UploadComplete { bucket, key, id, completion } => {
                Box::pin(self.serve_upload_complete(bucket, key, id, *completion)).await
            }
            Request::UploadAbort { bucket, key, id } => self.serve_upload_abort(bucket, key, id).await,
            Request::UploadList { bucket, query } => {
                let index = self.inner.index.borrow();
                let page =
                    index.buckets.get(&bucket).map_or(EMPTY_UPLOADS, |shard| shard.list_uploads(&query));
                Ok(Answer::UploadPage(page))
            }
            Request::Damaged { damage } => {
                self.note_damage(*damage);
                Ok(Answer::Done)
            }
            Request::ExtentsAcquire { extents } => {
                self.check_payload(extents.iter().map(|extent| extent.segment))?;
                Ok(Answer::Acquired(self.inner.extents.acquire(&extents)))
            }
            Request::ExtentsRelease { extents } => {
                self.inner.extents.release(&extents);
                Ok(Answer::Done)
            }
            Request::RecoverReferences { references } => {
                for (extent, payload_bytes) in references {
                    self.inner.extents.recover_reference(extent, payload_bytes);
                }
                Ok(Answer::Done)
            }
            Request::RecoverReferencesEnd => {
                self.inner.references_ended.set(self.inner.references_ended.get() + 1);
                self.inner.recovered_signal.raise();
                Ok(Answer::Done)
            }
            Request::Relocate { records, segment } => {
                self.serve_relocate(records, segment).await.map(|()| Answer::Done)
            }
            Request::PayloadOwners { ranges } => {
                Ok(Answer::PayloadOwners(Box::pin(self.payload_owners(&ranges)).await))
            }
            Request::LiveSegments => Ok(Answer::Segments(self.inner.index.borrow().live_segments())),
            Request::Salvage { segment, range, moves } => {
                Box::pin(self.salvage(segment, range, moves)).await.map(Answer::Damages)
            }
            Request::SegmentUsage { segment } => {
                let bytes = self.inner.index.borrow().live_bytes_in(segment);
                Ok(Answer::Usage(Usage { bytes, ..Usage::default() }))
            }
            Request::QuotaHeld { .. }
            | Request::QuotaRoom { .. }
            | Request::QuotaReturn { .. }
            | Request::QuotaRevoke { .. }
            | Request::QuotaGive { .. }
            | Request::QuotaPromise { .. } => Box::pin(self.serve_quota(request)).await,
            Request::BucketCreate { .. }
            | Request::BucketSet { .. }
            | Request::BucketDelete { .. }
            | Request::BucketApply { .. }
            | Request::BucketFreeze { .. }
            | Request::BucketThaw { .. }
            | Request::BucketForget { .. }
            | Request::BucketTable => Box::pin(self.serve_bucket(request)).await,
            Request::ConfigChange { .. } | Request::ConfigApply { .. } | Request::ConfigTable => {
                Box::pin(self.serve_config(request)).await
            }
        }
    }

    /// The answer to a request that asks for nothing but memory: no task need be made for it.
    pub(super) fn serve_now(&self, request: &Request) -> Option<Answered> {
        match request {
            Request::Get { bucket, key, version } => {
                let looked = match self.look_up(*bucket, key, *version) {
                    Ok(place) => Looked::Found(self.cached(place.location)?),
                    Err(nothing) => nothing,
                };
                Some(Ok(Answer::Object(looked)))
            }
            Request::List { bucket, query } => Some(Ok(self.serve_list(*bucket, query))),
            _ => None,
        }
    }

    async fn serve_get(&self, bucket: BucketId, key: &[u8], version: Option<VersionId>) -> Answered {
        let looked = match self.look_up(bucket, key, version) {
            Ok(place) => Looked::Found(self.object_record(bucket, key, place).await?),
            Err(nothing) => nothing,
        };
        Ok(Answer::Object(looked))
    }

    /// Where a version's record is, or why there is none to be had.
    fn look_up(
        &self,
        bucket: BucketId,
        key: &[u8],
        version: Option<VersionId>,
    ) -> Result<RecordPlace, Looked> {
        let index = self.inner.index.borrow();
        let entry = index.version(bucket, key, version).ok_or(Looked::Missing)?;
        if entry.is_delete_marker() {
            let newest = index.version(bucket, key, None).map(|newest| newest.sequence);
            return Err(Looked::DeleteMarker {
                version: entry.version(),
                modified: entry.modified(),
                is_latest: newest == Some(entry.sequence),
            });
        }
        Ok(entry.record())
    }

    fn serve_list(&self, bucket: BucketId, query: &ListQuery) -> Answer {
        let index = self.inner.index.borrow();
        Answer::Page(index.buckets.get(&bucket).map_or(EMPTY_PAGE, |shard| shard.list(query)))
    }

    fn cached(&self, location: Location) -> Option<Arc<ObjectPut>> {
        let put = self.inner.cache.borrow_mut().get(&location).cloned()?;
        self.inner.meters.cache_hits.increment();
        Some(put)
    }

    /// The record of a version, from the cache or the log. The caller's read pin keeps the segment.
    pub(super) async fn object_record(
        &self,
        bucket: BucketId,
        key: &[u8],
        place: RecordPlace,
    ) -> Result<Arc<ObjectPut>, EngineError> {
        let RecordPlace { location, sequence } = place;
        if let Some(put) = self.cached(location) {
            return Ok(put);
        }
        self.inner.meters.cache_misses.increment();
        let began = self.host().monotonic();
        let is_it = |put: &ObjectPut| put.bucket == bucket && put.sequence == sequence && put.key == key;
        let read = self.read_record(location).await;
        self.note_reading(began);
        let flaw = match read? {
            // A drive may have written a block to the wrong place: then a whole record stands here, of another.
            Ok(Record::ObjectPut(put)) if is_it(&put) => {
                let put = Arc::new(put);
                self.inner.cache.borrow_mut().insert(location, put.clone());
                return Ok(put);
            }
            Ok(_) => flaw_at(location, "it is another record"),
            Err(flaw) => flaw,
        };
        let entry = self.inner.index.borrow().buckets.get(&bucket).and_then(|shard| {
            shard
                .walk(Bound::Included(key))
                .find(|(it, entry)| *it == key && entry.sequence == sequence)
                .map(|(_, entry)| entry.version())
        });
        let objects = entry.map(|version| self.damaged_object(bucket, key, version));
        Err(self.record_damage(location, flaw, objects.into_iter().collect()))
    }

    /// Reads one record from the log and verifies it. The inner error is damage, which the caller tells of.
    pub(super) async fn read_record(&self, location: Location) -> Result<Result<Record, Flaw>, EngineError> {
        let name = FileName::Log(location.segment);
        let (disk, file) = match self.file(name).await {
            Err(EngineError::Corrupt(what)) => return Ok(Err(flaw_at(location, &what))),
            opened => opened?,
        };
        let start = location.offset as usize / BLOCK_BYTES * BLOCK_BYTES;
        let skip = location.offset as usize - start;
        let wanted = (skip + location.length as usize).next_multiple_of(BLOCK_BYTES);
        // Other cores wait for this: it must not wait for this core's clients.
        let buffer = self.host().pool().acquire_now(wanted);
        let (result, buffer) = disk.read(&file, start as u64, buffer, 0..wanted).await;
        let count = match result {
            Err(error) if is_unreadable(&error) => {
                return Ok(Err(flaw_at(location, &format!("it cannot be read ({error})"))));
            }
            result => result.map_err(|error| {
                EngineError::Failed(format!("reading {name} at offset {}: {error}", location.offset))
            })?,
        };
        let bytes = buffer.whole().get(skip..skip + location.length as usize).filter(|_| count == wanted);
        let Some(bytes) = bytes else {
            return Ok(Err(flaw_at(location, "it lies beyond the end of the file")));
        };
        Ok(decode_record(bytes).map_err(|what| flaw_at(location, what)))
    }

    /// Tells of a record that can't be read; what the reader is answered.
    pub(super) fn record_damage(
        &self,
        location: Location,
        flaw: Flaw,
        objects: Vec<DamagedObject>,
    ) -> EngineError {
        let damage = flaw.in_file(DamageKind::Log, FileName::Log(location.segment));
        let damage = Damage { objects, ..damage };
        let error = EngineError::Corrupt(damage.to_string());
        self.tell_damage(location.segment, damage);
        error
    }

    /// Waits for the turn of a change of a key; says what changes of the bucket do with the version that was
    /// there.
    pub(super) async fn begin_change(
        &self,
        bucket: BucketId,
        key: &[u8],
    ) -> Result<(Lock, Versioning), EngineError> {
        self.check_writable(bucket)?;
        let lock = self.inner.locks.acquire(hash_of(bucket, key)).await;
        let versioning = self.check_writable(bucket)?;
        let is_renaming = !self.inner.renaming.borrow().is_empty()
            && self.inner.renaming.borrow().contains(&(bucket, key.to_vec()));
        if is_renaming { Err(EngineError::Busy) } else { Ok((lock, versioning)) }
    }

    async fn serve_put(
        &self,
        mut put: ObjectPut,
        condition: Condition,
        events: Vec<EventDraft>,
        promise: Promise<'_>,
    ) -> Answered {
        let (_lock, versioning) = self.begin_change(put.bucket, &put.key).await?;
        self.place_version(&mut put, &condition, versioning).await?;
        let (bucket, growth) = (put.bucket, self.growth_of_put(&put));
        self.admit(bucket, growth, promise)?;
        let committed = self.commit_put(put, versioning, events).await;
        if let Err(error) = &committed {
            self.withdraw(bucket, growth, error);
        }
        committed
    }

    /// Gives an object its place as the newest version of its key, once `condition` holds and nothing locks
    /// what it replaces. The caller has the key's lock.
    pub(super) async fn place_version(
        &self,
        put: &mut ObjectPut,
        condition: &Condition,
        versioning: Versioning,
    ) -> Result<(), EngineError> {
        put.is_null = versioning != Versioning::Enabled;
        let replaced = {
            let index = self.inner.index.borrow();
            let shard = index.buckets.get(&put.bucket);
            let current = shard.and_then(|shard| shard.objects.newest(&put.key));
            Entry::check(current.as_ref(), condition)?;
            let kept = if current.is_none() { shard.and_then(|it| it.newest_kept(&put.key)) } else { None };
            put.sequence = self.sequence_after(current.as_ref().or(kept.as_ref()));
            match current.filter(|entry| entry.is_null()) {
                _ if !put.is_null => None,
                Some(entry) => locked(&entry),
                None => {
                    let replaced = shard.and_then(|it| it.version_kept(&put.key, VersionId::Null));
                    replaced.as_ref().and_then(locked)
                }
            }
        };
        match replaced {
            Some(place) => self.check_lock(put.bucket, &put.key, place, false).await,
            None => Ok(()),
        }
    }

    /// The sequence of a version that is made now, after the newest of its key.
    fn sequence_after(&self, newest: Option<&Entry>) -> u64 {
        let counter = self.inner.sequence_counter.get();
        self.inner.sequence_counter.set(counter.wrapping_add(1));
        let now = self.host().now() << SEQUENCE_COUNTER_BITS | u64::from(counter);
        newest.map_or(now, |newest| now.max(newest.sequence + 1))
    }

    async fn commit_put(&self, put: ObjectPut, versioning: Versioning, events: Vec<EventDraft>) -> Answered {
        let etag = put.attributes.etag;
        let committed = Committed::new(etag, put.sequence, put.version(), versioning);
        let (bucket, key) = (put.bucket, if events.is_empty() { Vec::new() } else { put.key.clone() });
        let told = Told { bucket, key: &key, change: EventChange::Created, version: committed.version };
        self.append_telling(Record::ObjectPut(put), told, events, Urgency::Normal).await?;
        Ok(Answer::Committed(committed))
    }

    /// Refuses to remove the locked version whose record stands at `place`, as long as its lock lasts.
    async fn check_lock(
        &self,
        bucket: BucketId,
        key: &[u8],
        place: RecordPlace,
        bypass_governance: bool,
    ) -> Result<(), EngineError> {
        let _pin = self.inner.readers.pin();
        let lock = self.object_record(bucket, key, place).await?.attributes.lock;
        if lock.forbids_removal(self.host().now(), bypass_governance) {
            return Err(EngineError::Locked);
        }
        Ok(())
    }

    /// Writes the record of a version again with another of its attributes. Sequence and payload stay, so
    /// that the index gives nothing back.
    async fn serve_update(
        &self,
        bucket: BucketId,
        key: &[u8],
        version: Option<VersionId>,
        update: Update,
        condition: &Condition,
        events: Vec<EventDraft>,
    ) -> Answered {
        let (_lock, versioning) = self.begin_change(bucket, key).await?;
        let _pin = self.inner.readers.pin();
        let place = {
            let index = self.inner.index.borrow();
            let entry = index.version(bucket, key, version).ok_or(EngineError::NoSuchObject)?;
            if entry.is_delete_marker() {
                return Err(EngineError::DeleteMarker);
            }
            Entry::check(Some(&entry), condition)?;
            entry.record()
        };
        let stored = self.object_record(bucket, key, place).await?;
        let attributes = updated(&stored.attributes, update, self.host().now())?;
        let version = (versioning != Versioning::Unversioned).then_some(stored.version());
        // Whoever is to be told of updates is told of one that changes nothing, too.
        if attributes != stored.attributes || !events.is_empty() {
            let put = ObjectPut { attributes, ..(*stored).clone() };
            let told = Told { bucket, key, change: EventChange::Updated, version };
            self.append_telling(Record::ObjectPut(put), told, events, Urgency::Normal).await?;
        }
        Ok(Answer::Updated(Updated { version }))
    }

    /// Carries out deletions; their records share batches of the log.
    async fn serve_delete(&self, bucket: BucketId, keys: Vec<(Vec<u8>, Deletion)>) -> Answered {
        if let [(key, deletion)] = keys.as_slice() {
            return Ok(Answer::Deleted(vec![self.delete_one(bucket, key, deletion).await]));
        }
        let mut under_way = Vec::with_capacity(keys.len());
        for (key, deletion) in keys {
            let (done, result) = crate::base::local::oneshot();
            let engine = self.clone();
            self.host().spawn(async move { done.send(engine.delete_one(bucket, &key, &deletion).await) });
            under_way.push(result);
        }
        let mut results = Vec::with_capacity(under_way.len());
        for result in under_way {
            results.push(result.await.unwrap_or(Err(EngineError::Stopping)));
        }
        Ok(Answer::Deleted(results))
    }

    async fn delete_one(
        &self,
        bucket: BucketId,
        key: &[u8],
        deletion: &Deletion,
    ) -> Result<Deleted, EngineError> {
        let (_lock, versioning) = self.begin_change(bucket, key).await?;
        match (deletion.version, versioning) {
            (Some(version), versioning) => {
                let is_versioned = versioning != Versioning::Unversioned;
                self.delete_version(bucket, key, version, deletion, is_versioned).await
            }
            (None, Versioning::Unversioned) => {
                let deleted = self.delete_version(bucket, key, VersionId::Null, deletion, false).await?;
                Ok(Deleted { version: None, ..deleted })
            }
            (None, _) => self.hide_current(bucket, key, deletion, versioning).await,
        }
    }

    /// Removes a version for good. The caller has the key's lock.
    async fn delete_version(
        &self,
        bucket: BucketId,
        key: &[u8],
        version: VersionId,
        deletion: &Deletion,
        is_versioned: bool,
    ) -> Result<Deleted, EngineError> {
        let (is_delete_marker, locked) = {
            let index = self.inner.index.borrow();
            let entry = index.version(bucket, key, Some(version));
            Entry::check(entry.as_ref(), &deletion.condition)?;
            let Some(entry) = entry else {
                return Ok(Deleted { existed: false, version: Some(version), is_delete_marker: false });
            };
            let newest = index.version(bucket, key, None);
            if deletion.only_replaced && newest.is_some_and(|newest| newest.sequence == entry.sequence) {
                return Err(EngineError::ConditionFailed);
            }
            (entry.is_delete_marker(), locked(&entry))
        };
        if let Some(place) = locked {
            self.check_lock(bucket, key, place, deletion.bypass_governance).await?;
        }
        let record = Record::VersionDeleted { bucket, key: key.to_vec(), version };
        let told =
            Told { bucket, key, change: EventChange::Removed, version: is_versioned.then_some(version) };
        self.append_telling(record, told, deletion.events.clone(), Urgency::Reclaiming).await?;
        Ok(Deleted { existed: true, version: Some(version), is_delete_marker })
    }

    /// Makes a delete marker the newest version. While versioning is suspended it replaces the null version.
    /// The caller has the key's lock.
    async fn hide_current(
        &self,
        bucket: BucketId,
        key: &[u8],
        deletion: &Deletion,
        versioning: Versioning,
    ) -> Result<Deleted, EngineError> {
        let is_null = versioning == Versioning::Suspended;
        let (existed, sequence, locked) = {
            let index = self.inner.index.borrow();
            let current = index.object(bucket, key);
            let newest = index.version(bucket, key, None);
            Entry::check_newest(newest.as_ref(), &deletion.condition)?;
            let replaced = if is_null { index.version(bucket, key, Some(VersionId::Null)) } else { None };
            let sequence = self.sequence_after(newest.as_ref());
            (current.is_some(), sequence, replaced.as_ref().and_then(locked))
        };
        if let Some(place) = locked {
            self.check_lock(bucket, key, place, deletion.bypass_governance).await?;
        }
        let marker = DeleteMarkerPut { bucket, key: key.to_vec(), sequence, is_null };
        let version = Some(marker.version());
        let told = Told { bucket, key, change: EventChange::MarkerCreated, version };
        let record = Record::DeleteMarkerPut(marker);
        self.append_telling(record, told, deletion.events.clone(), Urgency::Hiding).await?;
        Ok(Deleted { existed, version, is_delete_marker: true })
    }

    async fn serve_upload_create(&self, bucket: BucketId, key: Vec<u8>, headers: Headers) -> Answered {
        self.check_writable(bucket)?;
        let mut id = UploadId::default();
        self.host().random(&mut id);
        let upload = Upload { key, id, initiated: self.host().now(), headers };
        let record = Record::UploadCreated { bucket, upload: upload.clone() };
        self.inner.log.append(record, Urgency::Normal).await?;
        Ok(Answer::Upload(upload, Vec::new()))
    }

    fn serve_upload_get(
        &self,
        bucket: BucketId,
        key: &[u8],
        id: UploadId,
        part_after: u16,
        count_max: usize,
    ) -> Answered {
        let index = self.inner.index.borrow();
        let entry = index.upload(bucket, key, id).ok_or(EngineError::NoSuchUpload)?;
        let parts = match part_after.checked_add(1) {
            Some(first) => {
                entry.parts.range(first..).take(count_max).map(|(_, it)| it.part.clone()).collect()
            }
            None => Vec::new(),
        };
        Ok(Answer::Upload(entry.upload.clone(), parts))
    }

    async fn serve_part_put(&self, mut put: PartPut, promise: Promise<'_>) -> Answered {
        self.check_writable(put.bucket)?;
        let _lock = self.inner.locks.acquire(lock_of_upload(put.upload)).await;
        self.check_writable(put.bucket)?;
        if self.inner.index.borrow().upload(put.bucket, &put.key, put.upload).is_none() {
            return Err(EngineError::NoSuchUpload);
        }
        put.part.modified = self.host().now();
        let part = put.part.clone();
        let (bucket, growth) = (put.bucket, self.growth_of_part(&put));
        self.admit(bucket, growth, promise)?;
        if let Err(error) = self.inner.log.append(Record::PartPut(put), Urgency::Normal).await {
            self.withdraw(bucket, growth, &error);
            return Err(error);
        }
        Ok(Answer::Part(part))
    }

    async fn serve_upload_complete(
        &self,
        bucket: BucketId,
        key: Vec<u8>,
        id: UploadId,
        completion: Completion,
    ) -> Answered {
        let (_key_lock, versioning) = self.begin_change(bucket, &key).await?;
        let _upload_lock = self.inner.locks.acquire(lock_of_upload(id)).await;
        if self.inner.index.borrow().upload(bucket, &key, id).is_none() {
            return self.completed_before(bucket, &key, id, versioning).await;
        }
        let (condition, events) = (completion.condition.clone(), completion.events.clone());
        Entry::check(self.inner.index.borrow().object(bucket, &key).as_ref(), &condition)?;
        let mut put = assemble(&self.inner.index.borrow(), bucket, &key, id, completion)?;
        if let StoredPayload::Slices(slices) = &put.payload {
            // What was acknowledged with a part is gone: it must be sent again.
            let parts = self.check_payload(slices.iter().map(|slice| slice.extent.segment));
            parts.map_err(|_| EngineError::InvalidPart)?;
        }
        self.place_version(&mut put, &condition, versioning).await?;
        // It needs none of the bucket's quota: its parts were counted.
        self.commit_put(put, versioning, events).await
    }

    /// Refuses payload that is known to be lost: a copy of it, or an upload that is completed with it, would be
    /// acknowledged and could not be read.
    fn check_payload(&self, mut segments: impl Iterator<Item = SegmentId>) -> Result<(), EngineError> {
        let missing = self.inner.payload_missing.borrow();
        match segments.find(|segment| missing.contains(segment)) {
            Some(segment) => Err(EngineError::Corrupt(format!("{} is missing", FileName::Data(segment)))),
            None => Ok(()),
        }
    }

    /// The answer to a completion whose upload is gone: success if one of the newest versions came from it.
    async fn completed_before(
        &self,
        bucket: BucketId,
        key: &[u8],
        id: UploadId,
        versioning: Versioning,
    ) -> Answered {
        let _pin = self.inner.readers.pin();
        let places = match self.inner.index.borrow().buckets.get(&bucket) {
            Some(shard) => shard.newest_records(key, COMPLETED_VERSIONS_MAX),
            None => Vec::new(),
        };
        for place in places {
            let put = self.object_record(bucket, key, place).await?;
            if put.upload == Some(id) {
                let committed = Committed::new(put.attributes.etag, put.sequence, put.version(), versioning);
                return Ok(Answer::Committed(committed));
            }
        }
        Err(EngineError::NoSuchUpload)
    }

    async fn serve_upload_abort(&self, bucket: BucketId, key: Vec<u8>, id: UploadId) -> Answered {
        self.check_writable(bucket)?;
        let _lock = self.inner.locks.acquire(lock_of_upload(id)).await;
        if self.inner.index.borrow().upload(bucket, &key, id).is_none() {
            return Err(EngineError::NoSuchUpload);
        }
        self.inner.log.append(Record::UploadAborted { bucket, key, id }, Urgency::Reclaiming).await?;
        Ok(Answer::Done)
    }

    /// Refuses changes of buckets that are not (or no longer) there, and any while stopping. Says what changes
    /// of the bucket do with the version that was there.
    pub(super) fn check_writable(&self, bucket: BucketId) -> Result<Versioning, EngineError> {
        self.check_running()?;
        self.inner.buckets.borrow().check_writable(bucket)
    }
}

const EMPTY_PAGE: super::index::listing::ShardPage<ListedObject> =
    super::index::listing::ShardPage { rows: Vec::new(), more: false };
const EMPTY_VERSIONS: super::index::listing::ShardPage<ListedVersion> =
    super::index::listing::ShardPage { rows: Vec::new(), more: false };
const EMPTY_UPLOADS: super::index::listing::ShardPage<Upload> =
    super::index::listing::ShardPage { rows: Vec::new(), more: false };

/// Small objects that were just written are likely to be read: they go to the cache as they are.
pub(super) fn cache_written(cache: &mut RecordCache, record: &Record, location: Location) {
    if let Record::ObjectPut(put) = record
        && matches!(put.payload, StoredPayload::Inline(_))
    {
        cache.insert(location, Arc::new(put.clone()));
    }
}

/// Upload ids are random: their first bytes make the name of their lock.
pub(super) fn lock_of_upload(id: UploadId) -> u64 {
    let (first, _) = id.split_first_chunk().expect("ids have sixteen bytes");
    u64::from_le_bytes(*first)
}

/// Where the record of a version stands that may be locked.
fn locked(entry: &Entry) -> Option<RecordPlace> {
    entry.is_locked().then(|| entry.record())
}

/// The attributes after an update at `now`.
fn updated(current: &Attributes, update: Update, now: TimestampMs) -> Result<Attributes, EngineError> {
    let mut next = current.clone();
    match update {
        Update::Headers { set, remove } => {
            let is_set = |name: &String| set.iter().any(|(other, _)| other == name);
            next.headers.retain(|(name, _)| !remove.contains(name) && !is_set(name));
            next.headers.extend(set);
        }
        Update::Retention { retention, bypass_governance } => {
            if !current.lock.allows_retention(retention, now, bypass_governance) {
                return Err(EngineError::Locked);
            }
            next.lock.retention = retention;
        }
        Update::LegalHold(legal_hold) => next.lock.legal_hold = legal_hold,
    }
    Ok(next)
}

/// The object that the named parts make.
fn assemble(
    index: &super::Index,
    bucket: BucketId,
    key: &[u8],
    id: UploadId,
    completion: Completion,
) -> Result<ObjectPut, EngineError> {
    let entry = index.upload(bucket, key, id).ok_or(EngineError::NoSuchUpload)?;
    let mut parts = Vec::with_capacity(completion.parts.len());
    let mut slices = Vec::new();
    let mut bytes = 0;
    for (number, etag) in completion.parts {
        let ascending = parts.last().is_none_or(|last: &ObjectPart| last.number < number);
        let stored = entry.parts.get(&number).filter(|stored| ascending && stored.part.etag == etag);
        let stored = stored.ok_or(EngineError::InvalidPart)?;
        bytes += stored.part.bytes;
        slices.extend_from_slice(&stored.slices);
        parts.push(ObjectPart {
            number,
            bytes: stored.part.bytes,
            checksum: stored.part.checksum.clone(),
            note: stored.part.note.clone(),
        });
    }
    Ok(ObjectPut {
        bucket,
        key: key.to_vec(),
        sequence: 0,
        is_null: true,
        bytes,
        attributes: completion.attributes,
        parts,
        upload: Some(id),
        payload: StoredPayload::Slices(slices),
    })
}

/// Reads a record from its bytes in the log; the error says what is wrong with it.
fn decode_record(bytes: &[u8]) -> Result<Record, &'static str> {
    let header = RecordHeader::decode(bytes).map_err(|_| "its header is damaged")?;
    let (meta, payload) = bytes[RECORD_HEADER_BYTES..]
        .split_at_checked(header.meta_bytes as usize)
        .ok_or("its length is wrong")?;
    if !header.check_meta(meta) || !header.check_payload(payload) {
        return Err("it does not match its checksum");
    }
    Record::decode(header.kind, meta, Bytes::copy_from_slice(payload)).map_err(|_| "it can't be understood")
}

/// Damage of a whole record.
pub(super) fn flaw_at(location: Location, what: &str) -> Flaw {
    Flaw { offset: location.offset.into(), bytes: location.length.into(), what: format!("a record: {what}") }
}
