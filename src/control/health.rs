//! How the node is: for load balancers, orchestrators and people, without authentication.
//!
//! | path | 200 while | else |
//! |---|---|---|
//! | `/minio/health/live` | the process answers | |
//! | `/minio/health/ready`, `/minio/health/cluster` | every core takes changes | 503 |
//! | `/minio/health/cluster/read` | the node answers reads | 503 |
//! | `/health`, on the admin listener alone | every core takes changes, and answers | 503 |
//!
//! The first four are the paths that tools for MinIO ask, `mc ready` among them. On the S3 listener they are
//! requests for a bucket called `minio`, too: what is signed, or names its bucket by the host, is about that
//! bucket, and everything else there is a probe.
//!
//! Probes read what cores have left for all threads to see, and wait for nothing. Their answers name cores,
//! drives by their numbers, and what failed of them. `/health` asks every core, and names directories and files,
//! which are nobody's business on the S3 listener.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::{Value, json};

use super::drain::{Drain, Refusing};
use crate::auth;
use crate::base::limits::HEALTH_DAMAGES_SHOWN_MAX;
use crate::engine::{CoreHealth, Damage, Engine, FailedPart};
use crate::http::{Head, Query, Response, ResponseBody};
use crate::io::{Disk, Host};
use crate::s3::request::virtual_bucket;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Whether the process answers.
    Live,
    /// Whether it takes all requests. `is_maintenance`: whether it could do without this node.
    Ready { is_maintenance: bool },
    /// Whether it answers reads.
    Read,
}

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Whoever reaches the admin listener: nothing that clients have named.
    Anybody,
    Operator,
}

/// A core's state in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Serving,
    ReadOnly,
    Draining,
    Stopping,
    Unresponsive,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::ReadOnly => "read-only",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::Unresponsive => "unresponsive",
        }
    }
}

impl Probe {
    /// What a request to the S3 listener asks of the node's health, if it does. `domains`: those under which
    /// buckets are host names.
    pub fn of_s3(head: &Head, domains: &[String]) -> Option<Self> {
        let probe = Self::of(head)?;
        let names_bucket = head.text("host").is_some_and(|host| virtual_bucket(host, domains).is_some());
        (auth::is_anonymous(head) && !names_bucket).then_some(probe)
    }

    /// What a request asks by its method and path.
    pub fn of(head: &Head) -> Option<Self> {
        if !is_read(head) {
            return None;
        }
        match head.path.as_str() {
            "/minio/health/live" => Some(Self::Live),
            "/minio/health/ready" => Some(Self::Ready { is_maintenance: false }),
            "/minio/health/cluster" => {
                let query = Query::parse(head.query.as_deref()).ok();
                let is_maintenance = query.is_some_and(|query| query.text("maintenance") == Some("true"));
                Some(Self::Ready { is_maintenance })
            }
            "/minio/health/cluster/read" => Some(Self::Read),
            _ => None,
        }
    }
}

/// Answers probes.
pub struct Health<H: Host> {
    engine: Engine<H>,
    directories: Vec<PathBuf>,
    drain: Arc<Drain>,
    is_ending: Box<dyn Fn() -> bool>,
}

impl<H: Host> Health<H> {
    /// `directories`: those of the drives. `is_ending`: whether the node takes no more connections.
    pub fn new(
        engine: Engine<H>,
        directories: Vec<PathBuf>,
        drain: Arc<Drain>,
        is_ending: impl Fn() -> bool + 'static,
    ) -> Rc<Self> {
        Rc::new(Self { engine, directories, drain, is_ending: Box::new(is_ending) })
    }

    pub fn drain(&self) -> &Arc<Drain> {
        &self.drain
    }

    /// The answer to a probe.
    pub fn answer(&self, probe: Probe, head: &Head) -> Response {
        let failing = self.failing_cores();
        let refusing = self.drain.refusing();
        let state = match (self.is_ending(), refusing, failing.is_empty()) {
            (true, ..) => State::Stopping,
            (_, Refusing::Changes | Refusing::Everything, _) => State::Draining,
            (.., false) => State::ReadOnly,
            (.., true) => State::Serving,
        };
        let status = match (probe, state) {
            (Probe::Live, _) | (Probe::Read, State::Serving | State::ReadOnly) => 200,
            (Probe::Read, State::Draining) if refusing == Refusing::Changes => 200,
            // Without its only node the store serves nobody: MinIO's answer to "may it go".
            (Probe::Ready { is_maintenance: true }, State::Serving) => 412,
            (Probe::Ready { .. }, State::Serving) => 200,
            (Probe::Ready { .. } | Probe::Read, _) => 503,
        };
        let mut answer = json!({ "status": state.name() });
        if !failing.is_empty() {
            answer["cores"] = Value::Array(failing);
        }
        respond(status, &answer, head)
    }

    /// Those that take no changes, with what failed of them.
    fn failing_cores(&self) -> Vec<Value> {
        let shared = self.engine.shared();
        let of_core = |core: usize| {
            let drive = self.engine.drive_of(core);
            let failed = shared.failed_parts(core, drive);
            let failed: Vec<_> = failed.iter().map(FailedPart::to_string).collect();
            (!failed.is_empty()).then(|| json!({ "core": core, "drive": drive, "failed": failed }))
        };
        (0..shared.cores).filter_map(of_core).collect()
    }

    /// The answer to `GET /health`.
    pub async fn answer_report(&self, head: &Head) -> Response {
        let (is_serving, report) = self.report(Audience::Anybody).await;
        respond(if is_serving { 200 } else { 503 }, &report, head)
    }

    /// Asks every core how it is. The first value: whether all of them take changes.
    pub async fn report(&self, audience: Audience) -> (bool, Value) {
        let cores = self.engine.health().await;
        let states: Vec<State> = cores.iter().map(|core| self.state(core.as_ref())).collect();
        let worst = [State::Stopping, State::Unresponsive, State::ReadOnly];
        let refusing = self.drain.refusing();
        let state = match worst.into_iter().find(|state| states.contains(state)) {
            Some(State::Stopping) => State::Stopping,
            _ if refusing != Refusing::Nothing => State::Draining,
            worst => worst.unwrap_or(State::Serving),
        };
        let shown = cores.iter().zip(&states).enumerate();
        let shown: Vec<Value> =
            shown.map(|(core, (health, state))| self.show(core, health, *state, audience)).collect();
        let report = json!({
            "status": state.name(),
            "refusing": refusing.name(),
            "version": env!("CARGO_PKG_VERSION"),
            "cores": shown,
        });
        (state == State::Serving, report)
    }

    fn show(&self, core: usize, health: &Option<CoreHealth>, state: State, audience: Audience) -> Value {
        let drive = self.engine.drive_of(core);
        let directory = self.directories.get(drive).map(|directory| directory.display().to_string());
        let mut shown =
            json!({ "core": core, "drive": drive, "directory": directory, "state": state.name() });
        if let Some(health) = health {
            let failures = health.failures.iter();
            let failures =
                failures.map(|failure| json!({ "part": failure.part.to_string(), "reason": failure.why }));
            shown["failures"] = failures.collect();
            shown["full"] = json!(health.is_full);
            shown["payloadBytes"] = json!(health.payload_bytes);
            shown["buffersHeld"] = json!(health.buffers_held);
            shown["bytesFree"] = json!(health.space.map(|space| space.bytes_free));
            shown["bytesTotal"] = json!(health.space.map(|space| space.bytes_total));
            let places = health.damages.list.iter().take(HEALTH_DAMAGES_SHOWN_MAX);
            let places: Vec<Value> = places.map(|damage| show_damage(damage, audience)).collect();
            shown["damages"] = json!({ "count": health.damages.count, "places": places });
        }
        shown
    }

    /// Drives that no core writes to, since there are more of them than cores; what they hold is read.
    pub fn idle_drives(&self) -> Vec<Value> {
        let disks = self.engine.host().disks();
        let idle = self.directories.iter().zip(disks).enumerate().skip(self.engine.shared().cores);
        let show = |(drive, (directory, disk)): (usize, (&PathBuf, &H::Disk))| {
            let space = disk.space().ok();
            json!({
                "drive": drive,
                "directory": directory.display().to_string(),
                "cores": [],
                "state": "no core",
                "bytesFree": space.map(|space| space.bytes_free),
                "bytesTotal": space.map(|space| space.bytes_total),
                "payloadBytes": 0,
                "logBytes": 0,
            })
        };
        idle.map(show).collect()
    }

    fn state(&self, health: Option<&CoreHealth>) -> State {
        match health {
            _ if self.is_ending() => State::Stopping,
            None => State::Unresponsive,
            Some(health) if health.is_stopping => State::Stopping,
            Some(health) if !health.failures.is_empty() => State::ReadOnly,
            Some(_) => State::Serving,
        }
    }

    fn is_ending(&self) -> bool {
        (self.is_ending)()
    }
}

fn show_damage(damage: &Damage, audience: Audience) -> Value {
    let Damage { file, offset, bytes, what, objects, .. } = damage;
    let mut shown = json!({ "file": file, "offset": offset, "bytes": bytes, "reason": what });
    if audience == Audience::Operator {
        shown["objects"] = objects.iter().map(|object| Value::String(object.to_string())).collect();
    }
    shown
}

/// Whether a request only looks.
pub fn is_read(head: &Head) -> bool {
    matches!(head.method.as_str(), "GET" | "HEAD")
}

fn respond(status: u16, answer: &Value, head: &Head) -> Response {
    let text = answer.to_string();
    let mut response = Response::new(status)
        .with_header("Content-Type", "application/json")
        .with_header("Cache-Control", "no-store");
    response.body = match head.method.as_str() {
        "HEAD" => ResponseBody::Absent { bytes: text.len() as u64 },
        _ => ResponseBody::Bytes(text.into()),
    };
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> Head {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
        Head {
            method: method.to_owned(),
            path: path.to_owned(),
            query,
            headers: headers.collect(),
            version_minor: 1,
        }
    }

    fn of_s3(method: &str, target: &str, headers: &[(&str, &str)]) -> Option<Probe> {
        Probe::of_s3(&head(method, target, headers), &["s3.example.com".to_owned()])
    }

    #[test]
    fn the_paths_that_minios_tools_ask_are_probes() {
        let ready = |is_maintenance| Some(Probe::Ready { is_maintenance });
        assert_eq!(of_s3("GET", "/minio/health/live", &[]), Some(Probe::Live));
        assert_eq!(of_s3("HEAD", "/minio/health/ready?verify", &[]), ready(false));
        assert_eq!(of_s3("GET", "/minio/health/cluster", &[("host", "10.0.0.7:9000")]), ready(false));
        assert_eq!(of_s3("GET", "/minio/health/cluster?maintenance=true", &[]), ready(true));
        assert_eq!(of_s3("GET", "/minio/health/cluster/read", &[]), Some(Probe::Read));
    }

    #[test]
    fn everything_else_is_about_a_bucket_called_minio() {
        for target in [
            "/minio/health/live/",
            "/minio/health/",
            "//minio/health/live",
            "/minio/health%2Flive",
            "/Minio/health/live",
            "/minio/health/live?X-Amz-Signature=1",
            "/minio/health/live?AWSAccessKeyId=a&Signature=b",
            "/minio/health/live?%zz",
        ] {
            assert_eq!(of_s3("GET", target, &[]), None, "{target}");
        }
        for method in ["PUT", "POST", "DELETE", "OPTIONS", "get"] {
            assert_eq!(of_s3(method, "/minio/health/live", &[]), None, "{method}");
        }
        assert_eq!(of_s3("GET", "/minio/health/live", &[("authorization", "AWS a:b")]), None);
        assert_eq!(of_s3("GET", "/minio/health/live", &[("authorization", "")]), None);
        assert_eq!(of_s3("GET", "/minio/health/live", &[("host", "photos.s3.example.com")]), None);
    }
}
