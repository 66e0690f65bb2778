//! DeleteObject: removes an object, hides it behind a delete marker, or removes a version for good; or
//! succeeds because there is nothing.

use crate::engine::{Bucket, Condition, Deleted, Deletion, EngineError, VersionId, Versioning};
use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::error::S3Error;
use crate::s3::lock;
use crate::s3::notification::{self, event::EventName};
use crate::s3::precondition;
use crate::s3::service::S3Service;
use crate::s3::version;

/// Answers 204 whether or not there was an object, unless `If-Match` asked for one.
pub async fn run<H: Host>(service: &S3Service<H>, request: Authorized) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    let condition = precondition::of_delete(&request)?;
    let named = version::named(&request)?;
    let bypass_governance = lock::wants_bypass(&request);
    let events =
        notification::drafts(service, &request, &bucket, event_of(&bucket, named), &request.key, None);
    let deletion = Deletion {
        version: named,
        condition: condition.clone(),
        bypass_governance,
        events,
        ..Deletion::default()
    };
    let deleted = service.engine().delete(bucket.id, request.key.as_bytes(), deletion.clone()).await;
    let deleted = tolerate_missing(deleted, &deletion)
        .map_err(|error| precondition::refusal(error, &condition, &request.bucket, &request.key))?;
    let mut response = Response::new(204);
    if deleted.is_delete_marker {
        response.header(version::MARKER_HEADER, "true");
    }
    version::write(&mut response, deleted.version.or(named));
    Ok(response)
}

/// What a deletion does, for those who hear of it.
pub fn event_of(bucket: &Bucket, version: Option<VersionId>) -> EventName {
    match (version, bucket.versioning) {
        (None, Versioning::Enabled | Versioning::Suspended) => EventName::ObjectRemovedDeleteMarkerCreated,
        _ => EventName::ObjectRemovedDelete,
    }
}

/// A version that is not there is as good as deleted, whatever its conditions. Without a version, conditions
/// on size and time hold for an object that is not there; one on the ETag does not.
pub fn tolerate_missing(
    deleted: Result<Deleted, EngineError>,
    deletion: &Deletion,
) -> Result<Deleted, EngineError> {
    let Deletion { version, condition: Condition { matches, .. }, .. } = deletion;
    match deleted {
        Err(EngineError::ConditionOnMissing) if version.is_some() || matches.is_none() => {
            Ok(Deleted::default())
        }
        other => other,
    }
}
