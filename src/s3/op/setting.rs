//! What the operations of all settings share: a document is received, checked and put; answered; removed.
//!
//! The order of refusals is AWS's: the bucket first, then the digest of the document, then what it says.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::engine::{Bucket, BucketChange};
use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::body::{self, DocumentDigest, Incoming};
use crate::s3::error::{Code, S3Error};
use crate::s3::service::S3Service;
use crate::s3::settings::{self, Document};

/// Receives the document of a PUT; an empty one is refused.
pub async fn receive<H: Host, I: Incoming>(
    service: &S3Service<H>,
    request: &mut Authorized,
    body: &mut I,
    digest: DocumentDigest,
) -> Result<Vec<u8>, S3Error> {
    let document = body::receive_document(service.engine().host(), request, body, digest).await?;
    if document.is_empty() { Err(Code::MissingRequestBodyError.into()) } else { Ok(document) }
}

/// Answers a setting as it is stored, or says by `absent` that the bucket does not have it.
pub fn answer<D: Document>(bucket: &Bucket, absent: Code) -> Result<Response, S3Error> {
    match bucket.settings.get(D::NAME) {
        Some(document) => Ok(super::document_bytes(document.clone())),
        None => Err(S3Error::new(absent).with_field("BucketName", &bucket.name)),
    }
}

/// A PUT of a setting that needs nothing beside its document.
pub async fn put<D: Document, H: Host, I: Incoming>(
    service: &S3Service<H>,
    mut request: Authorized,
    body: &mut I,
    digest: DocumentDigest,
) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    let document = receive(service, &mut request, body, digest).await?;
    let setting = D::parse(&document)?;
    change(service, &bucket, Change::put(D::NAME, setting.render())).await?;
    Ok(Response::new(200))
}

/// A DELETE of a setting; of one that is not there too.
pub async fn delete<H: Host>(
    service: &S3Service<H>,
    request: &Authorized,
    name: &str,
) -> Result<Response, S3Error> {
    let bucket = service.bucket(request)?;
    if bucket.settings.contains_key(name) {
        change(service, &bucket, Change::delete(name)).await?;
    }
    Ok(Response::new(204))
}

/// What is to change of a bucket.
pub struct Change(BucketChange);

impl Change {
    pub fn put(name: &str, value: Vec<u8>) -> Self {
        Self::setting(name, Some(value))
    }

    pub fn delete(name: &str) -> Self {
        Self::setting(name, None)
    }

    fn setting(name: &str, value: Option<Vec<u8>>) -> Self {
        let settings = BTreeMap::from([(name.to_owned(), value)]);
        Self(BucketChange { settings, ..BucketChange::default() })
    }

    /// Another change than of one setting.
    pub fn of(change: BucketChange) -> Self {
        Self(change)
    }

    /// Lets the change happen only while these settings are as they are in `bucket`, by which it was judged.
    pub fn while_unchanged(mut self, bucket: &Bucket, names: &[&str]) -> Self {
        for name in names {
            self.0.expected.settings.insert((*name).to_owned(), bucket.settings.get(*name).cloned());
        }
        self
    }
}

/// Changes a bucket, if it is still its owner's.
pub async fn change<H: Host>(
    service: &S3Service<H>,
    bucket: &Bucket,
    change: Change,
) -> Result<Rc<Bucket>, S3Error> {
    let Change(change) = change.while_unchanged(bucket, &[settings::OWNER]);
    Ok(service.engine().set_bucket(&bucket.name, change).await?)
}
