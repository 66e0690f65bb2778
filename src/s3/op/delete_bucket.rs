//! DeleteBucket: removes an empty bucket.

use crate::engine::EngineError;
use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::error::{Code, S3Error};
use crate::s3::service::S3Service;

pub async fn run<H: Host>(service: &S3Service<H>, request: Authorized) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    match service.engine().delete_bucket(&bucket.name).await {
        Ok(()) => Ok(Response::new(204)),
        Err(EngineError::BucketNotEmpty) => {
            Err(S3Error::new(Code::BucketNotEmpty).with_field("BucketName", &bucket.name))
        }
        Err(EngineError::NoSuchBucket) => Err(S3Error::no_such_bucket(&bucket.name)),
        Err(error) => Err(error.into()),
    }
}
