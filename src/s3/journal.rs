//! Follows requests from their heads to the ends of their answers, for the access log and the log of slow ones.
//!
//! [`Journal::begin`] makes a [`Begun`], the service fills its [`Note`] with what it learns, and what
//! [`Begun::answered`] returns goes with the response: it hears from the connection when the answer has ended, and
//! writes down what there is.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::auth::claimed_key;
use crate::base::instruments::Counter;
use crate::base::limits::{AUDIT_DELETIONS_BYTES_MAX, AUDIT_FIELD_BYTES_MAX};
use crate::base::stages::{Stage, Stages};
use crate::http::{Ended, Exchange, Head, Response, ResponseBody, Source, SourceFuture, date};
use crate::io::{Host, TimestampMs};
use crate::net::{Peer, TlsVersion};
use crate::s3::audit::{Api, Audit, Deletion, Entry};

/// The version of entries' form.
const VERSION: &str = "1";

/// What a core writes down of its requests.
pub struct Journal {
    core: usize,
    audit: Option<Rc<dyn Audit>>,
    /// Requests that take longer are logged.
    slow_after: Option<Duration>,
    slow: Counter,
}

/// What is known of a request so far.
#[derive(Debug, Default)]
pub struct Note {
    known: RefCell<Known>,
    stages: Option<Rc<Stages>>,
}

#[derive(Debug, Default)]
struct Known {
    operation: Option<&'static str>,
    bucket: String,
    object: String,
    version_id: Option<String>,
    access_key: Option<String>,
    requester: Option<String>,
    deletions: Vec<Deletion>,
    deletions_bytes: usize,
    deletions_omitted: usize,
}

/// A request under way.
pub struct Begun<H: Host> {
    journal: Rc<Journal>,
    host: H,
    note: Rc<Note>,
    api: Api,
    request_id: String,
    peer: Peer,
    method: String,
    path: String,
    host_name: String,
    user_agent: String,
    head_took: Duration,
    time: TimestampMs,
    began: Duration,
}

impl Journal {
    /// What a core writes down; `None` if nobody wants anything.
    pub fn new(core: usize, audit: Option<Rc<dyn Audit>>, slow_after: Option<Duration>) -> Option<Rc<Self>> {
        let is_wanted = audit.is_some() || slow_after.is_some();
        is_wanted.then(|| Rc::new(Self { core, audit, slow_after, slow: Counter::default() }))
    }

    /// Requests that took longer than the setting says, since the start.
    pub fn slow(&self) -> u64 {
        self.slow.get()
    }

    /// Begins to follow a request whose head took so long to arrive.
    pub fn begin<H: Host>(
        self: &Rc<Self>,
        host: &H,
        (api, request_id): (Api, &str),
        head: &Head,
        peer: Peer,
        head_took: Duration,
    ) -> Begun<H> {
        let text = |name| head.header(name).map(|value| String::from_utf8_lossy(value)).unwrap_or_default();
        let known = RefCell::new(Known { access_key: claimed_key(head), ..Known::default() });
        let stages = self.slow_after.map(|_| Rc::default());
        Begun {
            journal: self.clone(),
            host: host.clone(),
            note: Rc::new(Note { known, stages }),
            api,
            request_id: request_id.to_owned(),
            peer,
            method: bounded(&head.method),
            path: bounded(&head.path),
            host_name: bounded(&text("host")),
            user_agent: bounded(&text("user-agent")),
            head_took,
            time: host.now(),
            began: host.monotonic(),
        }
    }
}

/// As much of a text as an entry keeps.
fn bounded(text: &str) -> String {
    text[..text.floor_char_boundary(AUDIT_FIELD_BYTES_MAX)].to_owned()
}

impl Note {
    /// The time that the request spends in each stage, if somebody wants to know.
    pub fn stages(&self) -> Option<&Rc<Stages>> {
        self.stages.as_ref()
    }

    /// The request is about these.
    pub fn about(&self, bucket: &str, object: &str, version_id: Option<&str>) {
        let mut known = self.known.borrow_mut();
        bucket.clone_into(&mut known.bucket);
        object.clone_into(&mut known.object);
        known.version_id = version_id.map(bounded);
    }

    /// The request was signed with this key, on behalf of whoever has that ARN.
    pub fn signed(&self, access_key: &str, requester: Option<&str>) {
        let mut known = self.known.borrow_mut();
        known.access_key = Some(access_key.to_owned());
        known.requester = requester.map(str::to_owned);
    }

    /// The request asks for this; of several calls, the first counts.
    pub fn asks_for(&self, operation: &'static str) {
        self.known.borrow_mut().operation.get_or_insert(operation);
    }

    /// The request deletes this, among others.
    pub fn deletes(&self, object: &str, version_id: Option<&str>, error_code: Option<&'static str>) {
        let mut known = self.known.borrow_mut();
        let bytes = object.len() + version_id.map_or(0, str::len);
        if known.deletions_bytes + bytes > AUDIT_DELETIONS_BYTES_MAX {
            known.deletions_omitted += 1;
            return;
        }
        known.deletions_bytes += bytes;
        let version_id = version_id.map(str::to_owned);
        known.deletions.push(Deletion { object: object.to_owned(), version_id, error_code });
    }
}

impl<H: Host> Begun<H> {
    pub fn note(&self) -> &Rc<Note> {
        &self.note
    }

    /// Has the end of the answer told, and written down. `operation` counts if the note knows none.
    pub fn answered(
        self,
        operation: &'static str,
        error_code: Option<&'static str>,
        response: &mut Response,
    ) {
        self.note.asks_for(operation);
        if let Some(version) = header(&response.headers, "x-amz-version-id") {
            self.note.known.borrow_mut().version_id = Some(bounded(version));
        }
        if let (Some(stages), ResponseBody::Stream { .. }) = (&self.note.stages, &response.body)
            && let ResponseBody::Stream { bytes, source } =
                std::mem::replace(&mut response.body, ResponseBody::Empty)
        {
            let source = Box::new(Timed { source, stages: stages.clone() });
            response.body = ResponseBody::Stream { bytes, source };
        }
        let first_byte = self.host.monotonic().saturating_sub(self.began);
        let (status, exchange) = (response.status, Cell::default());
        response.ended = Some(Box::new(Answered { begun: self, status, error_code, first_byte, exchange }));
    }
}

/// The value of a header line of a response.
fn header<'a>(lines: &'a [u8], name: &str) -> Option<&'a str> {
    let value = memchr::memmem::find_iter(lines, name).find_map(|start| {
        let is_line = start == 0 || lines[start - 1] == b'\n';
        lines[start + name.len()..].strip_prefix(b": ").filter(|_| is_line)
    })?;
    let end = memchr::memchr(b'\r', value)?;
    std::str::from_utf8(&value[..end]).ok()
}

/// A body whose production counts among the stages of its request.
struct Timed {
    source: Box<dyn Source>,
    stages: Rc<Stages>,
}

impl Source for Timed {
    fn next(&mut self) -> SourceFuture<'_> {
        let next = self.source.next();
        Box::pin(async { self.stages.within(next).await })
    }
}

/// A request whose answer is on its way. What is known is written down when this is dropped: a response that is
/// never sent has been answered all the same.
struct Answered<H: Host> {
    begun: Begun<H>,
    status: u16,
    error_code: Option<&'static str>,
    first_byte: Duration,
    exchange: Cell<Exchange>,
}

impl<H: Host> Ended for Answered<H> {
    fn ended(self: Box<Self>, exchange: Exchange) {
        self.exchange.set(exchange);
    }
}

impl<H: Host> Drop for Answered<H> {
    fn drop(&mut self) {
        let took = self.begun.host.monotonic().saturating_sub(self.begun.began);
        let journal = &self.begun.journal;
        if let Some(audit) = &journal.audit {
            self.record(&**audit, took);
        }
        if journal.slow_after.is_some_and(|slow_after| took >= slow_after) {
            journal.slow.increment();
            self.log(took);
        }
    }
}

impl<H: Host> Answered<H> {
    fn record(&self, audit: &dyn Audit, took: Duration) {
        let begun = &self.begun;
        let known = begun.note.known.borrow();
        let exchange = self.exchange.get();
        audit.record(&Entry {
            version: VERSION,
            time: date::iso8601(begun.time),
            request_id: &begun.request_id,
            api: begun.api,
            operation: known.operation.unwrap_or_default(),
            bucket: &known.bucket,
            object: &known.object,
            version_id: known.version_id.as_deref(),
            objects: &known.deletions,
            objects_omitted: known.deletions_omitted,
            method: &begun.method,
            request_path: known.bucket.is_empty().then_some(&begun.path),
            status_code: self.status,
            error_code: self.error_code,
            remotehost: begun.peer.address.ip().to_canonical(),
            remote_port: begun.peer.address.port(),
            access_key: known.access_key.as_deref(),
            requester: known.requester.as_deref(),
            host: &begun.host_name,
            user_agent: &begun.user_agent,
            tls: begun.peer.tls.map(|version| match version {
                TlsVersion::V1_2 => "TLSv1.2",
                TlsVersion::V1_3 => "TLSv1.3",
            }),
            rx: exchange.bytes_received,
            tx: exchange.bytes_sent,
            first_byte_ns: nanoseconds(self.first_byte),
            whole_ns: nanoseconds(took),
            complete: exchange.is_whole,
            core: begun.journal.core,
        });
    }

    fn log(&self, took: Duration) {
        let begun = &self.begun;
        let known = begun.note.known.borrow();
        let stage = |stage| milliseconds(begun.note.stages().map_or(Duration::ZERO, |all| all.get(stage)));
        tracing::warn!(
            request_id = begun.request_id,
            operation = known.operation.unwrap_or_default(),
            bucket = ?known.bucket,
            object = ?known.object,
            status = self.status,
            core = begun.journal.core,
            rx = self.exchange.get().bytes_received,
            tx = self.exchange.get().bytes_sent,
            total_ms = milliseconds(took),
            head_ms = milliseconds(begun.head_took),
            buffer_ms = stage(Stage::Buffer),
            receive_ms = stage(Stage::Receive),
            hash_ms = stage(Stage::Hash),
            write_ms = stage(Stage::Write),
            sync_ms = stage(Stage::Sync),
            commit_ms = stage(Stage::Commit),
            owner_ms = stage(Stage::Owner),
            read_ms = stage(Stage::Read),
            send_ms = milliseconds(took.saturating_sub(self.first_byte)),
            "slow request"
        );
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// To the microsecond.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_line_is_found_by_its_whole_name() {
        let response = Response::new(200)
            .with_header("x-amz-meta-x-amz-version-id", "wrong")
            .with_header("x-amz-version-id", "abc");
        assert_eq!(header(&response.headers, "x-amz-version-id"), Some("abc"));
        assert_eq!(header(&response.headers, "x-amz-version"), None);
        assert_eq!(header(b"", "x-amz-version-id"), None);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let long = format!("{}é", "x".repeat(AUDIT_FIELD_BYTES_MAX - 1));
        assert_eq!(bounded(&long).len(), AUDIT_FIELD_BYTES_MAX - 1);
        assert_eq!(bounded("short"), "short");
    }

    #[test]
    fn an_order_of_many_deletions_is_kept_up_to_a_bound() {
        let note = Note::default();
        let key = "k".repeat(1024);
        let kept = AUDIT_DELETIONS_BYTES_MAX / 1024;
        for _ in 0..kept + 3 {
            note.deletes(&key, None, None);
        }
        let known = note.known.borrow();
        assert_eq!((known.deletions.len(), known.deletions_omitted), (kept, 3));
    }
}
