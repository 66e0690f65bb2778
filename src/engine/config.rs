//! The configuration of the node: named entries that core 0 keeps in its log and every core has in memory.
//! A change is acknowledged when every core uses it. The engine gives the entries no meaning.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use super::format::record::Record;
use super::log::Urgency;
use super::message::{Answer, Request};
use super::types::EngineError;
use super::{Engine, unexpected};
use crate::base::limits::{
    CONFIG_BYTES_MAX, CONFIG_CHANGE_BYTES_MAX, CONFIG_ENTRIES_MAX, CONFIG_NAME_BYTES_MAX,
    CONFIG_VALUE_BYTES_MAX,
};
use crate::io::Host;

/// The configuration as a core uses it: an immutable state, replaced as a whole by the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Differs from the one before on this core whenever the entries do. Not the same on every core, nor
    /// after a restart.
    pub revision: u64,
    pub entries: BTreeMap<String, Arc<[u8]>>,
}

/// A change of several entries at once: wholly made or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigChange {
    /// New values by name; `None` removes an entry.
    pub entries: BTreeMap<String, Option<Vec<u8>>>,
    /// Values that entries must have for the change to happen; `None`: the entry is not there.
    pub expected: BTreeMap<String, Option<Vec<u8>>>,
}

impl ConfigChange {
    /// Changes that give entries new values, each small enough to be made as a whole.
    pub fn split(entries: impl IntoIterator<Item = (String, Vec<u8>)>) -> Vec<Self> {
        let mut changes: Vec<Self> = Vec::new();
        let mut bytes = usize::MAX;
        for (name, value) in entries {
            let more = bytes_of(&name, &value);
            if bytes.saturating_add(more) > CONFIG_CHANGE_BYTES_MAX {
                changes.push(Self::default());
                bytes = 0;
            }
            bytes += more;
            if let Some(last) = changes.last_mut() {
                last.entries.insert(name, Some(value));
            }
        }
        changes
    }
}

/// New values of entries, as they go from core 0 to the others, which share the memory.
pub(super) type ConfigEntries = Arc<Vec<(String, Option<Arc<[u8]>>)>>;

/// The configuration in use on a core.
#[derive(Default)]
pub(super) struct Table {
    current: RefCell<Rc<Config>>,
}

impl Table {
    pub fn current(&self) -> Rc<Config> {
        self.current.borrow().clone()
    }

    /// Makes the next configuration of the current one.
    pub fn apply(&self, entries: &ConfigEntries) {
        let mut current = self.current.borrow_mut();
        let next = Rc::make_mut(&mut current);
        next.revision += 1;
        for (name, value) in entries.iter() {
            match value {
                Some(value) => drop(next.entries.insert(name.clone(), value.clone())),
                None => drop(next.entries.remove(name)),
            }
        }
    }
}

/// The lock that serialises changes of the configuration, beside [`super::buckets::TABLE_LOCK`].
pub(super) const CONFIG_LOCK: u64 = 1;

/// Bytes that an entry takes beside its name and value, in the log and in memory: about.
const ENTRY_OVERHEAD_BYTES: usize = 64;

impl<H: Host> Engine<H> {
    /// The configuration, from this core's memory.
    pub fn config(&self) -> Rc<Config> {
        self.inner.config.current()
    }

    /// Sets one entry of the configuration, or removes it; when it returns, every core uses it.
    pub async fn set_config(&self, name: &str, value: Option<Vec<u8>>) -> Result<(), EngineError> {
        let entries = [(name.to_string(), value)].into();
        self.change_config(ConfigChange { entries, ..ConfigChange::default() }).await
    }

    /// Changes entries of the configuration if what `change` expects holds, else [`EngineError::Changed`];
    /// when it returns, every core uses them.
    pub async fn change_config(&self, change: ConfigChange) -> Result<(), EngineError> {
        match self.ask(0, Request::ConfigChange { change: Box::new(change) }).await? {
            Answer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn serve_config(&self, request: Request) -> Result<Answer, EngineError> {
        match request {
            Request::ConfigChange { change } => self.serve_config_change(*change).await,
            Request::ConfigApply { entries } => {
                self.inner.config.apply(&entries);
                Ok(Answer::Done)
            }
            Request::ConfigTable => {
                while !self.inner.checkpoint.index_ready() {
                    self.inner.recovered_signal.wait().await;
                }
                let index = self.inner.index.borrow();
                let entries = index.config.iter();
                let entries = entries.map(|(name, (value, _))| (name.clone(), Some(value.clone())));
                Ok(Answer::Config(Arc::new(entries.collect())))
            }
            _ => {
                Err(EngineError::Failed("internal error: not a request about the configuration".to_string()))
            }
        }
    }

    async fn serve_config_change(&self, change: ConfigChange) -> Result<Answer, EngineError> {
        self.check_running()?;
        let _lock = self.inner.locks.acquire(CONFIG_LOCK).await;
        let current = self.config();
        let is_as_expected = |(name, value): (&String, &Option<Vec<u8>>)| {
            current.entries.get(name).map(|value| &**value) == value.as_deref()
        };
        if !change.expected.iter().all(is_as_expected) {
            return Err(EngineError::Changed);
        }
        let changed = change.entries.into_iter().filter(|entry| !is_as_expected((&entry.0, &entry.1)));
        let changed: Vec<_> = changed.map(|(name, value)| (name, value.map(Arc::from))).collect();
        if changed.is_empty() {
            return Ok(Answer::Done);
        }
        check_limits(&current, &changed)?;
        let record = |(name, value): &(String, Option<Arc<[u8]>>)| match value {
            Some(value) => Record::ConfigPut { name: name.clone(), value: value.clone() },
            None => Record::ConfigDeleted { name: name.clone() },
        };
        // It is bounded, and a key must be revocable while the drive is full.
        self.inner.log.append_all(changed.iter().map(record).collect(), Urgency::Reclaiming).await?;
        let entries = Arc::new(changed);
        for answer in self.ask_all(|| Request::ConfigApply { entries: entries.clone() }).await {
            answer?;
        }
        Ok(Answer::Done)
    }
}

/// Bytes that an entry counts with.
fn bytes_of(name: &str, value: &[u8]) -> usize {
    name.len() + value.len() + ENTRY_OVERHEAD_BYTES
}

/// Refuses a change that would exceed what the configuration may be.
fn check_limits(current: &Config, changed: &[(String, Option<Arc<[u8]>>)]) -> Result<(), EngineError> {
    let mut change_bytes = 0;
    let mut entries = current.entries.len();
    let mut bytes: usize = current.entries.iter().map(|(name, value)| bytes_of(name, value)).sum();
    for (name, value) in changed {
        let (old, new) = (current.entries.get(name), value.as_ref());
        if name.is_empty() || name.len() > CONFIG_NAME_BYTES_MAX {
            return Err(EngineError::LimitExceeded("512 bytes of an entry's name, and no less than one"));
        }
        if new.is_some_and(|new| new.len() > CONFIG_VALUE_BYTES_MAX) {
            return Err(EngineError::LimitExceeded("256 KiB of an entry's value"));
        }
        change_bytes += bytes_of(name, new.map_or(&[], |new| new));
        entries = entries + usize::from(new.is_some()) - usize::from(old.is_some());
        bytes = bytes + new.map_or(0, |new| bytes_of(name, new)) - old.map_or(0, |old| bytes_of(name, old));
    }
    if change_bytes > CONFIG_CHANGE_BYTES_MAX {
        return Err(EngineError::LimitExceeded("1 MiB in one change of the configuration"));
    }
    // What makes it smaller is never refused.
    if entries > CONFIG_ENTRIES_MAX && entries > current.entries.len() {
        return Err(EngineError::LimitExceeded("65,536 entries of the configuration"));
    }
    if bytes > CONFIG_BYTES_MAX && changed.iter().any(|(_, new)| new.is_some()) {
        return Err(EngineError::LimitExceeded("64 MiB of configuration"));
    }
    Ok(())
}
