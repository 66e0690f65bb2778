//! PutObject: receives a payload and makes it an object.

use crate::base::checksum::ChecksumAlgorithm;
use crate::base::etag::ETag;
use crate::engine::{Attributes, Lock};
use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::body::{self, Incoming};
use crate::s3::error::S3Error;
use crate::s3::metadata;
use crate::s3::multipart::checksum_text;
use crate::s3::precondition;
use crate::s3::service::S3Service;

/// Everything that can be judged from the head is, before the payload is received.
pub async fn run<H: Host, I: Incoming>(
    service: &S3Service<H>,
    mut request: Authorized,
    body: &mut I,
) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    for name in ["partNumber", "versionId"] {
        if let Some(value) = request.query(name) {
            let message = format!("This operation does not accept the parameter {name}.");
            return Err(S3Error::invalid_argument(message, name, value));
        }
    }
    let headers = metadata::of_request(&request)?;
    let condition = precondition::of_write(&request)?;
    // AWS computes CRC-64/NVME for whoever brings no checksum.
    let checksum_default = Some(ChecksumAlgorithm::Crc64Nvme);
    let received = body::receive(service.engine(), &mut request, body, checksum_default).await?;

    let etag = ETag::of_md5(received.md5);
    let mut response = Response::new(200).with_header("ETag", format!("\"{etag}\""));
    if let Some(checksum) = &received.checksum {
        response.header(checksum.algorithm.header(), checksum_text(checksum, 0));
        response.header("x-amz-checksum-type", checksum.kind.name());
    }
    let attributes = Attributes { etag, checksum: received.checksum, headers, lock: Lock::default() };
    let key = request.key.as_bytes();
    let put = service.engine().put(bucket.id, key, received.payload, attributes, condition.clone()).await;
    put.map_err(|error| precondition::refusal(error, &condition, &request.bucket, &request.key))?;
    Ok(response)
}
