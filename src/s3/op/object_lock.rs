//! GetObjectRetention, PutObjectRetention, GetObjectLegalHold and PutObjectLegalHold: the lock of an object,
//! or of a version.

use std::rc::Rc;

use crate::engine::{Bucket, Condition, Lock, Update};
use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::body::{self, DocumentDigest, Incoming};
use crate::s3::error::{Code, S3Error};
use crate::s3::lock;
use crate::s3::service::S3Service;
use crate::s3::version;

pub async fn get_retention<H: Host>(
    service: &S3Service<H>,
    request: Authorized,
) -> Result<Response, S3Error> {
    match current(service, &request).await?.retention {
        Some(retention) => Ok(super::document(lock::retention_document(&retention))),
        None => Err(Code::NoSuchObjectLockConfiguration.into()),
    }
}

pub async fn get_legal_hold<H: Host>(
    service: &S3Service<H>,
    request: Authorized,
) -> Result<Response, S3Error> {
    let lock = current(service, &request).await?;
    Ok(super::document(lock::legal_hold_document(lock.legal_hold)))
}

pub async fn put_retention<H: Host, I: Incoming>(
    service: &S3Service<H>,
    mut request: Authorized,
    body: &mut I,
) -> Result<Response, S3Error> {
    let host = service.engine().host();
    let document = body::receive_document(host, &mut request, body, DocumentDigest::Optional).await?;
    let retention = lock::retention_parse(&document, host.now())?;
    let bypass_governance = lock::wants_bypass(&request);
    update(service, &request, Update::Retention { retention, bypass_governance }).await
}

pub async fn put_legal_hold<H: Host, I: Incoming>(
    service: &S3Service<H>,
    mut request: Authorized,
    body: &mut I,
) -> Result<Response, S3Error> {
    let host = service.engine().host();
    let document = body::receive_document(host, &mut request, body, DocumentDigest::Optional).await?;
    let legal_hold = lock::legal_hold_parse(&document)?;
    update(service, &request, Update::LegalHold(legal_hold)).await
}

/// The bucket of the request, if its objects can be locked.
fn lockable_bucket<H: Host>(service: &S3Service<H>, request: &Authorized) -> Result<Rc<Bucket>, S3Error> {
    let bucket = service.bucket(request)?;
    match service.object_lock(&bucket)? {
        Some(_) => Ok(bucket),
        None => Err(S3Error::invalid_request("Bucket is missing Object Lock Configuration")),
    }
}

/// The lock of the version that the request names.
async fn current<H: Host>(service: &S3Service<H>, request: &Authorized) -> Result<Lock, S3Error> {
    let bucket = lockable_bucket(service, request)?;
    let named = version::named(request)?;
    let lookup = service.engine().get(bucket.id, request.key.as_bytes(), named).await?;
    Ok(version::found(lookup, named, &request.key)?.attributes.lock)
}

async fn update<H: Host>(
    service: &S3Service<H>,
    request: &Authorized,
    update: Update,
) -> Result<Response, S3Error> {
    let bucket = lockable_bucket(service, request)?;
    let named = version::named(request)?;
    let key = request.key.as_bytes();
    let updated = service.engine().update(bucket.id, key, named, update, Condition::default()).await;
    let updated = updated.map_err(|error| version::refusal(error, named, &request.key))?;
    let mut response = Response::new(200);
    version::write(&mut response, updated.version);
    Ok(response)
}
