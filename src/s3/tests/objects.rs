//! Operations on objects, end to end against a simulated node.

use super::harness::{Answer, Node};
use crate::base::limits::INLINE_BYTES_MAX;
use crate::hash;

/// Bytes that differ along their length.
fn payload(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index / 251 + index % 253) as u8).collect()
}

fn etag(bytes: &[u8]) -> String {
    let hex: String = hash::md5(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

fn code(answer: &Answer) -> (u16, &'static str) {
    let (status, code) = answer.error();
    (status, Box::leak(code.into_boxed_str()))
}

#[test]
fn objects_of_every_size_come_back_as_they_were_put() {
    let node = Node::with_bucket("bucket");
    for bytes in [0, 1, 4096, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, 700_001] {
        let body = payload(bytes);
        let put = node.send("PUT", "/bucket/a%2Fb%20c", &[("content-type", "text/plain")], &body);
        assert_eq!((put.status, put.header("etag")), (200, Some(etag(&body).as_str())), "{bytes}");
        let get = node.send("GET", "/bucket/a/b%20c", &[("x-amz-checksum-mode", "ENABLED")], b"");
        assert_eq!((get.status, get.header("content-type")), (200, Some("text/plain")));
        assert_eq!(get.header("x-amz-checksum-crc64nvme"), put.header("x-amz-checksum-crc64nvme"));
        assert!(get.header("x-amz-checksum-crc64nvme").is_some() && get.header("last-modified").is_some());
        assert!(get.body == body, "{bytes} bytes");
        let head = node.send("HEAD", "/bucket/a/b%20c", &[], b"");
        assert_eq!((head.status, head.body.len()), (200, bytes));
    }
}

#[test]
fn ranges_and_parts_of_an_object_are_partial_content() {
    let node = Node::with_bucket("bucket");
    let body = payload(300_000);
    node.send("PUT", "/bucket/k", &[], &body);
    let get = |range| node.send("GET", "/bucket/k", &[("range", range)], b"");
    let one = get("bytes=70000-139999");
    assert_eq!((one.status, one.header("content-range")), (206, Some("bytes 70000-139999/300000")));
    assert!(one.body == body[70_000..140_000]);
    let many = get("bytes=0-9,299990-");
    assert!(many.header("content-type").unwrap().starts_with("multipart/byteranges; boundary="));
    let text = String::from_utf8_lossy(&many.body).into_owned();
    assert!(text.contains("Content-Range: bytes 0-9/300000\r\n\r\n"), "{text}");
    assert!(text.contains("Content-Range: bytes 299990-299999/300000\r\n\r\n"), "{text}");
    assert_eq!(code(&get("bytes=300000-")), (416, "InvalidRange"));
    let part = node.send("GET", "/bucket/k?partNumber=1", &[], b"");
    assert_eq!((part.status, part.body.len()), (206, 300_000));
    let head = node.send("HEAD", "/bucket/k", &[("range", "bytes=0-4")], b"");
    assert_eq!((head.status, head.body.len()), (206, 5));
}

#[test]
fn a_payload_that_breaks_its_promise_never_becomes_visible() {
    let node = Node::with_bucket("bucket");
    node.send("PUT", "/bucket/k", &[], b"old");
    for body in [payload(10), payload(200_000)] {
        let wrong = [("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")];
        assert_eq!(code(&node.send("PUT", "/bucket/k", &wrong, &body)), (400, "BadDigest"));
        let wrong = [("x-amz-checksum-sha256", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")];
        assert_eq!(code(&node.send("PUT", "/bucket/k", &wrong, &body)), (400, "BadDigest"));
        assert_eq!(node.send("GET", "/bucket/k", &[], b"").body, b"old");
    }
}

#[test]
fn conditions_decide_reads_and_writes() {
    let node = Node::with_bucket("bucket");
    let put = |headers: &[(&str, &str)]| node.send("PUT", "/bucket/k", headers, b"x");
    assert_eq!(code(&put(&[("if-match", &etag(b"x"))])), (404, "NoSuchKey"));
    assert_eq!(put(&[("if-none-match", "*")]).status, 200);
    let refused = put(&[("if-none-match", "*")]);
    assert_eq!(code(&refused), (412, "PreconditionFailed"));
    assert_eq!(refused.document("Error").child_text("Condition"), Some("If-None-Match"));
    let refused = put(&[("if-none-match", &etag(b"x"))]);
    assert_eq!(code(&refused), (412, "PreconditionFailed"));
    assert_eq!(refused.document("Error").child_text("Condition"), Some("If-None-Match"));
    assert_eq!(put(&[("if-none-match", &etag(b"y"))]).status, 200);
    assert_eq!(put(&[("if-match", &etag(b"x"))]).status, 200);
    assert_eq!(code(&put(&[("if-match", &etag(b"y"))])), (412, "PreconditionFailed"));

    let get = |headers: &[(&str, &str)]| node.send("GET", "/bucket/k", headers, b"");
    let unchanged = get(&[("if-none-match", &etag(b"x"))]);
    assert_eq!((unchanged.status, unchanged.header("etag")), (304, Some(etag(b"x").as_str())));
    assert_eq!(code(&get(&[("if-match", &etag(b"y"))])), (412, "PreconditionFailed"));

    let delete = |headers: &[(&str, &str)]| node.send("DELETE", "/bucket/k", headers, b"");
    assert_eq!(code(&delete(&[("if-match", &etag(b"y"))])), (412, "PreconditionFailed"));
    assert_eq!(delete(&[("if-match", &etag(b"x"))]).status, 204);
    assert_eq!(code(&delete(&[("if-match", "*")])), (404, "NoSuchKey"));
    assert_eq!(delete(&[("x-amz-if-match-size", "1")]).status, 204);
    assert_eq!(delete(&[]).status, 204);
    assert_eq!(put(&[("if-none-match", &etag(b"x"))]).status, 200);
}

#[test]
fn a_copy_shares_payload_and_keeps_or_replaces_metadata() {
    let node = Node::with_bucket("bucket");
    for bytes in [100, 200_000] {
        let body = payload(bytes);
        node.send("PUT", "/bucket/from", &[("x-amz-meta-a", "1"), ("content-type", "a/b")], &body);
        let copy = |headers: &[(&str, &str)]| node.send("PUT", "/bucket/to", headers, b"");
        let source = ("x-amz-copy-source", "/bucket/from");
        let copied = copy(&[source]);
        let document = copied.document("CopyObjectResult");
        assert_eq!(document.child_text("ETag"), Some(etag(&body).as_str()));
        let get = node.send("GET", "/bucket/to", &[], b"");
        assert_eq!((get.header("x-amz-meta-a"), get.header("content-type")), (Some("1"), Some("a/b")));
        assert!(get.body == body);

        copy(&[source, ("x-amz-metadata-directive", "REPLACE"), ("x-amz-meta-b", "2")]);
        node.send("DELETE", "/bucket/from", &[], b"");
        let get = node.send("GET", "/bucket/to", &[], b"");
        assert_eq!((get.header("x-amz-meta-a"), get.header("x-amz-meta-b")), (None, Some("2")));
        assert!(get.body == body, "the payload outlives its first object");

        let itself = [("x-amz-copy-source", "bucket/to")];
        assert_eq!(code(&copy(&itself)), (400, "InvalidRequest"));
        let other = [itself[0], ("x-amz-checksum-algorithm", "SHA256")];
        let sha256 = hash::base64_encode(&hash::sha256(&body));
        assert_eq!(
            copy(&other).document("CopyObjectResult").child_text("ChecksumSHA256"),
            Some(sha256.as_str())
        );
    }
    assert_eq!(
        code(&node.send("PUT", "/bucket/x", &[("x-amz-copy-source", "bucket/gone")], b"")),
        (404, "NoSuchKey")
    );
    let unlike = [("x-amz-copy-source", "bucket/to"), ("x-amz-copy-source-if-match", "\"no\"")];
    assert_eq!(code(&node.send("PUT", "/bucket/x", &unlike, b"")), (412, "PreconditionFailed"));
}

#[test]
fn many_keys_are_deleted_at_once_with_a_result_each() {
    let node = Node::with_bucket("bucket");
    for key in ["a", "b", "c"] {
        node.send("PUT", &format!("/bucket/{key}"), &[], b"x");
    }
    let order = b"<Delete><Object><Key>a</Key></Object><Object><Key>gone</Key></Object>\
                  <Object><Key>b</Key><ETag>no</ETag></Object></Delete>";
    let delete = |headers: &[(&str, &str)]| node.send("POST", "/bucket?delete", headers, order);
    assert_eq!(code(&delete(&[])), (400, "InvalidRequest"));
    let md5 = hash::base64_encode(&hash::md5(order));
    let result = delete(&[("content-md5", &md5)]).document("DeleteResult");
    let deleted: Vec<_> =
        result.children_named("Deleted").filter_map(|entry| entry.child_text("Key")).collect();
    assert_eq!(deleted, ["a", "gone"]);
    let refused = result.child("Error").unwrap();
    assert_eq!(refused.child_text("Code"), Some("PreconditionFailed"));
    assert_eq!(node.send("GET", "/bucket/a", &[], b"").status, 404);
    assert_eq!(node.send("GET", "/bucket/b", &[], b"").status, 200);
}

#[test]
fn what_cannot_be_answered_is_an_error_document_with_ids() {
    let node = Node::with_bucket("bucket");
    let missing = node.send("GET", "/bucket/a%00b", &[], b"");
    assert_eq!(code(&missing), (404, "NoSuchKey"));
    let document = missing.document("Error");
    assert_eq!(document.child_text("Message"), Some("The specified key does not exist."));
    assert_eq!(document.child_text("Resource"), Some("/bucket/a%00b"));
    assert_eq!(document.child_text("RequestId"), missing.header("x-amz-request-id"));
    assert_eq!(document.child_text("HostId"), missing.header("x-amz-id-2"));
    let head = node.send("HEAD", "/bucket/missing", &[], b"");
    assert_eq!((head.status, head.body.len()), (404, 0));

    assert_eq!(code(&node.send("GET", "/other-bucket/k", &[], b"")), (404, "NoSuchBucket"));
    assert_eq!(code(&node.send("GET", "/bucket/k?versionId=x", &[], b"")), (400, "InvalidArgument"));
    let encrypted = [("x-amz-server-side-encryption", "aws:kms:dsse")];
    assert_eq!(code(&node.send("PUT", "/bucket/k", &encrypted, b"x")), (501, "NotImplemented"));
    let foreign = [("x-amz-expected-bucket-owner", "123456789012")];
    assert_eq!(code(&node.send("GET", "/bucket/k", &foreign, b"")), (403, "AccessDenied"));
    assert_eq!(code(&node.send_anonymous("GET", "/bucket/k")), (403, "AccessDenied"));
    assert_eq!(code(&node.send_anonymous("OPTIONS", "/bucket/k")), (400, "BadRequest"));
}

#[test]
fn a_bucket_says_what_it_holds_to_who_asks_as_of_ceph() {
    let node = Node::with_bucket("bucket");
    node.send("PUT", "/bucket/a", &[], b"12");
    node.send("PUT", "/bucket/b", &[], b"345");
    let answer = node.send("HEAD", "/bucket?read-stats=true", &[], b"");
    assert_eq!(
        (answer.header("x-rgw-object-count"), answer.header("x-rgw-bytes-used")),
        (Some("2"), Some("5"))
    );
    assert_eq!(node.send("HEAD", "/bucket", &[], b"").header("x-rgw-object-count"), None);
}
