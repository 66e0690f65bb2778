//! Digests: whatever says what a body is, is checked before anything becomes visible. Objects and parts have
//! `blackbox/digests.rs`; here are the documents.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{SECRET, keys, node, outcome};
use crate::client::{Client, Request, complete_upload, encode};

#[test]
fn no_document_takes_effect_that_is_not_the_one_that_was_sent() {
    let (node, mut owner) = node();
    let upload = owner.create_upload("box", "up");
    let etag = owner.put_part("box", "up", &upload, 1, b"part");
    let completion = String::from_utf8(complete_upload("box", "up", &upload, &[etag]).body).unwrap();
    let versions = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    let order = "<Delete><Object><Key>k</Key></Object></Delete>";
    let tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>";
    let ownership =
        "<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>";
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:*",
        "Resource":"arn:aws:s3:::box/x"}]}"#;
    let blocks = "<PublicAccessBlockConfiguration><BlockPublicAcls>false</BlockPublicAcls>\
        </PublicAccessBlockConfiguration>";
    let wrong_hash = "0".repeat(64);
    let wrong_md5 = STANDARD.encode([0; 16]);
    for (method, target, body) in [
        ("PUT", "/fresh".to_owned(), "<CreateBucketConfiguration/>"),
        ("PUT", "/box?versioning".to_owned(), versions),
        ("PUT", "/box?tagging".to_owned(), tags),
        ("PUT", "/box?policy".to_owned(), policy),
        ("PUT", "/box?ownershipControls".to_owned(), ownership),
        ("PUT", "/box?publicAccessBlock".to_owned(), blocks),
        ("PUT", "/box/k?tagging".to_owned(), tags),
        ("POST", "/box?delete".to_owned(), order),
        ("POST", format!("/box/up?uploadId={}", encode(&upload)), completion.as_str()),
    ] {
        let right_md5 = STANDARD.encode(<md5::Md5 as md5::Digest>::digest(body));
        let unproven = || Request::new(method, &target).body(body);
        let request = || unproven().header("Content-MD5", &right_md5);
        let broken = |client: &mut Client, request: Request, code: &str| {
            let answer = client.send(request);
            assert_eq!(outcome(&answer), (400, code.to_owned()), "{method} {target}: {}", answer.text());
        };
        broken(
            &mut owner,
            request().header("x-amz-content-sha256", &wrong_hash),
            "XAmzContentSHA256Mismatch",
        );
        broken(&mut owner, unproven().header("Content-MD5", &wrong_md5), "BadDigest");
        broken(&mut owner, unproven().header("Content-MD5", "nonsense"), "InvalidDigest");
        if !target.contains("uploadId") {
            // There the header is about the object.
            broken(&mut owner, unproven().header("x-amz-checksum-crc32", "AAAAAA=="), "BadDigest");
            let framed = format!("{:x}\r\n{body}\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", body.len());
            let trailed = Request::new(method, &target)
                .header("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
                .header("x-amz-decoded-content-length", &body.len().to_string())
                .header("x-amz-trailer", "x-amz-checksum-crc32")
                .body(framed);
            broken(&mut owner, trailed, "BadDigest");
        }
        // What somebody on the way changed or took away.
        let signed = owner.sign(request());
        let mut changed = signed.clone();
        changed.body[1] ^= 1;
        let answer = owner.try_send_as_is(&changed).unwrap();
        assert_eq!(outcome(&answer), (400, "XAmzContentSHA256Mismatch".to_owned()), "{method} {target}");
        let mut connection = crate::http::Connection::open(node.address()).unwrap();
        let empty = Request { body: Vec::new(), ..signed };
        let head = String::from_utf8(empty.head()).unwrap().replace("Content-Length: 0\r\n", "");
        connection.send(head.as_bytes()).unwrap();
        let answer = connection.receive(false).unwrap();
        assert_eq!(answer.status, 400, "{method} {target}: {}", answer.text());
    }
    assert_eq!(keys(&mut owner, "box"), ["k"]);
    assert_eq!(owner.get("box", "k").expect(200).body, SECRET);
    assert_eq!(owner.send(Request::new("GET", "/box?versioning")).expect(200).element("Status"), None);
    owner.send(Request::new("GET", "/box?policy")).expect_error(404, "NoSuchBucketPolicy");
    owner.send(Request::new("GET", "/box?tagging")).expect_error(404, "NoSuchTagSet");
    owner.send(Request::new("HEAD", "/fresh")).expect(404);
    let blocks = owner.send(Request::new("GET", "/box?publicAccessBlock")).expect(200);
    assert_eq!(blocks.element("BlockPublicAcls").as_deref(), Some("true"));
}

#[test]
fn the_length_of_a_framed_body_is_the_length_that_was_signed() {
    let (_node, mut owner) = node();
    let framed = "4\r\nevil\r\n0\r\n\r\n";
    for (decoded, code) in [
        (Some("3"), "IncompleteBody"),
        (Some("5"), "IncompleteBody"),
        (Some("0"), "IncompleteBody"),
        (Some("-4"), "InvalidArgument"),
        (Some("4x"), "InvalidArgument"),
        (Some("18446744073709551616"), "InvalidArgument"),
        (Some("18446744073709551615"), "EntityTooLarge"),
        (None, "MissingContentLength"),
    ] {
        let put = Request::new("PUT", "/box/new")
            .header("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
            .body(framed);
        let put = match decoded {
            Some(decoded) => put.header("x-amz-decoded-content-length", decoded),
            None => put,
        };
        let answer = owner.send(put);
        let (status, found) = outcome(&answer);
        assert!((400..500).contains(&status) && found == code, "{decoded:?}: {status} {found}");
    }
    // A trailer that was not announced, and one that was and does not come.
    for (announced, body) in [
        (None, "4\r\nevil\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"),
        (Some("x-amz-checksum-crc32"), framed),
        (Some("x-amz-checksum-crc32"), "4\r\nevil\r\n0\r\nx-amz-checksum-sha1:AAAAAA==\r\n\r\n"),
    ] {
        let put = Request::new("PUT", "/box/new")
            .header("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
            .header("x-amz-decoded-content-length", "4")
            .body(body);
        let put = match announced {
            Some(name) => put.header("x-amz-trailer", name),
            None => put,
        };
        let answer = owner.send(put);
        assert_eq!(answer.status, 400, "{body:?}: {}", answer.text());
    }
    assert_eq!(keys(&mut owner, "box"), ["k"]);
}
