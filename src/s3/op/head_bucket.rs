//! HeadBucket: whether a bucket exists and may be used, and where it is.
//!
//! With `read-stats=true` it also says what the bucket holds, as Ceph's gateway does for its users.

use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::error::S3Error;
use crate::s3::service::S3Service;

pub async fn run<H: Host>(service: &S3Service<H>, request: Authorized) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    let mut response = Response::new(200)
        .with_header("x-amz-bucket-region", &service.settings().region)
        .with_header("x-amz-access-point-alias", "false")
        .with_header("Content-Type", "application/xml");
    if request.query("read-stats") == Some("true") {
        let usage = service.engine().usage(bucket.id).await?;
        response.header("x-rgw-object-count", (usage.objects + usage.versions).to_string());
        response.header("x-rgw-bytes-used", usage.bytes.to_string());
    }
    Ok(response)
}
