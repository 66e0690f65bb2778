//! UploadPartCopy: makes a part of an upload from an object or a range of one. Its bytes are shared, not
//! copied; they are read only if the upload's parts must have a checksum that nobody has computed, and
//! written again if source or upload is encrypted.

use std::ops::Range;

use crate::base::checksum::{Checksum, ChecksumKind};
use crate::base::etag::ETag;
use crate::base::limits::PART_BYTES_MAX;
use crate::engine::{Attributes, Object, Part};
use crate::hash::{DigestPlan, Digests, Hasher};
use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::encryption::transcode::transcode;
use crate::s3::encryption::{Answer, requests};
use crate::s3::error::{Code, S3Error};
use crate::s3::multipart::{self, UploadChecksum};
use crate::s3::op::upload_part::Target;
use crate::s3::service::S3Service;
use crate::s3::xml::{self, XmlWriter};

const RANGE_HEADER: &str = "x-amz-copy-source-range";

pub async fn run<H: Host>(service: &S3Service<H>, request: Authorized) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    let target = Target::read(&request)?;
    let upload = target.find(service, bucket.id, &request.key).await?;
    let source = service.copy_source(&request).await?;
    let object = &source.object;
    let range = copied_range(request.header(RANGE_HEADER)?, object.bytes)?;

    let expected = UploadChecksum::load(&upload.headers);
    let data_key = requests::of_upload(service, &bucket, &upload, &request)?;
    let (opened, _) = requests::opened_source(service, object, &request)?;
    let (payload, digests) = if data_key.is_none() && opened.data_key().is_none() {
        let digests = match known_digests(&object.attributes, object.bytes, &range, expected) {
            Some(digests) => digests,
            None => computed_digests(object, range.clone(), expected).await?,
        };
        (object.share(range).await?, digests)
    } else {
        let engine = service.engine();
        let run = data_key.as_ref().map(|key| key.new_run(target.number, engine.host()));
        let (payload, digests) =
            transcode(engine, object, &opened, range, run.as_ref(), plan_of(expected)).await?;
        let md5 = digests.md5.ok_or(Code::InternalError)?;
        let etag = match (&data_key, &run) {
            (Some(data_key), Some(run)) => data_key.etag(md5, run),
            _ => ETag::of_md5(md5),
        };
        (payload, PartDigests { etag, checksum: digests.checksum })
    };
    let part = service
        .engine()
        .put_part(
            bucket.id,
            request.key.as_bytes(),
            upload.id,
            target.number,
            payload,
            digests.etag,
            digests.checksum,
        )
        .await
        .map_err(|error| multipart::upload_error(error, &target.upload_id))?;
    let mut response = super::document(answer(&part));
    source.describe(&mut response);
    if let Some(data_key) = &data_key {
        data_key.describe(&mut response, Answer::Found);
    }
    Ok(response)
}

/// Reads `bytes=first-last`, in which nothing may be left out, against an object of `bytes`.
fn copied_range(header: Option<&str>, bytes: u64) -> Result<Range<u64>, S3Error> {
    let range = match header {
        None => 0..bytes,
        Some(text) => {
            let range = range_parse(text).ok_or_else(|| {
                let message = "The x-amz-copy-source-range value must be of the form bytes=first-last where \
                               first and last are the zero-based offsets of the first and last bytes to copy";
                S3Error::invalid_argument(message, RANGE_HEADER, text)
            })?;
            if range.end > bytes {
                return Err(S3Error::new(Code::InvalidRange)
                    .with_message(format!("Range specified is not valid for source object of size: {bytes}"))
                    .with_field("RangeRequested", text)
                    .with_field("ActualObjectSize", bytes));
            }
            range
        }
    };
    if range.end - range.start > PART_BYTES_MAX {
        return Err(S3Error::invalid_request(format!(
            "The specified copy source is larger than the maximum allowable size for a copy source: \
             {PART_BYTES_MAX}"
        )));
    }
    Ok(range)
}

fn range_parse(text: &str) -> Option<Range<u64>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let offset = |digits: &str| {
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u64>().ok().filter(|_| is_number)
    };
    let (first, last) = (offset(first)?, offset(last)?);
    (first <= last).then_some(first..last.checked_add(1)?)
}

/// What a copied part is known by.
#[derive(Debug, PartialEq, Eq)]
struct PartDigests {
    etag: ETag,
    checksum: Option<Checksum>,
}

/// The digests that follow from the source's without reading it; `None` if the upload wants another checksum.
fn known_digests(
    source: &Attributes,
    bytes: u64,
    range: &Range<u64>,
    expected: UploadChecksum,
) -> Option<PartDigests> {
    let is_whole = *range == (0..bytes);
    let checksum = source
        .checksum
        .as_ref()
        .filter(|checksum| is_whole && checksum.kind == ChecksumKind::FullObject)
        .filter(|checksum| !expected.requested || checksum.algorithm == expected.algorithm);
    if expected.requested && checksum.is_none() {
        return None;
    }
    let is_md5 = source.etag.parts == 0;
    let etag = if is_whole && is_md5 { source.etag } else { multipart::derived_etag(&source.etag, range) };
    Some(PartDigests { etag, checksum: checksum.cloned() })
}

/// What is computed of a part whose bytes are read.
fn plan_of(expected: UploadChecksum) -> DigestPlan {
    DigestPlan { md5: true, checksum: Some(expected.algorithm), ..DigestPlan::default() }
}

/// Reads the range for the checksum that the upload wants, and so gets its MD5 as well.
async fn computed_digests<H: Host>(
    object: &Object<H>,
    range: Range<u64>,
    expected: UploadChecksum,
) -> Result<PartDigests, S3Error> {
    let mut hasher = Hasher::new(plan_of(expected));
    let derived = multipart::derived_etag(&object.attributes.etag, &range);
    let mut reader = object.reader(range);
    while let Some(chunk) = reader.next().await {
        hasher.update(&chunk?);
        object.host().yield_now().await;
    }
    let Digests { md5, checksum, .. } = hasher.finish();
    Ok(PartDigests { etag: md5.map_or(derived, ETag::of_md5), checksum })
}

fn answer(part: &Part) -> XmlWriter {
    let mut xml = XmlWriter::document("CopyPartResult");
    xml.text("LastModified", &xml::timestamp(part.modified));
    xml.text("ETag", &format!("\"{}\"", part.etag));
    if let Some(checksum) = &part.checksum {
        xml.text(checksum.algorithm.element(), &multipart::checksum_text(checksum, 0));
    }
    xml
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::checksum::ChecksumAlgorithm;

    #[test]
    fn a_range_names_its_first_and_last_byte() {
        assert_eq!(copied_range(None, 7), Ok(0..7));
        assert_eq!(copied_range(None, 0), Ok(0..0));
        assert_eq!(copied_range(Some("bytes=0-0"), 7), Ok(0..1));
        assert_eq!(copied_range(Some("bytes=2-6"), 7), Ok(2..7));
        for text in [
            "0-2",
            "bytes=0",
            "bytes=hello-world",
            "bytes=0-bar",
            "bytes=hello-",
            "bytes=0-2,3-5",
            "bytes=-5",
            "bytes=2-",
            "bytes=3-2",
            "bytes=+1-2",
            "bytes= 1-2",
            "",
            "bytes=0-18446744073709551615",
            "bytes=0-99999999999999999999",
        ] {
            let error = copied_range(Some(text), 7).unwrap_err();
            assert_eq!(error.code, Code::InvalidArgument, "{text}");
        }
        for text in ["bytes=2-7", "bytes=7-9"] {
            let error = copied_range(Some(text), 7).unwrap_err();
            assert_eq!(error.code, Code::InvalidRange, "{text}");
            assert!(error.fields.contains(&("ActualObjectSize", "7".to_owned())));
        }
    }

    #[test]
    fn a_part_holds_five_gibibytes_at_most() {
        let bytes = PART_BYTES_MAX + 1;
        assert_eq!(copied_range(None, bytes).unwrap_err().code, Code::InvalidRequest);
        assert_eq!(copied_range(Some("bytes=1-5368709120"), bytes), Ok(1..bytes));
    }

    fn object(parts: u16, checksum: Option<(ChecksumAlgorithm, ChecksumKind)>) -> Attributes {
        let checksum = checksum.map(|(algorithm, kind)| Checksum {
            algorithm,
            kind,
            value: vec![1; algorithm.length()],
        });
        Attributes {
            etag: ETag { digest: [7; 16], parts },
            checksum,
            headers: Vec::new(),
            lock: Default::default(),
        }
    }

    #[test]
    fn a_whole_copy_keeps_the_sources_md5_and_checksum() {
        let source = object(0, Some((ChecksumAlgorithm::Crc32, ChecksumKind::FullObject)));
        for algorithm in [None, Some("CRC32")] {
            let expected = UploadChecksum::choose(algorithm, None).unwrap();
            let digests = known_digests(&source, 9, &(0..9), expected).unwrap();
            assert_eq!(digests, PartDigests { etag: source.etag, checksum: source.checksum.clone() });
        }
    }

    #[test]
    fn a_range_or_a_multipart_source_gets_a_derived_etag() {
        let expected = UploadChecksum::choose(None, None).unwrap();
        let whole = object(0, None);
        let range = known_digests(&whole, 9, &(0..8), expected).unwrap();
        assert_eq!(
            range,
            PartDigests { etag: multipart::derived_etag(&whole.etag, &(0..8)), checksum: None }
        );
        let joined = object(2, Some((ChecksumAlgorithm::Sha1, ChecksumKind::Composite)));
        let copy = known_digests(&joined, 9, &(0..9), expected).unwrap();
        assert_eq!(
            copy,
            PartDigests { etag: multipart::derived_etag(&joined.etag, &(0..9)), checksum: None }
        );
    }

    #[test]
    fn the_source_is_read_only_for_a_checksum_that_it_lacks() {
        let crc32 = UploadChecksum::choose(Some("CRC32"), None).unwrap();
        let full = object(0, Some((ChecksumAlgorithm::Crc32, ChecksumKind::FullObject)));
        assert!(known_digests(&full, 9, &(0..9), crc32).is_some());
        assert!(known_digests(&full, 9, &(0..8), crc32).is_none());
        assert!(known_digests(&object(0, None), 9, &(0..9), crc32).is_none());
        let sha1 = UploadChecksum::choose(Some("SHA1"), None).unwrap();
        assert!(known_digests(&full, 9, &(0..9), sha1).is_none());
        let composite = object(2, Some((ChecksumAlgorithm::Sha1, ChecksumKind::Composite)));
        assert!(known_digests(&composite, 9, &(0..9), sha1).is_none());
    }
}
