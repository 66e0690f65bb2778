//! Request heads: bytes received so far in, a checked [`Head`] out.
//!
//! Two parties that read the same bytes differently can be played against each other (request smuggling),
//! so everything that RFC 9112 leaves to a reader's leniency is refused here: bare line feeds, folded lines,
//! white space before the colon, several or malformed `Host` headers.

use std::fmt;
use std::mem::MaybeUninit;

use crate::base::limits::{HEAD_BYTES_MAX, HEADERS_MAX};

/// A parsed request head, owned: names, values and target as they were sent.
///
/// `Debug` leaves values and the query out: there are signatures among them, and customers' keys.
#[derive(Clone, Default)]
pub struct Head {
    /// As sent, upper case by convention: `GET`, `PUT`, …
    pub method: String,
    /// Request target before `?`, still percent-encoded; always starts with `/` (an absolute-form target is
    /// reduced to its path, its authority replaces `host`).
    pub path: String,
    /// What follows `?`, without it; `None` if there was no `?`.
    pub query: Option<String>,
    /// Names in lower case, values trimmed of surrounding white space, in the order sent.
    pub headers: Vec<(String, Vec<u8>)>,
    /// 1 for HTTP/1.1, 0 for HTTP/1.0.
    pub version_minor: u8,
}

impl Head {
    /// The first header of that (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_slice())
    }

    /// The first header of that (lower-case) name, if it is UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.header(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// All headers of that (lower-case) name, in order.
    pub fn headers_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |(have, _)| have == name).map(|(_, value)| value.as_slice())
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        out.debug_struct("Head")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("headers", &names)
            .finish_non_exhaustive()
    }
}

/// Why a head is refused. The connection can't be used on: nobody knows where the next request begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// Not HTTP, or HTTP that could be read in two ways; the text says what.
    Malformed(&'static str),
    /// More bytes or header lines than [`HEAD_BYTES_MAX`] and [`HEADERS_MAX`].
    TooLarge,
    /// Neither HTTP/1.1 nor HTTP/1.0.
    VersionUnsupported,
    /// A `Transfer-Encoding` other than `chunked`.
    TransferCodingUnsupported,
}

/// Finds and parses the head at the start of a growing run of bytes, looking at each byte once.
#[derive(Debug, Default)]
pub struct HeadParser {
    /// Bytes already searched for the end of the head.
    scanned: usize,
    /// Where the line at `scanned` began.
    line_start: usize,
    /// Where the request line begins: after empty lines, which RFC 9112 section 2.2 says to skip.
    head_start: usize,
}

impl HeadParser {
    /// Parses the head at the start of `bytes`, which begin with what earlier calls were given. `None` if it
    /// is not all there; otherwise the head and how many bytes it took, and the parser is ready for the next.
    pub fn parse(&mut self, bytes: &[u8]) -> Result<Option<(Head, usize)>, HeadError> {
        let Some(end) = self.find_end(bytes)? else {
            let full = bytes.len() >= HEAD_BYTES_MAX;
            return if full { Err(HeadError::TooLarge) } else { Ok(None) };
        };
        if end > HEAD_BYTES_MAX {
            return Err(HeadError::TooLarge);
        }
        let head = parse_whole(&bytes[self.head_start..end])?;
        *self = Self::default();
        Ok(Some((head, end)))
    }

    /// Whether bytes beyond empty lines have been seen since the last complete head.
    pub fn has_begun(&self) -> bool {
        self.scanned > self.head_start
    }

    /// Where the head ends (after its empty line), if that has been received.
    fn find_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, HeadError> {
        while let Some(offset) = bytes[self.scanned..].iter().position(|byte| *byte == b'\n') {
            let line_feed = self.scanned + offset;
            if line_feed == self.line_start || bytes[line_feed - 1] != b'\r' {
                return Err(HeadError::Malformed("a line must end with CR LF"));
            }
            let empty = line_feed - 1 == self.line_start;
            self.scanned = line_feed + 1;
            if empty && self.line_start > self.head_start {
                return Ok(Some(self.scanned));
            }
            if empty {
                self.head_start = self.scanned;
            }
            self.line_start = self.scanned;
        }
        self.scanned = bytes.len();
        Ok(None)
    }
}

/// Parses a head from its request line to its empty line.
fn parse_whole(bytes: &[u8]) -> Result<Head, HeadError> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(httparse::Status::Complete(consumed)) if consumed == bytes.len() => {}
        Ok(_) => return Err(HeadError::Malformed("the head ends within a line")),
        Err(httparse::Error::Version) if names_version(bytes) => return Err(HeadError::VersionUnsupported),
        Err(error) => return Err(refusal(error)),
    }
    let mut head = Head {
        method: request.method.unwrap_or_default().to_owned(),
        version_minor: request.version.unwrap_or_default(),
        headers: request.headers.iter().map(owned_header).collect(),
        ..Head::default()
    };
    let authority = set_target(&mut head, request.path.unwrap_or_default())?;
    check_host(&mut head, authority)?;
    Ok(head)
}

/// Whether the request line's third and last word is a version of HTTP.
fn names_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ').skip(2);
    match (words.next(), words.next()) {
        (Some([b'H', b'T', b'T', b'P', b'/', version @ ..]), None) => {
            version.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
        }
        _ => false,
    }
}

fn refusal(error: httparse::Error) -> HeadError {
    match error {
        httparse::Error::TooManyHeaders => HeadError::TooLarge,
        httparse::Error::HeaderName => HeadError::Malformed("a header name is not a token before a colon"),
        httparse::Error::HeaderValue => HeadError::Malformed("a header value holds a control character"),
        httparse::Error::NewLine => HeadError::Malformed("a carriage return stands alone"),
        httparse::Error::Token | httparse::Error::Status | httparse::Error::Version => {
            HeadError::Malformed("the request line is not a method, a target and a version")
        }
    }
}

fn owned_header(header: &httparse::Header<'_>) -> (String, Vec<u8>) {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let value = header.value;
    let start = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    (header.name.to_ascii_lowercase(), value[start..end].to_vec())
}

/// Splits the target into path and query; returns the authority of an absolute-form one
/// (RFC 9112, section 3.2).
fn set_target<'a>(head: &mut Head, target: &'a str) -> Result<Option<&'a str>, HeadError> {
    let (authority, origin) = if target.starts_with('/') {
        (None, target)
    } else {
        let scheme_end = target.find("://").ok_or(HeadError::Malformed("the target is not a path"))?;
        let scheme = &target[..scheme_end];
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err(HeadError::Malformed("the target's scheme is not http"));
        }
        let rest = &target[scheme_end + 3..];
        let (authority, origin) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.is_empty() {
            return Err(HeadError::Malformed("the target names no host"));
        }
        (Some(authority), origin)
    };
    let (path, query) = match origin.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (origin, None),
    };
    head.path = if path.is_empty() { "/".to_owned() } else { path.to_owned() };
    head.query = query.map(str::to_owned);
    Ok(authority)
}

/// One well-formed `Host` (RFC 9112, section 3.2), replaced by the authority of an absolute-form target.
fn check_host(head: &mut Head, authority: Option<&str>) -> Result<(), HeadError> {
    if authority.is_some_and(|authority| !is_authority(authority.as_bytes())) {
        return Err(HeadError::Malformed("the target's host is not a host"));
    }
    let mut hosts = head.headers.iter_mut().filter(|(name, _)| name == "host");
    let host = hosts.next().map(|(_, value)| value);
    if hosts.next().is_some() {
        return Err(HeadError::Malformed("there are several Host headers"));
    }
    match (host, authority) {
        (Some(host), _) if !is_authority(host) => Err(HeadError::Malformed("Host is not a host")),
        (Some(host), Some(authority)) => {
            *host = authority.as_bytes().to_vec();
            Ok(())
        }
        (Some(_), None) => Ok(()),
        (None, _) if head.version_minor >= 1 => Err(HeadError::Malformed("Host is missing")),
        (None, Some(authority)) => {
            head.headers.push(("host".to_owned(), authority.as_bytes().to_vec()));
            Ok(())
        }
        (None, None) => Ok(()),
    }
}

/// RFC 3986: `host [ ":" port ]` by its characters. User information (`@`) has no place in HTTP.
fn is_authority(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=%:[]".contains(byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: impl AsRef<[u8]>) -> Result<Option<(Head, usize)>, HeadError> {
        HeadParser::default().parse(text.as_ref())
    }

    fn head(text: impl AsRef<[u8]>) -> Head {
        parse(text).unwrap().unwrap().0
    }

    fn refused(text: impl AsRef<[u8]>) -> HeadError {
        parse(text).map(|parsed| parsed.map(|(head, _)| head)).unwrap_err()
    }

    #[test]
    fn a_target_stays_as_it_was_sent() {
        let head = head(
            "GET /bucket/a//b/../c+d%2Fe/.?max-keys=1000&prefix&delimiter=%2F HTTP/1.1\r\nHost: h\r\n\r\nrest",
        );
        assert_eq!(head.method, "GET");
        assert_eq!(head.path, "/bucket/a//b/../c+d%2Fe/.");
        assert_eq!(head.query.as_deref(), Some("max-keys=1000&prefix&delimiter=%2F"));
        assert_eq!(head.version_minor, 1);
    }

    #[test]
    fn what_follows_the_head_is_not_consumed() {
        let text = b"\r\n\r\nGET / HTTP/1.1\r\nhost: h\r\n\r\nbody";
        assert_eq!(parse(text).unwrap().unwrap().1, text.len() - 4);
    }

    #[test]
    fn values_keep_utf8_and_latin1() {
        let head =
            head(b"PUT /b/k HTTP/1.1\r\nHost:h\r\nX-Amz-Meta-A: \t caf\xc3\xa9 \xe9 \t\r\nEmpty:\r\n\r\n");
        assert_eq!(head.header("x-amz-meta-a").unwrap(), b"caf\xc3\xa9 \xe9");
        assert_eq!(head.header("empty").unwrap(), b"");
    }

    #[test]
    fn what_proves_or_opens_something_is_not_printed() {
        let head = head("GET /b/k?X-Amz-Signature=proof HTTP/1.1\r\nHost: h\r\nAuthorization: proof\r\n\r\n");
        let text = format!("{head:?}");
        assert!(text.contains("/b/k") && text.contains("authorization") && !text.contains("proof"), "{text}");
    }

    #[test]
    fn an_absolute_target_is_reduced_to_its_path_and_host() {
        let absolute = head("GET http://b.example:9000/k?x HTTP/1.1\r\nHost: other\r\n\r\n");
        assert_eq!((absolute.path.as_str(), absolute.query.as_deref()), ("/k", Some("x")));
        assert_eq!(absolute.header("host").unwrap(), b"b.example:9000");
        let bare = head("GET http://b.example HTTP/1.0\r\n\r\n");
        assert_eq!((bare.path.as_str(), bare.header("host").unwrap()), ("/", b"b.example".as_slice()));
    }

    #[test]
    fn heads_that_could_be_read_in_two_ways_are_refused() {
        for text in [
            "GET / HTTP/1.1\nHost: h\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nA: b\rc: d\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n",
            "GET / HTTP/1.1\r\n Host: h\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : h\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nA: \0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nA: \x1b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nA: \x7f\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\r\n\r\n",
            "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET a HTTP/1.1\r\nHost: h\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
            "CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
            "G\0T / HTTP/1.1\r\nHost: h\r\n\r\n",
            "\n",
            "GET /\r\n\r\n",
        ] {
            assert!(matches!(refused(text), HeadError::Malformed(_)), "{text:?}: {:?}", refused(text));
        }
    }

    #[test]
    fn other_versions_are_named_as_such() {
        for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/1.2"] {
            let text = format!("GET / {version}\r\nHost: h\r\n\r\n");
            assert_eq!(refused(text), HeadError::VersionUnsupported);
        }
    }

    #[test]
    fn heads_beyond_the_limits_are_refused() {
        let endless = [b"GET /".as_slice(), &vec![b'a'; HEAD_BYTES_MAX]].concat();
        assert_eq!(refused(&endless), HeadError::TooLarge);
        let many = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "a:\r\n".repeat(HEADERS_MAX));
        assert_eq!(refused(many), HeadError::TooLarge);
        let most = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "a:\r\n".repeat(HEADERS_MAX - 1));
        assert_eq!(head(most).headers.len(), HEADERS_MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
            let _ = parse([b"GET / HTTP/1.1\r\nHost: h\r\n".as_slice(), &bytes, b"\r\n\r\n"].concat());
        }

        #[test]
        fn receiving_in_pieces_changes_nothing(cuts in proptest::collection::vec(0usize..90, 0..6)) {
            let text = b"\r\nPUT /b/k?acl HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nA: b\r\n\r\nabcGET";
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            cuts.push(text.len());
            let mut parser = HeadParser::default();
            let parsed = cuts.iter().find_map(|cut| parser.parse(&text[..*cut]).unwrap());
            let (head, consumed) = parsed.unwrap();
            prop_assert_eq!(consumed, text.len() - 6);
            prop_assert_eq!(head.headers.len(), 3);
            prop_assert!(!parser.has_begun());
        }
    }
}
