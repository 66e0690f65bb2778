//! Get-, Put- and DeleteBucketTagging.

use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::body::{DocumentDigest, Incoming};
use crate::s3::error::{Code, S3Error};
use crate::s3::op::setting;
use crate::s3::route::Operation;
use crate::s3::service::S3Service;
use crate::s3::settings::Document;
use crate::s3::settings::tagging::BucketTags;

pub async fn run<H: Host, I: Incoming>(
    service: &S3Service<H>,
    request: Authorized,
    body: &mut I,
) -> Result<Response, S3Error> {
    match request.operation() {
        Operation::PutBucketTagging => {
            setting::put::<BucketTags, _, _>(service, request, body, DocumentDigest::Required).await
        }
        Operation::DeleteBucketTagging => setting::delete(service, &request, BucketTags::NAME).await,
        _ => setting::answer::<BucketTags>(&*service.bucket(&request)?, Code::NoSuchTagSet),
    }
}
