//! CopyObject: a new object that shares its source's payload by reference, however large it is, if both are
//! encrypted under the same key or neither is. Else the payload is read and written again.

use std::rc::Rc;

use crate::auth::policy::action::Action;
use crate::base::checksum::{Checksum, ChecksumAlgorithm, ChecksumKind};
use crate::base::etag::ETag;
use crate::base::limits::{HASH_SLICE_BYTES, PART_BYTES_MAX};
use crate::engine::{Attributes, Bucket, Committed, Object, ObjectPart, Payload};
use crate::hash::{self, DigestPlan, Hasher};
use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::claims::invalid_value;
use crate::s3::copy_source::{CopySource, Source};
use crate::s3::encryption::transcode::transcode;
use crate::s3::encryption::{Answer, CustomerKey, DataKey, Opened, Place, Target, requests};
use crate::s3::error::{Code, S3Error};
use crate::s3::expiration::{self, Current};
use crate::s3::metadata;
use crate::s3::multipart::checksum_text;
use crate::s3::new_object::NewObject;
use crate::s3::notification::event::EventName;
use crate::s3::notification::{self, About};
use crate::s3::precondition;
use crate::s3::request::Request;
use crate::s3::service::S3Service;
use crate::s3::tagging::TagSet;
use crate::s3::version;
use crate::s3::xml::{self, XmlWriter};

const GET_OBJECT_TAGGING: Action = Action::named("s3:GetObjectTagging");
const PUT_OBJECT_TAGGING: Action = Action::named("s3:PutObjectTagging");

pub async fn run<H: Host>(service: &S3Service<H>, request: Authorized) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    let directive = Directive::of_metadata(&request)?;
    let tagging_directive = Directive::of_tags(&request)?;
    let algorithm = asked_algorithm(&request)?;
    let condition = precondition::of_write(&request)?;
    let new = NewObject::read(service, &request, &bucket)?;
    let lock = new.lock.grant(service.object_lock(&bucket)?, service.engine().host().now())?;
    let source = service.copy_source(&request).await?;
    let object = &source.object;
    if object.bytes > PART_BYTES_MAX {
        return Err(S3Error::invalid_request(format!(
            "The specified copy source is larger than the maximum allowable size for a copy source: \
             {PART_BYTES_MAX}"
        )));
    }
    if is_itself(&source.name, &request) && directive == Directive::Copy && !changes_anything(&request) {
        return Err(S3Error::invalid_request(
            "This copy request is illegal because it is trying to copy an object to itself without changing \
             the object's metadata, storage class, website redirect location or encryption attributes.",
        ));
    }
    let mut headers = match directive {
        Directive::Copy => metadata::of_source(&object.attributes.headers, &request)?,
        Directive::Replace => metadata::of_request(&request)?,
    };
    new.store(&mut headers);
    if tagging_directive == Directive::Copy {
        let tags = TagSet::load(&object.attributes.headers);
        if !tags.is_empty() {
            check_tags(service, &request, &bucket, &source).await?;
        }
        tags.store(&mut headers);
    }
    let (opened, source_key) = requests::opened_source(service, object, &request)?;
    let place = Place { bucket: bucket.id };
    let copying = Copying { object, opened, source_key, place, algorithm };
    let target = requests::target(service, &bucket, &|name| request.head.header(name))?;
    let Copied { payload, etag, checksum, data_key } = copying.copy(service, target).await?;
    requests::replace(&mut headers, data_key.as_ref());
    let remembered = expiration::remembered(&bucket, &headers);
    let attributes = Attributes { etag, checksum: checksum.clone(), headers, lock };
    let key = request.key.as_bytes();
    let about = About { bytes: object.bytes, etag };
    let name = EventName::ObjectCreatedCopy;
    let events = notification::drafts(service, &request, &bucket, name, &request.key, Some(about));
    let engine = service.engine();
    let put = engine.put_with_events(bucket.id, key, payload, attributes, condition.clone(), events).await;
    let committed =
        put.map_err(|error| precondition::refusal(error, &condition, &request.bucket, &request.key))?;

    let mut response = super::document(answer(&committed, checksum.as_ref()));
    source.describe(&mut response);
    version::write_made(&mut response, committed.version);
    if let Some(data_key) = &data_key {
        data_key.describe(&mut response, Answer::Made);
    }
    let bytes = object.bytes;
    let made = Current { key: &request.key, bytes, headers: &remembered, modified: committed.modified };
    expiration::write(&mut response, expiration::of_object(service, &bucket, made).as_ref());
    Ok(response)
}

fn answer(committed: &Committed, checksum: Option<&Checksum>) -> XmlWriter {
    let mut xml = XmlWriter::document("CopyObjectResult");
    xml.text("LastModified", &xml::timestamp(committed.modified));
    xml.text("ETag", &format!("\"{}\"", committed.etag));
    if let Some(checksum) = checksum {
        xml.text(checksum.algorithm.element(), &checksum_text(checksum, 0));
        xml.text("ChecksumType", checksum.kind.name());
    }
    xml
}

/// A copy that is about to be made.
struct Copying<'a, H: Host> {
    object: &'a Object<H>,
    opened: Opened,
    /// The customer's key that the source was opened with.
    source_key: Option<CustomerKey>,
    /// Where the copy goes.
    place: Place,
    /// Of the checksum that the client wants.
    algorithm: Option<ChecksumAlgorithm>,
}

/// The payload of a copy, and what describes it.
struct Copied<H: Host> {
    payload: Payload<H>,
    etag: ETag,
    checksum: Option<Checksum>,
    data_key: Option<DataKey>,
}

impl<H: Host> Copying<'_, H> {
    async fn copy(self, service: &S3Service<H>, target: Option<Target>) -> Result<Copied<H>, S3Error> {
        let kept = kept_checksum(&self.object.attributes.checksum, &self.object.parts);
        let kept = kept.filter(|kept| self.algorithm.is_none_or(|asked| asked == kept.algorithm));
        let is_shared = match (self.opened.data_key(), &target) {
            (None, None) => true,
            (Some(key), Some(target)) => target.is_of(&key.kept, self.source_key.as_ref()),
            _ => false,
        };
        if is_shared {
            self.share(service, target, kept).await
        } else {
            self.write(service, target, kept).await
        }
    }

    /// Shares the source's payload, under the same data key, wrapped for the copy. The ETag is the source's,
    /// also that of a multipart object: it stands for the same bytes, and nobody reads them.
    async fn share(
        self,
        service: &S3Service<H>,
        target: Option<Target>,
        kept: Option<Checksum>,
    ) -> Result<Copied<H>, S3Error> {
        let object = self.object;
        let checksum = match (self.algorithm, kept) {
            (Some(algorithm), None) => Some(computed_checksum(object, &self.opened, algorithm).await?),
            (_, kept) => kept,
        };
        let data_key = match (self.opened.into_key(), target) {
            (Some((source, runs)), Some(target)) => {
                Some(target.rewrap(source, runs, &service.vault()?, self.place, object.host())?)
            }
            _ => None,
        };
        let payload = object.share(0..object.stored_bytes()).await?.with_plain_bytes(object.bytes);
        Ok(Copied { payload, etag: object.attributes.etag, checksum, data_key })
    }

    /// Writes the payload again as the copy is to be encrypted.
    async fn write(
        self,
        service: &S3Service<H>,
        target: Option<Target>,
        kept: Option<Checksum>,
    ) -> Result<Copied<H>, S3Error> {
        let object = self.object;
        let mut data_key = requests::data_key(service, target, self.place)?;
        let run = data_key.as_ref().map(|key| key.new_run(0, object.host()));
        let checksum = self.algorithm.filter(|_| kept.is_none());
        let plan = DigestPlan { md5: true, checksum, ..DigestPlan::default() };
        let whole = 0..object.bytes;
        let engine = service.engine();
        let (payload, digests) = transcode(engine, object, &self.opened, whole, run.as_ref(), plan).await?;
        let md5 = digests.md5.ok_or(Code::InternalError)?;
        let mut etag = ETag::of_md5(md5);
        if let (Some(data_key), Some(run)) = (&mut data_key, &run) {
            etag = data_key.etag(md5, run);
            data_key.add_run(run, object.bytes);
        }
        Ok(Copied { payload, etag, checksum: kept.or(digests.checksum), data_key })
    }
}

/// Whether a copy would replace what is current by itself. A version that is named becomes current again.
fn is_itself(source: &CopySource, request: &Request) -> bool {
    source.bucket == request.bucket && source.key == request.key && source.version.is_none()
}

/// Tags go along only for who may read them there and give them here.
///
/// Source: AWS, CopyObject, "Permissions".
async fn check_tags<H: Host>(
    service: &S3Service<H>,
    request: &Authorized,
    bucket: &Rc<Bucket>,
    source: &Source<H>,
) -> Result<(), S3Error> {
    let name = &source.name;
    let from = service.bucket_named(&name.bucket)?;
    let seen = request.check(service, GET_OBJECT_TAGGING, &from, &name.key, name.version).await?;
    seen.check(&source.object)?;
    request.check(service, PUT_OBJECT_TAGGING, bucket, &request.key, None).await.map(drop)
}

/// Whose metadata, or whose tags, the copy gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Directive {
    Copy,
    Replace,
}

impl Directive {
    fn of_tags(request: &Request) -> Result<Self, S3Error> {
        Self::parse(request, "x-amz-tagging-directive", "Unknown tagging directive.")
    }

    fn of_metadata(request: &Request) -> Result<Self, S3Error> {
        Self::parse(request, "x-amz-metadata-directive", "Unknown metadata directive.")
    }

    fn parse(request: &Request, name: &str, message: &'static str) -> Result<Self, S3Error> {
        match request.header(name)? {
            None | Some("COPY") => Ok(Self::Copy),
            Some("REPLACE") => Ok(Self::Replace),
            Some(other) => Err(S3Error::invalid_argument(message, name, other)),
        }
    }
}

/// Whether a copy of an object to itself asks for a change of anything but metadata.
fn changes_anything(request: &Request) -> bool {
    const NAMES: [&str; 3] =
        ["x-amz-storage-class", "x-amz-website-redirect-location", "x-amz-checksum-algorithm"];
    let changes = |name: &str| NAMES.contains(&name) || name.starts_with("x-amz-server-side-encryption");
    request.head.headers.iter().any(|(name, _)| changes(name))
        || request.head.header("x-amz-tagging-directive") == Some(b"REPLACE")
}

fn asked_algorithm(request: &Request) -> Result<Option<ChecksumAlgorithm>, S3Error> {
    const NAME: &str = "x-amz-checksum-algorithm";
    match request.header(NAME)? {
        None => Ok(None),
        Some(text) => ChecksumAlgorithm::parse(text).map(Some).ok_or_else(|| invalid_value(NAME)),
    }
}

/// The checksum of a copy, as far as it is known without reading: the source's if it covers the object, else
/// the combination of its parts' CRCs. A composite of digests that cannot be combined does not describe
/// the copy, which has no parts.
pub fn kept_checksum(source: &Option<Checksum>, parts: &[ObjectPart]) -> Option<Checksum> {
    let source = source.as_ref()?;
    if source.kind == ChecksumKind::FullObject {
        return Some(source.clone());
    }
    let algorithm = source.algorithm;
    if !algorithm.is_linear() {
        return None;
    }
    let mut whole: Option<Vec<u8>> = None;
    for part in parts {
        let next = part.checksum.as_ref().filter(|checksum| checksum.algorithm == algorithm)?;
        whole = Some(match whole {
            None => next.value.clone(),
            Some(first) => hash::combine(algorithm, &first, &next.value, part.bytes),
        });
    }
    Some(Checksum { algorithm, kind: ChecksumKind::FullObject, value: whole? })
}

/// Reads the whole object for a checksum that it does not have.
async fn computed_checksum<H: Host>(
    object: &Object<H>,
    opened: &Opened,
    algorithm: ChecksumAlgorithm,
) -> Result<Checksum, S3Error> {
    let mut hasher = Hasher::new(DigestPlan { checksum: Some(algorithm), ..DigestPlan::default() });
    let mut reader = opened.reader(object, 0..object.bytes);
    while let Some(chunk) = reader.next().await {
        for slice in chunk?.chunks(HASH_SLICE_BYTES) {
            hasher.update(slice);
            object.host().yield_now().await;
        }
    }
    let kind = ChecksumKind::FullObject;
    let value = hasher.finish().checksum.map(|checksum| checksum.value).unwrap_or_default();
    Ok(Checksum { algorithm, kind, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crc(bytes: &[u8]) -> Checksum {
        let plan = DigestPlan { checksum: Some(ChecksumAlgorithm::Crc32), ..DigestPlan::default() };
        let mut hasher = Hasher::new(plan);
        hasher.update(bytes);
        hasher.finish().checksum.unwrap()
    }

    #[test]
    fn a_composite_crc_becomes_that_of_the_whole() {
        let parts = [(1, &b"first "[..]), (2, b"second")].map(|(number, bytes)| ObjectPart {
            number,
            bytes: bytes.len() as u64,
            checksum: Some(crc(bytes)),
            note: Vec::new(),
        });
        let composite = Checksum { kind: ChecksumKind::Composite, ..crc(b"") };
        assert_eq!(kept_checksum(&Some(composite), &parts), Some(crc(b"first second")));
        let kind = ChecksumKind::Composite;
        let digest = Checksum { algorithm: ChecksumAlgorithm::Sha256, kind, value: vec![0; 32] };
        assert_eq!(kept_checksum(&Some(digest), &parts), None);
        assert_eq!(kept_checksum(&Some(crc(b"x")), &[]), Some(crc(b"x")));
        assert_eq!(kept_checksum(&None, &parts), None);
    }

    #[test]
    fn directives_are_two_words() {
        let of = |value| {
            Directive::of_metadata(&Request::for_test("PUT", "/b/k", &[("x-amz-metadata-directive", value)]))
        };
        assert_eq!(of("COPY"), Ok(Directive::Copy));
        assert_eq!(of("REPLACE"), Ok(Directive::Replace));
        assert_eq!(of("MERGE").unwrap_err().code, Code::InvalidArgument);
    }
}
