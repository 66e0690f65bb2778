//! PutObject: receives a payload and makes it an object.

use crate::base::checksum::{Checksum, ChecksumAlgorithm};
use crate::base::etag::ETag;
use crate::engine::{Attributes, Condition, VersionId};
use crate::http::{Response, percent};
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::append;
use crate::s3::body::{self, Destination, Incoming};
use crate::s3::encryption::{Answer, DataKey, Notice, Place, requests};
use crate::s3::error::S3Error;
use crate::s3::expiration::{self, Current};
use crate::s3::lock;
use crate::s3::metadata;
use crate::s3::multipart::checksum_text;
use crate::s3::new_object::NewObject;
use crate::s3::notification::event::EventName;
use crate::s3::notification::{self, About};
use crate::s3::precondition;
use crate::s3::request::Request;
use crate::s3::route::Operation;
use crate::s3::service::S3Service;
use crate::s3::version;

pub async fn run<H: Host, I: Incoming>(
    service: &S3Service<H>,
    mut request: Authorized,
    body: &mut I,
) -> Result<Response, S3Error> {
    for name in ["partNumber", "versionId"] {
        if let Some(value) = request.query(name) {
            let message = format!("This operation does not accept the parameter {name}.");
            return Err(S3Error::invalid_argument(message, name, value));
        }
    }
    if request.head.header(append::HEADER).is_some() {
        return append::run(service, request, body).await;
    }
    let stored = store(service, &mut request, body).await?;
    Ok(stored.describe(Response::new(200)))
}

/// What became of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub etag: ETag,
    pub checksum: Option<Checksum>,
    /// Length of what was received.
    pub bytes: u64,
    /// `None` if the bucket never had versioning.
    pub version: Option<VersionId>,
    /// How it is encrypted.
    pub encryption: Option<Notice>,
    /// Value of `x-amz-expiration`.
    pub expiration: Option<String>,
}

impl Stored {
    /// Adds the headers that every answer to an upload has.
    pub fn describe(&self, mut response: Response) -> Response {
        response.header("ETag", format!("\"{}\"", self.etag));
        if let Some(checksum) = &self.checksum {
            response.header(checksum.algorithm.header(), checksum_text(checksum, 0));
            response.header("x-amz-checksum-type", checksum.kind.name());
        }
        version::write_made(&mut response, self.version);
        if let Some(notice) = &self.encryption {
            notice.describe(&mut response, Answer::Made);
        }
        expiration::write(&mut response, self.expiration.as_ref());
        response
    }
}

/// Makes an object of a payload, for PutObject and PostObject. Everything that can be judged from the head is,
/// before the payload is received.
pub async fn store<H: Host, I: Incoming>(
    service: &S3Service<H>,
    request: &mut Authorized,
    body: &mut I,
) -> Result<Stored, S3Error> {
    let condition = precondition::of_write(request)?;
    store_if(service, request, body, condition).await
}

/// As [`store`], under a condition that is not only the request's. One that does not hold now is refused before
/// the payload is received; whether it still holds then is decided together with the change.
pub async fn store_if<H: Host, I: Incoming>(
    service: &S3Service<H>,
    request: &mut Authorized,
    body: &mut I,
    condition: Condition,
) -> Result<Stored, S3Error> {
    let bucket = service.bucket(request)?;
    let mut headers = metadata::of_request(request)?;
    let new = NewObject::read(service, request, &bucket)?;
    new.store(&mut headers);
    let lock = new.lock.grant(service.object_lock(&bucket)?, service.engine().host().now())?;
    lock::check_digest(request, &lock)?;
    let engine = service.engine();
    let place = Place { bucket: bucket.id };
    let target = requests::target(service, &bucket, &|name| request.head.header(name))?;
    let mut data_key = requests::data_key(service, target, place)?;
    let run = data_key.as_ref().map(|key| key.new_run(0, engine.host()));
    let refusal =
        |error, request: &Request| precondition::refusal(error, &condition, &request.bucket, &request.key);
    if condition != Condition::default() {
        let found = service.engine().get(bucket.id, request.key.as_bytes(), None).await?.found();
        precondition::judge_write(&condition, found.as_ref()).map_err(|error| refusal(error, request))?;
    }
    // AWS computes CRC-64/NVME for whoever brings no checksum.
    let checksum_default = Some(ChecksumAlgorithm::Crc64Nvme);
    let destination = Destination::object(bucket.id);
    let received = body::receive(service, request, body, destination, checksum_default, run.as_ref()).await?;

    let mut etag = ETag::of_md5(received.md5);
    if let (Some(data_key), Some(run)) = (&mut data_key, &run) {
        etag = data_key.etag(received.md5, run);
        data_key.add_run(run, received.bytes);
        data_key.kept.store(&mut headers);
    }
    let encryption = data_key.map(DataKey::into_notice);
    let (checksum, bytes) = (received.checksum, received.bytes);
    let remembered = expiration::remembered(&bucket, &headers);
    let attributes = Attributes { etag, checksum: checksum.clone(), headers, lock };
    let key = request.key.as_bytes();
    let name = match request.operation() {
        Operation::PostObject => EventName::ObjectCreatedPost,
        _ => EventName::ObjectCreatedPut,
    };
    let about = About { bytes, etag };
    let events = notification::drafts(service, request, &bucket, name, &request.key, Some(about));
    let (payload, condition) = (received.payload, condition.clone());
    let put = engine.put_with_events(bucket.id, key, payload, attributes, condition, events).await;
    let committed = put.map_err(|error| refusal(error, request))?;
    let made = Current { key: &request.key, bytes, headers: &remembered, modified: committed.modified };
    let expiration = expiration::of_object(service, &bucket, made);
    Ok(Stored { etag, checksum, bytes, version: committed.version, encryption, expiration })
}

/// Address of the object that a request writes, as the client addressed it.
pub fn location(request: &Request) -> String {
    let host = request.head.text("host").unwrap_or_default();
    let key = percent::encode_path(request.key.as_bytes());
    let scheme = if request.tls.is_some() { "https" } else { "http" };
    if request.is_virtual_hosted {
        format!("{scheme}://{host}/{key}")
    } else {
        format!("{scheme}://{host}/{}/{key}", request.bucket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_location_is_where_the_client_finds_the_object() {
        let at = |host: &str, target: &str| location(&Request::for_test("POST", target, &[("host", host)]));
        assert_eq!(at("localhost:9000", "/b/a%20b/c?uploadId=x"), "http://localhost:9000/b/a%20b/c");
        assert_eq!(at("b.s3.example.com", "/a/c?uploadId=x"), "http://b.s3.example.com/a/c");
        let mut request = Request::for_test("POST", "/b/c?uploadId=x", &[("host", "localhost:9000")]);
        request.tls = Some(crate::net::TlsVersion::V1_3);
        assert_eq!(location(&request), "https://localhost:9000/b/c");
    }
}
