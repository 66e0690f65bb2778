//! ListObjectVersions: every version and delete marker of a bucket, in the order of keys and then newest
//! first.

use crate::engine::{ListedVersion, VersionId, VersionPage, VersionQuery};
use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::accounts::Owner;
use crate::s3::error::S3Error;
use crate::s3::listing::{self, Filter, Modified};
use crate::s3::request::Request;
use crate::s3::service::S3Service;
use crate::s3::version;
use crate::s3::xml::XmlWriter;

pub async fn run<H: Host>(service: &S3Service<H>, request: Authorized) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    let filter = Filter::read(&request)?;
    let position = Position::read(&request)?;
    let page = match filter.keys_max {
        0 => VersionPage::default(),
        _ => service.engine().list_versions(bucket.id, position.query(&filter)).await?,
    };
    Ok(super::document(answer(&bucket.name, &filter, &position, &page, &service.owner(&bucket))))
}

/// Where the page begins: after this key, or after this version of it.
#[derive(Debug)]
struct Position {
    key: String,
    version: Option<VersionId>,
}

impl Position {
    fn read(request: &Request) -> Result<Self, S3Error> {
        let text = |name| request.query(name).unwrap_or_default();
        let (key, id) = (text("key-marker").to_owned(), text("version-id-marker"));
        let refuse = |message: &'static str| Err(S3Error::invalid_argument(message, "version-id-marker", id));
        match (key.as_str(), id, version::parse(id)) {
            (_, "", _) => Ok(Self { key, version: None }),
            ("", _, _) => refuse("A version-id marker cannot be specified without a key marker."),
            (_, _, Some(version)) => Ok(Self { key, version: Some(version) }),
            (_, _, None) => refuse("Invalid version id specified"),
        }
    }

    fn query(&self, filter: &Filter) -> VersionQuery {
        VersionQuery {
            prefix: filter.prefix.clone().into_bytes(),
            delimiter: filter.delimiter.clone().into_bytes(),
            key_after: self.key.clone().into_bytes(),
            version_after: self.version,
            count_max: filter.keys_max as usize,
        }
    }
}

fn answer(
    bucket: &str,
    filter: &Filter,
    position: &Position,
    page: &VersionPage,
    owner: &Owner,
) -> XmlWriter {
    let mut xml = XmlWriter::document("ListVersionsResult");
    xml.text("Name", bucket);
    filter.write_key(&mut xml, "Prefix", filter.prefix.as_bytes());
    filter.write_key(&mut xml, "KeyMarker", position.key.as_bytes());
    xml.text("VersionIdMarker", &position.version.map(version::text).unwrap_or_default());
    if page.truncated {
        filter.write_key(&mut xml, "NextKeyMarker", &page.next_key);
        if let Some(version) = page.next_version {
            xml.text("NextVersionIdMarker", &version::text(version));
        }
    }
    filter.write_echo(&mut xml);
    xml.value("IsTruncated", page.truncated);
    let mut modified = Modified::default();
    for version in &page.versions {
        write_version(&mut xml, filter, version, modified.text(version.modified()), owner);
    }
    filter.write_common_prefixes(&mut xml, &page.common_prefixes);
    xml
}

fn write_version(
    xml: &mut XmlWriter,
    filter: &Filter,
    version: &ListedVersion,
    modified: &str,
    owner: &Owner,
) {
    xml.open(if version.is_delete_marker { "DeleteMarker" } else { "Version" });
    filter.write_key(xml, "Key", &version.key);
    xml.text("VersionId", &version::text(version.version));
    xml.value("IsLatest", version.is_latest);
    xml.text("LastModified", modified);
    if !version.is_delete_marker {
        listing::write_content(xml, &version.etag, version.checksum, version.bytes);
    }
    owner.write(xml, "Owner");
    if !version.is_delete_marker {
        xml.text("StorageClass", "STANDARD");
    }
    xml.close();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::etag::ETag;
    use crate::s3::error::Code;
    use crate::s3::xml;

    fn version(number: u64, is_latest: bool, is_delete_marker: bool) -> ListedVersion {
        ListedVersion {
            key: b"k".to_vec(),
            version: VersionId::Numbered(number),
            is_latest,
            is_delete_marker,
            bytes: 1,
            etag: ETag::of_md5([0; 16]),
            sequence: number,
            checksum: None,
        }
    }

    #[test]
    fn versions_and_delete_markers_keep_their_order() {
        let page = VersionPage {
            versions: vec![version(3, true, true), version(2, false, false), version(1, false, true)],
            common_prefixes: vec![b"p/".to_vec()],
            truncated: true,
            next_key: b"k".to_vec(),
            next_version: Some(VersionId::Numbered(1)),
        };
        let target = "/b?versions&key-marker=a&version-id-marker=null";
        let request = Request::for_test("GET", target, &[]);
        let filter = Filter::read(&request).unwrap();
        let position = Position::read(&request).unwrap();
        let document = answer(
            "bucket",
            &filter,
            &position,
            &page,
            &Owner { id: "id".to_owned(), name: "root".to_owned() },
        )
        .finish();
        let result = xml::parse(&document, "ListVersionsResult").unwrap();
        assert_eq!(result.child_text("KeyMarker"), Some("a"));
        assert_eq!(result.child_text("VersionIdMarker"), Some("null"));
        assert_eq!(result.child_text("NextKeyMarker"), Some("k"));
        assert_eq!(result.child_text("NextVersionIdMarker"), Some("0000000000000001"));
        let entries: Vec<_> = result
            .children
            .iter()
            .filter(|child| child.child("IsLatest").is_some())
            .map(|child| (child.name.as_str(), child.child_text("VersionId").unwrap()))
            .collect();
        assert_eq!(
            entries,
            [
                ("DeleteMarker", "0000000000000003"),
                ("Version", "0000000000000002"),
                ("DeleteMarker", "0000000000000001")
            ]
        );
        let marker = result.child("DeleteMarker").unwrap();
        assert_eq!(marker.child_text("IsLatest"), Some("true"));
        assert!(marker.child("Owner").is_some() && marker.child("ETag").is_none());
        assert_eq!(result.child("Version").unwrap().child_text("Size"), Some("1"));
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
