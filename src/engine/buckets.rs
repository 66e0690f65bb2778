//! The table of buckets: core 0 keeps it in its log, every core has it in memory. A change is acknowledged
//! when every core uses it.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::Engine;
use super::format::record::Record;
use super::log::Urgency;
use super::message::{Answer, Request};
use super::quota::{lock_of_quota, quota_of};
use super::shard::lock_of_upload;
use super::types::{Bucket, BucketChange, BucketId, EngineError};
use super::version::Versioning;
use crate::base::limits::BUCKET_SETTINGS_BYTES_MAX;
use crate::io::Host;

/// The buckets as a core sees them.
#[derive(Default)]
pub(super) struct Table {
    by_name: BTreeMap<String, Rc<Bucket>>,
    /// Buckets by id: what a change of their objects asks.
    states: HashMap<BucketId, State>,
}

#[derive(Clone, Copy)]
struct State {
    /// Whether it takes changes: not while it is being removed.
    is_writable: bool,
    versioning: Versioning,
}

impl Table {
    pub fn by_name(&self, name: &str) -> Option<Rc<Bucket>> {
        self.by_name.get(name).cloned()
    }

    pub fn name_of(&self, id: BucketId) -> Option<String> {
        self.by_name.values().find(|bucket| bucket.id == id).map(|bucket| bucket.name.clone())
    }

    pub fn all(&self) -> Vec<Rc<Bucket>> {
        self.by_name.values().cloned().collect()
    }

    /// How many there are, and the first of them in order of name.
    pub fn first(&self, count_max: usize) -> (usize, Vec<Rc<Bucket>>) {
        (self.by_name.len(), self.by_name.values().take(count_max).cloned().collect())
    }

    /// Refuses changes of a bucket that is not there, and of one while its removal is being tried. Says what
    /// changes do with the version that was there.
    pub fn check_writable(&self, id: BucketId) -> Result<Versioning, EngineError> {
        match self.states.get(&id) {
            Some(State { is_writable: true, versioning }) => Ok(*versioning),
            Some(_) => Err(EngineError::Busy),
            None => Err(EngineError::NoSuchBucket),
        }
    }

    pub fn contains(&self, id: BucketId) -> bool {
        self.states.contains_key(&id)
    }

    pub fn insert(&mut self, bucket: Bucket) {
        let state = State { is_writable: true, versioning: bucket.versioning };
        self.states.insert(bucket.id, state);
        self.by_name.insert(bucket.name.clone(), Rc::new(bucket));
    }

    fn set_writable(&mut self, id: BucketId, writable: bool) {
        if let Some(state) = self.states.get_mut(&id) {
            state.is_writable = writable;
        }
    }

    fn remove(&mut self, id: BucketId) {
        self.states.remove(&id);
        self.by_name.retain(|_, bucket| bucket.id != id);
    }
}

/// The bucket after a change, if what the change expects holds.
fn changed(bucket: &Bucket, change: BucketChange) -> Result<Bucket, EngineError> {
    let BucketChange { versioning, settings, expected } = change;
    let as_expected = expected.versioning.is_none_or(|versioning| versioning == bucket.versioning)
        && expected.settings.iter().all(|(name, value)| bucket.settings.get(name) == value.as_ref());
    if !as_expected {
        return Err(EngineError::Changed);
    }
    let mut changed = bucket.clone();
    changed.versioning = versioning.unwrap_or(changed.versioning);
    for (name, value) in settings {
        match value {
            Some(value) => drop(changed.settings.insert(name, value)),
            None => drop(changed.settings.remove(&name)),
        }
    }
    Ok(changed)
}

/// The lock that serialises changes of the table; no key hashes to it but by a harmless accident.
pub(super) const TABLE_LOCK: u64 = 0;

impl<H: Host> Engine<H> {
    pub(super) async fn serve_bucket(&self, request: Request) -> Result<Answer, EngineError> {
        match request {
            Request::BucketCreate { name, versioning, settings } => {
                self.serve_bucket_create(name, versioning, settings).await
            }
            Request::BucketSet { name, change } => self.serve_bucket_set(&name, *change).await,
            Request::BucketDelete { name } => self.serve_bucket_delete(&name).await,
            Request::BucketApply { bucket } => {
                let begins = self.inner.quotas.set(&bucket);
                self.inner.buckets.borrow_mut().insert(bucket);
                if begins {
                    // What comes from now on is counted; what came before has to be where it can be.
                    self.inner.log.drain().await;
                }
                Ok(Answer::Done)
            }
            Request::BucketFreeze { id } => {
                self.inner.buckets.borrow_mut().set_writable(id, false);
                self.inner.log.drain().await;
                // What failed to be written may be there after the next start: nobody can say that it is empty.
                if let Some(why) = self.inner.log.failure() {
                    return Err(EngineError::ReadOnly(why));
                }
                Ok(Answer::Usage(self.inner.index.borrow().usage(id)))
            }
            Request::BucketThaw { id } => {
                self.inner.buckets.borrow_mut().set_writable(id, true);
                Ok(Answer::Done)
            }
            Request::BucketForget { id } => {
                self.inner.buckets.borrow_mut().remove(id);
                self.inner.quotas.remove(id);
                self.end_uploads(id).await;
                let released = self.inner.index.borrow_mut().drop_bucket(id);
                self.release(&released);
                Ok(Answer::Done)
            }
            Request::BucketTable => {
                while !self.inner.checkpoint.index_ready() {
                    self.inner.recovered_signal.wait().await;
                }
                let index = self.inner.index.borrow();
                Ok(Answer::Buckets(index.table.values().map(|(bucket, _)| bucket.clone()).collect()))
            }
            _ => Err(EngineError::Failed("internal error: not a request about buckets".to_string())),
        }
    }

    async fn serve_bucket_create(
        &self,
        name: String,
        versioning: Versioning,
        settings: BTreeMap<String, Vec<u8>>,
    ) -> Result<Answer, EngineError> {
        self.check_running()?;
        let _lock = self.inner.locks.acquire(TABLE_LOCK).await;
        if self.bucket(&name).is_some() {
            return Err(EngineError::BucketExists);
        }
        // Random ids need no counter that must survive; 0 is never used.
        let mut id = [0; 8];
        self.host().random(&mut id);
        let id = u64::from_le_bytes(id).max(1);
        let bucket = Bucket { id, name, created: self.host().now(), versioning, settings };
        self.put_bucket(bucket, Urgency::Normal).await
    }

    async fn serve_bucket_set(&self, name: &str, change: BucketChange) -> Result<Answer, EngineError> {
        self.check_running()?;
        let _lock = self.inner.locks.acquire(TABLE_LOCK).await;
        let current = self.bucket(name).ok_or(EngineError::NoSuchBucket)?;
        let changed = changed(&current, change)?;
        if changed == *current {
            return Ok(Answer::Bucket(changed));
        }
        // Nobody is given of a quota that is no more.
        let _quota = match quota_of(&changed) == quota_of(&current) {
            true => None,
            false => Some(self.inner.locks.acquire(lock_of_quota(changed.id)).await),
        };
        // Settings are how room is made, and they are few: a rule that deletes is taken on a full drive.
        self.put_bucket(changed, Urgency::Hiding).await
    }

    /// Makes a bucket durable and has every core use it, under the lock of the table.
    async fn put_bucket(&self, bucket: Bucket, urgency: Urgency) -> Result<Answer, EngineError> {
        let settings_bytes: usize =
            bucket.settings.iter().map(|(name, value)| name.len() + value.len()).sum();
        if settings_bytes > BUCKET_SETTINGS_BYTES_MAX {
            return Err(EngineError::LimitExceeded("1 MiB of settings of a bucket"));
        }
        self.inner.log.append(Record::BucketPut(bucket.clone()), urgency).await?;
        self.everywhere(|| Request::BucketApply { bucket: bucket.clone() }).await?;
        Ok(Answer::Bucket(bucket))
    }

    async fn serve_bucket_delete(&self, name: &str) -> Result<Answer, EngineError> {
        self.check_running()?;
        let _lock = self.inner.locks.acquire(TABLE_LOCK).await;
        let id = self.bucket(name).ok_or(EngineError::NoSuchBucket)?.id;
        let emptied = self.freeze(id).await;
        let removed = match emptied {
            Ok(()) => self.inner.log.append(Record::BucketDeleted { id }, Urgency::Reclaiming).await,
            Err(error) => Err(error),
        };
        match removed {
            Ok(()) => self.everywhere(|| Request::BucketForget { id }).await.map(|()| Answer::Done),
            // The record may be durable although writing it failed: then what is stored from now on would be
            // gone after the next start. So the bucket stays as it is until then.
            Err(error) if self.inner.log.failure().is_some() => Err(error),
            Err(error) => {
                self.everywhere(|| Request::BucketThaw { id }).await?;
                Err(error)
            }
        }
    }

    /// Stops changes of a bucket on all cores; an error if it holds objects, versions or delete markers.
    async fn freeze(&self, id: BucketId) -> Result<(), EngineError> {
        for answer in self.ask_all(|| Request::BucketFreeze { id }).await {
            match answer? {
                Answer::Usage(usage) if usage.is_empty() => {}
                _ => return Err(EngineError::BucketNotEmpty),
            }
        }
        Ok(())
    }

    /// Ends the uploads of a bucket that is gone, each under its lock: cleaning may be moving its records, and
    /// what it appends would bring an upload back that was dropped meanwhile.
    async fn end_uploads(&self, bucket: BucketId) {
        loop {
            let Some((key, id)) = self.inner.index.borrow().first_upload(bucket) else { return };
            let _lock = self.inner.locks.acquire(lock_of_upload(id)).await;
            let released = self.inner.index.borrow_mut().remove_upload(bucket, &key, id, &[]);
            self.release(&released);
        }
    }

    async fn everywhere(&self, request: impl Fn() -> Request) -> Result<(), EngineError> {
        for answer in self.ask_all(request).await {
            answer?;
        }
        Ok(())
    }
}
