//! What a core does as the owner of keys: checks, records, look-ups. Answers requests of all cores.

use std::sync::Arc;

use bytes::Bytes;

use super::format::record::{ObjectPut, PartPut, RECORD_HEADER_BYTES, Record, RecordHeader, StoredPayload};
use super::format::{FileName, Location};
use super::log::Urgency;
use super::message::{Answer, Request};
use super::types::*;
use super::{Engine, RecordCache, hash_of};
use crate::base::limits::BLOCK_BYTES;
use crate::io::{Disk, Host};

type Answered = Result<Answer, EngineError>;

impl<H: Host> Engine<H> {
    /// Answers one request. Handlers of requests that other cores send never wait for another core, but for
    /// the table of buckets on core 0, which nothing waits on in turn: so cores can't wait in a circle.
    pub(super) async fn serve(&self, request: Request) -> Answered {
        match request {
            Request::Get { bucket, key } => self.serve_get(bucket, &key).await,
            Request::Put { put, condition } => self.serve_put(*put, condition).await,
            Request::Delete { bucket, keys } => self.serve_delete(bucket, keys).await,
            Request::List { bucket, query } => {
                let index = self.inner.index.borrow();
                Ok(Answer::Page(index.buckets.get(&bucket).map_or(EMPTY_PAGE, |shard| shard.list(&query))))
            }
            Request::Usage { bucket } => Ok(Answer::Usage(self.inner.index.borrow().usage(bucket))),
            Request::UploadCreate { bucket, key, headers } => {
                self.serve_upload_create(bucket, key, headers).await
            }
            Request::UploadGet { bucket, key, id, part_after, count_max } => {
                self.serve_upload_get(bucket, &key, id, part_after, count_max)
            }
            Request::PartPut { put } => self.serve_part_put(*put).await,
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
            Request::ExtentsAcquire { extents } => Ok(Answer::Acquired(self.inner.extents.acquire(&extents))),
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
            Request::SegmentUsage { segment } => {
                let bytes = self.inner.index.borrow().live_bytes_in(segment);
                Ok(Answer::Usage(Usage { objects: 0, bytes }))
            }
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

    async fn serve_get(&self, bucket: BucketId, key: &[u8]) -> Answered {
        let location = self.inner.index.borrow().object(bucket, key).map(|entry| entry.location);
        let Some(location) = location else { return Ok(Answer::Object(None)) };
        Ok(Answer::Object(Some(self.object_record(location).await?)))
    }

    /// The record of an object, from the cache or the log. The caller's read pin keeps the segment.
    async fn object_record(&self, location: Location) -> Result<Arc<ObjectPut>, EngineError> {
        if let Some(put) = self.inner.cache.borrow_mut().get(&location) {
            return Ok(put.clone());
        }
        match self.read_record(location).await? {
            Record::ObjectPut(put) => {
                let put = Arc::new(put);
                self.inner.cache.borrow_mut().insert(location, put.clone());
                Ok(put)
            }
            _ => Err(damaged(location, "is not the record of an object")),
        }
    }

    /// Reads one record from the log and verifies it.
    pub(super) async fn read_record(&self, location: Location) -> Result<Record, EngineError> {
        let name = FileName::Log(location.segment);
        let (disk, file) = self.file(name).await?;
        let start = location.offset as usize / BLOCK_BYTES * BLOCK_BYTES;
        let skip = location.offset as usize - start;
        let wanted = (skip + location.length as usize).next_multiple_of(BLOCK_BYTES);
        let buffer = self.host().pool().acquire(wanted).await;
        let (result, buffer) = disk.read(&file, start as u64, buffer, 0..wanted).await;
        let count = result.map_err(|error| {
            EngineError::Failed(format!("reading {name} at offset {}: {error}", location.offset))
        })?;
        let bytes = buffer.whole().get(skip..skip + location.length as usize).filter(|_| count == wanted);
        let bytes = bytes.ok_or_else(|| damaged(location, "lies beyond the end of its file"))?;
        decode_record(bytes, location)
    }

    async fn serve_put(&self, mut put: ObjectPut, condition: Condition) -> Answered {
        self.check_writable(put.bucket)?;
        let _lock = self.inner.locks.acquire(hash_of(put.bucket, &put.key)).await;
        self.check_writable(put.bucket)?;
        self.inner.index.borrow().check(put.bucket, &put.key, &condition)?;
        put.modified = self.host().now();
        let committed = Committed { modified: put.modified, etag: put.attributes.etag };
        self.inner.log.append(Record::ObjectPut(put), Urgency::Normal).await?;
        Ok(Answer::Committed(committed))
    }

    /// Removes keys; their records share batches of the log.
    async fn serve_delete(&self, bucket: BucketId, keys: Vec<(Vec<u8>, Condition)>) -> Answered {
        if let [(key, condition)] = keys.as_slice() {
            return Ok(Answer::Deleted(vec![self.delete_one(bucket, key, condition).await]));
        }
        let mut under_way = Vec::with_capacity(keys.len());
        for (key, condition) in keys {
            let (done, result) = crate::base::local::oneshot();
            let engine = self.clone();
            self.host().spawn(async move { done.send(engine.delete_one(bucket, &key, &condition).await) });
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
        condition: &Condition,
    ) -> Result<bool, EngineError> {
        self.check_writable(bucket)?;
        let _lock = self.inner.locks.acquire(hash_of(bucket, key)).await;
        self.check_writable(bucket)?;
        {
            let index = self.inner.index.borrow();
            index.check(bucket, key, condition)?;
            if index.object(bucket, key).is_none() {
                return Ok(false);
            }
        }
        let record = Record::ObjectDeleted { bucket, key: key.to_vec() };
        self.inner.log.append(record, Urgency::Reclaiming).await?;
        Ok(true)
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

    async fn serve_part_put(&self, mut put: PartPut) -> Answered {
        self.check_writable(put.bucket)?;
        let _lock = self.inner.locks.acquire(lock_of_upload(put.upload)).await;
        self.check_writable(put.bucket)?;
        if self.inner.index.borrow().upload(put.bucket, &put.key, put.upload).is_none() {
            return Err(EngineError::NoSuchUpload);
        }
        put.part.modified = self.host().now();
        let part = put.part.clone();
        self.inner.log.append(Record::PartPut(put), Urgency::Normal).await?;
        Ok(Answer::Part(part))
    }

    async fn serve_upload_complete(
        &self,
        bucket: BucketId,
        key: Vec<u8>,
        id: UploadId,
        completion: Completion,
    ) -> Answered {
        self.check_writable(bucket)?;
        let _key_lock = self.inner.locks.acquire(hash_of(bucket, &key)).await;
        let _upload_lock = self.inner.locks.acquire(lock_of_upload(id)).await;
        self.check_writable(bucket)?;
        if self.inner.index.borrow().upload(bucket, &key, id).is_none() {
            return self.completed_before(bucket, &key, id).await;
        }
        let mut put = {
            let index = self.inner.index.borrow();
            index.check(bucket, &key, &completion.condition)?;
            assemble(&index, bucket, &key, id, completion)?
        };
        put.modified = self.host().now();
        let committed = Committed { modified: put.modified, etag: put.attributes.etag };
        self.inner.log.append(Record::ObjectPut(put), Urgency::Normal).await?;
        Ok(Answer::Committed(committed))
    }

    /// The answer to a completion whose upload is gone: success if the current object came from it.
    async fn completed_before(&self, bucket: BucketId, key: &[u8], id: UploadId) -> Answered {
        let _pin = self.inner.readers.pin();
        let Answer::Object(Some(put)) = self.serve_get(bucket, key).await? else {
            return Err(EngineError::NoSuchUpload);
        };
        if put.upload == Some(id) {
            Ok(Answer::Committed(Committed { modified: put.modified, etag: put.attributes.etag }))
        } else {
            Err(EngineError::NoSuchUpload)
        }
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

    /// Refuses changes of buckets that are not (or no longer) there, and any while stopping.
    fn check_writable(&self, bucket: BucketId) -> Result<(), EngineError> {
        self.check_running()?;
        self.inner.buckets.borrow().check_writable(bucket)
    }
}

const EMPTY_PAGE: super::index::listing::ShardPage<ListedObject> =
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
        modified: 0,
        bytes,
        attributes: completion.attributes,
        parts,
        upload: Some(id),
        payload: StoredPayload::Slices(slices),
    })
}

/// Reads a record from its bytes in the log.
pub(super) fn decode_record(bytes: &[u8], location: Location) -> Result<Record, EngineError> {
    let header = RecordHeader::decode(bytes).map_err(|_| damaged(location, "has no valid header"))?;
    let (meta, payload) = bytes[RECORD_HEADER_BYTES..]
        .split_at_checked(header.meta_bytes as usize)
        .ok_or_else(|| damaged(location, "is longer than the index says"))?;
    if !header.check_meta(meta) || !header.check_payload(payload) {
        return Err(damaged(location, "does not match its checksum"));
    }
    Record::decode(header.kind, meta, Bytes::copy_from_slice(payload))
        .map_err(|_| damaged(location, "can't be understood"))
}

fn damaged(location: Location, what: &str) -> EngineError {
    EngineError::Corrupt(format!(
        "{} at offset {}: record {what}",
        FileName::Log(location.segment),
        location.offset
    ))
}
