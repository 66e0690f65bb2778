//! ListObjectVersions of a bucket that was never versioned: every object once, as its version `null`.

use crate::engine::ListPage;
use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::error::S3Error;
use crate::s3::listing::{Filter, VERSION};
use crate::s3::request::Request;
use crate::s3::service::{S3Service, Settings};
use crate::s3::xml::XmlWriter;

pub async fn run<H: Host>(service: &S3Service<H>, request: Authorized) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    let filter = Filter::read(&request)?;
    let position = Position::read(&request)?;
    let page = match filter.query(position.key.as_bytes()) {
        Some(query) => service.engine().list(bucket.id, query).await?,
        None => ListPage::default(),
    };
    Ok(super::document(answer(&bucket.name, &filter, &position, &page, service.settings())))
}

/// Where the page begins: after this key. A key's only version is its last, so that the version marker
/// changes nothing.
#[derive(Debug)]
struct Position {
    key: String,
    version: String,
}

impl Position {
    fn read(request: &Request) -> Result<Self, S3Error> {
        let text = |name| request.query(name).unwrap_or_default().to_owned();
        let position = Self { key: text("key-marker"), version: text("version-id-marker") };
        let refuse = |message: &'static str| {
            Err(S3Error::invalid_argument(message, "version-id-marker", &position.version))
        };
        match (position.key.as_str(), position.version.as_str()) {
            (_, "") => Ok(position),
            ("", _) => refuse("A version-id marker cannot be specified without a key marker."),
            (_, "null") => Ok(position),
            (_, _) => refuse("Invalid version id specified"),
        }
    }
}

fn answer(
    bucket: &str,
    filter: &Filter,
    position: &Position,
    page: &ListPage,
    settings: &Settings,
) -> XmlWriter {
    let mut xml = XmlWriter::document("ListVersionsResult");
    xml.text("Name", bucket);
    filter.write_key(&mut xml, "Prefix", filter.prefix.as_bytes());
    filter.write_key(&mut xml, "KeyMarker", position.key.as_bytes());
    xml.text("VersionIdMarker", &position.version);
    if page.truncated {
        filter.write_key(&mut xml, "NextKeyMarker", &page.next);
        if page.objects.last().is_some_and(|object| object.key == page.next) {
            xml.text("NextVersionIdMarker", "null");
        }
    }
    filter.write_echo(&mut xml);
    xml.value("IsTruncated", page.truncated);
    filter.write_page(&mut xml, VERSION, page, Some(settings));
    xml
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::etag::ETag;
    use crate::engine::ListedObject;
    use crate::s3::error::Code;
    use crate::s3::xml;

    #[test]
    fn every_object_is_its_latest_version_null() {
        let key = b"k".to_vec();
        let object = ListedObject {
            key: key.clone(),
            bytes: 1,
            etag: ETag::of_md5([0; 16]),
            modified: 0,
            checksum: None,
        };
        let page = ListPage { objects: vec![object], truncated: true, next: key, ..ListPage::default() };
        let request = Request::for_test("GET", "/b?versions&key-marker=a&version-id-marker=null", &[]);
        let filter = Filter::read(&request).unwrap();
        let position = Position::read(&request).unwrap();
        let document = answer("bucket", &filter, &position, &page, &Settings::default()).finish();
        let result = xml::parse(&document, "ListVersionsResult").unwrap();
        let version = result.child("Version").unwrap();
        assert_eq!(version.child_text("VersionId"), Some("null"));
        assert_eq!(version.child_text("IsLatest"), Some("true"));
        assert_eq!(result.child_text("KeyMarker"), Some("a"));
        assert_eq!(result.child_text("NextKeyMarker"), Some("k"));
        assert_eq!(result.child_text("NextVersionIdMarker"), Some("null"));
    }

    #[test]
    fn a_version_marker_needs_a_key_marker_and_a_version_that_can_exist() {
        for target in ["/b?versions&version-id-marker=null", "/b?versions&key-marker=a&version-id-marker=xyz"]
        {
            let error = Position::read(&Request::for_test("GET", target, &[])).unwrap_err();
            assert_eq!(error.code, Code::InvalidArgument, "{target}");
        }
    }
}
