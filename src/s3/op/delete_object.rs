//! DeleteObject: removes a key, or succeeds because there is none.

use crate::engine::{Condition, Deleted, Deletion, EngineError};
use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::error::S3Error;
use crate::s3::precondition;
use crate::s3::service::S3Service;
use crate::s3::version::{self, Version};

/// Answers 204 whether or not there was an object, unless `If-Match` asked for one.
pub async fn run<H: Host>(service: &S3Service<H>, request: Authorized) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    let condition = precondition::of_delete(&request)?;
    if version::version(request.query("versionId"))? == Version::Unknown {
        // A version that is not there is as good as deleted.
        return Ok(Response::new(204));
    }
    let deletion = Deletion { condition: condition.clone(), ..Deletion::default() };
    let deleted = service.engine().delete(bucket.id, request.key.as_bytes(), deletion).await;
    let deleted = tolerate_missing(deleted, &condition);
    deleted.map_err(|error| precondition::refusal(error, &condition, &request.bucket, &request.key))?;
    Ok(Response::new(204))
}

/// Conditions on size and time hold for an object that is not there; one on the ETag does not.
pub fn tolerate_missing(
    deleted: Result<Deleted, EngineError>,
    condition: &Condition,
) -> Result<Deleted, EngineError> {
    match deleted {
        Err(EngineError::ConditionOnMissing) if condition.matches.is_none() => Ok(Deleted::default()),
        other => other,
    }
}
