//! A request as S3 sees it: which bucket and key it names, and its query parameters, decoded.

use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;

use crate::base::limits::KEY_BYTES_MAX;
use crate::http::{Head, Query, percent};
use crate::net::TlsVersion;
use crate::s3::error::{Code, S3Error};
use crate::s3::journal::Note;
use crate::s3::route::Level;

/// A request whose target was understood; who sent it is not known yet.
#[derive(Clone, Debug)]
pub struct Request {
    pub head: Head,
    /// Name of the bucket; empty when the request is about the service.
    pub bucket: String,
    /// Key of the object, decoded; empty when the request is about a bucket.
    pub key: String,
    /// What the answer says as `x-amz-request-id`; empty where nobody answers.
    pub id: String,
    /// Address of the socket's other end.
    pub peer: IpAddr,
    /// The version of TLS that protected it; `None` if nothing did.
    pub tls: Option<TlsVersion>,
    /// Whether the bucket came from the host name.
    pub is_virtual_hosted: bool,
    /// Where it is written down what becomes of it.
    pub note: Option<Rc<Note>>,
    query: Query,
}

impl Request {
    /// Reads the target; the peer is not known here. A host that ends with one of `domains` (without port)
    /// names the bucket before it.
    pub fn new(head: Head, domains: &[String]) -> Result<Self, S3Error> {
        let virtual_bucket = head.text("host").and_then(|host| virtual_bucket(host, domains));
        let path = head.path.strip_prefix('/').unwrap_or(&head.path);
        let (bucket, key) = match &virtual_bucket {
            Some(bucket) => (bucket.clone(), decode(path)?),
            None => match path.split_once('/') {
                Some((bucket, key)) => (decode(bucket)?, decode(key)?),
                None => (decode(path)?, String::new()),
            },
        };
        if key.len() > KEY_BYTES_MAX {
            return Err(S3Error::new(Code::KeyTooLongError)
                .with_field("Size", key.len())
                .with_field("MaxSizeAllowed", KEY_BYTES_MAX));
        }
        if bucket.is_empty() && !key.is_empty() {
            return Err(S3Error::new(Code::InvalidBucketName).with_field("BucketName", ""));
        }
        let query = Query::parse(head.query.as_deref()).map_err(|_| Code::InvalidURI)?;
        let is_text = |text: &[u8]| std::str::from_utf8(text).is_ok();
        if !query.parameters().all(|(name, value)| is_text(name) && value.is_none_or(is_text)) {
            return Err(Code::InvalidURI.into());
        }
        check_repetitions(&head, &query)?;
        let peer = Ipv6Addr::UNSPECIFIED.into();
        let is_virtual_hosted = virtual_bucket.is_some();
        Ok(Self {
            head,
            bucket,
            key,
            id: String::new(),
            peer,
            tls: None,
            is_virtual_hosted,
            note: None,
            query,
        })
    }

    pub fn level(&self) -> Level {
        match (self.bucket.is_empty(), self.key.is_empty()) {
            (true, _) => Level::Service,
            (false, true) => Level::Bucket,
            (false, false) => Level::Object,
        }
    }

    /// The first query parameter of that name, decoded; empty if it has no value.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.text(name)
    }

    /// The first header of that (lower-case) name as text; what is not UTF-8 is refused.
    pub fn header(&self, name: &str) -> Result<Option<&str>, S3Error> {
        match self.head.header(name) {
            None => Ok(None),
            Some(value) => std::str::from_utf8(value)
                .map(Some)
                .map_err(|_| S3Error::invalid_argument("Header value is not UTF-8.", name, "")),
        }
    }

    /// A request for tests of pure functions; panics if the target is not one.
    #[cfg(test)]
    pub fn for_test(method: &str, target: &str, headers: &[(&str, &str)]) -> Self {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        let headers =
            headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        let head =
            Head { method: method.to_owned(), path: path.to_owned(), query, headers, version_minor: 1 };
        Self::new(head, &["s3.example.com".to_owned()]).expect("a target that can be read")
    }
}

/// Headers of S3 that are lists: repeated ones are one list (RFC 9110, section 5.3).
const LISTS: [&str; 2] = ["x-amz-object-attributes", "x-amz-optional-object-attributes"];

/// Parameters that say what a request is about.
const NAMING: [&str; 3] = ["partNumber", "uploadId", "versionId"];

/// Refuses a request that says one thing twice. A signature covers repeated headers as a list and every
/// parameter, so that a proxy, the signature and an operation could each mean another of the two.
fn check_repetitions(head: &Head, query: &Query) -> Result<(), S3Error> {
    let is_single = |name: &str| {
        let is_amz = name.starts_with("x-amz-") && !name.starts_with("x-amz-meta-") && !LISTS.contains(&name);
        is_amz || matches!(name, "content-md5" | "range")
    };
    let twice = |name: &str| S3Error::invalid_argument("This must not be given more than once.", name, "");
    for (at, (name, _)) in head.headers.iter().enumerate() {
        if is_single(name) && head.headers[..at].iter().any(|(before, _)| before == name) {
            return Err(twice(name));
        }
    }
    let count = |wanted: &str| query.parameters().filter(|(name, _)| *name == wanted.as_bytes()).count();
    NAMING.iter().find(|name| count(name) > 1).map_or(Ok(()), |name| Err(twice(name)))
}

/// The bucket that a virtual-hosted `Host` names.
pub fn virtual_bucket(host: &str, domains: &[String]) -> Option<String> {
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let host = host.to_ascii_lowercase();
    domains.iter().find_map(|domain| {
        let bucket = host.strip_suffix(&domain.to_ascii_lowercase())?.strip_suffix('.')?;
        (!bucket.is_empty()).then(|| bucket.to_owned())
    })
}

/// Whether `name` may name a bucket.
///
/// Source: AWS, "General purpose bucket naming rules".
pub fn is_bucket_name(name: &str) -> bool {
    let is_edge = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    (3..=63).contains(&bytes.len())
        && bytes.iter().all(|byte| is_edge(byte) || matches!(byte, b'-' | b'.'))
        && is_edge(&bytes[0])
        && is_edge(&bytes[bytes.len() - 1])
        && !["..", ".-", "-."].iter().any(|pair| name.contains(pair))
        && name.parse::<std::net::Ipv4Addr>().is_err()
        && !["xn--", "sthree-", "amzn-s3-demo-"].iter().any(|prefix| name.starts_with(prefix))
        && !["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"].iter().any(|end| name.ends_with(end))
}

/// Percent-decodes a part of a path; `+` is a plus, and what is no UTF-8 names no key.
pub fn decode(text: &str) -> Result<String, S3Error> {
    let bytes = percent::decode_path(text).map_err(|_| Code::InvalidURI)?;
    String::from_utf8(bytes.into_owned()).map_err(|_| Code::InvalidURI.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(target: &str, host: &str) -> (String, String) {
        let request = Request::for_test("GET", target, &[("host", host)]);
        (request.bucket, request.key)
    }

    fn pair(bucket: &str, key: &str) -> (String, String) {
        (bucket.to_owned(), key.to_owned())
    }

    #[test]
    fn a_path_names_bucket_and_key_character_by_character() {
        assert_eq!(named("/", "h"), pair("", ""));
        assert_eq!(named("/b", "h"), pair("b", ""));
        assert_eq!(named("/b/", "h"), pair("b", ""));
        assert_eq!(named("/b//", "h"), pair("b", "/"));
        assert_eq!(named("/b/../x/./y//z", "h"), pair("b", "../x/./y//z"));
        assert_eq!(named("/b/a+b%2Bc%2Fd%20e%00", "h"), pair("b", "a+b+c/d e\0"));
        assert_eq!(named("/b/%E2%82%AC", "h"), pair("b", "\u{20ac}"));
    }

    #[test]
    fn a_host_under_a_domain_names_the_bucket() {
        assert_eq!(named("/k/l", "my.bucket.s3.example.com:9000"), pair("my.bucket", "k/l"));
        assert_eq!(named("/", "B.S3.EXAMPLE.COM"), pair("b", ""));
        assert_eq!(named("/b/k", "s3.example.com"), pair("b", "k"));
        assert_eq!(named("/b/k", "bs3.example.com"), pair("b", "k"));
        assert_eq!(named("/b/k", "[::1]:9000"), pair("b", "k"));
    }

    #[test]
    fn parameters_are_decoded_and_may_lack_a_value() {
        let request = Request::for_test("GET", "/b?prefix&delimiter=%2F&a+b=c+d%2B", &[]);
        assert_eq!(request.query("prefix"), Some(""));
        assert_eq!(request.query("delimiter"), Some("/"));
        assert_eq!(request.query("a b"), Some("c d+"));
        assert_eq!(request.query("marker"), None);
    }

    #[test]
    fn keys_that_are_too_long_or_no_utf_8_are_refused() {
        let refusal = |path: &str| {
            let head = Head { path: path.to_owned(), ..Head::default() };
            Request::new(head, &[]).unwrap_err().code
        };
        assert_eq!(refusal(&format!("/b/{}", "k".repeat(KEY_BYTES_MAX + 1))), Code::KeyTooLongError);
        assert_eq!(refusal("/b/%ff"), Code::InvalidURI);
        assert_eq!(refusal("//key"), Code::InvalidBucketName);
        let head = Head { path: "/b".to_owned(), query: Some("prefix=%ff".to_owned()), ..Head::default() };
        assert_eq!(Request::new(head, &[]).unwrap_err().code, Code::InvalidURI);
    }

    #[test]
    fn what_a_request_is_about_is_said_once() {
        let refusal = |query: Option<&str>, names: &[&str]| {
            let headers = names.iter().map(|name| ((*name).to_owned(), b"x".to_vec())).collect();
            let query = query.map(str::to_owned);
            let head = Head { path: "/b/k".to_owned(), query, headers, ..Head::default() };
            Request::new(head, &[]).map(|_| ()).map_err(|error| error.code)
        };
        for query in [
            "versionId=a&versionId=b",
            "versionId&version%49d",
            "uploadId=a&x&uploadId=a",
            "partNumber=1&partNumber=2",
        ] {
            assert_eq!(refusal(Some(query), &[]), Err(Code::InvalidArgument), "{query}");
        }
        assert_eq!(refusal(Some("prefix=a&prefix=b&x&x"), &[]), Ok(()));
        for name in ["x-amz-copy-source", "x-amz-acl", "x-amz-content-sha256", "content-md5", "range"] {
            assert_eq!(refusal(None, &[name, "host", name]), Err(Code::InvalidArgument), "{name}");
        }
        for name in ["x-amz-meta-a", "x-amz-object-attributes", "if-match", "accept"] {
            assert_eq!(refusal(None, &[name, name]), Ok(()), "{name}");
        }
    }

    #[test]
    fn bucket_names_follow_the_rules_of_aws() {
        for name in ["abc", "my-bucket.2", &"a".repeat(63), "1.2.3"] {
            assert!(is_bucket_name(name), "{name}");
        }
        for name in [
            "ab",
            "Abc",
            "a_b",
            "-abc",
            "abc.",
            "a..b",
            "a.-b",
            "a-.b",
            "192.168.5.4",
            "xn--abc",
            &"a".repeat(64),
            "b-s3alias",
        ] {
            assert!(!is_bucket_name(name), "{name}");
        }
    }
}
