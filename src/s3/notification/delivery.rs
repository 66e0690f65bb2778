//! The task of each core that brings queued events to their targets.
//!
//! The queue is the engine's and survives whatever happens; here is only what it takes to go through it in
//! order: which events wait for which target, by their ids. Targets do not wait for each other. A target's events
//! of one core arrive in the order of their changes, and so do all events of a key, since one core owns it.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use super::event::Draft;
use super::{Admission, Courier};
use crate::base::limits::{EVENT_RETRY_MS_MAX, EVENTS_COLLECTED_TOGETHER_MAX, EVENTS_UNDER_WAY_PER_CORE_MAX};
use crate::base::local::Signal;
use crate::engine::{Engine, EngineError, Event, EventId};
use crate::io::Host;

/// Delivers events until the node ends and those under way are settled. `work` is to be raised when the courier
/// has settled something, and when `is_ending` may have changed.
pub async fn run<H: Host>(
    engine: Engine<H>,
    courier: Rc<dyn Courier>,
    work: Signal,
    is_ending: impl Fn() -> bool,
) {
    let host = engine.host().clone();
    host.spawn(watch(engine.clone(), work.clone()));
    let mut delivery = Delivery::new(engine, courier);
    loop {
        // Asked for before looking, so that nothing falls in between.
        let more = work.wait();
        match delivery.step(is_ending()).await {
            Ok(true) | Err(EngineError::Stopping) => return,
            Ok(false) => more.await,
            Err(error) => {
                tracing::error!("events wait: {error}");
                host.sleep(Duration::from_millis(EVENT_RETRY_MS_MAX)).await;
            }
        }
    }
}

/// Raises `work` whenever an event was queued.
async fn watch<H: Host>(engine: Engine<H>, work: Signal) {
    loop {
        let queued = engine.event_queued();
        work.raise();
        queued.await;
    }
}

struct Delivery<H: Host> {
    engine: Engine<H>,
    courier: Rc<dyn Courier>,
    lanes: HashMap<Rc<str>, Lane>,
    /// All events of the engine's queue that were looked at.
    known: HashMap<EventId, Known>,
    /// The engine's queue was looked at up to this one.
    after: Option<EventId>,
    /// What can be taken off the engine's queue.
    finished: Vec<EventId>,
    dropped: u64,
}

/// What waits for one target.
#[derive(Default)]
struct Lane {
    waiting: VecDeque<EventId>,
    under_way: usize,
}

struct Known {
    target: Rc<str>,
    /// Whether the courier counts it as waiting.
    is_admitted: bool,
}

impl<H: Host> Delivery<H> {
    fn new(engine: Engine<H>, courier: Rc<dyn Courier>) -> Self {
        Self {
            engine,
            courier,
            lanes: HashMap::new(),
            known: HashMap::new(),
            after: None,
            finished: Vec::new(),
            dropped: 0,
        }
    }

    /// Goes on as far as possible now. Whether all is done: nothing more is begun at the end.
    async fn step(&mut self, is_ending: bool) -> Result<bool, EngineError> {
        for settled in self.courier.settled() {
            let Some(known) = self.known.get(&settled.event) else { continue };
            if let Some(lane) = self.lanes.get_mut(&known.target) {
                lane.under_way -= 1;
            }
            if !settled.is_accepted {
                self.drop_event("its target refused it too long");
            }
            self.finished.push(settled.event);
        }
        self.forget_finished().await?;
        if is_ending {
            return Ok(self.lanes.values().all(|lane| lane.under_way == 0));
        }
        self.collect().await?;
        let targets: Vec<Rc<str>> = self.lanes.keys().cloned().collect();
        for target in targets {
            self.advance(&target).await?;
        }
        self.forget_finished().await?;
        Ok(false)
    }

    /// Takes what is finished off the engine's queue.
    async fn forget_finished(&mut self) -> Result<(), EngineError> {
        if self.finished.is_empty() {
            return Ok(());
        }
        self.engine.events_done(&self.finished).await?;
        for event in self.finished.drain(..) {
            if let Some(known) = self.known.remove(&event)
                && known.is_admitted
            {
                self.courier.dismiss(&known.target);
            }
        }
        Ok(())
    }

    /// Looks at what is new in the engine's queue.
    async fn collect(&mut self) -> Result<(), EngineError> {
        loop {
            let ids = self.engine.events_due(self.after, EVENTS_COLLECTED_TOGETHER_MAX);
            if ids.is_empty() {
                // Changes under way at the same time may become durable in another order than they got ids.
                if self.after.is_none() || self.engine.events_count() <= self.known.len() {
                    return Ok(());
                }
                self.after = None;
            }
            for id in ids {
                if !self.known.contains_key(&id) {
                    self.take_in(id).await?;
                }
                self.after = Some(id);
            }
            self.engine.host().yield_now().await;
        }
    }

    async fn take_in(&mut self, id: EventId) -> Result<(), EngineError> {
        let Some((event, draft)) = self.read(id).await? else {
            self.known.insert(id, Known { target: Rc::from(""), is_admitted: false });
            self.finished.push(id);
            return Ok(());
        };
        let target: Rc<str> = match self.lanes.get_key_value(draft.target.as_str()) {
            Some((target, _)) => target.clone(),
            None => Rc::from(draft.target.as_str()),
        };
        let admission = self.courier.admit(&target);
        let is_admitted = admission == Admission::Admitted;
        self.known.insert(id, Known { target: target.clone(), is_admitted });
        match admission {
            Admission::Full => self.drop_event("as many wait for its target as may"),
            Admission::Unknown => self.drop_event("no such target is declared any more"),
            Admission::Admitted => {
                let lane = self.lanes.entry(target.clone()).or_default();
                if !lane.waiting.is_empty() || !lane.offer(&*self.courier, &target, &event, &draft) {
                    lane.waiting.push_back(id);
                }
                return Ok(());
            }
        }
        self.finished.push(id);
        Ok(())
    }

    /// Offers what waits for a target, as long as it takes it.
    async fn advance(&mut self, target: &Rc<str>) -> Result<(), EngineError> {
        loop {
            let Some(lane) = self.lanes.get(target).filter(|lane| lane.has_room()) else { return Ok(()) };
            let Some(id) = lane.waiting.front().copied() else { return Ok(()) };
            let read = self.read(id).await?;
            let lane = self.lanes.get_mut(target).expect("lanes stay");
            match read {
                Some((event, draft)) if !lane.offer(&*self.courier, target, &event, &draft) => return Ok(()),
                Some(_) => {}
                None => self.finished.push(id),
            }
            lane.waiting.pop_front();
        }
    }

    /// An event and what it says; `None` if there is nothing to deliver.
    async fn read(&mut self, id: EventId) -> Result<Option<(Event, Draft)>, EngineError> {
        let event = match self.engine.event(id).await {
            Ok(event) => event,
            Err(EngineError::Corrupt(what)) => {
                self.drop_event(&what);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let Some(event) = event else { return Ok(None) };
        let Some(draft) = Draft::decode(&event.body) else {
            self.drop_event("it cannot be read");
            return Ok(None);
        };
        Ok(Some((event, draft)))
    }

    /// Counts an event that nobody will be told of, and says so: seldom enough not to flood the log.
    fn drop_event(&mut self, why: &str) {
        self.dropped += 1;
        if self.dropped.is_power_of_two() {
            tracing::warn!(
                "an event is dropped: {why}; {} dropped by this core since the start",
                self.dropped
            );
        }
    }
}

impl Lane {
    fn has_room(&self) -> bool {
        self.under_way < EVENTS_UNDER_WAY_PER_CORE_MAX
    }

    fn offer(&mut self, courier: &dyn Courier, target: &str, event: &Event, draft: &Draft) -> bool {
        let taken = self.has_room() && courier.offer(target, Some(event.id), draft.message(event));
        self.under_way += usize::from(taken);
        taken
    }
}
