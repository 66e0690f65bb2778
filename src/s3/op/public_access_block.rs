//! Get-, Put- and DeletePublicAccessBlock.

use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::body::{DocumentDigest, Incoming};
use crate::s3::error::{Code, S3Error};
use crate::s3::op::setting;
use crate::s3::route::Operation;
use crate::s3::service::S3Service;
use crate::s3::settings::{Document, PublicAccessBlock};

pub async fn run<H: Host, I: Incoming>(
    service: &S3Service<H>,
    request: Authorized,
    body: &mut I,
) -> Result<Response, S3Error> {
    match request.operation() {
        Operation::PutPublicAccessBlock => {
            setting::put::<PublicAccessBlock, _, _>(service, request, body, DocumentDigest::Optional).await
        }
        Operation::DeletePublicAccessBlock => {
            setting::delete(service, &request, PublicAccessBlock::NAME).await
        }
        _ => setting::answer::<PublicAccessBlock>(
            &*service.bucket(&request)?,
            Code::NoSuchPublicAccessBlockConfiguration,
        ),
    }
}
