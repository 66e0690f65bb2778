//! A payload that is not what its sender promised never becomes visible.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use crate::client::{Client, Request, encode};
use crate::content::payload;
use crate::http::{Connection, Response};
use crate::node::Node;
use crate::sign::{self, hex};

const LENGTHS: [usize; 2] = [1000, 300_000];

fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// Name of each checksum header and the value for a payload.
pub fn checksums(body: &[u8]) -> Vec<(&'static str, String)> {
    use crc_fast::{CrcAlgorithm, checksum};
    let crc32 = u32::try_from(checksum(CrcAlgorithm::Crc32IsoHdlc, body)).unwrap();
    vec![
        ("x-amz-checksum-crc32", base64(crc32.to_be_bytes())),
        ("x-amz-checksum-crc32c", base64(crc32c::crc32c(body).to_be_bytes())),
        ("x-amz-checksum-crc64nvme", base64(checksum(CrcAlgorithm::Crc64Nvme, body).to_be_bytes())),
        ("x-amz-checksum-sha1", base64(Sha1::digest(body))),
        ("x-amz-checksum-sha256", base64(Sha256::digest(body))),
        ("x-amz-checksum-sha512", base64(Sha512::digest(body))),
        ("x-amz-checksum-md5", base64(Md5::digest(body))),
        ("x-amz-checksum-xxhash64", base64(twox_hash::XxHash64::oneshot(0, body).to_be_bytes())),
        ("x-amz-checksum-xxhash3", base64(twox_hash::XxHash3_64::oneshot(body).to_be_bytes())),
        ("x-amz-checksum-xxhash128", base64(twox_hash::XxHash3_128::oneshot(body).to_be_bytes())),
    ]
}

/// The promises of a PUT that can be broken in a header: name, the right value, and the error for a wrong one.
fn promises(body: &[u8]) -> Vec<(&'static str, String, &'static str)> {
    let mut promises = vec![
        ("Content-MD5", base64(Md5::digest(body)), "BadDigest"),
        ("x-amz-content-sha256", hex(&Sha256::digest(body)), "XAmzContentSHA256Mismatch"),
    ];
    promises.extend(checksums(body).into_iter().map(|(name, value)| (name, value, "BadDigest")));
    promises
}

#[track_caller]
fn expect_old(client: &mut Client, old: &[u8]) {
    assert!(client.get("box", "fresh").status == 404);
    assert!(client.get("box", "old").expect(200).body == old);
    let listing = client.send(Request::new("GET", "/box?list-type=2")).expect(200).text();
    assert_eq!(crate::http::elements(&listing, "Key"), ["old"]);
}

#[test]
fn a_broken_promise_in_a_header_stores_nothing() {
    let node = Node::start();
    let mut client = node.client_with_bucket("box");
    let old = payload(0, 500);
    client.put("box", "old", &old).expect(200);
    for length in LENGTHS {
        let (body, other) = (payload(1, length), payload(2, length));
        for ((name, right, code), (_, wrong, _)) in promises(&body).into_iter().zip(promises(&other)) {
            for key in ["fresh", "old"] {
                let put = Request::new("PUT", &format!("/box/{key}")).header(name, &wrong).body(body.clone());
                client.send(put).expect_error(400, code);
                expect_old(&mut client, &old);
            }
            let put = Request::new("PUT", "/box/good").header(name, &right).body(body.clone());
            let stored = client.send(put).expect(200);
            if name.starts_with("x-amz-checksum") {
                assert_eq!(stored.header(name), Some(right.as_str()));
                let get = Request::new("GET", "/box/good").header("x-amz-checksum-mode", "ENABLED");
                assert_eq!(client.send(get).expect(200).header(name), Some(right.as_str()));
            }
            client.delete("box", "good").expect(204);
        }
    }
    for (name, value) in [("Content-MD5", "AAAA"), ("Content-MD5", "not base64"), ("Content-MD5", "")] {
        let put = Request::new("PUT", "/box/fresh").header(name, value).body(payload(1, 1000));
        client.send(put).expect_error(400, "InvalidDigest");
    }
    for value in ["AAAA", "not base64"] {
        let put =
            Request::new("PUT", "/box/fresh").header("x-amz-checksum-crc32", value).body(payload(1, 1000));
        client.send(put).expect_error(400, "BadDigest");
    }
    expect_old(&mut client, &old);
}

#[test]
fn a_broken_part_is_not_listed() {
    let node = Node::start();
    let mut client = node.client_with_bucket("box");
    let upload = client.create_upload("box", "joined");
    let (body, other) = (payload(1, 300_000), payload(2, 300_000));
    for (name, wrong, code) in promises(&other) {
        let target = format!("/box/joined?partNumber=1&uploadId={}", encode(&upload));
        let put = Request::new("PUT", &target).header(name, &wrong).body(body.clone());
        client.send(put).expect_error(400, code);
    }
    let parts =
        client.send(Request::new("GET", &format!("/box/joined?uploadId={}", encode(&upload)))).expect(200);
    assert_eq!(parts.element("PartNumber"), None);
}

/// How a chunked upload may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    ChunkSignature,
    LastChunkSignature,
    ChunkData,
    TrailerValue,
    TrailerSignature,
    DecodedLength,
}

/// Sends an aws-chunked upload, signed, with a checksum trailer or without.
fn signed_chunks(client: &mut Client, key: &str, body: &[u8], trailer: bool, flaw: Flaw) -> Response {
    let promise = if trailer {
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    } else {
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    };
    let host = node_host(client);
    let decoded = if flaw == Flaw::DecodedLength { body.len() + 1 } else { body.len() };
    let mut request = Request::new("PUT", &format!("/box/{key}"))
        .header("Host", &host)
        .header("Content-Encoding", "aws-chunked")
        .header("x-amz-decoded-content-length", &decoded.to_string())
        .header("x-amz-content-sha256", promise);
    if trailer {
        request = request.header("x-amz-trailer", "x-amz-checksum-crc32c");
    }
    let mut chunks = sign::v4(&mut request, &client.credentials);
    let mut framed = Vec::new();
    for (index, data) in body.chunks(64 * 1024).enumerate() {
        let mut chunk = chunks.chunk(data);
        if index == 0 && flaw == Flaw::ChunkSignature {
            let at = chunk.iter().position(|byte| *byte == b'=').unwrap() + 1;
            chunk[at] = if chunk[at] == b'0' { b'1' } else { b'0' };
        }
        if index == 0 && flaw == Flaw::ChunkData {
            let at = chunk.len() - 10;
            chunk[at] ^= 1;
        }
        framed.extend(chunk);
    }
    let mut last = chunks.chunk(b"");
    if flaw == Flaw::LastChunkSignature {
        let at = last.len() - 3;
        last[at] = if last[at] == b'0' { b'1' } else { b'0' };
    }
    framed.extend(last);
    if trailer {
        let data = if flaw == Flaw::TrailerValue { b"other".as_slice() } else { body };
        let mut lines = chunks.trailer("x-amz-checksum-crc32c", &base64(crc32c::crc32c(data).to_be_bytes()));
        if flaw == Flaw::TrailerSignature {
            let at = lines.len() - 5;
            lines[at] = if lines[at] == b'0' { b'1' } else { b'0' };
        }
        framed.extend(lines);
    } else {
        framed.extend(b"\r\n");
    }
    client.try_send_as_is(&request.body(framed)).unwrap()
}

fn node_host(client: &Client) -> String {
    client.sign(Request::new("GET", "/")).get("Host").unwrap().to_owned()
}

#[test]
fn a_wrong_chunk_signature_or_trailer_stores_nothing() {
    let node = Node::start();
    let mut client = node.client_with_bucket("box");
    let old = payload(0, 500);
    client.put("box", "old", &old).expect(200);
    for length in LENGTHS {
        let body = payload(1, length);
        for trailer in [false, true] {
            signed_chunks(&mut client, "good", &body, trailer, Flaw::None).expect(200);
            let good = client.get("box", "good").expect(200);
            assert!(good.body == body);
            assert!(good.header("Content-Encoding").is_none_or(|value| !value.contains("aws-chunked")));
            client.delete("box", "good").expect(204);
            for key in ["fresh", "old"] {
                for flaw in [Flaw::ChunkSignature, Flaw::LastChunkSignature, Flaw::ChunkData] {
                    signed_chunks(&mut client, key, &body, trailer, flaw)
                        .expect_error(403, "SignatureDoesNotMatch");
                    expect_old(&mut client, &old);
                }
                let short = signed_chunks(&mut client, key, &body, trailer, Flaw::DecodedLength);
                assert_eq!(short.status, 400, "{}", short.text());
                expect_old(&mut client, &old);
            }
        }
        for key in ["fresh", "old"] {
            signed_chunks(&mut client, key, &body, true, Flaw::TrailerValue).expect_error(400, "BadDigest");
            expect_old(&mut client, &old);
            signed_chunks(&mut client, key, &body, true, Flaw::TrailerSignature)
                .expect_error(403, "SignatureDoesNotMatch");
            expect_old(&mut client, &old);
        }
    }
}

#[test]
fn each_checksum_is_checked_in_an_unsigned_trailer() {
    let node = Node::start();
    let mut client = node.client_with_bucket("box");
    let old = payload(0, 500);
    client.put("box", "old", &old).expect(200);
    for length in LENGTHS {
        let (body, other) = (payload(1, length), payload(2, length));
        for ((name, right), (_, wrong)) in checksums(&body).into_iter().zip(checksums(&other)) {
            let put = |key: &str, value: &str| {
                let mut framed = Vec::new();
                for data in body.chunks(70_000) {
                    framed.extend(format!("{:x}\r\n", data.len()).into_bytes());
                    framed.extend(data);
                    framed.extend(b"\r\n");
                }
                framed.extend(format!("0\r\n{name}:{value}\r\n\r\n").into_bytes());
                Request::new("PUT", &format!("/box/{key}"))
                    .header("Content-Encoding", "aws-chunked")
                    .header("x-amz-decoded-content-length", &body.len().to_string())
                    .header("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
                    .header("x-amz-trailer", name)
                    .body(framed)
            };
            client.send(put("fresh", &wrong)).expect_error(400, "BadDigest");
            client.send(put("old", &wrong)).expect_error(400, "BadDigest");
            expect_old(&mut client, &old);
            client.send(put("good", &right)).expect(200);
            assert!(client.get("box", "good").expect(200).body == body);
            client.delete("box", "good").expect(204);
        }
    }
}

#[test]
fn a_body_cut_short_stores_nothing() {
    let node = Node::start();
    let mut client = node.client_with_bucket("box");
    let old = payload(0, 500);
    client.put("box", "old", &old).expect(200);
    for length in LENGTHS {
        for key in ["fresh", "old"] {
            let request = client.sign(Request::new("PUT", &format!("/box/{key}")).body(payload(1, length)));
            let mut connection = Connection::open(node.address()).unwrap();
            connection.send(&request.head()).unwrap();
            connection.send(&request.body[..length - 1]).unwrap();
            connection.finish_sending().unwrap();
            if let Ok(response) = connection.receive(false) {
                response.expect_error(400, "IncompleteBody");
            }
            assert!(connection.is_closed());
            expect_old(&mut client, &old);
        }
    }
}
