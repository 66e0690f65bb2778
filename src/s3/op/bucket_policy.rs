//! Get-, Put- and DeleteBucketPolicy, and GetBucketPolicyStatus.

use crate::auth::policy::{self, Kind, Policy, PolicyError};
use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::body::{DocumentDigest, Incoming};
use crate::s3::error::{Code, S3Error};
use crate::s3::op::setting::{self, Change};
use crate::s3::route::Operation;
use crate::s3::service::S3Service;
use crate::s3::settings::{self, BucketSettings, Document, PublicAccessBlock};
use crate::s3::xml::XmlWriter;

pub async fn run<H: Host, I: Incoming>(
    service: &S3Service<H>,
    request: Authorized,
    body: &mut I,
) -> Result<Response, S3Error> {
    if request.operation() != Operation::GetBucketPolicyStatus {
        check_account(service, &request)?;
    }
    match request.operation() {
        Operation::PutBucketPolicy => put(service, request, body).await,
        Operation::DeleteBucketPolicy => setting::delete(service, &request, settings::POLICY).await,
        Operation::GetBucketPolicyStatus => {
            let bucket = service.bucket(&request)?;
            Ok(super::document(status(&service.bucket_settings(&bucket))?))
        }
        _ => {
            let bucket = service.bucket(&request)?;
            let Some(policy) = bucket.settings.get(settings::POLICY) else {
                return Err(S3Error::new(Code::NoSuchBucketPolicy).with_field("BucketName", &bucket.name));
            };
            let response = Response::new(200).with_header("Content-Type", "application/json");
            Ok(response.with_body(policy.clone()))
        }
    }
}

/// The policy is for its bucket's account alone, whomever it lets in itself: who may write it may do everything.
///
/// Source: AWS, GetBucketPolicy, PutBucketPolicy and DeleteBucketPolicy: 405 for identities of other accounts.
fn check_account<H: Host>(service: &S3Service<H>, request: &Authorized) -> Result<(), S3Error> {
    let settings = service.bucket_settings(request.bucket()?);
    let owner = service.owner_account(&settings);
    let is_owners = request.principal().is_some_and(|principal| principal.account_id == owner);
    if is_owners { Ok(()) } else { Err(Code::MethodNotAllowed.into()) }
}

async fn put<H: Host, I: Incoming>(
    service: &S3Service<H>,
    mut request: Authorized,
    body: &mut I,
) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    let text = setting::receive(service, &mut request, body, DocumentDigest::Optional).await?;
    let policy = Policy::parse(&text, Kind::Bucket).map_err(malformed)?;
    policy::bucket::check(&policy, &bucket.name, &service.accounts()).map_err(malformed)?;
    let settings = service.bucket_settings(&bucket);
    if settings.public_access_block()?.block_public_policy && policy.is_public() {
        return Err(Code::AccessDenied.into());
    }
    let change = Change::put(settings::POLICY, text).while_unchanged(&bucket, &[PublicAccessBlock::NAME]);
    setting::change(service, &bucket, change).await?;
    Ok(Response::new(204))
}

fn malformed(error: PolicyError) -> S3Error {
    let code = if error.is_unsupported { Code::NotImplemented } else { Code::MalformedPolicy };
    S3Error::new(code).with_message(error.message)
}

/// Whether everybody gets in, by the policy or by an ACL that counts. A bucket that has neither is not
/// public.
fn status(settings: &BucketSettings) -> Result<XmlWriter, S3Error> {
    let ignores_acls = settings.is_owner_enforced()? || settings.public_access_block()?.ignore_public_acls;
    let is_public = settings.policy()?.is_some_and(Policy::is_public)
        || !ignores_acls && settings.acl()?.is_some_and(|acl| acl.is_public());
    let mut xml = XmlWriter::document("PolicyStatus");
    xml.value("IsPublic", is_public);
    Ok(xml)
}
