//! What the shard owes others: events that are not delivered, and sources of renames that are not deleted.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::Index;
use crate::engine::events::{Event, EventId, route_of};
use crate::engine::format::Location;
use crate::engine::rename::{Rename, RenameId};

/// The queued events of a shard.
#[derive(Debug, Default)]
pub struct Events {
    entries: BTreeMap<EventId, EventEntry>,
    /// Bytes of their records.
    bytes: u64,
}

/// Where an event stands, and what decides which core owns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventEntry {
    pub route: u64,
    pub location: Location,
}

impl Events {
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn last(&self) -> Option<EventId> {
        self.entries.last_key_value().map(|(id, _)| *id)
    }

    pub fn location(&self, id: EventId) -> Option<Location> {
        self.entries.get(&id).map(|entry| entry.location)
    }

    pub fn route(&self, id: EventId) -> Option<u64> {
        self.entries.get(&id).map(|entry| entry.route)
    }

    pub fn after(&self, after: Option<EventId>) -> impl Iterator<Item = (EventId, EventEntry)> + '_ {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries.range((from, Bound::Unbounded)).map(|(id, entry)| (*id, *entry))
    }
}

impl Index {
    pub(super) fn apply_event(&mut self, event: &Event, location: Location) {
        let route = route_of(event.bucket, &event.key);
        self.set_event(event.id, EventEntry { route, location });
    }

    /// Puts an event in the queue, or at another place of the log.
    pub fn set_event(&mut self, id: EventId, entry: EventEntry) {
        self.account(entry.location);
        self.events.bytes += u64::from(entry.location.length);
        let old = self.events.entries.insert(id, entry);
        self.forget_event(old);
    }

    pub(super) fn apply_event_done(&mut self, id: EventId) {
        let old = self.events.entries.remove(&id);
        self.forget_event(old);
    }

    fn forget_event(&mut self, old: Option<EventEntry>) {
        if let Some(EventEntry { location, .. }) = old {
            self.events.bytes -= u64::from(location.length);
            self.forget(location);
        }
    }

    /// Notes that the source of a rename must be deleted.
    pub fn set_rename(&mut self, rename: Rename, location: Location) {
        self.account(location);
        if let Some((_, old)) = self.renames.insert(rename.id(), (rename, location)) {
            self.forget(old);
        }
    }

    pub(super) fn apply_rename_done(&mut self, id: &RenameId) {
        if let Some((_, old)) = self.renames.remove(id) {
            self.forget(old);
        }
    }
}
