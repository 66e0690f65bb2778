//! ListMultipartUploads: the uploads in progress of a bucket.

use crate::engine::{Upload, UploadId, UploadPage, UploadQuery};
use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::error::S3Error;
use crate::s3::initiator::Parties;
use crate::s3::listing::{self, Filter};
use crate::s3::multipart::{self, UploadChecksum};
use crate::s3::request::Request;
use crate::s3::service::S3Service;
use crate::s3::xml::{self, XmlWriter};

pub async fn run<H: Host>(service: &S3Service<H>, request: Authorized) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    let query = Query::read(&request)?;
    let page = if query.filter.keys_max > 0 {
        service.engine().list_uploads(bucket.id, query.for_engine()).await?
    } else {
        UploadPage::default()
    };
    let parties = Parties::of_all(service, &bucket, page.uploads.iter().map(|upload| &upload.headers))?;
    Ok(super::document(query.answer(&bucket.name, &page, &parties)))
}

struct Query {
    /// Its `keys_max` is `max-uploads`.
    filter: Filter,
    key_marker: String,
    upload_marker: Option<UploadId>,
}

impl Query {
    /// An `upload-id-marker` means nothing without a `key-marker`, as at AWS.
    fn read(request: &Request) -> Result<Self, S3Error> {
        let uploads_max = request.query("max-uploads");
        let uploads_max = listing::number("max-uploads", uploads_max, listing::KEYS_MAX, listing::KEYS_MAX)?;
        let filter = Filter { keys_max: uploads_max, ..Filter::read(request)? };
        let key_marker = request.query("key-marker").unwrap_or_default().to_owned();
        let upload_marker = match request.query("upload-id-marker") {
            Some(text) if !text.is_empty() && !key_marker.is_empty() => {
                let id = multipart::upload_id_parse(text);
                Some(id.ok_or_else(|| {
                    S3Error::invalid_argument("Invalid uploadId marker", "upload-id-marker", text)
                })?)
            }
            _ => None,
        };
        Ok(Self { filter, key_marker, upload_marker })
    }

    fn for_engine(&self) -> UploadQuery {
        UploadQuery {
            prefix: self.filter.prefix.clone().into_bytes(),
            delimiter: self.filter.delimiter.clone().into_bytes(),
            key_after: self.key_marker.clone().into_bytes(),
            upload_after: self.upload_marker,
            count_max: self.filter.keys_max as usize,
        }
    }

    /// `parties` are those of the page's uploads.
    fn answer(&self, bucket: &str, page: &UploadPage, parties: &[Parties]) -> XmlWriter {
        let id_text = |id: Option<UploadId>| id.map(|id| multipart::upload_id_text(&id)).unwrap_or_default();
        let mut xml = XmlWriter::document("ListMultipartUploadsResult");
        xml.text("Bucket", bucket);
        self.filter.write_key(&mut xml, "KeyMarker", self.key_marker.as_bytes());
        xml.text("UploadIdMarker", &id_text(self.upload_marker));
        if page.truncated {
            self.filter.write_key(&mut xml, "NextKeyMarker", &page.next_key);
            xml.text("NextUploadIdMarker", &id_text(page.next_upload));
        }
        self.filter.write_key(&mut xml, "Prefix", self.filter.prefix.as_bytes());
        self.filter.write_key_if_any(&mut xml, "Delimiter", self.filter.delimiter.as_bytes());
        if self.filter.url_encoded {
            xml.text("EncodingType", "url");
        }
        xml.value("MaxUploads", self.filter.keys_max);
        xml.value("IsTruncated", page.truncated);
        for (upload, parties) in page.uploads.iter().zip(parties) {
            self.write_upload(&mut xml, upload, parties);
        }
        self.filter.write_common_prefixes(&mut xml, &page.common_prefixes);
        xml
    }

    fn write_upload(&self, xml: &mut XmlWriter, upload: &Upload, parties: &Parties) {
        xml.open("Upload");
        self.filter.write_key(xml, "Key", &upload.key);
        xml.text("UploadId", &multipart::upload_id_text(&upload.id));
        parties.initiator.write(xml, "Initiator");
        parties.owner.write(xml, "Owner");
        xml.text("StorageClass", "STANDARD");
        xml.text("Initiated", &xml::timestamp(upload.initiated));
        let checksum = UploadChecksum::load(&upload.headers);
        if checksum.requested {
            xml.text("ChecksumAlgorithm", checksum.algorithm.name());
            xml.text("ChecksumType", checksum.kind.name());
        }
        xml.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::error::Code;

    fn read(target: &str) -> Result<Query, Code> {
        Query::read(&Request::for_test("GET", target, &[])).map_err(|error| error.code)
    }

    #[test]
    fn a_page_names_the_uploads_and_where_the_next_begins() {
        let query = read("/b?uploads&prefix=k&max-uploads=1&encoding-type=url").ok().unwrap();
        let key = b"k 1".to_vec();
        let upload = Upload { key: key.clone(), id: [1; 16], initiated: 0, headers: Vec::new() };
        let page = UploadPage {
            uploads: vec![upload],
            common_prefixes: Vec::new(),
            truncated: true,
            next_key: key,
            next_upload: Some([1; 16]),
        };
        let document = query.answer("b", &page, &[Parties::default()]).finish();
        let result = xml::parse(&document, "ListMultipartUploadsResult").unwrap();
        assert_eq!(result.child_text("MaxUploads"), Some("1"));
        assert_eq!(result.child_text("NextKeyMarker"), Some("k%201"));
        let id = "01".repeat(16);
        assert_eq!(result.child_text("NextUploadIdMarker"), Some(id.as_str()));
        let upload = result.child("Upload").unwrap();
        assert_eq!(upload.child_text("Key"), Some("k%201"));
        assert_eq!(upload.child_text("Initiated"), Some("1970-01-01T00:00:00.000Z"));

        let next = format!("/b?uploads&key-marker=k%201&upload-id-marker={id}");
        let next = read(&next).ok().unwrap().for_engine();
        assert_eq!((next.key_after.as_slice(), next.upload_after), (&b"k 1"[..], Some([1; 16])));
    }

    #[test]
    fn an_upload_marker_counts_only_with_a_key_marker() {
        assert_eq!(read("/b?uploads&upload-id-marker=junk").ok().unwrap().upload_marker, None);
        let refused = read("/b?uploads&key-marker=k&upload-id-marker=junk");
        assert_eq!(refused.err(), Some(Code::InvalidArgument));
        assert_eq!(read("/b?uploads&max-uploads=-1").err(), Some(Code::InvalidArgument));
    }
}
