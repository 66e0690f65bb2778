//! HeadBucket: whether a bucket exists and may be used, and where it is.

use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::error::S3Error;
use crate::s3::service::S3Service;

pub async fn run<H: Host>(service: &S3Service<H>, request: Authorized) -> Result<Response, S3Error> {
    service.bucket(&request)?;
    Ok(Response::new(200)
        .with_header("x-amz-bucket-region", &service.settings().region)
        .with_header("x-amz-access-point-alias", "false")
        .with_header("Content-Type", "application/xml"))
}
