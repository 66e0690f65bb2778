//! What the listings share: their parameters, their tokens and the elements of their entries.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::base::checksum::{ChecksumAlgorithm, ChecksumKind};
use crate::base::etag::ETag;
use crate::engine::{ListPage, ListQuery};
use crate::io::TimestampMs;
use crate::s3::accounts::Owner;
use crate::s3::error::S3Error;
use crate::s3::request::Request;
use crate::s3::xml::{self, XmlWriter};

/// Keys that a listing shows at most, as counts of parameters.
pub const KEYS_MAX: u32 = crate::base::limits::LIST_KEYS_MAX as u32;

/// Bytes that an entry takes beside its key, with a checksum's name and without an owner.
const ENTRY_BYTES: usize = 300;

/// Reads a count or position such as `max-keys`: at least 0, at most `most`, which also stands for a greater
/// one; `None` (absent or empty) stands for `otherwise`.
pub fn number(name: &'static str, text: Option<&str>, otherwise: u32, most: u32) -> Result<u32, S3Error> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(otherwise) };
    let Ok(number) = text.parse::<i32>() else {
        let message = format!("Provided {name} not an integer or within integer range");
        return Err(S3Error::invalid_argument(message, name, text));
    };
    match u32::try_from(number) {
        Ok(number) => Ok(number.min(most)),
        Err(_) => {
            let message = format!("Argument {name} must be an integer between 0 and 2147483647");
            Err(S3Error::invalid_argument(message, name, text))
        }
    }
}

/// Reads `encoding-type`: whether keys are to be percent-encoded.
pub fn url_encoding(text: Option<&str>) -> Result<bool, S3Error> {
    match text {
        None | Some("") => Ok(false),
        Some("url") => Ok(true),
        Some(other) => {
            let message = "Invalid Encoding Method specified in Request";
            Err(S3Error::invalid_argument(message, "encoding-type", other))
        }
    }
}

/// What ListObjects, ListObjectsV2 and ListObjectVersions ask for alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    pub prefix: String,
    pub delimiter: String,
    pub keys_max: u32,
    pub url_encoded: bool,
}

impl Filter {
    pub fn read(request: &Request) -> Result<Self, S3Error> {
        let text = |name| request.query(name).unwrap_or_default().to_owned();
        // A parameter of Ceph's gateway: listings are in order here all the same, and as there, common prefixes
        // need one.
        if request.query("allow-unordered") == Some("true") && !text("delimiter").is_empty() {
            let message = "A listing with a delimiter cannot be unordered.";
            return Err(S3Error::invalid_argument(message, "allow-unordered", "true"));
        }
        Ok(Self {
            prefix: text("prefix"),
            delimiter: text("delimiter"),
            keys_max: number("max-keys", request.query("max-keys"), KEYS_MAX, KEYS_MAX)?,
            url_encoded: url_encoding(request.query("encoding-type"))?,
        })
    }

    /// The engine's question for the page after `after`; `None` if no entry is wanted at all.
    pub fn query(&self, after: &[u8]) -> Option<ListQuery> {
        (self.keys_max > 0).then(|| ListQuery {
            prefix: self.prefix.clone().into_bytes(),
            delimiter: self.delimiter.clone().into_bytes(),
            after: after.to_vec(),
            count_max: self.keys_max as usize,
        })
    }

    /// Writes a key or a part of one.
    pub fn write_key(&self, xml: &mut XmlWriter, element: &str, key: &[u8]) {
        // Keys come from decoded requests, which are UTF-8.
        xml.text(element, &xml::listed(&String::from_utf8_lossy(key), self.url_encoded));
    }

    /// Writes a key or a part of one if it is not empty.
    pub fn write_key_if_any(&self, xml: &mut XmlWriter, element: &str, key: &[u8]) {
        if !key.is_empty() {
            self.write_key(xml, element, key);
        }
    }

    /// Writes what the request asked for: `MaxKeys`, `Delimiter`, `EncodingType`.
    pub fn write_echo(&self, xml: &mut XmlWriter) {
        xml.value("MaxKeys", self.keys_max);
        self.write_key_if_any(xml, "Delimiter", self.delimiter.as_bytes());
        if self.url_encoded {
            xml.text("EncodingType", "url");
        }
    }

    /// Writes the objects of a page (with their owner, if given), then its common prefixes.
    pub fn write_page(&self, xml: &mut XmlWriter, page: &ListPage, owner: Option<&Owner>) {
        let keys: usize = page.objects.iter().map(|object| object.key.len()).sum();
        xml.reserve(keys + page.objects.len() * ENTRY_BYTES);
        let mut modified = Modified::default();
        for object in &page.objects {
            xml.markup("<Contents><Key>");
            xml.characters(&xml::listed(&String::from_utf8_lossy(&object.key), self.url_encoded));
            xml.markup("</Key><LastModified>");
            xml.characters(modified.text(object.modified));
            xml.markup("</LastModified>");
            write_content(xml, &object.etag, object.checksum, object.bytes);
            if let Some(owner) = owner {
                owner.write(xml, "Owner");
            }
            xml.markup("<StorageClass>STANDARD</StorageClass></Contents>");
        }
        self.write_common_prefixes(xml, &page.common_prefixes);
    }

    pub fn write_common_prefixes(&self, xml: &mut XmlWriter, prefixes: &[Vec<u8>]) {
        for prefix in prefixes {
            xml.open("CommonPrefixes");
            self.write_key(xml, "Prefix", prefix);
            xml.close();
        }
    }
}

/// When entries were made, as a listing writes it. Remembers the last one: what was uploaded together is listed
/// together, and many entries have the same second.
#[derive(Default)]
pub struct Modified {
    /// Seconds since the epoch, and their text.
    last: Option<(u64, String)>,
}

impl Modified {
    pub fn text(&mut self, modified: TimestampMs) -> &str {
        let second = modified / 1000;
        if self.last.as_ref().is_none_or(|(last, _)| *last != second) {
            self.last = Some((second, xml::timestamp(modified)));
        }
        self.last.as_ref().map_or("", |(_, text)| text)
    }
}

/// Writes what a listing says of an object's payload.
pub fn write_content(
    xml: &mut XmlWriter,
    etag: &ETag,
    checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    bytes: u64,
) {
    xml.markup("<ETag>&quot;");
    xml.plain(etag);
    xml.markup("&quot;</ETag>");
    if let Some((algorithm, kind)) = checksum {
        xml.text("ChecksumAlgorithm", algorithm.name());
        xml.text("ChecksumType", kind.name());
    }
    xml.markup("<Size>");
    xml.plain(bytes);
    xml.markup("</Size>");
}

/// A continuation token for "after this name". Opaque to clients; base64 keeps it safe in URLs and XML.
pub fn token_text(after: &str) -> String {
    URL_SAFE_NO_PAD.encode(after)
}

/// Reads what [`token_text`] wrote. The empty token starts at the beginning.
pub fn token_parse(token: &str) -> Result<String, S3Error> {
    let name = URL_SAFE_NO_PAD.decode(token).ok().and_then(|name| String::from_utf8(name).ok());
    name.ok_or_else(|| {
        let message = "The continuation token provided is incorrect";
        S3Error::invalid_argument(message, "continuation-token", token)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::error::Code;
    use proptest::prelude::*;

    #[test]
    fn counts_are_capped_and_negative_or_odd_ones_refused() {
        let read = |text| number("max-keys", text, 1000, 1000);
        assert_eq!(read(None), Ok(1000));
        assert_eq!(read(Some("")), Ok(1000));
        assert_eq!(read(Some("0")), Ok(0));
        assert_eq!(read(Some("7")), Ok(7));
        assert_eq!(read(Some("1000000")), Ok(1000));
        for text in ["-1", "blah", "1.5", "2147483648", "99999999999999999999", " 1"] {
            assert_eq!(read(Some(text)).unwrap_err().code, Code::InvalidArgument, "{text}");
        }
    }

    #[test]
    fn only_url_is_an_encoding() {
        assert_eq!(url_encoding(None), Ok(false));
        assert_eq!(url_encoding(Some("url")), Ok(true));
        let error = url_encoding(Some("xml")).unwrap_err();
        assert_eq!(error.message, "Invalid Encoding Method specified in Request");
    }

    #[test]
    fn common_prefixes_need_an_order() {
        let read = |target| Filter::read(&Request::for_test("GET", target, &[]));
        assert!(read("/b?allow-unordered=true&delimiter").is_ok());
        assert!(read("/b?allow-unordered=false&delimiter=%2F").is_ok());
        let error = read("/b?allow-unordered=true&delimiter=%2F").unwrap_err();
        assert_eq!(error.code, Code::InvalidArgument);
    }

    #[test]
    fn a_foreign_token_is_refused() {
        for token in ["a", "!", "YQ==", "_w"] {
            assert_eq!(token_parse(token).unwrap_err().code, Code::InvalidArgument, "{token}");
        }
        assert_eq!(token_parse(""), Ok(String::new()));
    }

    proptest! {
        #[test]
        fn a_token_reads_what_it_writes(key in any::<String>()) {
            prop_assert_eq!(token_parse(&token_text(&key)).unwrap(), key);
        }
    }
}
