//! What a core has counted, gathered from its layers, and how cores ask each other for it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::core::{Answer, Connection, Question};
use super::mesh::Exchange;
use super::placement::Loads;
use super::service::Counted;
use crate::base::instruments::Durations;
use crate::control::audit::{self, CoreAudit};
use crate::control::logging::Log;
use crate::control::metrics::{CoreAnswer, CoreCounts, Cores};
use crate::engine::{BucketId, Engine};
use crate::io::Host;
use crate::net::Connections;
use crate::ring::{RingDisk, RingHost};
use crate::s3::S3Service;
use crate::s3::journal::Journal;

/// Pause between looks at how long the core's tasks wait for their turn.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// The runtime's timers may be late by so much on a core that does nothing.
const TIMER_PRECISION: Duration = Duration::from_millis(1);

/// Everything of a core that counts something.
pub struct Counts {
    pub core: usize,
    pub host: RingHost,
    pub engine: Engine<RingHost>,
    pub service: Rc<Counted<S3Service<RingHost>, RingHost>>,
    pub connections: Connections,
    pub exchange: Exchange<Question, Answer, Connection>,
    pub loads: Arc<Loads>,
    /// From accepting a connection until the core that serves it has it.
    pub accepting: Durations,
    pub loop_delay: Durations,
    pub audit: Option<Rc<CoreAudit>>,
    pub log: Log,
}

impl Counts {
    /// A copy of all of it, with what the core owns of `buckets`.
    pub fn snapshot(&self, buckets: &[BucketId]) -> CoreCounts {
        let service = &self.service.service;
        let (operations, operations_waiting) = self.host.operations();
        let (calls, calls_waiting) = self.exchange.calls();
        CoreCounts {
            engine: self.engine.counts(buckets),
            requests: service.meters().requests(),
            errors: service.meters().errors(),
            connections: self.connections.counts(),
            connections_open: self.loads.connections(self.core),
            requests_in_flight: self.loads.requests(self.core),
            accepting: self.accepting.snapshot(),
            hashing: service.batcher().hashing(),
            hashing_waiting: service.batcher().waiting(),
            buffers: self.host.pool().usage(),
            cpu_time: self.host.cpu_time(),
            loop_delay: self.loop_delay.snapshot(),
            operations,
            operations_waiting,
            drives: self.host.disks().iter().map(RingDisk::counts).collect(),
            calls,
            calls_waiting,
            audit: audit::counts(self.audit.as_ref()),
            slow_requests: service.journal().map_or(0, Journal::slow),
            lines_missing: self.log.lines_missing(),
        }
    }

    /// Looks again and again how long a task that can run waits for its turn.
    pub async fn watch_loop(&self) {
        loop {
            let due = self.host.monotonic() + LOOK_PAUSE + TIMER_PRECISION;
            self.host.sleep(LOOK_PAUSE).await;
            let woken = self.host.monotonic();
            self.host.yield_now().await;
            let turn = self.host.monotonic().saturating_sub(woken);
            self.loop_delay.observe_duration(woken.saturating_sub(due) + turn);
        }
    }
}

impl Cores for Rc<Counts> {
    fn ask(&self, core: usize, buckets: Arc<[BucketId]>) -> CoreAnswer {
        let counts = self.clone();
        Box::pin(async move {
            if core == counts.core {
                return Some(Box::new(counts.snapshot(&buckets)));
            }
            match counts.exchange.call(core, Question::Counts(buckets)).await {
                Answer::Counts(counts) => Some(counts),
                Answer::Engine(_) => None,
            }
        })
    }
}
