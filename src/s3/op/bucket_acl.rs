//! GetBucketAcl and PutBucketAcl.

use crate::auth::acl::Acl;
use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::body::{self, DocumentDigest, Incoming};
use crate::s3::error::{Code, S3Error};
use crate::s3::op::setting::{self, Change};
use crate::s3::route::Operation;
use crate::s3::service::S3Service;
use crate::s3::settings::acl::{self, AclOwner};
use crate::s3::settings::{BucketSettings, Document, ObjectOwnership, PublicAccessBlock};

pub async fn run<H: Host, I: Incoming>(
    service: &S3Service<H>,
    mut request: Authorized,
    body: &mut I,
) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    let settings = service.bucket_settings(&bucket);
    if request.operation() == Operation::GetBucketAcl {
        let acl = current(service, &settings)?;
        return Ok(super::document(acl::document(&acl, &|id| service.accounts().display_name(id))));
    }
    let host = service.engine().host();
    let document = body::receive_document(host, &mut request, body, DocumentDigest::Optional).await?;
    if settings.is_owner_enforced()? {
        return Err(Code::AccessControlListNotSupported.into());
    }
    let owner = service.owner_id(&settings);
    let accounts = service.accounts();
    let headers = AclOwner { id: &owner, bucket_owner: None };
    let acl = match (acl::of_headers(&request, headers, &accounts)?, document.is_empty()) {
        (Some(acl), true) => acl,
        (Some(_), false) => return Err(Code::UnexpectedContent.into()),
        (None, false) => acl::of_document(&document, &owner, &accounts)?,
        (None, true) => {
            return Err(
                S3Error::new(Code::MissingSecurityHeader).with_field("MissingHeaderName", "x-amz-acl")
            );
        }
    };
    if settings.public_access_block()?.block_public_acls && acl.is_public() {
        return Err(Code::AccessDenied.into());
    }
    // What it was judged by must hold still when it is put.
    let change = Change::put(acl::NAME, acl.to_string().into_bytes())
        .while_unchanged(&bucket, &[ObjectOwnership::NAME, PublicAccessBlock::NAME]);
    setting::change(service, &bucket, change).await?;
    Ok(Response::new(200))
}

/// The ACL that a bucket has: where ACLs are disabled, and where nobody put one, its owner's alone.
fn current<H: Host>(service: &S3Service<H>, settings: &BucketSettings) -> Result<Acl, S3Error> {
    match settings.acl()? {
        Some(acl) if !settings.is_owner_enforced()? => Ok(acl.clone()),
        _ => Ok(Acl::private(&service.owner_id(settings))),
    }
}
