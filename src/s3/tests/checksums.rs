//! Every algorithm of additional checksums through the operations that carry one.

use super::harness::{Answer, Node};
use crate::base::checksum::ChecksumAlgorithm;
use crate::hash::{self, DigestPlan, Hasher, base64_encode};

fn value(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Vec<u8> {
    let mut hasher = Hasher::new(DigestPlan { checksum: Some(algorithm), ..DigestPlan::default() });
    hasher.update(bytes);
    hasher.finish().checksum.unwrap().value
}

fn error(answer: &Answer) -> String {
    answer.error().1
}

#[test]
fn an_object_keeps_the_checksum_it_was_put_with() {
    let node = Node::with_bucket("bucket");
    for algorithm in ChecksumAlgorithm::ALL {
        for length in [0, 100, 200_000] {
            let body = vec![length as u8 ^ algorithm as u8; length];
            let text = base64_encode(&value(algorithm, &body));
            let name = algorithm.header();
            let put = node.send("PUT", "/bucket/k", &[(name, &text)], &body);
            assert_eq!((put.status, put.header(name)), (200, Some(text.as_str())), "{name}");
            assert_eq!(put.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
            let head = node.send("HEAD", "/bucket/k", &[("x-amz-checksum-mode", "ENABLED")], b"");
            assert_eq!(head.header(name), Some(text.as_str()));
            let asked = [("x-amz-object-attributes", "Checksum")];
            let attributes = node.send("GET", "/bucket/k?attributes", &asked, b"");
            let attributes = attributes.document("GetObjectAttributesResponse");
            let checksum = attributes.child("Checksum").unwrap();
            assert_eq!(checksum.child_text(algorithm.element()), Some(text.as_str()));

            let other = base64_encode(&value(algorithm, b"other"));
            assert_eq!(error(&node.send("PUT", "/bucket/k", &[(name, &other)], &body)), "BadDigest");
            assert_eq!(error(&node.send("PUT", "/bucket/k", &[(name, "AAAA")], &body)), "BadDigest");
        }
        let listing = node.send("GET", "/bucket?list-type=2", &[], b"").document("ListBucketResult");
        let listed = listing.child("Contents").unwrap().child_text("ChecksumAlgorithm").map(str::to_owned);
        assert_eq!(listed.as_deref(), Some(algorithm.name()));
    }
}

#[test]
fn a_trailer_brings_any_checksum() {
    let node = Node::with_bucket("bucket");
    for algorithm in ChecksumAlgorithm::ALL {
        let text = base64_encode(&value(algorithm, b"hello"));
        let name = algorithm.header();
        let put = |text: &str| {
            let framed = format!("5\r\nhello\r\n0\r\n{name}:{text}\r\n\r\n");
            let headers = [("x-amz-trailer", name), ("x-amz-decoded-content-length", "5")];
            node.send_framed("PUT", "/bucket/k", &headers, framed.as_bytes())
        };
        assert_eq!(put(&text).header(name), Some(text.as_str()));
        assert_eq!(error(&put(&base64_encode(&value(algorithm, b"hullo")))), "BadDigest");
    }
}

#[test]
fn a_composite_checksum_is_that_of_the_parts_checksums() {
    let node = Node::with_bucket("bucket");
    for algorithm in ChecksumAlgorithm::ALL.into_iter().filter(|it| *it != ChecksumAlgorithm::Crc64Nvme) {
        let asked = [("x-amz-checksum-algorithm", algorithm.name())];
        let begun = node.send("POST", "/bucket/k?uploads", &asked, b"");
        assert_eq!(begun.header("x-amz-checksum-type"), Some("COMPOSITE"));
        let begun = begun.document("InitiateMultipartUploadResult");
        let id = begun.child_text("UploadId").unwrap();
        let mut parts = String::new();
        let mut values = Vec::new();
        for (number, body) in [(1, vec![1; 5 << 20]), (2, b"end".to_vec())] {
            let value = value(algorithm, &body);
            let text = base64_encode(&value);
            let target = format!("/bucket/k?partNumber={number}&uploadId={id}");
            let put = node.send("PUT", &target, &[(algorithm.header(), &text)], &body);
            assert_eq!(put.header(algorithm.header()), Some(text.as_str()));
            let element = algorithm.element();
            parts += &format!(
                "<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag><{element}>{text}</{element}></Part>",
                put.header("etag").unwrap()
            );
            values.push(value);
        }
        let document = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        let done = node.send("POST", &format!("/bucket/k?uploadId={id}"), &[], document.as_bytes());
        let expected = format!("{}-2", base64_encode(&hash::composite(algorithm, &values)));
        let done = done.document("CompleteMultipartUploadResult");
        assert_eq!(done.child_text(algorithm.element()), Some(expected.as_str()));
        let asked = [("x-amz-object-attributes", "Checksum,ObjectParts")];
        let attributes = node.send("GET", "/bucket/k?attributes", &asked, b"");
        let attributes = attributes.document("GetObjectAttributesResponse");
        assert_eq!(
            attributes.child("Checksum").unwrap().child_text(algorithm.element()),
            Some(expected.as_str())
        );
        let parts = attributes.child("ObjectParts").unwrap();
        let first = parts.children_named("Part").next().unwrap().child_text(algorithm.element());
        assert_eq!(first, Some(base64_encode(&values[0]).as_str()));
    }
    let full = [("x-amz-checksum-algorithm", "SHA512"), ("x-amz-checksum-type", "FULL_OBJECT")];
    assert_eq!(error(&node.send("POST", "/bucket/k?uploads", &full, b"")), "InvalidRequest");
}
