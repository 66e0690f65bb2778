//! ListParts: the parts that an upload has so far.

use crate::engine::{Part, Upload};
use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::error::S3Error;
use crate::s3::expiration;
use crate::s3::initiator::Parties;
use crate::s3::listing;
use crate::s3::multipart::{self, UploadChecksum};
use crate::s3::request::Request;
use crate::s3::service::S3Service;
use crate::s3::xml::{self, XmlWriter};

pub async fn run<H: Host>(service: &S3Service<H>, request: Authorized) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    let text = request.query("uploadId").unwrap_or_default();
    let id = multipart::upload_id(text)?;
    let position = Position::read(&request)?;
    // One more part than shown says whether the list goes on.
    let count = position.parts_max as usize + 1;
    let (upload, mut parts) = service
        .engine()
        .upload(bucket.id, request.key.as_bytes(), id, position.marker, count)
        .await
        .map_err(|error| multipart::upload_error(error, text))?;
    let is_truncated = position.parts_max > 0 && parts.len() >= count;
    parts.truncate(position.parts_max as usize);
    let parties = Parties::of_all(service, &bucket, std::iter::once(&upload.headers))?;
    let parties = parties.into_iter().next().unwrap_or_default();
    let xml = answer(&bucket.name, &upload, &parts, &position, is_truncated, &parties);
    let mut response = super::document(xml);
    expiration::write_abort(service, &bucket, &request.key, upload.initiated, &mut response);
    Ok(response)
}

struct Position {
    /// Parts with greater numbers only.
    marker: u16,
    parts_max: u32,
}

impl Position {
    fn read(request: &Request) -> Result<Self, S3Error> {
        let most = u32::from(u16::MAX);
        let marker = listing::number("part-number-marker", request.query("part-number-marker"), 0, most)?;
        let parts_max =
            listing::number("max-parts", request.query("max-parts"), listing::KEYS_MAX, listing::KEYS_MAX)?;
        Ok(Self { marker: u16::try_from(marker).unwrap_or(u16::MAX), parts_max })
    }
}

fn answer(
    bucket: &str,
    upload: &Upload,
    parts: &[Part],
    position: &Position,
    is_truncated: bool,
    parties: &Parties,
) -> XmlWriter {
    let mut xml = XmlWriter::document("ListPartsResult");
    xml.text("Bucket", bucket);
    xml.text("Key", &String::from_utf8_lossy(&upload.key));
    xml.text("UploadId", &multipart::upload_id_text(&upload.id));
    parties.initiator.write(&mut xml, "Initiator");
    parties.owner.write(&mut xml, "Owner");
    xml.text("StorageClass", "STANDARD");
    xml.value("PartNumberMarker", position.marker);
    xml.value("NextPartNumberMarker", parts.last().map_or(0, |part| part.number));
    xml.value("MaxParts", position.parts_max);
    xml.value("IsTruncated", is_truncated);
    let checksum = UploadChecksum::load(&upload.headers);
    if checksum.requested {
        xml.text("ChecksumAlgorithm", checksum.algorithm.name());
        xml.text("ChecksumType", checksum.kind.name());
    }
    for part in parts {
        xml.open("Part");
        xml.value("PartNumber", part.number);
        xml.text("LastModified", &xml::timestamp(part.modified));
        xml.text("ETag", &format!("\"{}\"", part.etag));
        xml.value("Size", part.bytes);
        if let Some(checksum) = &part.checksum {
            xml.text(checksum.algorithm.element(), &multipart::checksum_text(checksum, 0));
        }
        xml.close();
    }
    xml
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::checksum::{Checksum, ChecksumAlgorithm, ChecksumKind};
    use crate::base::etag::ETag;
    use crate::s3::error::Code;

    #[test]
    fn parts_are_shown_with_their_checksums() {
        let choice = UploadChecksum::choose(Some("CRC32"), None).unwrap();
        let mut headers = Vec::new();
        choice.store(&mut headers);
        let upload = Upload { key: b"k".to_vec(), id: [7; 16], initiated: 0, headers };
        let value = vec![0, 0, 0, 1];
        let kind = ChecksumKind::FullObject;
        let checksum = Some(Checksum { algorithm: ChecksumAlgorithm::Crc32, kind, value });
        let part = Part {
            number: 3,
            bytes: 5,
            etag: ETag::of_md5([1; 16]),
            checksum,
            modified: 0,
            note: Vec::new(),
        };
        let request = Request::for_test("GET", "/b/k?uploadId=x&part-number-marker=2&max-parts=1", &[]);
        let position = Position::read(&request).unwrap();
        let document = answer("b", &upload, &[part], &position, true, &Parties::default()).finish();
        let result = xml::parse(&document, "ListPartsResult").unwrap();
        assert_eq!(result.child_text("UploadId"), Some("07".repeat(16).as_str()));
        assert_eq!(result.child_text("PartNumberMarker"), Some("2"));
        assert_eq!(result.child_text("NextPartNumberMarker"), Some("3"));
        assert_eq!(result.child_text("ChecksumType"), Some("COMPOSITE"));
        let part = result.child("Part").unwrap();
        assert_eq!(part.child_text("ChecksumCRC32"), Some("AAAAAQ=="));
        assert_eq!(part.child_text("Size"), Some("5"));
    }

    #[test]
    fn markers_are_numbers() {
        let read = |query: &str| {
            let request = Request::for_test("GET", &format!("/b/k?uploadId=x&{query}"), &[]);
            Position::read(&request)
                .map(|position| (position.marker, position.parts_max))
                .map_err(|error| error.code)
        };
        assert_eq!(read(""), Ok((0, 1000)));
        assert_eq!(read("part-number-marker=99999&max-parts=5000"), Ok((u16::MAX, 1000)));
        assert_eq!(read("part-number-marker=x"), Err(Code::InvalidArgument));
        assert_eq!(read("max-parts=-1"), Err(Code::InvalidArgument));
    }
}
