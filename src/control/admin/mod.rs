//! The admin API: identities are made, changed and listed over HTTP with JSON bodies.
//!
//! How the node is can be asked without a signature: see [`super::health`] and [`super::metrics`].
//!
//! It has its own listener, so that a node can offer S3 to a network and its administration to one machine;
//! nothing of it can be reached through the S3 listener. Core 0 serves it, one change after the other.
//! Other requests are signed with Signature Version 4, body included; nobody gets in without.
//!
//! | path under `/admin/v1/` | methods |
//! |---|---|
//! | `whoami`, `health`, `status`, `config` | GET |
//! | `accounts`, `accounts/<id or name>` | GET, POST, DELETE |
//! | `users`, `users/<name>`, `users/<name>/policies/<policy>` | GET, POST, PUT, DELETE |
//! | `groups`, `groups/<name>`, `groups/<name>/policies/<policy>`, `groups/<name>/members/<user>` | the same |
//! | `policies`, `policies/<name>` | GET, PUT, DELETE |
//! | `keys`, `keys/<id>`, `keys/<id>/rotate` | GET, POST, PUT, DELETE |
//! | `buckets`, `buckets/<name>`, `buckets/<name>/quota` | GET, PUT, DELETE |
//! | `drain` | GET, PUT, DELETE |
//! | `checkpoint` | GET, POST |
//! | `progress` | GET |
//! | `kms/keys`, `kms/keys/<name>`, `kms/keys/<name>/rotate` | GET, POST |
//! | `log-level` | GET, PUT |
//!
//! `?account=<id or name>` names another account than the caller's; only the operator's account may.

mod buckets;
mod call;
mod checkpoint;
mod drain;
mod error;
mod kms;
mod log_level;
mod progress;
mod routes;
mod status;
#[cfg(test)]
mod tests;
mod view;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::auth::directory::Identities as _;
use crate::auth::{self, Identity, PayloadPromise, SigningKeys};
use crate::base::limits::ADMIN_BODY_BYTES_MAX;
use crate::base::local::Semaphore;
use crate::engine::Engine;
use crate::http::{Head, Query, Response, percent};
use crate::io::{Buffer, Host, TimestampMs};
use crate::net::{Body, Peer, Refusal, Service};
use crate::s3::audit::Api;
use crate::s3::body::Incoming;
use crate::s3::error::{Code, S3Error};
use crate::s3::journal::{Journal, Note};
use crate::s3::unsupported::MINIO_ADMIN_PATH;

use super::about::About;
use super::drain::Drain;
use super::health::{Health, Probe, is_read};
use super::identities::LiveIdentities;
use super::logging::Log;
use super::metrics::{self, Metrics};
use call::Call;
use checkpoint::Checkpoints;
use error::AdminError;

/// With what all paths begin that need a signature.
pub const PATH: &str = "/admin/v1/";

/// The operation of a request that asked for no action of policies.
const OTHER: &str = "Unknown";

/// Where anybody may ask how the node is.
const HEALTH_PATH: &str = "/health";

/// Answers the admin API's requests.
pub struct AdminService<H: Host> {
    engine: Engine<H>,
    identities: Rc<LiveIdentities<H>>,
    region: String,
    signing_keys: SigningKeys,
    health: Rc<Health<H>>,
    metrics: Option<Rc<Metrics<H>>>,
    log: Option<Log>,
    journal: Option<Rc<Journal>>,
    drain: Arc<Drain>,
    checkpoints: Checkpoints,
    about: Arc<About>,
    started: TimestampMs,
    /// Changes are checked against what is there: so one waits for the other.
    turn: Semaphore,
}

impl<H: Host> AdminService<H> {
    pub fn new(
        engine: Engine<H>,
        identities: Rc<LiveIdentities<H>>,
        region: String,
        health: Rc<Health<H>>,
    ) -> Self {
        let (drain, started) = (health.drain().clone(), engine.host().now());
        Self {
            engine,
            identities,
            region,
            signing_keys: SigningKeys::new(),
            health,
            metrics: None,
            log: None,
            journal: None,
            drain,
            checkpoints: Checkpoints::default(),
            about: Arc::default(),
            started,
            turn: Semaphore::new(1),
        }
    }

    /// The same service with somebody who answers for the metrics.
    pub fn with_metrics(mut self, metrics: Rc<Metrics<H>>) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// The same service with the logs whose level it may change.
    pub fn with_log(mut self, log: Log) -> Self {
        self.log = Some(log);
        self
    }

    /// The same service with a journal of its requests.
    pub fn with_journal(mut self, journal: Option<Rc<Journal>>) -> Self {
        self.journal = journal;
        self
    }

    /// The same service with what there is to know of the node.
    pub fn with_about(mut self, about: Arc<About>) -> Self {
        self.about = about;
        self
    }

    /// Answers a request whatever becomes of it.
    async fn respond<I: Incoming>(&self, head: Head, body: &mut I, peer: Peer) -> Response {
        if let Some(probe) = Probe::of(&head) {
            return self.health.answer(probe, &head);
        }
        if head.path == HEALTH_PATH && is_read(&head) {
            return self.health.answer_report(&head).await;
        }
        if let Some(metrics) = self.metrics.as_ref().filter(|_| metrics::is_asked_by(&head)) {
            if !metrics.admits(&head) {
                return AdminError::no_token().response().with_header("WWW-Authenticate", "Bearer");
            }
            return metrics.answer(&head).await;
        }
        if head.path.starts_with(MINIO_ADMIN_PATH) {
            return AdminError::minio().response_for_minio();
        }
        let request_id = self.request_id();
        let journal = self.journal.as_ref().map(|journal| {
            let host = self.engine.host();
            journal.begin(host, (Api::Admin, &request_id), &head, peer, body.head_took())
        });
        let note = journal.as_ref().map(|begun| begun.note().clone());
        let mut error_code = None;
        let mut response = match self.answer(&head, body, peer, note).await {
            Ok(response) => response,
            Err(error) => {
                error_code = Some(error.code());
                error.response()
            }
        };
        response.header("x-amz-request-id", &request_id);
        if let Some(begun) = journal {
            begun.answered(OTHER, error_code, &mut response);
        }
        response
    }

    fn request_id(&self) -> String {
        let mut id = [0; 8];
        self.engine.host().random(&mut id);
        format!("{:016X}", u64::from_be_bytes(id))
    }

    async fn answer<I: Incoming>(
        &self,
        head: &Head,
        body: &mut I,
        peer: Peer,
        note: Option<Rc<Note>>,
    ) -> Result<Response, AdminError> {
        let (principal, digest) = self.sender(head)?;
        if let Some(note) = &note {
            let signer = self.identities.directory().principal(&principal);
            note.signed(&principal, signer.as_ref().map(|signer| signer.arn.as_str()));
        }
        let body = receive(body, &digest).await?;
        let not_read = || AdminError::bad_request("the path or query is not percent-encoded text");
        let path = head.path.strip_prefix(PATH).ok_or_else(AdminError::no_such_route)?;
        let decode =
            |part| percent::decode_path(part).ok().and_then(|part| String::from_utf8(part.into_owned()).ok());
        let path = path.split('/').map(decode).collect::<Option<Vec<_>>>().ok_or_else(not_read)?;
        let query = Query::parse(head.query.as_deref()).map_err(|_| not_read())?;
        // Reading waits, too: what it sees is what the changes before it left.
        let _turn = self.turn.acquire(1).await;
        // Asked again: the key may have been revoked while the body came.
        let directory = self.identities.directory();
        let principal = directory.principal(&principal).ok_or_else(|| S3Error::new(Code::AccessDenied))?;
        let now = self.engine.host().now();
        let call = Call { principal, directory, peer, now, method: &head.method, path, query, body, note };
        routes::run(self, &call).await
    }

    /// Whose signature the request has: the access key id, and the digest that the body must have.
    fn sender(&self, head: &Head) -> Result<(String, [u8; 32]), AdminError> {
        let context = auth::Context {
            region: &self.region,
            now: self.engine.host().now(),
            keys: &*self.identities,
            signing_keys: &self.signing_keys,
            virtual_bucket: None,
        };
        let authentication = auth::authenticate(head, &context)?;
        // Version 2 does not sign the query, and a URL that is signed for days would be a key to the node.
        let is_v4_header = head.header("authorization").is_some_and(|value| value.starts_with(b"AWS4-"));
        match (authentication.identity, authentication.payload) {
            (Identity::AccessKey { id }, PayloadPromise::Sha256(digest)) if is_v4_header => Ok((id, digest)),
            (Identity::AccessKey { .. }, _) => Err(AdminError::bad_request(
                "sign with AWS4-HMAC-SHA256 in the Authorization header, and the body with x-amz-content-sha256",
            )),
            (Identity::Anonymous, _) => Err(S3Error::new(Code::AccessDenied).into()),
        }
    }
}

/// Reads the whole body, and checks that it is the one that was signed.
async fn receive<I: Incoming>(body: &mut I, digest: &[u8; 32]) -> Result<Vec<u8>, AdminError> {
    // One byte more than allowed, to see what is longer.
    let mut buffer = Buffer::heap(ADMIN_BODY_BYTES_MAX + 1);
    loop {
        let room = ADMIN_BODY_BYTES_MAX + 1 - buffer.len();
        let result;
        (result, buffer) = body.read(buffer, room).await;
        if result.map_err(|_| AdminError::bad_request("the body did not arrive whole"))? == 0 {
            break;
        }
        if buffer.len() > ADMIN_BODY_BYTES_MAX {
            return Err(S3Error::new(Code::EntityTooLarge).into());
        }
    }
    if Sha256::digest(&*buffer)[..] != digest[..] {
        return Err(S3Error::new(Code::XAmzContentSHA256Mismatch).into());
    }
    Ok(buffer.to_vec())
}

impl<H: Host> Service for AdminService<H> {
    async fn call(&self, head: Head, body: &mut Body, peer: Peer) -> Response {
        self.respond(head, body, peer).await
    }

    fn refuse(&self, refusal: Refusal, peer: Peer) -> Response {
        let error = match refusal {
            Refusal::BadRequest { why } => AdminError::bad_request(why),
            Refusal::HeadTooLarge => S3Error::new(Code::RequestHeaderSectionTooLarge).into(),
            Refusal::VersionUnsupported => S3Error::new(Code::HttpVersionNotSupported).into(),
            Refusal::TransferCodingUnsupported => S3Error::not_implemented("Transfer-Encoding").into(),
            Refusal::TimedOut => S3Error::new(Code::RequestTimeout).into(),
            Refusal::TooManyConnections => S3Error::new(Code::SlowDown).into(),
        };
        let request_id = self.request_id();
        let mut response = error.response().with_header("x-amz-request-id", &request_id);
        if let Some(journal) = &self.journal {
            let (host, head) = (self.engine.host(), Head::default());
            let begun = journal.begin(host, (Api::Admin, &request_id), &head, peer, Duration::ZERO);
            begun.answered(OTHER, Some(error.code()), &mut response);
        }
        response
    }

    fn now(&self) -> TimestampMs {
        self.engine.host().now()
    }
}
