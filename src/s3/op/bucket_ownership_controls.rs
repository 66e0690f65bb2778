//! Get-, Put- and DeleteBucketOwnershipControls.

use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::body::{DocumentDigest, Incoming};
use crate::s3::error::{Code, S3Error};
use crate::s3::op::setting::{self, Change};
use crate::s3::route::Operation;
use crate::s3::service::S3Service;
use crate::s3::settings::{Document, ObjectOwnership, acl};

pub async fn run<H: Host, I: Incoming>(
    service: &S3Service<H>,
    mut request: Authorized,
    body: &mut I,
) -> Result<Response, S3Error> {
    match request.operation() {
        Operation::PutBucketOwnershipControls => {}
        Operation::DeleteBucketOwnershipControls => {
            return setting::delete(service, &request, ObjectOwnership::NAME).await;
        }
        _ => {
            let bucket = service.bucket(&request)?;
            return setting::answer::<ObjectOwnership>(&bucket, Code::OwnershipControlsNotFoundError);
        }
    }
    let bucket = service.bucket(&request)?;
    let document = setting::receive(service, &mut request, body, DocumentDigest::Optional).await?;
    let ownership = ObjectOwnership::parse(&document)?;
    let mut change = Change::put(ObjectOwnership::NAME, ownership.render());
    if ownership == ObjectOwnership::BucketOwnerEnforced {
        // Who has access by an ACL must not lose it unawares.
        if service.bucket_settings(&bucket).acl()?.is_some_and(|acl| !acl.is_private()) {
            return Err(Code::InvalidBucketAclWithObjectOwnership.into());
        }
        change = change.while_unchanged(&bucket, &[acl::NAME]);
    }
    setting::change(service, &bucket, change).await?;
    Ok(Response::new(200))
}
