//! CopyObject: a new object that shares its source's payload by reference, however large it is.

use crate::base::checksum::{Checksum, ChecksumAlgorithm, ChecksumKind};
use crate::base::limits::{HASH_SLICE_BYTES, PART_BYTES_MAX};
use crate::engine::{Attributes, Committed, Object, ObjectPart};
use crate::hash::{self, DigestPlan, Hasher};
use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::claims::invalid_value;
use crate::s3::copy_source::CopySource;
use crate::s3::error::S3Error;
use crate::s3::metadata;
use crate::s3::multipart::checksum_text;
use crate::s3::new_object::NewObject;
use crate::s3::precondition;
use crate::s3::request::Request;
use crate::s3::service::S3Service;
use crate::s3::tagging::TagSet;
use crate::s3::version;
use crate::s3::xml::{self, XmlWriter};

pub async fn run<H: Host>(service: &S3Service<H>, request: Authorized) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    let directive = Directive::of_metadata(&request)?;
    let tagging_directive = Directive::of_tags(&request)?;
    let algorithm = asked_algorithm(&request)?;
    let condition = precondition::of_write(&request)?;
    let new = NewObject::read(service, &request, &bucket).await?;
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
        TagSet::load(&object.attributes.headers).store(&mut headers);
    }
    let checksum = match (algorithm, kept_checksum(&object.attributes.checksum, &object.parts)) {
        (Some(algorithm), kept) if kept.as_ref().is_none_or(|kept| kept.algorithm != algorithm) => {
            Some(computed_checksum(object, algorithm).await?)
        }
        (_, kept) => kept,
    };
    // The ETag is the source's, also that of a multipart object: it stands for the same bytes, and a copy
    // reads none of them.
    let etag = object.attributes.etag;
    let attributes = Attributes { etag, checksum: checksum.clone(), headers, lock };
    let payload = object.share(0..object.stored_bytes()).await?;
    let key = request.key.as_bytes();
    let put = service.engine().put(bucket.id, key, payload, attributes, condition.clone()).await;
    let committed =
        put.map_err(|error| precondition::refusal(error, &condition, &request.bucket, &request.key))?;

    let mut response = super::document(answer(&committed, checksum.as_ref()));
    source.describe(&mut response);
    version::write_made(&mut response, committed.version);
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

/// Whether a copy would replace what is current by itself. A version that is named becomes current again.
fn is_itself(source: &CopySource, request: &Request) -> bool {
    source.bucket == request.bucket && source.key == request.key && source.version.is_none()
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
    ["x-amz-storage-class", "x-amz-website-redirect-location", "x-amz-checksum-algorithm"]
        .iter()
        .any(|name| request.head.header(name).is_some())
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
    algorithm: ChecksumAlgorithm,
) -> Result<Checksum, S3Error> {
    let mut hasher = Hasher::new(DigestPlan { checksum: Some(algorithm), ..DigestPlan::default() });
    let mut reader = object.reader(0..object.bytes);
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
    use crate::s3::error::Code;

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
