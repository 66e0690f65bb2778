//! A connection's bytes: heads, framing and bodies of requests one after the other. However the bytes arrive in
//! pieces, they are the same requests, and those that a second, strict reader finds.

use ringcask::base::limits::HEAD_BYTES_MAX;
use ringcask::http::chunked::ChunkedDecoder;
use ringcask::http::{BodyFraming, Framing, Head, HeadError, HeadParser};

use super::Random;
use super::body::read_chunked;

const REQUESTS_MAX: usize = 32;

/// How a connection's bytes end.
#[derive(Debug, PartialEq)]
enum End {
    Incomplete,
    Head(HeadError),
    Framing(HeadError),
    Chunked,
    /// Requests enough.
    Enough,
}

#[derive(Debug)]
struct Request {
    head: Head,
    framing: Framing,
    body: Vec<u8>,
    /// Where its head began, and where it ended.
    start: usize,
    end: usize,
}

pub fn run(data: &[u8]) {
    let (whole, end) = receive(data, || data.len().max(1));
    let mut random = Random::of(data);
    let (pieces, end_of_pieces) = receive(data, || random.piece());
    assert_eq!(format!("{whole:?}"), format!("{pieces:?}"), "in pieces these are other requests");
    // Of two faults, the one that is met first is told, and too much may arrive before the second.
    if data.len() <= HEAD_BYTES_MAX {
        assert_eq!(end, end_of_pieces, "in pieces it ends otherwise");
    }
    for request in &whole {
        check(request, data);
    }
}

/// The requests of a stream that arrives in pieces of these lengths.
fn receive(data: &[u8], mut piece: impl FnMut() -> usize) -> (Vec<Request>, End) {
    let mut requests: Vec<Request> = Vec::new();
    let mut parser = HeadParser::default();
    let (mut at, mut received) = (0, 0);
    loop {
        if requests.len() == REQUESTS_MAX {
            return (requests, End::Enough);
        }
        let start = at;
        let head = loop {
            match parser.parse(&data[at..received]) {
                Ok(Some((head, consumed))) => {
                    assert!(!parser.has_begun(), "a head that is complete is not begun");
                    at += consumed;
                    break head;
                }
                Ok(None) if received == data.len() => return (requests, End::Incomplete),
                Ok(None) => received = data.len().min(received + piece()),
                Err(error) => return (requests, End::Head(error)),
            }
        };
        let framing = match Framing::of(&head) {
            Ok(framing) => framing,
            Err(error) => return (requests, End::Framing(error)),
        };
        let mut request = Request { head, framing, body: Vec::new(), start, end: at };
        let mut decoder = ChunkedDecoder::default();
        loop {
            let (there, rest) = (&data[at..received], data.len() - received);
            let (used, is_ended) = match framing.body {
                BodyFraming::None => (0, true),
                BodyFraming::Length(bytes) => {
                    let missing = bytes - request.body.len() as u64;
                    let used = usize::try_from(missing).unwrap_or(usize::MAX).min(there.len());
                    request.body.extend_from_slice(&there[..used]);
                    (used, used as u64 == missing)
                }
                BodyFraming::Chunked => {
                    let mut there = there.to_vec();
                    let Ok(decoded) = decoder.decode(&mut there) else { return (requests, End::Chunked) };
                    request.body.extend_from_slice(&there[..decoded.payload]);
                    (decoded.consumed, decoder.is_done())
                }
            };
            at += used;
            if is_ended {
                break;
            }
            if rest == 0 {
                return (requests, End::Incomplete);
            }
            received = data.len().min(received + piece());
        }
        requests.push(request);
    }
}

/// Reads the same bytes another way, and writes the head again.
fn check(request: &Request, data: &[u8]) {
    let Request { head, framing, body, start, end } = request;
    let read = strict(&data[*start..*end]).expect("a head that only a lenient reader takes");
    let (path, query) = match read.target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (read.target.as_str(), None),
    };
    assert_eq!((&read.method, read.version), (&head.method, head.version_minor));
    if read.target.starts_with('/') {
        assert_eq!((path, query), (head.path.as_str(), head.query.as_deref()));
        assert_eq!(read.headers, head.headers);
    }
    let values = |name: &str| read.headers.iter().filter(move |(have, _)| have == name).collect::<Vec<_>>();
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    let rest = &data[*end..];
    match (&lengths[..], &codings[..]) {
        ([], []) => assert_eq!((framing.body, body.len()), (BodyFraming::None, 0)),
        ([(_, digits)], []) => {
            let bytes: usize = std::str::from_utf8(digits).unwrap().parse().unwrap();
            assert_eq!(body, &rest[..bytes]);
        }
        ([], [(_, coding)]) => {
            assert!(coding.eq_ignore_ascii_case(b"chunked") && head.version_minor == 1);
            assert_eq!(Some(body), read_chunked(rest).map(|(payload, _)| payload).as_ref());
        }
        _ => panic!("a body of two lengths was taken"),
    }
    let again = HeadParser::default().parse(&write(head)).expect("what was read can be written").unwrap().0;
    assert_eq!(format!("{head:?}"), format!("{again:?}"));
}

fn write(head: &Head) -> Vec<u8> {
    let query = head.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    let mut out =
        format!("{} {}{query} HTTP/1.{}\r\n", head.method, head.path, head.version_minor).into_bytes();
    for (name, value) in &head.headers {
        out.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    out.extend_from_slice(b"\r\n");
    out
}

struct Strict {
    method: String,
    target: String,
    version: u8,
    headers: Vec<(String, Vec<u8>)>,
}

/// RFC 9112 to the letter and without its leniencies, but for empty lines before the request.
fn strict(mut head: &[u8]) -> Option<Strict> {
    while let Some(rest) = head.strip_prefix(b"\r\n") {
        head = rest;
    }
    let head = head.strip_suffix(b"\r\n\r\n")?;
    let mut lines: Vec<&[u8]> = Vec::new();
    let mut start = 0;
    while let Some(length) = head[start..].windows(2).position(|pair| pair == b"\r\n") {
        lines.push(&head[start..start + length]);
        start += length + 2;
    }
    lines.push(&head[start..]);
    if lines.iter().any(|line| line.is_empty() || line.contains(&b'\r') || line.contains(&b'\n')) {
        return None;
    }
    let is_token = |bytes: &[u8]| {
        let is_mark = |byte: &u8| b"!#$%&'*+-.^_`|~".contains(byte);
        !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || is_mark(byte))
    };
    let words: Vec<&[u8]> = lines[0].split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else { return None };
    let version = match version {
        b"HTTP/1.1" => 1,
        b"HTTP/1.0" => 0,
        _ => return None,
    };
    if !is_token(method) || target.is_empty() || target.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
        return None;
    }
    let mut headers = Vec::new();
    for line in &lines[1..] {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, mut value) = (&line[..colon], &line[colon + 1..]);
        if !is_token(name) || value.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f) {
            return None;
        }
        while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
            value = rest;
        }
        headers.push((String::from_utf8(name.to_ascii_lowercase()).ok()?, value.to_vec()));
    }
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    Some(Strict { method: text(method)?, target: text(target)?, version, headers })
}
