//! GetObjectLockConfiguration and PutObjectLockConfiguration.

use crate::engine::{BucketChange, BucketExpectation, Versioning};
use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::body::{DocumentDigest, Incoming};
use crate::s3::error::{Code, S3Error};
use crate::s3::op::setting::{self, Change};
use crate::s3::route::Operation;
use crate::s3::service::S3Service;
use crate::s3::settings::{Document, ObjectLock};

pub async fn run<H: Host, I: Incoming>(
    service: &S3Service<H>,
    mut request: Authorized,
    body: &mut I,
) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    if request.operation() == Operation::GetObjectLockConfiguration {
        return setting::answer::<ObjectLock>(&bucket, Code::ObjectLockConfigurationNotFoundError);
    }
    let document = setting::receive(service, &mut request, body, DocumentDigest::Required).await?;
    let lock = ObjectLock::parse(&document)?;
    // What is locked once stays locked: without versions a PUT would replace it.
    if bucket.versioning != Versioning::Enabled {
        return Err(S3Error::new(Code::InvalidBucketState).with_message(
            "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration",
        ));
    }
    let expected =
        BucketExpectation { versioning: Some(Versioning::Enabled), ..BucketExpectation::default() };
    let settings = [(ObjectLock::NAME.to_owned(), Some(lock.render()))].into();
    let change = BucketChange { settings, expected, ..BucketChange::default() };
    setting::change(service, &bucket, Change::of(change)).await?;
    Ok(Response::new(200))
}
