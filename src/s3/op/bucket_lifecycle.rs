//! GetBucketLifecycleConfiguration, PutBucketLifecycleConfiguration and DeleteBucketLifecycle.

use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::body::{DocumentDigest, Incoming};
use crate::s3::error::{Code, S3Error};
use crate::s3::op::setting;
use crate::s3::request::Request;
use crate::s3::route::Operation;
use crate::s3::service::S3Service;
use crate::s3::settings::{Document, Lifecycle};

/// From which size on objects move to another storage class. None do here, so that each value says the same,
/// and what is answered is AWS's default.
const SIZE_HEADER: &str = "x-amz-transition-default-minimum-object-size";
const SIZE_DEFAULT: &str = "all_storage_classes_128K";
const SIZE_WORDS: [&str; 2] = [SIZE_DEFAULT, "varies_by_storage_class"];

pub async fn run<H: Host, I: Incoming>(
    service: &S3Service<H>,
    request: Authorized,
    body: &mut I,
) -> Result<Response, S3Error> {
    let answer = match request.operation() {
        Operation::PutBucketLifecycleConfiguration => {
            check_size_header(&request)?;
            setting::put::<Lifecycle, _, _>(service, request, body, DocumentDigest::Required).await?
        }
        Operation::DeleteBucketLifecycle => {
            return setting::delete(service, &request, Lifecycle::NAME).await;
        }
        _ => setting::answer::<Lifecycle>(&*service.bucket(&request)?, Code::NoSuchLifecycleConfiguration)?,
    };
    Ok(answer.with_header(SIZE_HEADER, SIZE_DEFAULT))
}

fn check_size_header(request: &Request) -> Result<(), S3Error> {
    match request.header(SIZE_HEADER)? {
        Some(value) if !SIZE_WORDS.contains(&value) => {
            let message = "The TransitionDefaultMinimumObjectSize is not valid.";
            Err(S3Error::invalid_argument(message, SIZE_HEADER, value))
        }
        _ => Ok(()),
    }
}
