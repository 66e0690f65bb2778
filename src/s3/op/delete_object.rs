//! DeleteObject: removes a key, or succeeds because there is none.

use crate::engine::Condition;
use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::error::S3Error;
use crate::s3::service::S3Service;

/// Answers 204 whether or not there was an object, unless a condition asked for one.
pub async fn run<H: Host>(service: &S3Service<H>, request: Authorized) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    let condition = Condition::default();
    service.engine().delete(bucket.id, request.key.as_bytes(), condition).await?;
    Ok(Response::new(204))
}
