//! GetBucketVersioning and PutBucketVersioning.

use crate::engine::{BucketChange, Versioning};
use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::body::{DocumentDigest, Incoming};
use crate::s3::error::{Code, S3Error};
use crate::s3::op::setting::{self, Change};
use crate::s3::route::Operation;
use crate::s3::service::S3Service;
use crate::s3::settings::{Document, ObjectLock, versioning};

pub async fn run<H: Host, I: Incoming>(
    service: &S3Service<H>,
    mut request: Authorized,
    body: &mut I,
) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    if request.operation() == Operation::GetBucketVersioning {
        return Ok(super::document(versioning::document(bucket.versioning)));
    }
    let document = setting::receive(service, &mut request, body, DocumentDigest::Optional).await?;
    let wanted = versioning::parse(&document)?;
    let mut change = Change::of(BucketChange { versioning: Some(wanted), ..BucketChange::default() });
    if wanted == Versioning::Suspended {
        if bucket.settings.contains_key(ObjectLock::NAME) {
            return Err(locked());
        }
        change = change.while_unchanged(&bucket, &[ObjectLock::NAME]);
    }
    setting::change(service, &bucket, change).await?;
    Ok(Response::new(200))
}

/// Locked versions must not be overwritten by null ones.
fn locked() -> S3Error {
    S3Error::new(Code::InvalidBucketState).with_message(
        "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.",
    )
}
