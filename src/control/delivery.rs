//! Takes events to webhooks: some threads for each target, each in order, each event until it is accepted.
//!
//! Only the configuration file makes targets; no request can name a URL, and redirects are not followed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::post::{self, Outcome};
use crate::base::limits::{
    EVENT_REFUSED_MS_MAX, EVENT_RETRY_MS_MAX, EVENT_RETRY_MS_MIN, EVENTS_UNDER_WAY_PER_CORE_MAX,
    WEBHOOK_CONNECTIONS_MAX,
};
use crate::engine::EventId;
use crate::s3::notification::{Admission, Courier, Settled};
use crate::s3::notification_target::NotificationTarget;

/// Where a core learns what has become of its events.
pub struct Mailbox {
    settled: Mutex<Vec<Settled>>,
    has_news: AtomicBool,
    /// Wakes the core.
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Mailbox {
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        let has_news = AtomicBool::new(false);
        Arc::new(Self { settled: Mutex::default(), has_news, wake: Box::new(wake) })
    }

    /// Whether something has arrived since it was last emptied: cheap enough to ask at every wake.
    pub fn has_news(&self) -> bool {
        self.has_news.load(Ordering::Acquire)
    }

    /// Also what is no event makes room for others when it is done, of which the core wants to hear.
    fn put(&self, settled: Option<Settled>) {
        self.settled.lock().expect("no holder of this lock panics").extend(settled);
        self.has_news.store(true, Ordering::Release);
        (self.wake)();
    }

    fn take(&self) -> Vec<Settled> {
        // Before taking: what arrives in between is seen now or has news again.
        self.has_news.store(false, Ordering::Release);
        std::mem::take(&mut *self.settled.lock().expect("no holder of this lock panics"))
    }
}

/// A message on its way.
struct Parcel {
    message: Vec<u8>,
    event: Option<EventId>,
    /// Of the core that wants to know what becomes of it.
    sender: Arc<Mailbox>,
}

/// The targets of the node; clones share them.
#[derive(Clone)]
pub struct Webhooks {
    targets: Arc<HashMap<String, Webhook>>,
}

/// A target with its threads.
struct Webhook {
    /// One channel for each thread. A core always uses the same one, so that its events stay in order.
    lanes: Vec<SyncSender<Parcel>>,
    waiting: AtomicUsize,
    waiting_max: usize,
}

impl Webhooks {
    /// Starts the threads.
    pub fn start(targets: &[NotificationTarget], cores: usize) -> std::io::Result<Self> {
        let mut webhooks = HashMap::new();
        for target in targets {
            let mut lanes = Vec::new();
            for number in 0..cores.min(WEBHOOK_CONNECTIONS_MAX) {
                // Room for all that the cores of this thread have under way, and for some test events.
                let cores_of_lane = cores.div_ceil(WEBHOOK_CONNECTIONS_MAX);
                let (lane, parcels) = sync_channel((cores_of_lane + 1) * EVENTS_UNDER_WAY_PER_CORE_MAX);
                let target = target.clone();
                let thread = thread::Builder::new().name(format!("hook-{number}-{}", target.name));
                thread.spawn(move || carry(&target, &parcels))?;
                lanes.push(lane);
            }
            let webhook = Webhook { lanes, waiting: AtomicUsize::new(0), waiting_max: target.queue_max };
            webhooks.insert(target.arn.clone(), webhook);
        }
        Ok(Self { targets: Arc::new(webhooks) })
    }

    /// The targets as one core uses them.
    pub fn courier(&self, core: usize, mailbox: Arc<Mailbox>) -> CoreCourier {
        CoreCourier { webhooks: self.clone(), core, mailbox }
    }
}

/// The targets, with the mailbox of the core that offers events.
pub struct CoreCourier {
    webhooks: Webhooks,
    core: usize,
    mailbox: Arc<Mailbox>,
}

impl Courier for CoreCourier {
    fn admit(&self, target: &str) -> Admission {
        let Some(webhook) = self.webhooks.targets.get(target) else { return Admission::Unknown };
        let next = |waiting| (waiting < webhook.waiting_max).then_some(waiting + 1);
        match webhook.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(_) => Admission::Admitted,
            Err(_) => Admission::Full,
        }
    }

    fn dismiss(&self, target: &str) {
        if let Some(webhook) = self.webhooks.targets.get(target) {
            webhook.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn offer(&self, target: &str, event: Option<EventId>, message: Vec<u8>) -> bool {
        let Some(webhook) = self.webhooks.targets.get(target) else { return false };
        let parcel = Parcel { message, event, sender: self.mailbox.clone() };
        webhook.lanes[self.core % webhook.lanes.len()].try_send(parcel).is_ok()
    }

    fn settled(&self) -> Vec<Settled> {
        self.mailbox.take()
    }
}

/// Delivers what comes, one after another.
fn carry(target: &NotificationTarget, parcels: &Receiver<Parcel>) {
    let agent = post::agent();
    while let Ok(parcel) = parcels.recv() {
        let is_accepted = deliver(&agent, target, &parcel.message);
        parcel.sender.put(parcel.event.map(|event| Settled { event, is_accepted }));
    }
}

/// Tries until the target accepts the message, however long it is gone; but one that it refuses must not hold
/// back those behind it for ever.
#[expect(clippy::disallowed_methods, reason = "a thread of its own, outside of cores and simulations")]
fn deliver(agent: &ureq::Agent, target: &NotificationTarget, message: &[u8]) -> bool {
    let mut pause = Duration::from_millis(EVENT_RETRY_MS_MIN);
    let mut refused_since = None;
    for attempt in 1_u64.. {
        match post::post(agent, &target.url, target.token.as_ref(), "application/json", message) {
            Outcome::Accepted => {
                if attempt > 1 {
                    tracing::info!(webhook = target.name, "delivered at attempt {attempt}");
                }
                return true;
            }
            Outcome::Refused(status) => {
                let since = *refused_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= Duration::from_millis(EVENT_REFUSED_MS_MAX) {
                    tracing::error!(webhook = target.name, "gave an event up that is refused with {status}");
                    return false;
                }
                complain(target, attempt, &format!("it answers {status}"));
            }
            Outcome::Failed(why) => {
                refused_since = None;
                complain(target, attempt, &why);
            }
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(EVENT_RETRY_MS_MAX));
    }
    false
}

/// Seldom enough not to flood the log.
fn complain(target: &NotificationTarget, attempt: u64, why: &str) {
    if attempt.is_power_of_two() {
        tracing::warn!(webhook = target.name, attempt, "an event is not delivered yet: {why}");
    }
}
