//! What a core does for the request at hand: it asks the owners of the keys, and has the payload itself.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::format::record::{ObjectPut, PartPut, StoredPayload};
use super::message::{Answer, Looked, Request};
use super::*;
use crate::base::checksum::Checksum;
use crate::base::etag::ETag;
use crate::base::limits::INLINE_BYTES_MAX;
use crate::io::Host;

/// Keys, each with what is to be deleted of it.
type KeyDeletions = Vec<(Vec<u8>, Deletion)>;

/// How often, and how far apart, a deletion is tried again that found no room in the log: some rounds of
/// background work, which cleans.
const ROOM_ATTEMPTS_MAX: usize = 25;
pub(super) const ROOM_PAUSE: Duration = std::time::Duration::from_millis(200);

impl<H: Host> Engine<H> {
    /// A bucket, from this core's cache.
    pub fn bucket(&self, name: &str) -> Option<Rc<Bucket>> {
        self.inner.buckets.borrow().by_name(name)
    }

    /// All buckets in order of name, from this core's cache.
    pub fn buckets(&self) -> Vec<Rc<Bucket>> {
        self.inner.buckets.borrow().all()
    }

    /// How many buckets there are, and the first of them in order of name, from this core's cache.
    pub fn buckets_first(&self, count_max: usize) -> (usize, Vec<Rc<Bucket>>) {
        self.inner.buckets.borrow().first(count_max)
    }

    /// Makes a bucket; when it returns, every core knows it.
    pub async fn create_bucket(
        &self,
        name: &str,
        versioning: Versioning,
        settings: BTreeMap<String, Vec<u8>>,
    ) -> Result<Rc<Bucket>, EngineError> {
        let request = Request::BucketCreate { name: name.to_string(), versioning, settings };
        match self.ask(0, request).await? {
            Answer::Bucket(bucket) => Ok(Rc::new(bucket)),
            other => Err(unexpected(&other)),
        }
    }

    /// Changes a bucket's settings if what `change` expects holds, else [`EngineError::Changed`]; when it
    /// returns, every core uses them. Settings that `change` does not name stay as they are, so concurrent
    /// changes of different settings do not undo each other.
    pub async fn set_bucket(&self, name: &str, change: BucketChange) -> Result<Rc<Bucket>, EngineError> {
        let request = Request::BucketSet { name: name.to_string(), change: Box::new(change) };
        match self.ask(0, request).await? {
            Answer::Bucket(bucket) => Ok(Rc::new(bucket)),
            other => Err(unexpected(&other)),
        }
    }

    /// Removes an empty bucket (uploads in progress are aborted); when it returns, no core knows it.
    pub async fn delete_bucket(&self, name: &str) -> Result<(), EngineError> {
        self.ask(0, Request::BucketDelete { name: name.to_string() }).await.map(drop)
    }

    /// Objects and bytes of a bucket over all cores, without a scan.
    pub async fn usage(&self, bucket: BucketId) -> Result<Usage, EngineError> {
        let mut total = Usage::default();
        for answer in self.ask_all(|| Request::Usage { bucket }).await {
            match answer? {
                Answer::Usage(usage) => total = total.plus(usage),
                other => return Err(unexpected(&other)),
            }
        }
        Ok(total)
    }

    /// What all buckets hold together.
    pub async fn usage_of_all(&self) -> Result<Usage, EngineError> {
        let mut total = Usage::default();
        for answer in self.ask_all(|| Request::UsageOfAll).await {
            match answer? {
                Answer::Usage(usage) => total = total.plus(usage),
                other => return Err(unexpected(&other)),
            }
        }
        Ok(total)
    }

    /// Payload of at most [`INLINE_BYTES_MAX`] bytes that is already in memory.
    pub fn inline_payload(&self, bytes: Bytes) -> Payload<H> {
        assert!(bytes.len() <= INLINE_BYTES_MAX);
        let length = bytes.len() as u64;
        Payload::new(self.clone(), StoredPayload::Inline(bytes), length)
    }

    /// Starts to receive payload; with `bytes` known, its space is reserved as it is needed.
    pub async fn payload_writer(&self, bytes: Option<u64>) -> Result<PayloadWriter<H>, EngineError> {
        self.check_running()?;
        self.inner.extents.check()?;
        Ok(PayloadWriter::new(self.clone(), bytes))
    }

    /// Stores an object if `condition` holds of what is current. On failure the payload is freed.
    pub async fn put(
        &self,
        bucket: BucketId,
        key: &[u8],
        payload: Payload<H>,
        attributes: Attributes,
        condition: Condition,
    ) -> Result<Committed, EngineError> {
        self.put_with_events(bucket, key, payload, attributes, condition, Vec::new()).await
    }

    /// As [`Engine::put`]; `events` tell of it.
    pub async fn put_with_events(
        &self,
        bucket: BucketId,
        key: &[u8],
        payload: Payload<H>,
        attributes: Attributes,
        condition: Condition,
        events: Vec<EventDraft>,
    ) -> Result<Committed, EngineError> {
        let put = ObjectPut {
            bucket,
            key: key.to_vec(),
            sequence: 0,
            is_null: true,
            bytes: payload.bytes(),
            attributes,
            parts: Vec::new(),
            upload: None,
            payload: payload.stored(),
        };
        let request = Request::Put { put: Box::new(put), condition, events, promised: 0 };
        let asked = self.ask_growing(bucket, self.owner(bucket, key), request);
        payload.commit(asked).await.and_then(committed)
    }

    /// Looks up what is current under a key, or a version of it, with what HEAD needs and GET starts from.
    pub async fn get(
        &self,
        bucket: BucketId,
        key: &[u8],
        version: Option<VersionId>,
    ) -> Result<Lookup<H>, EngineError> {
        let pin = self.inner.readers.pin();
        let request = Request::Get { bucket, key: key.to_vec(), version };
        match self.ask(self.owner(bucket, key), request).await? {
            Answer::Object(Looked::Found(put)) => Ok(Lookup::Found(Object::new(self.clone(), pin, put))),
            Answer::Object(Looked::DeleteMarker { version, modified, is_latest }) => {
                Ok(Lookup::DeleteMarker { version, modified, is_latest })
            }
            Answer::Object(Looked::Missing) => Ok(Lookup::Missing),
            other => Err(unexpected(&other)),
        }
    }

    /// Changes what is stored about a version, or about what is current, if `condition` holds of it.
    pub async fn update(
        &self,
        bucket: BucketId,
        key: &[u8],
        version: Option<VersionId>,
        update: Update,
        condition: Condition,
    ) -> Result<Updated, EngineError> {
        self.update_with_events(bucket, key, version, update, condition, Vec::new()).await
    }

    /// As [`Engine::update`]; `events` tell of it.
    pub async fn update_with_events(
        &self,
        bucket: BucketId,
        key: &[u8],
        version: Option<VersionId>,
        update: Update,
        condition: Condition,
        events: Vec<EventDraft>,
    ) -> Result<Updated, EngineError> {
        let request = Request::Update { bucket, key: key.to_vec(), version, update, condition, events };
        match self.ask(self.owner(bucket, key), request).await? {
            Answer::Updated(updated) => Ok(updated),
            other => Err(unexpected(&other)),
        }
    }

    /// Removes an object or a version, or hides what is current behind a delete marker: see [`Deletion`]. It
    /// is no error if there is nothing to delete, unless the condition asks for something.
    pub async fn delete(
        &self,
        bucket: BucketId,
        key: &[u8],
        deletion: Deletion,
    ) -> Result<Deleted, EngineError> {
        let keys = vec![(key.to_vec(), deletion)];
        self.delete_many(bucket, keys).await.pop().unwrap_or(Err(EngineError::Stopping))
    }

    /// Carries out many deletions, in one batch for each owner core; results in the order of `keys`. On a full
    /// drive it waits a while for cleaning to make room.
    pub async fn delete_many(
        &self,
        bucket: BucketId,
        keys: Vec<(Vec<u8>, Deletion)>,
    ) -> Vec<Result<Deleted, EngineError>> {
        let mut results = self.delete_once(bucket, keys.clone()).await;
        for _ in 0..ROOM_ATTEMPTS_MAX {
            let refused = |(_, result): &(usize, &Result<_, _>)| **result == Err(EngineError::Full);
            let again: Vec<usize> = results.iter().enumerate().filter(refused).map(|(at, _)| at).collect();
            if again.is_empty() {
                break;
            }
            self.host().sleep(ROOM_PAUSE).await;
            let keys = again.iter().map(|at| keys[*at].clone()).collect();
            let retried = self.delete_once(bucket, keys).await;
            again.into_iter().zip(retried).for_each(|(at, result)| results[at] = result);
        }
        results
    }

    async fn delete_once(
        &self,
        bucket: BucketId,
        keys: Vec<(Vec<u8>, Deletion)>,
    ) -> Vec<Result<Deleted, EngineError>> {
        let count = keys.len();
        let mut shares: Vec<(Vec<usize>, KeyDeletions)> = vec![Default::default(); self.cores()];
        for (position, (key, deletion)) in keys.into_iter().enumerate() {
            let (positions, keys) = &mut shares[self.owner(bucket, &key)];
            positions.push(position);
            keys.push((key, deletion));
        }
        let asked = shares.into_iter().enumerate().filter(|(_, (positions, _))| !positions.is_empty());
        let (positions, requests): (Vec<_>, Vec<_>) = asked
            .map(|(owner, (positions, keys))| (positions, (owner, Request::Delete { bucket, keys })))
            .unzip();
        let mut results = vec![Err(EngineError::Stopping); count];
        for (positions, answer) in positions.into_iter().zip(self.ask_each(requests).await) {
            let share = match answer {
                Ok(Answer::Deleted(share)) => share,
                Ok(other) => vec![Err(unexpected(&other)); positions.len()],
                Err(error) => vec![Err(error); positions.len()],
            };
            positions.into_iter().zip(share).for_each(|(position, result)| results[position] = result);
        }
        results
    }

    pub async fn create_upload(
        &self,
        bucket: BucketId,
        key: &[u8],
        headers: Headers,
    ) -> Result<Upload, EngineError> {
        let request = Request::UploadCreate { bucket, key: key.to_vec(), headers };
        match self.ask(self.owner(bucket, key), request).await? {
            Answer::Upload(upload, _) => Ok(upload),
            other => Err(unexpected(&other)),
        }
    }

    /// The upload and its parts with numbers above `part_after`, at most `count_max`, in order.
    pub async fn upload(
        &self,
        bucket: BucketId,
        key: &[u8],
        id: UploadId,
        part_after: u16,
        count_max: usize,
    ) -> Result<(Upload, Vec<Part>), EngineError> {
        let request = Request::UploadGet { bucket, key: key.to_vec(), id, part_after, count_max };
        match self.ask(self.owner(bucket, key), request).await? {
            Answer::Upload(upload, parts) => Ok((upload, parts)),
            other => Err(unexpected(&other)),
        }
    }

    /// Stores (or replaces) a part.
    #[allow(clippy::too_many_arguments)]
    pub async fn put_part(
        &self,
        bucket: BucketId,
        key: &[u8],
        id: UploadId,
        number: u16,
        payload: Payload<H>,
        etag: ETag,
        checksum: Option<Checksum>,
    ) -> Result<Part, EngineError> {
        let payload = payload.into_extents().await?;
        let StoredPayload::Slices(slices) = payload.stored() else {
            return Err(EngineError::Failed("a part's payload is in extents".to_string()));
        };
        let part = Part { number, bytes: payload.bytes(), etag, checksum, modified: 0, note: payload.note() };
        let put = PartPut { bucket, key: key.to_vec(), upload: id, part, slices };
        let request = Request::PartPut { put: Box::new(put), promised: 0 };
        let asked = self.ask_growing(bucket, self.owner(bucket, key), request);
        match payload.commit(asked).await? {
            Answer::Part(part) => Ok(part),
            other => Err(unexpected(&other)),
        }
    }

    /// Makes an object of the named parts in one record; unnamed parts are freed. Repeating a completion
    /// whose answer was lost succeeds as long as its object is among the newest versions of the key.
    pub async fn complete_upload(
        &self,
        bucket: BucketId,
        key: &[u8],
        id: UploadId,
        completion: Completion,
    ) -> Result<Committed, EngineError> {
        let completion = Box::new(completion);
        let request = Request::UploadComplete { bucket, key: key.to_vec(), id, completion };
        self.ask(self.owner(bucket, key), request).await.and_then(committed)
    }

    pub async fn abort_upload(&self, bucket: BucketId, key: &[u8], id: UploadId) -> Result<(), EngineError> {
        let request = Request::UploadAbort { bucket, key: key.to_vec(), id };
        self.ask(self.owner(bucket, key), request).await.map(drop)
    }
}

fn committed(answer: Answer) -> Result<Committed, EngineError> {
    match answer {
        Answer::Committed(committed) => Ok(committed),
        other => Err(unexpected(&other)),
    }
}
