//! Quotas of buckets: how many bytes a bucket may hold, over all cores, never exceeded.
//!
//! What counts are the bytes of all versions and of the parts of uploads, as clients see them. Each core has a
//! **share** of a bucket's quota, a limit for what it owns of the bucket, and takes changes within it without
//! asking anybody. Core 0 gives shares: when one is too small it has every core give back what it does not use,
//! counts what all of them hold, and gives from the rest. Nothing of it is stored: after a start all shares are
//! empty, and the first change that makes a bucket grow has core 0 count.
//!
//! Why it is never exceeded: the sum over the cores of what they hold, or may hold if that is more, is at most
//! the quota. A change adds to what a core holds within its limit. Giving back and counting only lower the sum.
//! Core 0 gives no more than is left, and does so for a bucket one at a time, under a lock.
//!
//! Why nobody is refused who fits: who is refused was counted against what all cores held at that time, which is
//! what is stored and what is on its way into the log. Only of a rename under way both keys count.

use std::cell::RefCell;
use std::collections::HashMap;

use super::Engine;
use super::format::record::{ObjectPut, PartPut, Record};
use super::index::{Index, UploadEntry};
use super::message::{Answer, Request};
use super::types::{Bucket, BucketId, EngineError, UploadId};
use super::version::VersionId;
use super::{hash_of, unexpected};
use crate::base::limits::QUOTA_ATTEMPTS_MAX;
use crate::io::Host;

/// The setting of a bucket that is its quota: a number of bytes in decimal digits.
pub const QUOTA_SETTING: &str = "quota";

/// The quota of a bucket in bytes, if it has one.
pub fn quota_of(bucket: &Bucket) -> Option<u64> {
    let text = bucket.settings.get(QUOTA_SETTING)?;
    // Whoever asked for a quota must not get none because it cannot be read.
    Some(std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// What a bucket holds and may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaUse {
    /// `None`: as much as there is room for.
    pub quota_bytes: Option<u64>,
    /// Bytes of all versions and of the parts of uploads.
    pub held_bytes: u64,
}

/// What a core may hold of the buckets that have a quota.
#[derive(Default)]
pub(super) struct Quotas {
    shares: RefCell<HashMap<BucketId, Share>>,
}

/// One core's share of a bucket's quota.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    /// The whole bucket's.
    quota: u64,
    /// What this core may hold.
    limit: u64,
    /// Bytes by which changes will make the bucket grow that are on their way into the log.
    admitted: u64,
    /// Bytes given for changes that are on their way to this core.
    promised: u64,
    /// Bytes that are about to go, to another key of the bucket: nobody else gets their room.
    leaving: u64,
}

impl Quotas {
    /// The quota of a bucket, if it has one.
    pub fn quota(&self, bucket: BucketId) -> Option<u64> {
        self.shares.borrow().get(&bucket).map(|share| share.quota)
    }

    /// Begins to hold a bucket to its quota, or ends. Says whether it had none: then changes may be on their way
    /// into the log that nobody counted.
    pub fn set(&self, bucket: &Bucket) -> bool {
        let mut shares = self.shares.borrow_mut();
        match (quota_of(bucket), shares.get_mut(&bucket.id)) {
            (None, _) => {
                shares.remove(&bucket.id);
                false
            }
            (Some(quota), Some(share)) if share.quota == quota => false,
            // What was given of another quota is worth nothing.
            (Some(quota), Some(share)) => {
                *share = Share { quota, limit: 0, promised: 0, ..*share };
                false
            }
            (Some(quota), None) => {
                shares.insert(bucket.id, Share { quota, ..Share::default() });
                true
            }
        }
    }

    pub fn remove(&self, bucket: BucketId) {
        self.shares.borrow_mut().remove(&bucket);
    }

    /// The bucket whose bytes a record may change, if that has a quota.
    pub fn bucket_of(&self, record: &Record) -> Option<BucketId> {
        if self.shares.borrow().is_empty() {
            return None;
        }
        let bucket = match record {
            Record::ObjectPut(put) => put.bucket,
            Record::PartPut(put) => put.bucket,
            _ => return None,
        };
        self.quota(bucket).map(|_| bucket)
    }

    /// A bucket has grown, by a change that was admitted.
    pub fn grew(&self, bucket: BucketId, bytes: u64) {
        self.with(bucket, |share| share.admitted = share.admitted.saturating_sub(bytes));
    }

    fn with<T>(&self, bucket: BucketId, then: impl FnOnce(&mut Share) -> T) -> Option<T> {
        self.shares.borrow_mut().get_mut(&bucket).map(then)
    }
}

impl Request {
    /// The same request once more, with bytes of its bucket's quota for it; `None` of those that never need any.
    fn with_promise(&self, promised: u64) -> Option<Self> {
        Some(match self {
            Self::Put { put, condition, events, .. } => {
                let (put, condition, events) = (put.clone(), condition.clone(), events.clone());
                Self::Put { put, condition, events, promised }
            }
            Self::PartPut { put, .. } => Self::PartPut { put: put.clone(), promised },
            Self::QuotaRoom { bucket, key, part, bytes, .. } => {
                Self::QuotaRoom { bucket: *bucket, key: key.clone(), part: *part, bytes: *bytes, promised }
            }
            _ => return None,
        })
    }
}

/// Bytes promised to a change. Whatever becomes of that, its core's share has them in the end.
pub(super) struct Promise<'a> {
    quotas: &'a Quotas,
    bucket: BucketId,
    bytes: u64,
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        self.quotas.with(self.bucket, |share| {
            // Less if the quota was changed meanwhile.
            let bytes = self.bytes.min(share.promised);
            share.promised -= bytes;
            share.limit += bytes;
        });
    }
}

impl<H: Host> Engine<H> {
    /// What a bucket holds, beside what it may hold.
    pub async fn quota_use(&self, bucket: &Bucket) -> Result<QuotaUse, EngineError> {
        let mut held_bytes = 0;
        for answer in self.ask_all(|| Request::QuotaHeld { bucket: bucket.id }).await {
            match answer? {
                Answer::Bytes(bytes) => held_bytes += bytes,
                other => return Err(unexpected(&other)),
            }
        }
        Ok(QuotaUse { quota_bytes: quota_of(bucket), held_bytes })
    }

    /// Refuses now what would be refused when it is stored, so that nobody sends payload for nothing: an object,
    /// or a part of an upload, of so many bytes. Reserves nothing.
    pub async fn check_quota(
        &self,
        bucket: BucketId,
        key: &[u8],
        part: Option<(UploadId, u16)>,
        bytes: u64,
    ) -> Result<(), EngineError> {
        if self.inner.quotas.quota(bucket).is_none() {
            return Ok(());
        }
        let request = Request::QuotaRoom { bucket, key: key.to_vec(), part, bytes, promised: 0 };
        self.ask_growing(bucket, self.owner(bucket, key), request).await.map(drop)
    }

    /// Asks the owner of a key for a change that may make a bucket grow; if the owner's share of the quota is too
    /// small, asks core 0 for more and repeats it.
    pub(super) async fn ask_growing(
        &self,
        bucket: BucketId,
        owner: usize,
        request: Request,
    ) -> Result<Answer, EngineError> {
        if self.inner.quotas.quota(bucket).is_none() {
            return match self.ask(owner, request).await {
                // The bucket has got a quota this moment, and the owner knew first.
                Err(EngineError::QuotaExceeded { .. }) => Err(EngineError::Busy),
                other => other,
            };
        }
        let mut promised = 0;
        // Each time, the key changed between the promise and its use.
        for attempt in 1..=QUOTA_ATTEMPTS_MAX {
            let Some(again) = request.with_promise(promised) else { break };
            let needed = match self.ask(owner, again).await {
                Err(EngineError::QuotaExceeded { bytes }) => bytes,
                other => return other,
            };
            // What is promised must be used.
            if attempt == QUOTA_ATTEMPTS_MAX {
                break;
            }
            match self.ask(0, Request::QuotaPromise { bucket, core: owner, bytes: needed }).await? {
                Answer::Done => promised = needed,
                other => return Err(unexpected(&other)),
            }
        }
        Err(EngineError::Busy)
    }

    pub(super) async fn serve_quota(&self, request: Request) -> Result<Answer, EngineError> {
        match request {
            Request::QuotaHeld { bucket } => Ok(Answer::Bytes(self.inner.index.borrow().bytes_held(bucket))),
            Request::QuotaRoom { bucket, key, part, bytes, promised } => {
                let promise = self.redeem(bucket, promised);
                let growth = {
                    let index = self.inner.index.borrow();
                    let replaced = match part {
                        Some((id, number)) => index
                            .upload(bucket, &key, id)
                            .and_then(|upload| upload.parts.get(&number))
                            .map_or(0, |part| part.part.bytes),
                        None if self.check_writable(bucket)? == super::Versioning::Enabled => 0,
                        None => null_bytes(&index, bucket, &key),
                    };
                    bytes.saturating_sub(replaced)
                };
                self.admit(bucket, growth, promise)?;
                self.inner.quotas.grew(bucket, growth);
                Ok(Answer::Done)
            }
            Request::QuotaReturn { bucket } => {
                let held = self.inner.index.borrow().bytes_held(bucket);
                let held = self.inner.quotas.with(bucket, |share| {
                    let held = held + share.admitted;
                    share.limit = held.saturating_sub(share.leaving);
                    held + share.promised
                });
                Ok(Answer::Bytes(held.unwrap_or(0)))
            }
            Request::QuotaRevoke { bucket } => {
                self.inner.quotas.with(bucket, |share| share.limit = 0);
                Ok(Answer::Done)
            }
            Request::QuotaGive { bucket, promised, spare } => {
                self.inner.quotas.with(bucket, |share| {
                    share.promised += promised;
                    share.limit += spare;
                });
                Ok(Answer::Done)
            }
            Request::QuotaPromise { bucket, core, bytes } => {
                self.serve_quota_promise(bucket, core, bytes).await
            }
            _ => Err(EngineError::Failed("internal error: not a request about quotas".to_string())),
        }
    }

    /// Promises `bytes` of a bucket's quota to `core`, if so many are left. On core 0, which alone may ask others
    /// while it answers; what it asks is answered without asking on.
    async fn serve_quota_promise(
        &self,
        bucket: BucketId,
        core: usize,
        bytes: u64,
    ) -> Result<Answer, EngineError> {
        let _lock = self.inner.locks.acquire(lock_of_quota(bucket)).await;
        // Without one by now, the change needs no promise.
        let Some(quota) = self.inner.quotas.quota(bucket) else { return Ok(Answer::Done) };
        let mut held = 0_u64;
        for answer in self.ask_all(|| Request::QuotaReturn { bucket }).await {
            match answer? {
                Answer::Bytes(bytes) => held = held.saturating_add(bytes),
                other => return Err(unexpected(&other)),
            }
        }
        if held > quota {
            // Of a bucket that holds too much, what goes is for nobody.
            for answer in self.ask_all(|| Request::QuotaRevoke { bucket }).await {
                answer?;
            }
        }
        let left = quota.saturating_sub(held);
        let rest = left.checked_sub(bytes).ok_or(EngineError::QuotaExceeded { bytes })?;
        // Some more, so that not every change has all cores counted; the less, the nearer the quota is.
        let spare = rest / (2 * self.cores() as u64);
        self.ask(core, Request::QuotaGive { bucket, promised: bytes, spare }).await
    }

    /// Takes what was promised to a change that has arrived.
    pub(super) fn redeem(&self, bucket: BucketId, bytes: u64) -> Promise<'_> {
        Promise { quotas: &self.inner.quotas, bucket, bytes }
    }

    /// Counts a change that will make the bucket grow, if this core's share has room for it; else nothing has
    /// happened. Returns at once, so that what the index said before holds.
    pub(super) fn admit(
        &self,
        bucket: BucketId,
        growth: u64,
        promise: Promise<'_>,
    ) -> Result<(), EngineError> {
        drop(promise);
        let held = self.inner.index.borrow().bytes_held(bucket);
        let admitted = self.inner.quotas.with(bucket, |share| {
            if growth > 0 && held.saturating_add(share.admitted).saturating_add(growth) > share.limit {
                // The share has no room for what is leaving, either, until that has left.
                return Err(EngineError::QuotaExceeded { bytes: growth.saturating_add(share.leaving) });
            }
            share.admitted += growth;
            Ok(())
        });
        admitted.unwrap_or(Ok(()))
    }

    /// Takes back what [`Engine::admit`] counted, of a change that failed. One that may be there after the next
    /// start counts until then.
    pub(super) fn withdraw(&self, bucket: BucketId, growth: u64, why: &EngineError) {
        if !self.is_unknown(why) {
            self.inner.quotas.grew(bucket, growth);
        }
    }

    /// By how much an object makes its bucket grow, if that has a quota. The caller has the key's lock.
    pub(super) fn growth_of_put(&self, put: &ObjectPut) -> u64 {
        if self.inner.quotas.quota(put.bucket).is_none() {
            return 0;
        }
        let index = self.inner.index.borrow();
        let replaced = if put.is_null { null_bytes(&index, put.bucket, &put.key) } else { 0 };
        let parts = put.upload.and_then(|id| index.upload(put.bucket, &put.key, id)).map(UploadEntry::bytes);
        put.bytes.saturating_sub(replaced + parts.unwrap_or(0))
    }

    /// The same of a part. The caller has the upload's lock.
    pub(super) fn growth_of_part(&self, put: &PartPut) -> u64 {
        if self.inner.quotas.quota(put.bucket).is_none() {
            return 0;
        }
        let index = self.inner.index.borrow();
        let upload = index.upload(put.bucket, &put.key, put.upload);
        let replaced = upload.and_then(|upload| upload.parts.get(&put.part.number));
        put.part.bytes.saturating_sub(replaced.map_or(0, |part| part.part.bytes))
    }

    /// Counts an object that comes from another key of its bucket and brings its bytes along.
    pub(super) fn admit_moved(&self, bucket: BucketId, growth: u64) {
        self.inner.quotas.with(bucket, |share| {
            share.limit += growth;
            share.admitted += growth;
        });
    }

    /// Takes that back, of a rename that did not happen.
    pub(super) fn withdraw_moved(&self, bucket: BucketId, growth: u64, why: &EngineError) {
        if self.is_unknown(why) {
            return;
        }
        self.inner.quotas.with(bucket, |share| {
            share.limit = share.limit.saturating_sub(growth);
            share.admitted = share.admitted.saturating_sub(growth);
        });
    }

    /// Whether a change that failed so may have happened. What failed before the log wrote anything, for want of a
    /// next segment, leaves the log as it was; after a write that failed, it takes nothing more.
    fn is_unknown(&self, error: &EngineError) -> bool {
        match error {
            EngineError::Failed(_) => self.inner.log.failure().is_some(),
            EngineError::Stopping => true,
            _ => false,
        }
    }

    /// Takes bytes from this core's share that have come to another key, before they go from here.
    pub(super) fn begin_leaving(&self, bucket: BucketId, bytes: u64) {
        self.inner.quotas.with(bucket, |share| {
            share.limit = share.limit.saturating_sub(bytes);
            share.leaving += bytes;
        });
    }

    /// They are gone, or stay for now.
    pub(super) fn end_leaving(&self, bucket: BucketId, bytes: u64) {
        self.inner.quotas.with(bucket, |share| share.leaving = share.leaving.saturating_sub(bytes));
    }
}

/// The lock under which a bucket's quota is changed and given; no key is empty.
pub(super) fn lock_of_quota(bucket: BucketId) -> u64 {
    hash_of(bucket, b"")
}

/// Bytes of the null version of a key: what a new one replaces.
fn null_bytes(index: &Index, bucket: BucketId, key: &[u8]) -> u64 {
    index.version(bucket, key, Some(VersionId::Null)).map_or(0, |entry| entry.bytes)
}
