//! ListObjects, the first version of the listing: pages by marker.

use crate::engine::ListPage;
use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::accounts::Owner;
use crate::s3::error::S3Error;
use crate::s3::listing::Filter;
use crate::s3::service::S3Service;
use crate::s3::xml::XmlWriter;

pub async fn run<H: Host>(service: &S3Service<H>, request: Authorized) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    let filter = Filter::read(&request)?;
    let marker = request.query("marker").unwrap_or_default();
    let page = match filter.query(marker.as_bytes()) {
        Some(query) => service.engine().list(bucket.id, query).await?,
        None => ListPage::default(),
    };
    Ok(super::document(answer(&bucket.name, &filter, marker, &page, &service.owner(&bucket))))
}

/// `NextMarker` is given only with a delimiter, as AWS does: without one the last key is the next marker.
fn answer(bucket: &str, filter: &Filter, marker: &str, page: &ListPage, owner: &Owner) -> XmlWriter {
    let mut xml = XmlWriter::document("ListBucketResult");
    xml.text("Name", bucket);
    filter.write_key(&mut xml, "Prefix", filter.prefix.as_bytes());
    filter.write_key(&mut xml, "Marker", marker.as_bytes());
    if page.truncated && !filter.delimiter.is_empty() {
        filter.write_key(&mut xml, "NextMarker", &page.next);
    }
    filter.write_echo(&mut xml);
    xml.value("IsTruncated", page.truncated);
    filter.write_page(&mut xml, page, Some(owner));
    xml
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::checksum::{ChecksumAlgorithm, ChecksumKind};
    use crate::base::etag::ETag;
    use crate::engine::ListedObject;
    use crate::s3::request::Request;
    use crate::s3::xml::{self, Element};

    fn list(target: &str, page: &ListPage) -> Element {
        let request = Request::for_test("GET", target, &[]);
        let filter = Filter::read(&request).unwrap();
        let marker = request.query("marker").unwrap_or_default();
        let document =
            answer("bucket", &filter, marker, page, &Owner { id: "id".to_owned(), name: "root".to_owned() })
                .finish();
        xml::parse(&document, "ListBucketResult").unwrap()
    }

    fn page() -> ListPage {
        let object = ListedObject {
            key: b"a b+\x01".to_vec(),
            bytes: 7,
            etag: ETag { digest: [0xab; 16], parts: 2 },
            modified: 1_255_369_830_999,
            checksum: Some((ChecksumAlgorithm::Crc32, ChecksumKind::FullObject)),
        };
        ListPage {
            objects: vec![object],
            common_prefixes: vec![b"c d/".to_vec()],
            truncated: true,
            next: b"c d/".to_vec(),
        }
    }

    #[test]
    fn an_entry_has_the_elements_of_aws() {
        let result = list("/b?delimiter=/", &page());
        let object = result.child("Contents").unwrap();
        let texts: Vec<_> =
            object.children.iter().map(|child| (child.name.as_str(), child.text.as_str())).collect();
        assert_eq!(texts[0], ("Key", "a b+\u{1}"));
        assert_eq!(texts[1], ("LastModified", "2009-10-12T17:50:30.000Z"));
        assert_eq!(texts[2], ("ETag", "\"abababababababababababababababab-2\""));
        assert_eq!(
            texts[3..6],
            [("ChecksumAlgorithm", "CRC32"), ("ChecksumType", "FULL_OBJECT"), ("Size", "7")]
        );
        assert_eq!(texts[7], ("StorageClass", "STANDARD"));
        assert_eq!(object.child("Owner").unwrap().child_text("DisplayName"), Some("root"));
        assert_eq!(result.child("CommonPrefixes").unwrap().child_text("Prefix"), Some("c d/"));
    }

    #[test]
    fn the_next_marker_is_given_only_with_a_delimiter() {
        assert_eq!(list("/b?delimiter=/", &page()).child_text("NextMarker"), Some("c d/"));
        assert_eq!(list("/b", &page()).child("NextMarker"), None);
        let last = ListPage { truncated: false, ..page() };
        assert_eq!(list("/b?delimiter=/", &last).child("NextMarker"), None);
    }

    #[test]
    fn what_was_asked_is_repeated_and_encoded_if_that_was_asked() {
        let result = list("/b?max-keys=1000&prefix&delimiter=%2F", &page());
        assert_eq!(result.child_text("Prefix"), Some(""));
        assert_eq!(result.child_text("Marker"), Some(""));
        assert_eq!(result.child_text("MaxKeys"), Some("1000"));
        assert_eq!(result.child_text("Delimiter"), Some("/"));
        assert_eq!(result.child("EncodingType"), None);

        let result =
            list("/b?encoding-type=url&prefix=a%20&marker=%C3%A4&delimiter=+&max-keys=5000", &page());
        assert_eq!(result.child_text("Prefix"), Some("a%20"));
        assert_eq!(result.child_text("Marker"), Some("%C3%A4"));
        assert_eq!(result.child_text("Delimiter"), Some("%20"));
        assert_eq!(result.child_text("MaxKeys"), Some("1000"));
        assert_eq!(result.child_text("EncodingType"), Some("url"));
        assert_eq!(result.child("Contents").unwrap().child_text("Key"), Some("a%20b%2B%01"));
        assert_eq!(result.child("CommonPrefixes").unwrap().child_text("Prefix"), Some("c%20d/"));
        assert_eq!(result.child_text("NextMarker"), Some("c%20d/"));
    }
}
