//! AbortMultipartUpload: forgets an upload and frees its parts.

use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::error::S3Error;
use crate::s3::multipart;
use crate::s3::service::S3Service;

pub async fn run<H: Host>(service: &S3Service<H>, request: Authorized) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    let text = request.query("uploadId").unwrap_or_default();
    let id = multipart::upload_id(text)?;
    let aborted = service.engine().abort_upload(bucket.id, request.key.as_bytes(), id).await;
    aborted.map_err(|error| multipart::upload_error(error, text))?;
    Ok(Response::new(204))
}
