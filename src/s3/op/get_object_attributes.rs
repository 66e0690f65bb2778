//! GetObjectAttributes: what HeadObject says, and the parts of a multipart object, as a document.

use crate::base::checksum::Checksum;
use crate::base::etag::ETag;
use crate::engine::{Object, ObjectPart};
use crate::http::{Response, date};
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::encryption::{Answer, requests};
use crate::s3::error::S3Error;
use crate::s3::listing;
use crate::s3::multipart;
use crate::s3::request::Request;
use crate::s3::service::S3Service;
use crate::s3::version;
use crate::s3::xml::XmlWriter;

const HEADER: &str = "x-amz-object-attributes";

pub async fn run<H: Host>(service: &S3Service<H>, request: Authorized) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    let wanted = Wanted::read(&request)?;
    let named = version::named(&request)?;
    let lookup = service.engine().get(bucket.id, request.key.as_bytes(), named).await?;
    let object = version::found(lookup, named, &request.key)?;
    request.check_seen(&object)?;
    let opened = requests::opened(service, &object, &request)?;
    let mut response = super::document(wanted.answer(&Facts::of(&object)));
    response.header("Last-Modified", date::imf_fixdate(object.modified()));
    version::write(&mut response, version::shown(&bucket, object.version()));
    if let Some(data_key) = opened.data_key() {
        data_key.describe(&mut response, Answer::Found);
    }
    Ok(response)
}

/// The attributes that are asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    etag: bool,
    checksum: bool,
    parts: bool,
    storage_class: bool,
    bytes: bool,
    part_marker: u32,
    parts_max: u32,
}

/// What is known of an object.
struct Facts<'a> {
    etag: ETag,
    checksum: Option<&'a Checksum>,
    parts: &'a [ObjectPart],
    bytes: u64,
}

impl<'a> Facts<'a> {
    fn of<H: Host>(object: &'a Object<H>) -> Self {
        Self {
            etag: object.attributes.etag,
            checksum: object.attributes.checksum.as_ref(),
            parts: &object.parts,
            bytes: object.bytes,
        }
    }
}

impl Wanted {
    fn read(request: &Request) -> Result<Self, S3Error> {
        let number = |name| Ok::<_, S3Error>((name, request.header(name)?));
        let (name, text) = number("x-amz-max-parts")?;
        let parts_max = listing::number(name, text, listing::KEYS_MAX, listing::KEYS_MAX)?;
        let (name, text) = number("x-amz-part-number-marker")?;
        let part_marker = listing::number(name, text, 0, u32::from(u16::MAX))?;
        let mut wanted = Self { parts_max, part_marker, ..Self::default() };
        let mut is_empty = true;
        for value in request.head.headers_named(HEADER) {
            let value = String::from_utf8_lossy(value);
            for name in value.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                is_empty = false;
                wanted.add(name)?;
            }
        }
        if is_empty {
            return Err(S3Error::invalid_request(
                "The x-amz-object-attributes header specifying the attributes to be retrieved is either \
                 missing or empty",
            ));
        }
        Ok(wanted)
    }

    fn add(&mut self, name: &str) -> Result<(), S3Error> {
        let flag = match name {
            "ETag" => &mut self.etag,
            "Checksum" => &mut self.checksum,
            "ObjectParts" => &mut self.parts,
            "StorageClass" => &mut self.storage_class,
            "ObjectSize" => &mut self.bytes,
            other => {
                return Err(S3Error::invalid_argument("Invalid attribute name specified.", HEADER, other));
            }
        };
        *flag = true;
        Ok(())
    }

    fn answer(&self, object: &Facts<'_>) -> XmlWriter {
        let mut xml = XmlWriter::document("GetObjectAttributesResponse");
        if self.etag {
            xml.value("ETag", object.etag);
        }
        if let Some(checksum) = object.checksum.filter(|_| self.checksum) {
            xml.open("Checksum");
            xml.text(checksum.algorithm.element(), &multipart::checksum_text(checksum, object.parts.len()));
            xml.text("ChecksumType", checksum.kind.name());
            xml.close();
        }
        if self.parts && !object.parts.is_empty() {
            self.write_parts(&mut xml, object.parts);
        }
        if self.storage_class {
            xml.text("StorageClass", "STANDARD");
        }
        if self.bytes {
            xml.value("ObjectSize", object.bytes);
        }
        xml
    }

    fn write_parts(&self, xml: &mut XmlWriter, parts: &[ObjectPart]) {
        let first = parts.partition_point(|part| u32::from(part.number) <= self.part_marker);
        let after = &parts[first..];
        let page = &after[..after.len().min(self.parts_max as usize)];
        xml.open("ObjectParts");
        xml.value("PartsCount", parts.len());
        xml.value("PartNumberMarker", self.part_marker);
        xml.value("NextPartNumberMarker", page.last().map_or(0, |part| part.number));
        xml.value("MaxParts", self.parts_max);
        xml.value("IsTruncated", !page.is_empty() && page.len() < after.len());
        for part in page {
            xml.open("Part");
            xml.value("PartNumber", part.number);
            xml.value("Size", part.bytes);
            if let Some(checksum) = &part.checksum {
                xml.text(checksum.algorithm.element(), &multipart::checksum_text(checksum, 0));
            }
            xml.close();
        }
        xml.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::checksum::{ChecksumAlgorithm, ChecksumKind};
    use crate::s3::error::Code;
    use crate::s3::xml::{self, Element};

    fn read(headers: &[(&str, &str)]) -> Result<Wanted, S3Error> {
        Wanted::read(&Request::for_test("GET", "/b/k?attributes", headers))
    }

    fn answer(headers: &[(&str, &str)], parts: &[ObjectPart]) -> Element {
        let value = vec![1; 32];
        let checksum =
            Checksum { algorithm: ChecksumAlgorithm::Sha256, kind: ChecksumKind::Composite, value };
        let etag = ETag { digest: [0xab; 16], parts: parts.len() as u16 };
        let facts = Facts { etag, checksum: Some(&checksum), parts, bytes: 99 };
        let document = read(headers).unwrap().answer(&facts).finish();
        xml::parse(&document, "GetObjectAttributesResponse").unwrap()
    }

    fn parts() -> Vec<ObjectPart> {
        (1..=3).map(|number| ObjectPart { number, bytes: 33, checksum: None, note: Vec::new() }).collect()
    }

    #[test]
    fn only_what_is_asked_for_is_answered() {
        let result = answer(&[(HEADER, "ETag, ObjectSize")], &parts());
        let names: Vec<_> = result.children.iter().map(|child| child.name.as_str()).collect();
        assert_eq!(names, ["ETag", "ObjectSize"]);
        assert_eq!(result.child_text("ETag"), Some("abababababababababababababababab-3"));

        let result = answer(&[(HEADER, "Checksum"), (HEADER, "StorageClass,ObjectParts")], &parts());
        let checksum = result.child("Checksum").unwrap();
        assert!(checksum.child_text("ChecksumSHA256").unwrap().ends_with("=-3"));
        assert_eq!(checksum.child_text("ChecksumType"), Some("COMPOSITE"));
        assert_eq!(result.child_text("StorageClass"), Some("STANDARD"));
        assert_eq!(result.child("ObjectParts").unwrap().child_text("PartsCount"), Some("3"));
        assert_eq!(answer(&[(HEADER, "ObjectParts")], &[]).child("ObjectParts"), None);
    }

    #[test]
    fn parts_come_in_pages() {
        let page = |marker: &str, count: &str| {
            let headers =
                [(HEADER, "ObjectParts"), ("x-amz-part-number-marker", marker), ("x-amz-max-parts", count)];
            let result = answer(&headers, &parts());
            let parts = result.child("ObjectParts").unwrap().clone();
            let numbers: Vec<_> = parts
                .children_named("Part")
                .map(|part| part.child_text("PartNumber").unwrap().to_owned())
                .collect();
            (numbers.join(" "), parts.child_text("IsTruncated") == Some("true"))
        };
        assert_eq!(page("0", "2"), ("1 2".to_owned(), true));
        assert_eq!(page("2", "2"), ("3".to_owned(), false));
        assert_eq!(page("3", "2"), (String::new(), false));
        assert_eq!(page("1", "1000"), ("2 3".to_owned(), false));
    }

    #[test]
    fn a_request_for_nothing_or_for_the_unknown_is_refused() {
        assert_eq!(read(&[]).unwrap_err().code, Code::InvalidRequest);
        assert_eq!(read(&[(HEADER, " , ")]).unwrap_err().code, Code::InvalidRequest);
        assert_eq!(read(&[(HEADER, "ETag,Colour")]).unwrap_err().code, Code::InvalidArgument);
        assert_eq!(
            read(&[(HEADER, "ETag"), ("x-amz-max-parts", "x")]).unwrap_err().code,
            Code::InvalidArgument
        );
    }
}
