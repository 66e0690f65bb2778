//! CompleteMultipartUpload: makes an object of the named parts.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::base::checksum::Checksum;
use crate::base::etag::ETag;
use crate::base::limits::PARTS_MAX;
use crate::engine::{
    Attributes, Bucket, Completion, Condition, EngineError, Headers, Lock, UploadId, VersionId,
};
use crate::hash;
use crate::http::Response;
use crate::io::{Host, TimestampMs};
use crate::s3::access::Authorized;
use crate::s3::body::{self, DocumentDigest, Incoming};
use crate::s3::completion::{self, Assembly, NamedPart, Promise};
use crate::s3::encryption::{Answer, Encryption, Notice, requests};
use crate::s3::error::S3Error;
use crate::s3::expiration::{self, Current};
use crate::s3::lock::LockWish;
use crate::s3::multipart::{self, UploadChecksum};
use crate::s3::notification::event::EventName;
use crate::s3::notification::{self, About};
use crate::s3::op::put_object;
use crate::s3::precondition;
use crate::s3::request::Request;
use crate::s3::service::S3Service;
use crate::s3::settings::object_lock::ObjectLock;
use crate::s3::version;
use crate::s3::xml::XmlWriter;

pub async fn run<H: Host, I: Incoming>(
    service: &S3Service<H>,
    mut request: Authorized,
    body: &mut I,
) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    let condition = precondition::of_write(&request)?;
    let promise = Promise::read(|name| request.head.text(name))?;
    let id_text = request.query("uploadId").unwrap_or_default().to_owned();
    let id = multipart::upload_id(&id_text)?;
    let host = service.engine().host();
    let document = body::receive_document(host, &mut request, body, DocumentDigest::OfObject).await?;
    let named = completion::parse(&document)?;
    let wanted = Wanted { bucket: &bucket, key: &request.key, id, id_text: &id_text, named: &named };
    let lock = service.object_lock(&bucket)?;
    let object = wanted.complete(service, &request, &promise, condition, lock).await?;
    let mut response = super::document(answer(&request, &object));
    version::write_made(&mut response, object.version);
    if let Some(notice) = &object.encryption {
        notice.describe(&mut response, Answer::Found);
    }
    let Completed { bytes, ref headers, modified, .. } = object;
    let made = Current { key: &request.key, bytes, headers, modified };
    expiration::write(&mut response, expiration::of_object(service, &bucket, made).as_ref());
    Ok(response)
}

/// What is to become an object.
struct Wanted<'a> {
    bucket: &'a Rc<Bucket>,
    key: &'a str,
    id: UploadId,
    id_text: &'a str,
    named: &'a [NamedPart],
}

/// The object that was made.
struct Completed {
    etag: ETag,
    checksum: Option<Checksum>,
    parts: usize,
    version: Option<VersionId>,
    /// How it is encrypted.
    encryption: Option<Notice>,
    bytes: u64,
    headers: Headers,
    modified: TimestampMs,
}

impl Wanted<'_> {
    async fn complete<H: Host>(
        &self,
        service: &S3Service<H>,
        request: &Authorized,
        promise: &Promise,
        condition: Condition,
        bucket_lock: Option<ObjectLock>,
    ) -> Result<Completed, S3Error> {
        let engine = service.engine();
        let key = self.key.as_bytes();
        let found = engine.upload(self.bucket.id, key, self.id, 0, usize::from(PARTS_MAX)).await;
        let (mut upload, stored) = match found {
            Ok(found) => found,
            Err(EngineError::NoSuchUpload) => return self.repeat(service, condition).await,
            Err(error) => return Err(error.into()),
        };
        let encryption = requests::of_completion(service, self.bucket, &upload, request)?;
        let expected = UploadChecksum::load(&upload.headers);
        let Assembly { parts, etag, checksum } =
            completion::assemble(self.id_text, expected, self.named, &stored, promise)?;
        let lock = LockWish::take(&mut upload.headers).grant(bucket_lock, engine.host().now())?;
        let headers = multipart::object_headers(upload.headers);
        let remembered = expiration::remembered(self.bucket, &headers);
        let attributes = Attributes { etag, checksum: checksum.clone(), headers, lock };
        let numbers: BTreeSet<u16> = parts.iter().map(|(number, _)| *number).collect();
        let sizes = stored.iter().filter(|part| numbers.contains(&part.number)).map(|part| part.bytes);
        let bytes = sizes.sum();
        let name = EventName::ObjectCreatedCompleteMultipartUpload;
        let about = About { bytes, etag };
        let events = notification::drafts(service, request, self.bucket, name, self.key, Some(about));
        let completion = Completion { parts, attributes, condition: condition.clone(), events };
        let done = engine.complete_upload(self.bucket.id, key, self.id, completion).await;
        let committed = done.map_err(|error| self.refusal(error, &condition, request))?;
        Ok(Completed {
            etag: committed.etag,
            checksum,
            parts: self.named.len(),
            version: committed.version,
            bytes,
            headers: remembered,
            encryption,
            modified: committed.modified,
        })
    }

    /// An upload that is gone may have been completed by the same request, whose answer was lost: the engine
    /// knows, as long as its object is the current one.
    async fn repeat<H: Host>(
        &self,
        service: &S3Service<H>,
        condition: Condition,
    ) -> Result<Completed, S3Error> {
        let gone = || S3Error::no_such_upload(self.id_text);
        let parts: Option<Vec<(u16, ETag)>> =
            self.named.iter().map(|part| Some((part.number, ETag::parse(&part.etag)?))).collect();
        let parts = parts.ok_or_else(gone)?;
        let etag = hash::multipart_etag(parts.iter().map(|(_, etag)| etag.digest));
        let attributes = Attributes { etag, checksum: None, headers: Vec::new(), lock: Lock::default() };
        let completion = Completion { parts, attributes, condition, events: Vec::new() };
        let key = self.key.as_bytes();
        let done = service.engine().complete_upload(self.bucket.id, key, self.id, completion).await;
        let committed = done.map_err(|error| multipart::upload_error(error, self.id_text))?;
        let version = committed.version;
        let lookup = service.engine().get(self.bucket.id, key, version).await?;
        let object = lookup.found().ok_or_else(gone)?;
        let checksum = object.attributes.checksum.clone();
        let encryption =
            Encryption::load(&object.attributes.headers)?.map(|kept| Notice { kept, customer_md5: None });
        Ok(Completed {
            etag: committed.etag,
            checksum,
            parts: object.parts.len(),
            version,
            bytes: object.bytes,
            headers: object.attributes.headers.clone(),
            encryption,
            modified: committed.modified,
        })
    }

    fn refusal(&self, error: EngineError, condition: &Condition, request: &Request) -> S3Error {
        match error {
            EngineError::NoSuchUpload => S3Error::no_such_upload(self.id_text),
            other => precondition::refusal(other, condition, &request.bucket, self.key),
        }
    }
}

fn answer(request: &Request, object: &Completed) -> XmlWriter {
    let mut xml = XmlWriter::document("CompleteMultipartUploadResult");
    xml.text("Location", &put_object::location(request));
    xml.text("Bucket", &request.bucket);
    xml.text("Key", &request.key);
    xml.text("ETag", &format!("\"{}\"", object.etag));
    if let Some(checksum) = &object.checksum {
        xml.text(checksum.algorithm.element(), &multipart::checksum_text(checksum, object.parts));
        xml.text("ChecksumType", checksum.kind.name());
    }
    xml
}
