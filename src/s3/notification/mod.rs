//! Event notifications: what is told about a change, and how it gets to the targets that a bucket names.
//!
//! An event is queued in the same log batch as the change it tells of, so neither exists without the other.
//! Each core delivers the events of the keys it owns through a [`Courier`], whose work is done outside the cores:
//! a target that is slow or gone never delays a request. Delivery is at least once; an event is taken off the
//! queue when its target has accepted it.

pub mod delivery;
pub mod event;

use std::rc::Rc;

use crate::base::etag::ETag;
use crate::engine::{Bucket, EventDraft, EventId};
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::service::S3Service;
use crate::s3::settings::{Document, Notification};
use event::{Draft, EventName};

/// Takes messages to targets. Called on core threads, so nothing here may block.
pub trait Courier {
    /// Whether an event may join those that wait for a target, on all cores together. It counts as waiting until
    /// [`Courier::dismiss`].
    fn admit(&self, target: &str) -> Admission;

    /// An event that was admitted waits no more.
    fn dismiss(&self, target: &str);

    /// Hands a message over. Those for a target arrive in the order of this core's calls, each when the one before
    /// it is settled. `event` comes back from [`Courier::settled`]; a message without one is tried like others,
    /// and forgotten when the process ends. `false`: the target has enough to do, come again later.
    fn offer(&self, target: &str, event: Option<EventId>, message: Vec<u8>) -> bool;

    /// What has become of offered events since the last call.
    fn settled(&self) -> Vec<Settled>;
}

/// Whether an event may wait for its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Admitted,
    /// As many wait as the target's declaration allows.
    Full,
    /// The node's settings declare no such target.
    Unknown,
}

/// What has become of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    pub event: EventId,
    /// Whether its target accepted it; otherwise it refused it for so long that nobody tries any more.
    pub is_accepted: bool,
}

/// What is known of the object that an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    pub bytes: u64,
    pub etag: ETag,
}

/// What the engine is to queue if a request's change of `key` happens: nothing in a bucket that asks for no such
/// event, which is found out without work in a bucket that asks for none.
pub fn drafts<H: Host>(
    service: &S3Service<H>,
    request: &Authorized,
    bucket: &Rc<Bucket>,
    name: EventName,
    key: &str,
    about: Option<About>,
) -> Vec<EventDraft> {
    let draft = || Draft {
        principal: request.principal().map_or("Anonymous".to_owned(), |by| format!("AWS:{}", by.user_id)),
        source_ip: request.peer.to_string(),
        request_id: request.id.clone(),
        host_id: service.host_id().to_owned(),
        about: about.map(|about| (about.bytes, about.etag.to_string())),
        ..Draft::default()
    };
    complete(service, bucket, name, key, draft)
}

/// As [`drafts`], for what lifecycle rules remove.
pub fn drafts_of_lifecycle<H: Host>(
    service: &S3Service<H>,
    bucket: &Rc<Bucket>,
    name: EventName,
    key: &str,
) -> Vec<EventDraft> {
    let service_name = "s3.amazonaws.com".to_owned();
    let draft =
        || Draft { principal: service_name.clone(), source_ip: service_name.clone(), ..Draft::default() };
    complete(service, bucket, name, key, draft)
}

fn complete<H: Host>(
    service: &S3Service<H>,
    bucket: &Rc<Bucket>,
    name: EventName,
    key: &str,
    draft: impl FnOnce() -> Draft,
) -> Vec<EventDraft> {
    if !bucket.settings.contains_key(Notification::NAME) {
        return Vec::new();
    }
    let settings = service.bucket_settings(bucket);
    // A configuration that cannot be read was logged; it is no reason to refuse a change.
    let Ok(Some(notification)) = settings.notification() else { return Vec::new() };
    let Some(rule) = notification.matches(name.name(), key) else { return Vec::new() };
    let draft = Draft {
        name,
        target: rule.arn.clone(),
        configuration: rule.id.clone(),
        region: service.settings().region.clone(),
        bucket: bucket.name.clone(),
        bucket_owner: service.owner_id(&settings),
        ..draft()
    };
    vec![EventDraft { body: draft.encode() }]
}

/// Tells all targets of a configuration that it was stored, as AWS does, so that whoever set it up sees that
/// messages arrive. That is all it is for: it is not kept over a restart.
pub fn announce<H: Host>(
    service: &S3Service<H>,
    request: &Authorized,
    bucket: &Bucket,
    notification: &Notification,
) {
    let Some(courier) = service.courier() else { return };
    let now = service.engine().host().now();
    let mut targets: Vec<&str> = notification.configurations.iter().map(|rule| rule.arn.as_str()).collect();
    targets.sort_unstable();
    targets.dedup();
    for target in targets {
        let message = event::test_message(now, &bucket.name, &request.id, service.host_id());
        if !courier.offer(target, None, message) {
            tracing::debug!(target, "too much waits for a target to send it a test event");
        }
    }
}
