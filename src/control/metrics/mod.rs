//! What the node counts, for Prometheus: `GET /metrics` of the admin listener, without a signature. Whoever asks
//! needs the token of `--metrics-token-file`, if the node has one.
//!
//! Each core counts in memory of its own and copies it when it is asked; the text is made from the copies, on
//! the core that was asked, in steps between which it does other things. So a scrape stalls nobody. A core that
//! does not answer in time has `ringcask_core_up` 0 and no series of its own; sums over cores go on with what it
//! answered last, so that no counter ever falls.
//!
//! `docs/METRICS.md` lists all series. [`families`] is the table that they come from, [`text`] the format, which
//! is small enough that a library would take more lines to be fed than it saves.

pub mod families;
pub mod text;

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use subtle::ConstantTimeEq;

use crate::base::instruments::Distribution;
use crate::base::limits::{HEALTH_ANSWER_MS_MAX, METRICS_BUCKETS_MAX};
use crate::base::local::each_within;
use crate::base::secret::Secret;
use crate::control::audit::AuditCounts;
use crate::control::health::is_read;
use crate::control::logging::LinesMissing;
use crate::control::tls::{InUse, Tls};
use crate::engine::{Bucket, BucketId, Engine, EngineCounts};
use crate::http::{Head, Response, ResponseBody};
use crate::io::{BufferUsage, Host, TimestampMs};
use crate::net::ConnectionCounts;
use crate::ring::meters::OperationCounts;
use crate::s3::error::Code;
use crate::s3::meters::RequestCounts;

use families::FAMILIES;
use text::Samples;

/// Where metrics are asked for: Prometheus's own path, and those that a scrape of MinIO asks.
const PATHS: [&str; 3] = ["/metrics", "/minio/v2/metrics/cluster", "/minio/v2/metrics/node"];

/// Prometheus, "Exposition formats": the text-based format.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// With what the credentials of a scrape begin.
const BEARER: &[u8] = b"Bearer ";

/// Whether a request asks for metrics.
pub fn is_asked_by(head: &Head) -> bool {
    is_read(head) && PATHS.contains(&head.path.as_str())
}

/// One core at one moment. Distributions of durations are in nanoseconds.
#[derive(Clone, Debug)]
pub struct CoreCounts {
    pub engine: EngineCounts,
    pub requests: Vec<RequestCounts>,
    pub errors: Vec<(Code, u64)>,
    pub connections: ConnectionCounts,
    /// Of the S3 listener, open or on their way to this core.
    pub connections_open: usize,
    pub requests_in_flight: usize,
    /// From accepting a connection until the core that serves it has it.
    pub accepting: Distribution,
    pub hashing: Distribution,
    /// Streams whose bytes wait to be hashed.
    pub hashing_waiting: usize,
    /// Small ones first.
    pub buffers: [BufferUsage; 2],
    /// Of the core's thread.
    pub cpu_time: Duration,
    /// How long tasks that could run waited for their turn.
    pub loop_delay: Distribution,
    /// Operations of the storage ring under way.
    pub operations: usize,
    pub operations_waiting: usize,
    /// The core's operations on each drive.
    pub drives: Vec<Vec<OperationCounts>>,
    /// Calls to other cores under way.
    pub calls: usize,
    pub calls_waiting: usize,
    /// Of the access log.
    pub audit: Vec<AuditCounts>,
    /// Requests that took longer than the setting says.
    pub slow_requests: u64,
    /// Of the process, not of the core.
    pub lines_missing: LinesMissing,
}

/// What a core's answer to a scrape is awaited with; `None` if it cannot be asked.
pub type CoreAnswer = Pin<Box<dyn Future<Output = Option<Box<CoreCounts>>>>>;

/// Reaches the cores of the node.
pub trait Cores {
    /// Asks a core for what it has counted, and for what it owns of these buckets.
    fn ask(&self, core: usize, buckets: Arc<[BucketId]>) -> CoreAnswer;
}

/// Answers scrapes.
pub struct Metrics<H: Host> {
    engine: Engine<H>,
    cores: Box<dyn Cores>,
    tls: Option<Arc<Tls>>,
    started: TimestampMs,
    /// What whoever asks must send.
    token: Option<Secret>,
    /// What each core answered last.
    last: RefCell<Vec<Option<Rc<CoreCounts>>>>,
}

/// What a scrape found.
pub struct Report {
    /// When the node started.
    pub started: TimestampMs,
    /// What each core answered to this scrape.
    pub cores: Vec<Option<Rc<CoreCounts>>>,
    /// What each core answered to this or an earlier scrape; empty if one never did.
    pub known: Vec<Rc<CoreCounts>>,
    /// The buckets that are shown.
    pub buckets: Vec<Rc<Bucket>>,
    /// All buckets, shown or not.
    pub buckets_count: usize,
    /// Those that new connections may get.
    pub certificates: Vec<InUse>,
}

impl<H: Host> Metrics<H> {
    /// `tls`: what new connections begin with, if anything. `token`: what whoever asks must send, if anything.
    pub fn new(
        engine: Engine<H>,
        cores: Box<dyn Cores>,
        tls: Option<Arc<Tls>>,
        token: Option<Secret>,
    ) -> Rc<Self> {
        let started = engine.host().now();
        let last = RefCell::new(vec![None; engine.shared().cores]);
        Rc::new(Self { engine, cores, tls, started, token, last })
    }

    /// Whether whoever sent a request may know the metrics: with a token, if one is asked for.
    pub fn admits(&self, head: &Head) -> bool {
        let Some(token) = &self.token else { return true };
        // RFC 6750, 2.1; schemes are compared without regard to case (RFC 9110, 11.1).
        let sent = head.header("authorization").and_then(|value| value.split_at_checked(BEARER.len()));
        sent.is_some_and(|(scheme, sent)| {
            scheme.eq_ignore_ascii_case(BEARER) && sent.trim_ascii().ct_eq(token.reveal().as_bytes()).into()
        })
    }

    /// The answer to a scrape.
    pub async fn answer(&self, head: &Head) -> Response {
        let text = self.text().await;
        let mut response = Response::new(200)
            .with_header("Content-Type", CONTENT_TYPE)
            .with_header("Cache-Control", "no-store");
        response.body = match head.method.as_str() {
            "HEAD" => ResponseBody::Absent { bytes: text.len() as u64 },
            _ => ResponseBody::Bytes(text.into()),
        };
        response
    }

    /// All series, in Prometheus's text format.
    pub async fn text(&self) -> String {
        let report = self.report().await;
        let mut text = String::new();
        for family in FAMILIES {
            family.begin(&mut text);
            (family.fill)(&report, &mut Samples::new(family.name, &mut text));
            self.engine.host().yield_now().await;
        }
        text
    }

    /// What each core has counted; `None` of those that do not answer in time.
    pub async fn cores(&self) -> Vec<Option<Rc<CoreCounts>>> {
        self.report().await.cores
    }

    async fn report(&self) -> Report {
        let (buckets_count, buckets) = self.engine.buckets_first(METRICS_BUCKETS_MAX);
        let ids: Arc<[BucketId]> = buckets.iter().map(|bucket| bucket.id).collect();
        let asked = (0..self.engine.shared().cores).map(|core| self.cores.ask(core, ids.clone()));
        let over = self.engine.host().sleep(Duration::from_millis(HEALTH_ANSWER_MS_MAX));
        let answers = each_within(asked, over).await;
        let cores: Vec<_> = answers.into_iter().map(|answer| answer.flatten().map(Rc::from)).collect();
        let mut last = self.last.borrow_mut();
        for (known, answer) in last.iter_mut().zip(&cores) {
            if answer.is_some() {
                known.clone_from(answer);
            }
        }
        let known = last.iter().cloned().collect::<Option<Vec<_>>>().unwrap_or_default();
        let certificates = self.tls.as_ref().map(|tls| tls.in_use()).unwrap_or_default();
        Report { started: self.started, cores, known, buckets, buckets_count, certificates }
    }
}

#[cfg(test)]
mod tests;
