//! Appending: PutObject with `x-amz-write-offset-bytes` adds to an object instead of replacing it.
//!
//! Source: AWS, "Appending data to objects in directory buckets", and PutObject of the API Reference. The
//! object's payload is shared by reference, and the change is conditional on the very version that it was
//! taken of: of several appends at the same offset one wins.

use crate::base::checksum::Checksum;
use crate::base::etag::ETag;
use crate::base::limits::{OBJECT_BYTES_MAX, PARTS_MAX};
use crate::engine::{Attributes, Condition, EngineError, Object, Versioning};
use crate::hash;
use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::body::{self, Destination, Incoming, Received};
use crate::s3::claims::too_large;
use crate::s3::encryption::{RunKey, requests};
use crate::s3::error::{Code, S3Error};
use crate::s3::expiration::{self, Current};
use crate::s3::notification::event::EventName;
use crate::s3::notification::{self, About};
use crate::s3::op::copy_object::kept_checksum;
use crate::s3::op::put_object::{self, Stored};
use crate::s3::precondition;
use crate::s3::service::S3Service;

/// The header that says how long the object is to be before.
pub const HEADER: &str = "x-amz-write-offset-bytes";

/// Carries out a PutObject that has the header.
pub async fn run<H: Host, I: Incoming>(
    service: &S3Service<H>,
    mut request: Authorized,
    body: &mut I,
) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    let offset = offset(&request)?;
    if bucket.versioning != Versioning::Unversioned {
        let message = "Appending to objects of buckets with versioning is not supported.";
        return Err(S3Error::invalid_request(message));
    }
    let condition = precondition::of_write(&request)?;
    let found = service.engine().get(bucket.id, request.key.as_bytes(), None).await?.found();
    precondition::judge_write(&condition, found.as_ref())
        .map_err(|error| precondition::refusal(error, &condition, &request.bucket, &request.key))?;
    if found.as_ref().map_or(0, |object| object.bytes) != offset {
        return Err(Code::InvalidWriteOffset.into());
    }
    let Some(object) = found else { return create(service, request, body).await };
    if request.head.headers.iter().any(|(name, _)| is_of_new(name)) {
        return Err(S3Error::not_implemented(HEADER));
    }
    let base = Base::of(&object)?;
    let mut key = match requests::continued(service, &object, &request)? {
        None => None,
        Some((mut key, runs)) => {
            let run = key.following_run(runs, service.engine().host()).ok_or(Code::TooManyParts)?;
            Some((key, run))
        }
    };
    let run = key.as_ref().map(|(_, run)| run);
    let destination = Destination { bytes_before: object.bytes, ..Destination::object(bucket.id) };
    let received = receive(service, &mut request, body, destination, &base, run).await?;
    let bytes = object.bytes + received.bytes;
    if bytes > OBJECT_BYTES_MAX {
        return Err(too_large(bytes, OBJECT_BYTES_MAX));
    }
    let piece = key.as_ref().map_or(received.md5, |(key, run)| key.etag(received.md5, run).digest);
    let mut stored = base.extended(&received, piece)?;
    let mut headers = object.attributes.headers.clone();
    if let Some((key, run)) = &mut key {
        key.add_run(run, received.bytes);
        key.kept.store(&mut headers);
    }
    stored.encryption = key.map(|(key, _)| key.into_notice());
    let (etag, checksum) = (stored.etag, stored.checksum.clone());
    let attributes = Attributes { etag, checksum, headers, lock: object.attributes.lock };
    let payload = object.followed_by(received.payload).await?;
    let same = Condition { sequence: Some(object.sequence), ..Condition::default() };
    let about = About { bytes, etag: stored.etag };
    let name = EventName::ObjectCreatedPut;
    let events = notification::drafts(service, &request, &bucket, name, &request.key, Some(about));
    let key = request.key.as_bytes();
    let put = service.engine().put_with_events(bucket.id, key, payload, attributes, same, events).await;
    let modified = put.map_err(conflict)?.modified;
    let current = Current { key: &request.key, bytes, headers: &object.attributes.headers, modified };
    stored.expiration = expiration::of_object(service, &bucket, current);
    Ok(stored.describe(Response::new(200)).with_header("x-amz-object-size", bytes.to_string()))
}

/// The first append makes the object, if nobody else does meanwhile.
async fn create<H: Host, I: Incoming>(
    service: &S3Service<H>,
    mut request: Authorized,
    body: &mut I,
) -> Result<Response, S3Error> {
    let absent = Condition { absent: true, ..Condition::default() };
    let stored = put_object::store_if(service, &mut request, body, absent).await;
    let stored = stored.map_err(|error| match error.code {
        Code::PreconditionFailed => Code::ConditionalRequestConflict.into(),
        _ => error,
    })?;
    let bytes = stored.bytes.to_string();
    Ok(stored.describe(Response::new(200)).with_header("x-amz-object-size", bytes))
}

/// Whether a header says what only a new object can get. Policies that demand it must not take an append for
/// an upload that has it.
fn is_of_new(name: &str) -> bool {
    const BEGINNINGS: [&str; 4] = ["x-amz-acl", "x-amz-grant-", "x-amz-tagging", "x-amz-object-lock-"];
    BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}

fn offset(request: &Authorized) -> Result<u64, S3Error> {
    let text = request.header(HEADER)?.unwrap_or_default();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| {
        let message = "The write offset must be a number of bytes.";
        S3Error::invalid_argument(message, HEADER, text)
    })
}

async fn receive<H: Host, I: Incoming>(
    service: &S3Service<H>,
    request: &mut Authorized,
    body: &mut I,
    destination: Destination,
    base: &Base,
    run: Option<&RunKey>,
) -> Result<Received<H>, S3Error> {
    let algorithm = base.checksum.as_ref().map(|checksum| checksum.algorithm);
    body::receive(service, request, body, destination, algorithm, run).await
}

/// Somebody changed the object since it was looked up: the client may look where it ends now.
fn conflict(error: EngineError) -> S3Error {
    match error {
        EngineError::ConditionFailed | EngineError::ConditionOnMissing => {
            Code::ConditionalRequestConflict.into()
        }
        other => other.into(),
    }
}

/// What an object brings into an append.
struct Base {
    etag: ETag,
    /// A CRC of the whole object; `None` if it has no checksum.
    checksum: Option<Checksum>,
}

impl Base {
    fn of<H: Host>(object: &Object<H>) -> Result<Self, S3Error> {
        let etag = object.attributes.etag;
        if etag.parts >= PARTS_MAX {
            return Err(Code::TooManyParts.into());
        }
        let checksum = kept_checksum(&object.attributes.checksum, &object.parts);
        if let Some(checksum) = &checksum
            && !checksum.algorithm.is_linear()
        {
            return Err(S3Error::invalid_request(format!(
                "You can only append to objects with a CRC checksum of the full object, and this one has {}.",
                checksum.algorithm.name()
            )));
        }
        Ok(Self { etag, checksum })
    }

    /// ETag and checksum of the object with what was received behind it, a piece with this digest. The ETag is
    /// no digest of the bytes, as the number of appends at its end says.
    fn extended<H: Host>(&self, received: &Received<H>, piece: [u8; 16]) -> Result<Stored, S3Error> {
        let digest = hash::md5(&[self.etag.digest, piece].concat());
        let etag = ETag { digest, parts: self.etag.parts.max(1) + 1 };
        let checksum = match (&self.checksum, &received.checksum) {
            (Some(base), Some(more)) if base.algorithm == more.algorithm => {
                let value = hash::combine(base.algorithm, &base.value, &more.value, received.bytes);
                Some(Checksum { value, ..base.clone() })
            }
            (Some(base), Some(more)) => {
                return Err(S3Error::invalid_request(format!(
                    "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
                    base.algorithm.name().to_ascii_lowercase(),
                    more.algorithm.name().to_ascii_lowercase()
                )));
            }
            _ => None,
        };
        let bytes = received.bytes;
        Ok(Stored { etag, checksum, bytes, version: None, encryption: None, expiration: None })
    }
}
