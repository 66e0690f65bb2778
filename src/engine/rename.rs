//! Renames of objects, between keys of which two cores may be the owners.
//!
//! The destination's owner appends, in one batch, the object under its new key and a record that says which
//! version under the old key must go. That batch is the rename: from then on the old one is owed to be
//! deleted, by the core that asked for the rename or, after a crash, by recovery. So a crash leaves never
//! both and never none.
//!
//! Between the look-up of the source and its deletion its owner refuses other changes of it, instead of
//! having them wait: what waited for another core could wait in a circle. Who reads both keys in the moment
//! between the commit and the deletion may see the object under both.

use super::events::{EventChange, EventDraft, Told};
use super::format::record::{ObjectPut, Record};
use super::index::Entry;
use super::log::Urgency;
use super::message::{Answer, Looked, Request};
use super::operations::ROOM_PAUSE;
use super::types::{BucketId, Committed, Condition, EngineError};
use super::version::{VersionId, Versioning};
use super::{Engine, Object, hash_of, unexpected};
use crate::io::Host;

/// What a rename left to be done: the version of `from` must go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    pub bucket: BucketId,
    /// The new key, and the sequence of the object there.
    pub to: Vec<u8>,
    pub sequence: u64,
    /// The old key, and the sequence of what must go: nothing else ever has it there.
    pub from: Vec<u8>,
    pub from_sequence: u64,
}

/// Names a rename: bucket, new key, and sequence of the object there.
pub type RenameId = (BucketId, Vec<u8>, u64);

impl Rename {
    pub fn id(&self) -> RenameId {
        (self.bucket, self.to.clone(), self.sequence)
    }
}

/// A rename as its destination's owner is asked for it.
#[derive(Debug)]
pub(super) struct RenameCommit {
    pub put: ObjectPut,
    /// What must hold of what the destination holds.
    pub condition: Condition,
    pub from: Vec<u8>,
    pub from_sequence: u64,
    pub events: Vec<EventDraft>,
}

impl<H: Host> Engine<H> {
    /// Moves an object to another key of its bucket, with all that is stored about it, if `condition` holds
    /// of what the destination holds and `source_condition` of the source. Its time becomes that of the
    /// rename. `events` tell of the new key.
    ///
    /// [`EngineError::NoSuchObject`] if the source holds nothing, [`EngineError::Changed`] in a bucket with
    /// versioning, [`EngineError::Busy`] while one of the keys is the source of another rename, and if both
    /// keys are the same.
    pub async fn rename(
        &self,
        bucket: BucketId,
        from: &[u8],
        to: &[u8],
        condition: Condition,
        source_condition: Condition,
        events: Vec<EventDraft>,
    ) -> Result<Committed, EngineError> {
        let (done, result) = crate::base::local::oneshot();
        let (engine, from, to) = (self.clone(), from.to_vec(), to.to_vec());
        // A task of its own: once begun it ends, also if nobody waits for it any more.
        self.host().spawn(async move {
            let begun = engine.rename_begin(bucket, &from, source_condition).await;
            done.send(match begun {
                Ok(source) => engine.rename_on(source, from, to, condition, events).await,
                Err(error) => Err(error),
            });
        });
        result.await.unwrap_or(Err(EngineError::Stopping))
    }

    /// Looks the source up; from now on its owner refuses changes of it.
    async fn rename_begin(
        &self,
        bucket: BucketId,
        from: &[u8],
        condition: Condition,
    ) -> Result<Object<H>, EngineError> {
        let pin = self.inner.readers.pin();
        let request = Request::RenameBegin { bucket, key: from.to_vec(), condition };
        match self.ask(self.owner(bucket, from), request).await? {
            Answer::Object(Looked::Found(put)) => Ok(Object::new(self.clone(), pin, put)),
            other => Err(unexpected(&other)),
        }
    }

    async fn rename_on(
        &self,
        source: Object<H>,
        from: Vec<u8>,
        to: Vec<u8>,
        condition: Condition,
        events: Vec<EventDraft>,
    ) -> Result<Committed, EngineError> {
        let (bucket, from_sequence, to_owner) =
            (source.bucket, source.sequence, self.owner(source.bucket, &to));
        let end = |is_committed| Request::RenameEnd {
            bucket,
            key: from.clone(),
            sequence: from_sequence,
            is_committed,
        };
        let payload = match source.share(0..source.stored_bytes()).await {
            Ok(payload) => payload,
            Err(error) => {
                self.ask(self.owner(bucket, &from), end(false)).await?;
                return Err(error);
            }
        };
        let put = ObjectPut { key: to.clone(), upload: None, payload: payload.stored(), ..(*source).clone() };
        let commit = RenameCommit { put, condition, from: from.clone(), from_sequence, events };
        let request = Request::RenameCommit { commit: Box::new(commit) };
        let (committed, sequence) = match payload.commit(self.ask(to_owner, request)).await {
            Ok(Answer::Renamed(committed, sequence)) => (committed, sequence),
            Ok(other) => return Err(unexpected(&other)),
            // It may have happened: until the next start knows, the source stays as it is.
            Err(error @ (EngineError::Failed(_) | EngineError::Stopping)) => return Err(error),
            Err(error) => {
                self.ask(self.owner(bucket, &from), end(false)).await?;
                return Err(error);
            }
        };
        // The rename has happened: on a drive without any room its end waits for some.
        while let Err(error) = self.ask(self.owner(bucket, &from), end(true)).await {
            match error {
                EngineError::Full => self.check_running()?,
                // Half of it has happened: the next start does the rest.
                EngineError::ReadOnly(why) => return Err(EngineError::Failed(why)),
                error => return Err(error),
            }
            self.host().sleep(ROOM_PAUSE).await;
        }
        let engine = self.clone();
        self.host().spawn(async move {
            if let Err(error) = engine.ask(to_owner, Request::RenameDone { id: (bucket, to, sequence) }).await
            {
                tracing::debug!("the end of a rename was not noted: {error}; recovery will find it");
            }
        });
        Ok(committed)
    }

    pub(super) async fn serve_rename(&self, request: Request) -> Result<Answer, EngineError> {
        match request {
            Request::RenameBegin { bucket, key, condition } => {
                self.serve_rename_begin(bucket, key, &condition).await
            }
            Request::RenameCommit { commit } => self.serve_rename_commit(*commit).await,
            Request::RenameEnd { bucket, key, sequence, is_committed } => {
                self.serve_rename_end(bucket, key, sequence, is_committed).await
            }
            Request::RenameDone { id } => {
                let _lock = self.inner.locks.acquire(hash_of(id.0, &id.1)).await;
                self.inner.log.append(Record::RenameDone { id }, Urgency::Settling).await?;
                Ok(Answer::Done)
            }
            _ => Err(EngineError::Failed("internal error: not a request about a rename".to_string())),
        }
    }

    async fn serve_rename_begin(
        &self,
        bucket: BucketId,
        key: Vec<u8>,
        condition: &Condition,
    ) -> Result<Answer, EngineError> {
        let (_lock, versioning) = self.begin_change(bucket, &key).await?;
        if versioning != Versioning::Unversioned {
            return Err(EngineError::Changed);
        }
        let found = {
            let index = self.inner.index.borrow();
            let current = index.object(bucket, &key);
            Entry::check(current.as_ref(), condition)?;
            current.ok_or(EngineError::NoSuchObject)?.record()
        };
        let put = self.object_record(bucket, &key, found).await?;
        self.inner.renaming.borrow_mut().insert((bucket, key));
        Ok(Answer::Object(Looked::Found(put)))
    }

    async fn serve_rename_commit(&self, commit: RenameCommit) -> Result<Answer, EngineError> {
        let RenameCommit { mut put, condition, from, from_sequence, events } = commit;
        let (_lock, versioning) = self.begin_change(put.bucket, &put.key).await?;
        if versioning != Versioning::Unversioned {
            return Err(EngineError::Changed);
        }
        self.place_version(&mut put, &condition, versioning).await?;
        let (bucket, to, sequence) = (put.bucket, put.key.clone(), put.sequence);
        let growth = self.growth_of_put(&put);
        let committed = Committed::new(put.attributes.etag, sequence, put.version(), versioning);
        let told = Told { bucket, key: &to, change: EventChange::Created, version: None };
        let queued = self.queue_events(told, events);
        let rename = Rename { bucket, to, sequence, from, from_sequence };
        let mut records = vec![Record::ObjectPut(put), Record::RenameCommitted(rename)];
        records.extend(queued);
        self.admit_moved(bucket, growth);
        if let Err(error) = self.inner.log.append_all(records, Urgency::Normal).await {
            self.withdraw_moved(bucket, growth, &error);
            return Err(error);
        }
        Ok(Answer::Renamed(committed, sequence))
    }

    /// Deletes the source of a rename that was committed, if it is still there, and takes changes again.
    async fn serve_rename_end(
        &self,
        bucket: BucketId,
        key: Vec<u8>,
        sequence: u64,
        is_committed: bool,
    ) -> Result<Answer, EngineError> {
        let _lock = self.inner.locks.acquire(hash_of(bucket, &key)).await;
        let moved = {
            let index = self.inner.index.borrow();
            let entry = index.version(bucket, &key, Some(VersionId::Null));
            entry.filter(|entry| entry.sequence == sequence).map(|entry| entry.bytes)
        };
        if let Some(bytes) = moved.filter(|_| is_committed) {
            let record = Record::VersionDeleted { bucket, key: key.clone(), version: VersionId::Null };
            self.begin_leaving(bucket, bytes);
            let deleted = self.inner.log.append(record, Urgency::Settling).await;
            self.end_leaving(bucket, bytes);
            deleted?;
        }
        self.inner.renaming.borrow_mut().remove(&(bucket, key));
        Ok(Answer::Done)
    }

    /// Deletes the sources of renames whose end did not become durable. All cores have read their logs.
    pub(super) async fn settle_renames(&self) -> Result<(), EngineError> {
        let owed: Vec<Rename> = {
            let index = self.inner.index.borrow();
            index.renames.values().map(|(rename, _)| rename.clone()).collect()
        };
        for rename in owed {
            let id = rename.id();
            let Rename { bucket, from, from_sequence, .. } = rename;
            let owner = self.owner(bucket, &from);
            let end = Request::RenameEnd { bucket, key: from, sequence: from_sequence, is_committed: true };
            self.ask(owner, end).await?;
            self.ask(self.me(), Request::RenameDone { id }).await?;
        }
        Ok(())
    }

    /// The same, as soon as the drives have room for it.
    pub(super) fn settle_renames_later(&self) {
        let engine = self.clone();
        self.host().spawn(async move {
            while !engine.inner.stopping.get() && engine.settle_renames().await == Err(EngineError::Full) {
                engine.host().sleep(ROOM_PAUSE).await;
            }
        });
    }
}
