//! Request smuggling: one reading of where a request ends, also after a refusal. `blackbox/framing.rs` has the
//! heads and chunks that could be read in two ways.

use super::{SECRET, keys, node};
use crate::client::Request;
use crate::http::Connection;

/// A request that would be noticed.
fn smuggled(owner: &crate::client::Client) -> Vec<u8> {
    owner.sign(Request::new("DELETE", "/box/k")).bytes()
}

#[test]
fn the_body_of_a_refused_request_is_no_request() {
    let (node, mut owner) = node();
    let evil = smuggled(&owner);
    let length = evil.len();
    let signed = |request: Request| String::from_utf8(owner.sign(request).head()).unwrap();
    let upload = |target: &str| {
        let put = Request::new("PUT", target).header("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
        signed(put.header("Content-Length", &length.to_string()))
    };
    for (what, head) in [
        ("signed by nobody", format!("PUT /box/new HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n")),
        ("a bucket that is not there", upload("/nobody/k")),
        (
            "a method that is not there",
            format!("BREW /box/k HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n"),
        ),
        (
            "a read with a body",
            signed(Request::new("GET", "/box/missing").header("Content-Length", &length.to_string())),
        ),
        (
            "an error of the query",
            format!("GET /box?%zz HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n"),
        ),
        ("an operation that is not served", upload("/box?analytics&id=x")),
        (
            "a deletion with a body",
            signed(Request::new("DELETE", "/box/none").header("Content-Length", &length.to_string())),
        ),
        ("HTTP/1.0", format!("PUT /box/new HTTP/1.0\r\nHost: h\r\nContent-Length: {length}\r\n\r\n")),
        ("a preflight", format!("OPTIONS /box/k HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n")),
    ] {
        let mut connection = Connection::open(node.address()).unwrap();
        connection.send(head.as_bytes()).unwrap();
        connection.send(&evil).unwrap();
        connection.finish_sending().unwrap();
        let first = connection.receive(false).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_ne!(first.status, 100, "{what}");
        assert!(connection.receive(false).is_err(), "{what}: the body was taken for a request");
    }
    assert_eq!(owner.get("box", "k").expect(200).body, SECRET);
}

#[test]
fn a_chunked_body_of_a_refused_request_is_no_request() {
    let (node, mut owner) = node();
    let evil = smuggled(&owner);
    // The end of the body has come, or has not.
    for (what, size) in [("a whole body", evil.len()), ("half a body", evil.len() + 1000)] {
        let head = "PUT /box/new HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n";
        let mut connection = Connection::open(node.address()).unwrap();
        connection.send(format!("{head}\r\n{size:x}\r\n").as_bytes()).unwrap();
        connection.send(&[evil.as_slice(), b"\r\n0\r\n\r\n"].concat()).unwrap();
        connection.finish_sending().unwrap();
        connection.receive(false).unwrap().expect(403);
        assert!(connection.receive(false).is_err(), "{what} was taken for a request");
    }
    assert_eq!(owner.get("box", "k").expect(200).body, SECRET);
}

#[test]
fn what_was_refused_and_what_follows_it_are_answered_once_each() {
    let (node, mut owner) = node();
    let get = owner.sign(Request::new("GET", "/box/k")).bytes();
    let anonymous = b"GET /box/k HTTP/1.1\r\nHost: h\r\n\r\n".to_vec();
    let mut connection = Connection::open(node.address()).unwrap();
    connection.send(&[anonymous.clone(), get.clone(), anonymous, get].concat()).unwrap();
    for expected in [403, 200, 403, 200] {
        connection.receive(false).unwrap().expect(expected);
    }
    // After bytes that are no request nothing is a request.
    let mut connection = Connection::open(node.address()).unwrap();
    connection.send(b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n").unwrap();
    connection.send(&smuggled(&owner)).unwrap();
    connection.receive(false).unwrap().expect(400);
    assert!(connection.is_closed());
    // Every byte behind a whole body belongs to the next request: trailing ones make it none.
    let put = owner.sign(Request::new("PUT", "/box/two").body("12345678")).bytes();
    let mut connection = Connection::open(node.address()).unwrap();
    connection.send(&[put, b"trailing".to_vec()].concat()).unwrap();
    connection.send(b" garbage\r\n\r\n").unwrap();
    connection.receive(false).unwrap().expect(200);
    connection.receive(false).unwrap().expect(400);
    assert!(connection.is_closed());
    assert_eq!(keys(&mut owner, "box"), ["k", "two"]);
    assert_eq!(owner.get("box", "two").expect(200).body, b"12345678");
}

#[test]
fn spellings_of_framing_headers_are_the_header_or_refused() {
    let (node, mut owner) = node();
    let evil = smuggled(&owner);
    let body = format!("0\r\n\r\n{}", String::from_utf8_lossy(&evil));
    for line in [
        "Transfer-Encoding: chunked\r\nContent-Length: {}",
        "Content-Length: {}\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\ncontent-length: {}",
        "Transfer-Encoding:\u{b}chunked\r\nContent-Length: {}",
        "Transfer-Encoding: \"chunked\"\r\nContent-Length: {}",
        "Transfer-Encoding: chunked;q=1\r\nContent-Length: {}",
        "Transfer-Encoding: chunked\r\n , identity\r\nContent-Length: {}",
        "Transfer-Encoding : chunked\r\nContent-Length: {}",
        " Transfer-Encoding: chunked\r\nContent-Length: {}",
        "X: y\nTransfer-Encoding: chunked\r\nContent-Length: {}",
        "X: y\rTransfer-Encoding: chunked\r\nContent-Length: {}",
        "X: y\0\r\nTransfer-Encoding: chunked\r\nContent-Length: {}",
        "Content-Length: {}\r\nContent-Length: {}",
        "Content-Length: {},{}",
        "Content-Length: 0\r\nContent-Length : {}",
        "Content-Length: +{}",
        "Content-Length: {}\u{a0}",
        "Content-Length: 0{} 0",
    ] {
        let lines = line.replace("{}", &body.len().to_string());
        let mut connection = Connection::open(node.address()).unwrap();
        connection
            .send(format!("PUT /box/new HTTP/1.1\r\nHost: h\r\n{lines}\r\n\r\n{body}").as_bytes())
            .unwrap();
        let answer = connection.receive(false).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        assert!([400, 501].contains(&answer.status), "{line:?}: {}", answer.status);
        assert!(connection.is_closed(), "{line:?}: the connection goes on");
    }
    // Names that only look like them frame nothing: the body has the length that the real one says.
    for line in [
        "Transfer_Encoding: chunked",
        "TransferEncoding: chunked",
        "Content_Length: 0",
        "X-Transfer-Encoding: chunked",
    ] {
        let mut connection = Connection::open(node.address()).unwrap();
        connection
            .send(
                format!(
                    "PUT /box/new HTTP/1.1\r\nHost: h\r\n{line}\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                )
                .as_bytes(),
            )
            .unwrap();
        connection.finish_sending().unwrap();
        connection.receive(false).unwrap().expect(403);
        assert!(connection.receive(false).is_err(), "{line:?}: the body was taken for a request");
    }
    assert_eq!(owner.get("box", "k").expect(200).body, SECRET);
}
