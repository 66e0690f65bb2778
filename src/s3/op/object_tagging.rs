//! GetObjectTagging, PutObjectTagging and DeleteObjectTagging: the tags of an object, or of a version.

use crate::engine::{Condition, EngineError, Update};
use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::body::{self, DocumentDigest, Incoming};
use crate::s3::error::{Code, S3Error};
use crate::s3::notification::{self, event::EventName};
use crate::s3::service::S3Service;
use crate::s3::tagging::{TagSet, Tagged};
use crate::s3::version;

pub async fn get<H: Host>(service: &S3Service<H>, request: Authorized) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    let named = version::named(&request)?;
    let lookup = service.engine().get(bucket.id, request.key.as_bytes(), named).await?;
    let object = version::found(lookup, named, &request.key)?;
    request.check_seen(&object)?;
    let mut response = super::document(TagSet::load(&object.attributes.headers).document());
    version::write(&mut response, version::shown(&bucket, object.version()));
    Ok(response)
}

/// Replaces all tags; an empty set removes them.
pub async fn put<H: Host, I: Incoming>(
    service: &S3Service<H>,
    mut request: Authorized,
    body: &mut I,
) -> Result<Response, S3Error> {
    let host = service.engine().host();
    let document = body::receive_document(host, &mut request, body, DocumentDigest::Optional).await?;
    let tags = TagSet::of_document(&document, Tagged::Object)?;
    replace(service, &request, &tags, EventName::ObjectTaggingPut, Response::new(200)).await
}

pub async fn delete<H: Host>(service: &S3Service<H>, request: Authorized) -> Result<Response, S3Error> {
    let name = EventName::ObjectTaggingDelete;
    replace(service, &request, &TagSet::default(), name, Response::new(204)).await
}

async fn replace<H: Host>(
    service: &S3Service<H>,
    request: &Authorized,
    tags: &TagSet,
    name: EventName,
    mut response: Response,
) -> Result<Response, S3Error> {
    let bucket = service.bucket(request)?;
    let named = version::named(request)?;
    let update = Update::Headers {
        set: tags.stored().into_iter().collect(),
        remove: vec![TagSet::stored_name().to_owned()],
    };
    let key = request.key.as_bytes();
    let events = notification::drafts(service, request, &bucket, name, &request.key, None);
    let engine = service.engine();
    let (mut condition, mut version) = (Condition::default(), named);
    if request.has_seen() {
        // Only of the version that was looked at it is known that the sender may tag it.
        let object = version::found(engine.get(bucket.id, key, named).await?, named, &request.key)?;
        request.check_seen(&object)?;
        (condition.sequence, version) = (Some(object.sequence), Some(object.version()));
    }
    let updated = engine.update_with_events(bucket.id, key, version, update, condition, events).await;
    let updated = updated.map_err(|error| match error {
        EngineError::ConditionFailed | EngineError::ConditionOnMissing => Code::OperationAborted.into(),
        other => version::refusal(other, named, &request.key),
    })?;
    version::write(&mut response, updated.version);
    Ok(response)
}
