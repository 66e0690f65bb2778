//! HTTP as it comes: what could be read in two ways is refused, what is right works in any slicing.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};

use crate::client::{Request, target};
use crate::content::payload;
use crate::http::Connection;
use crate::node::{Node, Options};
use crate::sign;

/// Appended to each ambiguous request: if the node took part of it for a second request, it would answer
/// twice.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";

/// Request texts (with `\n` for CRLF) that HTTP or caution forbids.
const REFUSED: &[(&str, &str)] = &[
    ("both lengths", "PUT /box/k HTTP/1.1\nHost: h\nContent-Length: 4\nTransfer-Encoding: chunked\n\n0\n\n"),
    ("two lengths", "PUT /box/k HTTP/1.1\nHost: h\nContent-Length: 4\nContent-Length: 5\n\nabcd"),
    ("the same length twice", "PUT /box/k HTTP/1.1\nHost: h\nContent-Length: 4\nContent-Length: 4\n\nabcd"),
    ("a list of lengths", "PUT /box/k HTTP/1.1\nHost: h\nContent-Length: 4, 4\n\nabcd"),
    ("a signed length", "PUT /box/k HTTP/1.1\nHost: h\nContent-Length: +4\n\nabcd"),
    ("a negative length", "PUT /box/k HTTP/1.1\nHost: h\nContent-Length: -4\n\nabcd"),
    ("a hexadecimal length", "PUT /box/k HTTP/1.1\nHost: h\nContent-Length: 0x4\n\nabcd"),
    ("an empty length", "PUT /box/k HTTP/1.1\nHost: h\nContent-Length:\n\nabcd"),
    ("a length beyond 64 bits", "PUT /box/k HTTP/1.1\nHost: h\nContent-Length: 18446744073709551620\n\nabcd"),
    ("a length with a space in it", "PUT /box/k HTTP/1.1\nHost: h\nContent-Length: 4 4\n\nabcd"),
    ("chunked twice", "PUT /box/k HTTP/1.1\nHost: h\nTransfer-Encoding: chunked, chunked\n\n0\n\n"),
    ("chunked not last", "PUT /box/k HTTP/1.1\nHost: h\nTransfer-Encoding: chunked, identity\n\n0\n\n"),
    ("an unknown coding", "PUT /box/k HTTP/1.1\nHost: h\nTransfer-Encoding: xchunked\n\n0\n\n"),
    ("a coding before chunked", "PUT /box/k HTTP/1.1\nHost: h\nTransfer-Encoding: gzip, chunked\n\n0\n\n"),
    (
        "a coding behind a vertical tab",
        "PUT /box/k HTTP/1.1\nHost: h\nTransfer-Encoding: \x0bchunked\n\n0\n\n",
    ),
    (
        "two headers of codings",
        "PUT /box/k HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\nTransfer-Encoding: identity\n\n0\n\n",
    ),
    ("a space before the colon", "PUT /box/k HTTP/1.1\nHost: h\nContent-Length : 4\n\nabcd"),
    ("a tab in a header's name", "GET / HTTP/1.1\nHost: h\nX\tY: 1\n\n"),
    ("a header without a name", "GET / HTTP/1.1\nHost: h\n: 1\n\n"),
    ("a header without a colon", "GET / HTTP/1.1\nHost: h\nnonsense\n\n"),
    ("obs-fold", "GET / HTTP/1.1\nHost: h\nX-A: 1\n 2\n\n"),
    ("obs-fold in the first header", "GET / HTTP/1.1\n X-A: 1\nHost: h\n\n"),
    ("a bare CR in a value", "GET / HTTP/1.1\nHost: h\nX-A: 1\r2\n\n"),
    ("a NUL in a value", "GET / HTTP/1.1\nHost: h\nX-A: 1\x002\n\n"),
    ("no Host", "GET / HTTP/1.1\nX-A: 1\n\n"),
    ("two Hosts", "GET / HTTP/1.1\nHost: h\nHost: i\n\n"),
    ("a space in the target", "GET /box/a b HTTP/1.1\nHost: h\n\n"),
    ("a control character in the target", "GET /box/a\x01b HTTP/1.1\nHost: h\n\n"),
    ("no target", "GET HTTP/1.1\nHost: h\n\n"),
    ("no version", "GET /\nHost: h\n\n"),
    ("an unknown version", "GET / HTTP/7.7\nHost: h\n\n"),
    ("HTTP/2's preface", "PRI * HTTP/2.0\n\nSM\n\n"),
    ("a method that is no token", "G(T / HTTP/1.1\nHost: h\n\n"),
    ("TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03\n\n"),
];

/// Chunked bodies (with `\n` for CRLF) that are not.
const CHUNKS_REFUSED: &[(&str, &str)] = &[
    ("a signed size", "+4\nabcd\n0\n\n"),
    ("a negative size", "-4\nabcd\n0\n\n"),
    ("a prefixed size", "0x4\nabcd\n0\n\n"),
    ("a size beyond 64 bits", "10000000000000004\nabcd\n0\n\n"),
    ("no size", "\nabcd\n0\n\n"),
    ("more data than the size", "4\nabcdef\n0\n\n"),
    ("a space before the size", " 4\nabcd\n0\n\n"),
    ("a bare CR in an extension", "4;a\rb\nabcd\n0\n\n"),
];

#[test]
fn ambiguous_requests_are_refused_and_their_rest_is_not_read() {
    let node = Node::start();
    for (what, text) in REFUSED {
        let text = text.replace('\n', "\r\n") + SMUGGLED;
        let mut connection = Connection::open(node.address()).unwrap();
        connection.send(text.as_bytes()).unwrap();
        let response = connection.receive(false).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!([400, 414, 431, 501, 505].contains(&response.status), "{what}: {}", response.status);
        assert!(connection.is_closed(), "{what}: the connection is still in use");
    }
    // A line that ends in LF alone: RFC 9112 lets a server take it or leave it; both readings agree on what
    // follows, so no more than one answer may come for it.
    let mut connection = Connection::open(node.address()).unwrap();
    connection.send(b"GET / HTTP/1.1\nHost: h\n\n").unwrap();
    connection.finish_sending().unwrap();
    let response = connection.receive(false).unwrap();
    assert!([400, 403].contains(&response.status), "{}", response.status);
    assert!(connection.is_closed());
}

#[test]
fn malformed_chunks_are_refused_and_nothing_is_stored() {
    let node = Node::start();
    let mut client = node.client_with_bucket("box");
    for (what, body) in CHUNKS_REFUSED {
        let request = Request::new("PUT", "/box/k")
            .header("Transfer-Encoding", "chunked")
            .header("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
        let request = client.sign(request);
        let mut connection = Connection::open(node.address()).unwrap();
        connection.send(&request.head()).unwrap();
        connection.send(body.replace('\n', "\r\n").as_bytes()).unwrap();
        connection.send(SMUGGLED.as_bytes()).unwrap();
        let response = connection.receive(false).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(response.status, 400, "{what}");
        assert!(connection.is_closed(), "{what}: the connection is still in use");
        client.get("box", "k").expect_error(404, "NoSuchKey");
    }
}

#[test]
fn a_flood_of_head_is_refused() {
    let node = Node::start();
    let many: String = (0..20_000).map(|number| format!("x-{number}: 1\r\n")).collect();
    let long = format!("X-A: {}\r\n", "a".repeat(1 << 20));
    let target = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(1 << 20));
    for text in
        [format!("GET / HTTP/1.1\r\nHost: h\r\n{many}\r\n"), format!("GET / HTTP/1.1\r\n{long}\r\n"), target]
    {
        let mut connection = Connection::open(node.address()).unwrap();
        // The node may answer and close before all of it is sent.
        let _ = connection.send(text.as_bytes());
        if let Ok(response) = connection.receive(false) {
            assert!([400, 414, 431].contains(&response.status), "{}", response.status);
        }
        assert!(connection.is_closed());
    }
}

#[test]
fn a_client_that_stops_sending_is_timed_out() {
    let node = Node::start();
    let mut client = node.client_with_bucket("box");
    let whole = client.sign(Request::new("PUT", "/box/slow").body(payload(1, 100_000)));
    let head = whole.head();
    let mut half_head = Connection::open(node.address()).unwrap();
    half_head.send(&head[..head.len() / 2]).unwrap();
    let mut half_body = Connection::open(node.address()).unwrap();
    half_body.send(&head).unwrap();
    half_body.send(&whole.body[..50_000]).unwrap();
    for (what, mut connection) in [("half a head", half_head), ("half a body", half_body)] {
        let started = Instant::now();
        let closed = loop {
            // A wait of the socket ends before the node's patience may.
            match connection.receive(false) {
                Ok(response) => assert!([400, 408].contains(&response.status), "{what}: {}", response.status),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => break true,
            }
            if started.elapsed() > Duration::from_secs(300) {
                break false;
            }
        };
        assert!(closed, "{what}: the connection is open after {:?}", started.elapsed());
    }
    client.get("box", "slow").expect_error(404, "NoSuchKey");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let node = Node::start();
    let client = node.client_with_bucket("box");
    let mut text = Vec::new();
    for number in 0..50 {
        let key = format!("key {number}");
        let put =
            Request::new("PUT", &target("box", &key)).body(payload(number, 100 + number as usize * 3000));
        text.extend(client.sign(put).bytes());
        text.extend(client.sign(Request::new("GET", &target("box", &key))).bytes());
        text.extend(client.sign(Request::new("HEAD", &target("box", &key))).bytes());
        text.extend(client.sign(Request::new("DELETE", &target("box", &key))).bytes());
        text.extend(client.sign(Request::new("GET", &target("box", &key))).bytes());
    }
    let address = node.address();
    let mut connection = Connection::open(address).unwrap();
    std::thread::scope(|scope| {
        let (mut sending, text) = (connection.duplicate().unwrap(), &text);
        scope.spawn(move || sending.send(text).unwrap());
        for number in 0..50 {
            let length = 100 + number as usize * 3000;
            connection.receive(false).unwrap().expect(200);
            let got = connection.receive(false).unwrap().expect(200);
            assert!(got.body == payload(number, length), "key {number}");
            let head = connection.receive(true).unwrap().expect(200);
            assert_eq!(head.header("Content-Length"), Some(length.to_string().as_str()));
            connection.receive(false).unwrap().expect(204);
            connection.receive(false).unwrap().expect_error(404, "NoSuchKey");
        }
    });
}

#[test]
fn requests_arrive_in_any_slices() {
    let node = Node::start();
    let client = node.client_with_bucket("box");
    let put = client.sign(Request::new("PUT", "/box/sliced").body(payload(5, 3000))).bytes();
    let get = client.sign(Request::new("GET", "/box/sliced")).bytes();
    for size in [1, 7, 100] {
        let mut connection = Connection::open(node.address()).unwrap();
        for slice in put.chunks(size) {
            connection.send(slice).unwrap();
        }
        connection.receive(false).unwrap().expect(200);
        for slice in get.chunks(size) {
            connection.send(slice).unwrap();
        }
        assert_eq!(connection.receive(false).unwrap().expect(200).body, payload(5, 3000));
    }
}

#[test]
fn a_chunked_body_is_stored_without_its_framing() {
    let node = Node::start();
    let mut client = node.client_with_bucket("box");
    for length in [100, 400_000] {
        let body = payload(9, length);
        let mut framed = Vec::new();
        for chunk in body.chunks(30_001) {
            framed.extend(format!("{:X};extension=\"value\"\r\n", chunk.len()).into_bytes());
            framed.extend(chunk);
            framed.extend(b"\r\n");
        }
        framed.extend(b"0\r\n\r\n");
        let request = Request::new("PUT", "/box/chunked")
            .header("Transfer-Encoding", "chunked")
            .header("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
            .body(framed);
        client.send(request).expect(200);
        assert!(client.get("box", "chunked").expect(200).body == body);
    }
}

#[test]
fn head_answers_as_get_does_without_the_body() {
    let node = Node::start();
    let mut client = node.client_with_bucket("box");
    let put = Request::new("PUT", "/box/k")
        .header("Content-Type", "text/x-test")
        .header("Cache-Control", "max-age=5")
        .header("x-amz-meta-colour", "blue")
        .body(payload(1, 5000));
    client.send(put).expect(200);
    let get = client.get("box", "k").expect(200);
    let head = client.head("box", "k").expect(200);
    assert!(head.body.is_empty());
    for name in [
        "Content-Length",
        "Content-Type",
        "Cache-Control",
        "ETag",
        "Last-Modified",
        "x-amz-meta-colour",
        "Accept-Ranges",
    ] {
        assert_eq!(head.header(name), get.header(name), "{name}");
        assert!(head.header(name).is_some(), "{name}");
    }
    // An error to HEAD has no body either, and the connection goes on.
    let missing = client.head("box", "missing").expect(404);
    assert!(missing.body.is_empty());
    client.get("box", "k").expect(200);
}

#[test]
fn continue_is_sent_only_to_whom_may_go_on() {
    let node = Node::start();
    let client = node.client_with_bucket("box");
    let request =
        client.sign(Request::new("PUT", "/box/k").header("Expect", "100-continue").body(payload(3, 100_000)));
    let mut connection = Connection::open(node.address()).unwrap();
    connection.send(&request.head()).unwrap();
    connection.receive(false).unwrap().expect(100);
    connection.send(&request.body).unwrap();
    connection.receive(false).unwrap().expect(200);

    let mut forged = request.clone();
    for (name, value) in &mut forged.headers {
        if name == "Authorization" {
            value.replace_range(value.len() - 4.., "0000");
        }
    }
    let mut connection = Connection::open(node.address()).unwrap();
    connection.send(&forged.head()).unwrap();
    connection.receive(false).unwrap().expect_error(403, "SignatureDoesNotMatch");

    let absent =
        client.sign(Request::new("PUT", "/nobody/k").header("Expect", "100-continue").body(payload(3, 100)));
    let mut connection = Connection::open(node.address()).unwrap();
    connection.send(&absent.head()).unwrap();
    connection.receive(false).unwrap().expect_error(404, "NoSuchBucket");
}

#[test]
fn errors_are_s3s() {
    let node = Node::start();
    let mut client = node.client_with_bucket("box");
    client.get("box", "missing").expect_error(404, "NoSuchKey");
    client.get("absent", "k").expect_error(404, "NoSuchBucket");
    client.send(Request::new("GET", "/absent")).expect_error(404, "NoSuchBucket");
    client.send(Request::new("DELETE", "/absent")).expect_error(404, "NoSuchBucket");
    client.send(Request::new("PUT", "/B_d")).expect_error(400, "InvalidBucketName");
    client
        .send(Request::new("PUT", &target("box", &"k".repeat(1025))).body("x"))
        .expect_error(400, "KeyTooLongError");
    client.send(Request::new("POST", "/box/k")).expect_error(405, "MethodNotAllowed");
    client.send(Request::new("PUT", "/box?analytics&id=1").body("<x/>")).expect_error(501, "NotImplemented");
    let malformed = "<Delete><nonsense";
    let digest = STANDARD.encode(Md5::digest(malformed));
    let delete = Request::new("POST", "/box?delete").header("Content-MD5", &digest).body(malformed);
    client.send(delete).expect_error(400, "MalformedXML");
    client.send(Request::new("GET", "/box/k?uploadId=none")).expect_error(404, "NoSuchUpload");
    client.put("box", "k", b"0123456789").expect(200);
    let range = Request::new("GET", "/box/k").header("Range", "bytes=10-20");
    client.send(range).expect_error(416, "InvalidRange");
    client.send(Request::new("DELETE", "/box")).expect_error(409, "BucketNotEmpty");

    let anonymous = Request::new("GET", "/box/k").header("Host", "h");
    client.try_send_as_is(&anonymous).unwrap().expect_error(403, "AccessDenied");
    client.credentials.secret_key.push('x');
    let mismatch = client.get("box", "k").expect_error(403, "SignatureDoesNotMatch");
    assert!(mismatch.element("StringToSign").unwrap().starts_with("AWS4-HMAC-SHA256\n"));
    assert!(mismatch.element("CanonicalRequest").unwrap().starts_with("GET\n/box/k\n"));
    client.credentials.access_key_id.push('X');
    client.get("box", "k").expect_error(403, "InvalidAccessKeyId");
    let mut late = Request::new("GET", "/box/k").header("Host", &node.address().to_string());
    let an_hour_ago = time::OffsetDateTime::now_utc() - time::Duration::hours(1);
    sign::v4_at(&mut late, node.credentials(), an_hour_ago);
    client.try_send_as_is(&late).unwrap().expect_error(403, "RequestTimeTooSkewed");
}

#[test]
fn a_bucket_may_stand_in_the_host_name() {
    let options =
        Options { arguments: vec!["--domain".to_owned(), "s3.test".to_owned()], ..Options::default() };
    let node = Node::start_with(options);
    let mut client = node.client_with_bucket("box");
    let hosted = |method: &str, target: &str| Request::new(method, target).header("Host", "box.s3.test:9000");
    client.send(hosted("PUT", "/box/key").body("hosted")).expect(200);
    assert_eq!(client.send(hosted("GET", "/box/key")).expect(200).body, b"hosted");
    assert_eq!(client.get("box", "box/key").expect(200).body, b"hosted");
    let listing = client.send(hosted("GET", "/?list-type=2")).expect(200);
    assert_eq!(listing.element("Key").as_deref(), Some("box/key"));

    // SigV2 signs the bucket's name too, though the path lacks it.
    let mut old = Request::new("GET", "/box/box/key");
    sign::v2(&mut old, node.credentials(), "");
    old.target = "/box/key".to_owned();
    let old = old.header("Host", "box.s3.test");
    assert_eq!(client.try_send_as_is(&old).unwrap().expect(200).body, b"hosted");
    // The domain itself is path-style.
    let plain = Request::new("GET", "/box/box/key").header("Host", "s3.test");
    assert_eq!(client.send(plain).expect(200).body, b"hosted");
}

#[test]
fn keys_are_kept_to_the_byte() {
    let node = Node::start();
    let mut client = node.client_with_bucket("box");
    let long = "é".repeat(512);
    let keys = [
        " ",
        "a b",
        "a+b",
        "a%2Fb",
        "a%20b",
        "//",
        "/a",
        "a//b",
        ".",
        "..",
        "./a",
        "../a",
        "a/./b",
        "a/../b",
        "a/",
        "?",
        "a?b=c&d",
        "#",
        "a#b",
        "\"'<>&",
        "\\",
        "日本/é\u{1F980}",
        "a\tb",
        "a\nb",
        "a\r\nb",
        "\u{1}",
        "~!*'()",
        ":@;=,$[]{}|^`",
        "e\u{301}",
        "\u{e9}",
        "\u{FFFD}",
        &long,
    ];
    for (number, key) in keys.iter().enumerate() {
        client.put("box", key, &payload(number as u64, 50)).expect(200);
    }
    for (number, key) in keys.iter().enumerate() {
        assert!(client.get("box", key).expect(200).body == payload(number as u64, 50), "{key:?}");
    }
    let listing = client.send(Request::new("GET", "/box?list-type=2&encoding-type=url")).expect(200).text();
    let listed: Vec<String> = crate::http::elements(&listing, "Key")
        .iter()
        .map(|key| {
            percent_encoding::percent_decode_str(&key.replace('+', " ")).decode_utf8().unwrap().into_owned()
        })
        .collect();
    let mut expected: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
    expected.sort();
    assert_eq!(listed, expected);
    for key in keys {
        client.delete("box", key).expect(204);
        client.get("box", key).expect_error(404, "NoSuchKey");
    }
}
