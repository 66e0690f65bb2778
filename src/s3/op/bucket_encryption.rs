//! Get-, Put- and DeleteBucketEncryption.

use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::body::{DocumentDigest, Incoming};
use crate::s3::error::{Code, S3Error};
use crate::s3::op::setting;
use crate::s3::route::Operation;
use crate::s3::service::S3Service;
use crate::s3::settings::{DefaultEncryption, Document};

pub async fn run<H: Host, I: Incoming>(
    service: &S3Service<H>,
    request: Authorized,
    body: &mut I,
) -> Result<Response, S3Error> {
    match request.operation() {
        Operation::PutBucketEncryption => {
            setting::put::<DefaultEncryption, _, _>(service, request, body, DocumentDigest::Optional).await
        }
        Operation::DeleteBucketEncryption => {
            setting::delete(service, &request, DefaultEncryption::NAME).await
        }
        _ => setting::answer::<DefaultEncryption>(
            &*service.bucket(&request)?,
            Code::ServerSideEncryptionConfigurationNotFoundError,
        ),
    }
}
