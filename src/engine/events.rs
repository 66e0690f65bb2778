//! The queue of events: what somebody is to be told of changes. An event becomes durable in the same batch of
//! the log as its change, so a change that was acknowledged has its event after any crash, until whoever
//! delivers events says that it is done. The engine gives their bodies no meaning.
//!
//! Each core has the events of the keys that it owns. The queue is bounded; when it is full, changes go on
//! and their events are dropped and counted.

use std::cell::Cell;
use std::future::Future;

use bytes::Bytes;

use super::format::record::Record;
use super::log::Urgency;
use super::types::{BucketId, EngineError};
use super::version::{SEQUENCE_COUNTER_BITS, VersionId, modified_of};
use super::{Engine, hash_of};
use crate::base::limits::{
    EVENT_BODY_BYTES_MAX, EVENTS_DONE_TOGETHER_MAX, EVENTS_PER_CHANGE_MAX, EVENTS_PER_CORE_MAX,
};
use crate::base::local::Signal;
use crate::io::{Host, TimestampMs};

/// What is to be told of a change if it happens: one for each who is to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventDraft {
    /// At most [`EVENT_BODY_BYTES_MAX`].
    pub body: Vec<u8>,
}

/// What a change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EventChange {
    /// A version was made.
    Created = 1,
    /// What is stored about a version changed.
    Updated = 2,
    /// A version or a delete marker was removed for good.
    Removed = 3,
    /// What was current was hidden behind a delete marker.
    MarkerCreated = 4,
}

impl EventChange {
    /// Reads the number on disk.
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Created, Self::Updated, Self::Removed, Self::MarkerCreated]
            .into_iter()
            .find(|it| *it as u8 == code)
    }
}

/// Names an event over its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// Orders the events of a key: its milliseconds above a counter, as in [`modified_of`].
    pub sequence: u64,
    /// Random: two cores may queue in the same moment.
    pub unique: u64,
}

impl EventId {
    /// When the change was made.
    pub fn time(&self) -> TimestampMs {
        modified_of(self.sequence)
    }
}

/// A queued event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub id: EventId,
    pub bucket: BucketId,
    pub key: Vec<u8>,
    pub change: EventChange,
    /// The version that the change is about; none in a bucket that never had versioning.
    pub version: Option<VersionId>,
    /// The draft's.
    pub body: Bytes,
}

/// What a change did, for the events that tell of it.
pub(super) struct Told<'a> {
    pub bucket: BucketId,
    pub key: &'a [u8],
    pub change: EventChange,
    pub version: Option<VersionId>,
}

/// What a core knows of its queue beside the index.
#[derive(Default)]
pub(super) struct Queue {
    /// The last sequence given.
    last: Cell<u64>,
    dropped: Cell<u64>,
    /// Raised when an event was queued.
    pub queued: Signal,
}

/// Ids are random: that makes the name of their lock.
pub(super) fn lock_of_event(id: EventId) -> u64 {
    id.unique
}

impl<H: Host> Engine<H> {
    /// Events of this core that are not done, oldest first: those after `after`, at most `count_max`.
    pub fn events_due(&self, after: Option<EventId>, count_max: usize) -> Vec<EventId> {
        self.inner.index.borrow().events.after(after).take(count_max).map(|(id, _)| id).collect()
    }

    /// Events of this core that are not done.
    pub fn events_count(&self) -> usize {
        self.inner.index.borrow().events.count()
    }

    /// Events that this core dropped since its start, because its queue was full or a body too long.
    pub fn events_dropped(&self) -> u64 {
        self.inner.events.dropped.get()
    }

    /// Ends when this core has queued an event after this call.
    pub fn event_queued(&self) -> impl Future<Output = ()> + 'static {
        self.inner.events.queued.wait()
    }

    /// An event of this core; `None` if it is done.
    pub async fn event(&self, id: EventId) -> Result<Option<Event>, EngineError> {
        let _pin = self.inner.readers.pin();
        let Some(location) = self.inner.index.borrow().events.location(id) else { return Ok(None) };
        match self.read_record(location).await? {
            Ok(Record::EventQueued(event)) if event.id == id => Ok(Some(event)),
            Ok(_) => {
                let flaw = super::shard::flaw_at(location, "it is another record");
                Err(self.record_damage(location, flaw, Vec::new()))
            }
            Err(flaw) => Err(self.record_damage(location, flaw, Vec::new())),
        }
    }

    /// Takes events of this core off the queue; when it returns, they do not come back. Those that are not
    /// there are ignored.
    pub async fn events_done(&self, ids: &[EventId]) -> Result<(), EngineError> {
        let mut ids = ids.to_vec();
        // In one order, so that nobody waits in a circle for the locks.
        ids.sort_unstable_by_key(|id| lock_of_event(*id));
        ids.dedup();
        for ids in ids.chunks(EVENTS_DONE_TOGETHER_MAX) {
            let mut locks = Vec::with_capacity(ids.len());
            for id in ids {
                locks.push(self.inner.locks.acquire(lock_of_event(*id)).await);
            }
            let records: Vec<Record> = {
                let index = self.inner.index.borrow();
                let route = |id: &EventId| index.events.route(*id).map(|route| (*id, route));
                ids.iter().filter_map(route).map(|(id, route)| Record::EventDone { id, route }).collect()
            };
            if !records.is_empty() {
                self.inner.log.append_all(records, Urgency::Reclaiming).await?;
            }
        }
        Ok(())
    }

    /// Appends the record of a change together with the events that tell of it, as far as the queue has room
    /// for them.
    pub(super) async fn append_telling(
        &self,
        record: Record,
        told: Told<'_>,
        events: Vec<EventDraft>,
        urgency: Urgency,
    ) -> Result<(), EngineError> {
        if events.is_empty() {
            return self.inner.log.append(record, urgency).await;
        }
        let mut records = vec![record];
        records.extend(self.queue_events(told, events));
        self.inner.log.append_all(records, urgency).await
    }

    /// The records that queue events. Changes under way may bring the queue a few events above its bounds.
    pub(super) fn queue_events(&self, told: Told<'_>, events: Vec<EventDraft>) -> Vec<Record> {
        let (mut count, mut bytes) = {
            let index = self.inner.index.borrow();
            (index.events.count(), index.events.bytes())
        };
        // The log must go on holding more than events.
        let bytes_max = self.inner.options.log_segment_bytes;
        let mut records = Vec::new();
        for EventDraft { body } in events {
            count += 1;
            bytes += body.len() as u64;
            let fits = count <= EVENTS_PER_CORE_MAX
                && bytes <= bytes_max
                && body.len() <= EVENT_BODY_BYTES_MAX
                && records.len() < EVENTS_PER_CHANGE_MAX;
            if fits {
                records.push(Record::EventQueued(Event {
                    id: self.next_event_id(),
                    bucket: told.bucket,
                    key: told.key.to_vec(),
                    change: told.change,
                    version: told.version,
                    body: body.into(),
                }));
            } else {
                self.drop_event();
            }
        }
        records
    }

    fn next_event_id(&self) -> EventId {
        let queue = &self.inner.events;
        let queued_last = self.inner.index.borrow().events.last().map_or(0, |id| id.sequence);
        let now = self.host().now() << SEQUENCE_COUNTER_BITS;
        let sequence = now.max(queued_last + 1).max(queue.last.get() + 1);
        queue.last.set(sequence);
        let mut unique = [0; 8];
        self.host().random(&mut unique);
        EventId { sequence, unique: u64::from_le_bytes(unique) }
    }

    fn drop_event(&self) {
        let dropped = self.inner.events.dropped.get() + 1;
        self.inner.events.dropped.set(dropped);
        // Seldom enough not to flood the log.
        if dropped.is_power_of_two() {
            tracing::warn!("the queue of events is full: {dropped} dropped since the start");
        }
    }
}

/// What routes an event to the core that owns its key, without the key.
pub(super) fn route_of(bucket: BucketId, key: &[u8]) -> u64 {
    hash_of(bucket, key)
}
