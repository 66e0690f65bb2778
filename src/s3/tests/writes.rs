//! Writing on conditions, and appending, end to end against a simulated node.

use super::harness::{Answer, Node};
use crate::base::checksum::ChecksumAlgorithm;
use crate::engine::{BucketChange, Versioning};
use crate::hash::{DigestPlan, Hasher, base64_encode};

fn error(answer: &Answer) -> (u16, String) {
    answer.error()
}

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(error(answer), (status, code.to_owned()));
}

#[test]
fn a_condition_that_cannot_hold_is_refused_before_the_payload_is_sent() {
    let node = Node::with_bucket("bucket");
    let put = |headers: &[(&str, &str)]| node.send_only_head("PUT", "/bucket/k", headers);
    refused(&put(&[]), 400, "RequestTimeout");
    refused(&put(&[("if-match", "*")]), 404, "NoSuchKey");
    refused(&put(&[("if-none-match", "*")]), 400, "RequestTimeout");
    let etag = node.send("PUT", "/bucket/k", &[], b"x").header("etag").unwrap().to_owned();
    refused(&put(&[("if-none-match", "*")]), 412, "PreconditionFailed");
    refused(&put(&[("if-match", "\"00000000000000000000000000000000\"")]), 412, "PreconditionFailed");
    refused(&put(&[("if-match", &etag)]), 400, "RequestTimeout");
    refused(&put(&[("x-amz-write-offset-bytes", "7")]), 400, "InvalidWriteOffset");
    assert_eq!(node.send("GET", "/bucket/k", &[], b"").body, b"x");
}

#[test]
fn copies_and_completed_uploads_obey_conditions_on_their_destination() {
    let node = Node::with_bucket("bucket");
    node.send("PUT", "/bucket/from", &[], b"source");
    let copy = |headers: &[(&str, &str)]| {
        let headers = [headers, &[("x-amz-copy-source", "bucket/from")]].concat();
        node.send("PUT", "/bucket/to", &headers, b"")
    };
    refused(&copy(&[("if-match", "*")]), 404, "NoSuchKey");
    assert_eq!(copy(&[("if-none-match", "*")]).status, 200);
    refused(&copy(&[("if-none-match", "*")]), 412, "PreconditionFailed");
    refused(&copy(&[("if-match", "\"00000000000000000000000000000000\"")]), 412, "PreconditionFailed");

    let begun = node.send("POST", "/bucket/to?uploads", &[], b"").document("InitiateMultipartUploadResult");
    let id = begun.child_text("UploadId").unwrap();
    let part = node.send("PUT", &format!("/bucket/to?partNumber=1&uploadId={id}"), &[], b"part");
    let document = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part>\
         </CompleteMultipartUpload>",
        part.header("etag").unwrap()
    );
    let complete = |headers: &[(&str, &str)]| {
        node.send("POST", &format!("/bucket/to?uploadId={id}"), headers, document.as_bytes())
    };
    refused(&complete(&[("if-none-match", "*")]), 412, "PreconditionFailed");
    refused(&complete(&[("if-match", "\"00000000000000000000000000000000\"")]), 412, "PreconditionFailed");
    let etag = node.send("HEAD", "/bucket/to", &[], b"").header("etag").unwrap().to_owned();
    refused(&copy(&[("if-none-match", &etag)]), 412, "PreconditionFailed");
    refused(&complete(&[("if-none-match", &etag)]), 412, "PreconditionFailed");
    assert_eq!(complete(&[("if-match", &etag)]).status, 200);
    assert_eq!(node.send("GET", "/bucket/to", &[], b"").body, b"part");
}

fn append(node: &Node, offset: usize, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let offset = offset.to_string();
    let headers = [headers, &[("x-amz-write-offset-bytes", offset.as_str())]].concat();
    node.send("PUT", "/bucket/log", &headers, body)
}

fn checksum(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> String {
    let mut hasher = Hasher::new(DigestPlan { checksum: Some(algorithm), ..DigestPlan::default() });
    hasher.update(bytes);
    base64_encode(&hasher.finish().checksum.unwrap().value)
}

#[test]
fn an_object_grows_by_appends_with_the_checksum_of_the_whole() {
    for algorithm in [ChecksumAlgorithm::Crc64Nvme, ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32c] {
        let node = Node::with_bucket("bucket");
        let name = algorithm.header();
        let mut whole = Vec::new();
        let mut etags = Vec::new();
        for (number, length) in [10, 0, 60_000, 70_000, 1, 300_000].into_iter().enumerate() {
            let piece = vec![number as u8; length];
            let own = checksum(algorithm, &piece);
            let metadata = [(name, own.as_str()), ("x-amz-meta-n", "v"), ("content-type", "text/x")];
            let headers = if number == 0 { &metadata[..] } else { &metadata[..1] };
            let answer = append(&node, whole.len(), headers, &piece);
            whole.extend(piece);
            assert_eq!(answer.status, 200, "{:?}", String::from_utf8_lossy(&answer.body));
            assert_eq!(answer.header("x-amz-object-size"), Some(whole.len().to_string().as_str()));
            assert_eq!(answer.header(name), Some(checksum(algorithm, &whole).as_str()));
            etags.push(answer.header("etag").unwrap().to_owned());
        }
        let get = node.send("GET", "/bucket/log", &[("x-amz-checksum-mode", "ENABLED")], b"");
        assert!(get.body == whole);
        assert_eq!(get.header(name), Some(checksum(algorithm, &whole).as_str()));
        assert_eq!(get.header("etag"), etags.last().map(String::as_str));
        assert_eq!((get.header("x-amz-meta-n"), get.header("content-type")), (Some("v"), Some("text/x")));
        let range = node.send("GET", "/bucket/log", &[("range", "bytes=59990-130020")], b"");
        assert!(range.body == whole[59_990..130_021]);
        etags.sort();
        etags.dedup();
        assert_eq!(etags.len(), 6, "each state has an ETag of its own");
    }
}

#[test]
fn an_append_elsewhere_than_at_the_end_changes_nothing() {
    let node = Node::with_bucket("bucket");
    refused(&append(&node, 1, &[], b"x"), 400, "InvalidWriteOffset");
    assert_eq!(append(&node, 0, &[], b"12345").status, 200);
    for offset in [0, 4, 6] {
        refused(&append(&node, offset, &[], b"x"), 400, "InvalidWriteOffset");
    }
    for offset in ["", "-1", "+5", "five", "99999999999999999999"] {
        let headers = [("x-amz-write-offset-bytes", offset)];
        refused(&node.send("PUT", "/bucket/log", &headers, b"x"), 400, "InvalidArgument");
    }
    let wrong = [("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=")];
    refused(&append(&node, 5, &wrong, b"x"), 400, "BadDigest");
    let other = checksum(ChecksumAlgorithm::Sha256, b"x");
    refused(&append(&node, 5, &[("x-amz-checksum-sha256", &other)], b"x"), 400, "InvalidRequest");
    refused(&append(&node, 5, &[("if-none-match", "*")], b"x"), 412, "PreconditionFailed");
    refused(&append(&node, 5, &[("if-match", "\"no\"")], b"x"), 412, "PreconditionFailed");
    let elsewhere = [("x-amz-write-offset-bytes", "5"), ("x-amz-copy-source", "bucket/log")];
    refused(&node.send("PUT", "/bucket/copy", &elsewhere, b""), 501, "NotImplemented");
    assert_eq!(node.send("GET", "/bucket/log", &[], b"").body, b"12345");
    let etag = node.send("HEAD", "/bucket/log", &[], b"").header("etag").unwrap().to_owned();
    assert_eq!(append(&node, 5, &[("if-match", &etag)], b"6").status, 200);
    assert_eq!(node.send("GET", "/bucket/log", &[], b"").body, b"123456");
}

#[test]
fn only_objects_whose_checksum_can_be_continued_grow() {
    let node = Node::with_bucket("bucket");
    let sha256 = checksum(ChecksumAlgorithm::Sha256, b"x");
    node.send("PUT", "/bucket/log", &[("x-amz-checksum-sha256", &sha256)], b"x");
    refused(&append(&node, 1, &[], b"y"), 400, "InvalidRequest");
    let copy = [("x-amz-copy-source", "bucket/log"), ("x-amz-checksum-algorithm", "CRC32")];
    assert_eq!(node.send("PUT", "/bucket/log", &copy, b"").status, 200);
    let grown = append(&node, 1, &[], b"y");
    assert_eq!(
        grown.header("x-amz-checksum-crc32"),
        Some(checksum(ChecksumAlgorithm::Crc32, b"xy").as_str())
    );
}

#[test]
fn versions_do_not_grow() {
    let node = Node::with_bucket("bucket");
    assert_eq!(append(&node, 0, &[], b"x").status, 200);
    for versioning in [Versioning::Enabled, Versioning::Suspended] {
        let change = BucketChange { versioning: Some(versioning), ..BucketChange::default() };
        node.set_bucket("bucket", change);
        refused(&append(&node, 1, &[], b"y"), 400, "InvalidRequest");
    }
    assert_eq!(node.send("GET", "/bucket/log", &[], b"").body, b"x");
}

#[test]
fn what_was_appended_outlives_the_power() {
    let node = Node::with_bucket("bucket");
    for (offset, length) in [(0, 100), (100, 70_000), (70_100, 5)] {
        assert_eq!(append(&node, offset, &[], &vec![offset as u8; length]).status, 200);
    }
    let before = node.send("GET", "/bucket/log", &[], b"");
    let node = node.restart();
    let after = node.send("GET", "/bucket/log", &[], b"");
    assert!(after.body == before.body && after.body.len() == 70_105);
    assert_eq!(after.header("etag"), before.header("etag"));
}
