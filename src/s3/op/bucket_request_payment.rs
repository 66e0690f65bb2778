//! GetBucketRequestPayment and PutBucketRequestPayment.

use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::body::{DocumentDigest, Incoming};
use crate::s3::error::S3Error;
use crate::s3::op::setting;
use crate::s3::route::Operation;
use crate::s3::service::S3Service;
use crate::s3::settings::Document;
use crate::s3::settings::request_payment::BucketOwnerPays;

pub async fn run<H: Host, I: Incoming>(
    service: &S3Service<H>,
    mut request: Authorized,
    body: &mut I,
) -> Result<Response, S3Error> {
    service.bucket(&request)?;
    if request.operation() == Operation::GetBucketRequestPayment {
        return Ok(super::document_bytes(BucketOwnerPays.render()));
    }
    let document = setting::receive(service, &mut request, body, DocumentDigest::Optional).await?;
    // The only word that is taken is what holds anyway: there is nothing to store.
    BucketOwnerPays::parse(&document)?;
    Ok(Response::new(200))
}
