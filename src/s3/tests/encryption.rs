//! Server-side encryption, end to end against a simulated node: every scheme, every boundary, copies between
//! all of them, and keys that do not fit.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::harness::{Answer, Node};
use crate::crypt::{SEGMENT_PLAIN_BYTES, TAG_BYTES};
use crate::engine::{BucketChange, Condition};
use crate::hash;
use crate::s3::Settings;
use crate::s3::encryption::vault::{create_key, rotate_key};

/// How a request asks for encryption, and how one asks that reads or goes on with what it wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Plain,
    Managed,
    Default,
    Named,
    Customer(u8),
}

const MODES: [Mode; 5] = [Mode::Plain, Mode::Managed, Mode::Default, Mode::Named, Mode::Customer(1)];

type Headers = Vec<(&'static str, String)>;

const ALGORITHM: &str = "x-amz-server-side-encryption";
const KEY_ID: &str = "x-amz-server-side-encryption-aws-kms-key-id";
const CUSTOMER: [&str; 3] = [
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-server-side-encryption-customer-key",
    "x-amz-server-side-encryption-customer-key-md5",
];
const SOURCE: [&str; 3] = [
    "x-amz-copy-source-server-side-encryption-customer-algorithm",
    "x-amz-copy-source-server-side-encryption-customer-key",
    "x-amz-copy-source-server-side-encryption-customer-key-md5",
];

fn customer(names: [&'static str; 3], key: u8) -> Headers {
    let key = [key; 32];
    let values = ["AES256".to_owned(), STANDARD.encode(key), STANDARD.encode(hash::md5(&key))];
    names.into_iter().zip(values).collect()
}

impl Mode {
    fn write(self) -> Headers {
        match self {
            Self::Plain => Vec::new(),
            Self::Managed => vec![(ALGORITHM, "AES256".to_owned())],
            Self::Default => vec![(ALGORITHM, "aws:kms".to_owned())],
            Self::Named => vec![(ALGORITHM, "aws:kms".to_owned()), (KEY_ID, "team".to_owned())],
            Self::Customer(key) => customer(CUSTOMER, key),
        }
    }

    fn read(self) -> Headers {
        match self {
            Self::Customer(key) => customer(CUSTOMER, key),
            _ => Vec::new(),
        }
    }

    fn source(self) -> Headers {
        match self {
            Self::Customer(key) => customer(SOURCE, key),
            _ => Vec::new(),
        }
    }

    /// What every answer about such an object says.
    fn check(self, answer: &Answer) {
        let said = |name| answer.header(name).map(str::to_owned);
        let (algorithm, key_id) = match self {
            Self::Plain | Self::Customer(_) => (None, None),
            Self::Managed => (Some("AES256"), None),
            Self::Default => (Some("aws:kms"), Some("alias/aws/s3")),
            Self::Named => (Some("aws:kms"), Some("team")),
        };
        assert_eq!(said(ALGORITHM).as_deref(), algorithm, "{self:?} {answer:?}");
        assert_eq!(said(KEY_ID).as_deref(), key_id, "{self:?}");
        let expected = self.read();
        let expected = |at: usize| expected.get(at).map(|(_, value)| value.clone());
        assert_eq!((said(CUSTOMER[0]), said(CUSTOMER[2])), (expected(0), expected(2)), "{self:?}");
        assert_eq!(said(CUSTOMER[1]), None, "a key was sent back");
    }
}

fn node() -> Node {
    let node = Node::with_bucket("bucket");
    node.block_on(async {
        let engine = node.service().engine();
        create_key(engine, &node.service().vault().unwrap(), "team").await.unwrap();
    });
    node
}

fn payload(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index / 251 + index % 253) as u8).collect()
}

fn md5_etag(bytes: &[u8]) -> String {
    let hex: String = hash::md5(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

fn send(node: &Node, method: &str, target: &str, headers: &[Headers], body: &[u8]) -> Answer {
    let headers = headers.concat();
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    node.send(method, target, &headers, body)
}

fn ok(answer: Answer) -> Answer {
    assert!(
        matches!(answer.status, 200 | 206),
        "{:?} {}",
        answer.status,
        String::from_utf8_lossy(&answer.body)
    );
    answer
}

fn code(answer: &Answer) -> (u16, String) {
    answer.error()
}

#[test]
fn objects_of_every_size_come_back_from_every_scheme() {
    let node = node();
    let plain = SEGMENT_PLAIN_BYTES;
    for mode in MODES {
        for bytes in [0, 1, 5000, plain - 1, plain, plain + 1, 2 * plain, 4 * plain, 4 * plain + 1, 700_001] {
            let body = payload(bytes);
            let put = ok(send(&node, "PUT", "/bucket/k", &[mode.write()], &body));
            mode.check(&put);
            let is_md5 = matches!(mode, Mode::Plain | Mode::Managed);
            assert_eq!(put.header("etag") == Some(&md5_etag(&body)), is_md5, "{mode:?} {bytes}");
            let checksum = vec![("x-amz-checksum-mode", "ENABLED".to_owned())];
            let get = ok(send(&node, "GET", "/bucket/k", &[mode.read(), checksum], b""));
            mode.check(&get);
            assert!(get.body == body, "{mode:?} {bytes}");
            let crc = "x-amz-checksum-crc64nvme";
            assert_eq!((get.header("etag"), get.header(crc)), (put.header("etag"), put.header(crc)));
            let head = ok(send(&node, "HEAD", "/bucket/k", &[mode.read()], b""));
            mode.check(&head);
            assert_eq!(head.body.len(), bytes);
        }
        let list = node.send("GET", "/bucket?list-type=2", &[], b"").document("ListBucketResult");
        assert_eq!(list.child("Contents").unwrap().child_text("Size"), Some("700001"));
    }
}

#[test]
fn ranges_of_encrypted_objects_are_those_of_the_plain_ones() {
    let node = node();
    let segment = SEGMENT_PLAIN_BYTES;
    for bytes in [segment / 2, 4 * segment + 77] {
        let body = payload(bytes);
        ok(send(&node, "PUT", "/bucket/k", &[Mode::Managed.write()], &body));
        let edges: Vec<usize> = (0..=4)
            .flat_map(|count| [count * segment, count * segment + 1, (count * segment).saturating_sub(1)])
            .chain([bytes / 2, bytes - 1])
            .filter(|edge| *edge < bytes)
            .collect();
        for (index, first) in edges.iter().enumerate() {
            for last in edges.iter().skip(index % 3).filter(|last| *last >= first) {
                let range = vec![("range", format!("bytes={first}-{last}"))];
                let get = ok(send(&node, "GET", "/bucket/k", &[range], b""));
                assert!(get.status == 206 && get.body == body[*first..=*last], "{first}-{last} of {bytes}");
            }
        }
    }
    let many = vec![("range", "bytes=0-9,70000-70009".to_owned())];
    let get = ok(send(&node, "GET", "/bucket/k", &[many], b""));
    let body = payload(4 * segment + 77);
    for part in [&body[..10], &body[70_000..70_010]] {
        assert!(get.body.windows(10).any(|window| window == part));
    }
}

#[test]
fn a_body_whose_length_nobody_announced_is_encrypted_as_well() {
    let node = node();
    for bytes in [0, 10, 4 * SEGMENT_PLAIN_BYTES - 1, 4 * SEGMENT_PLAIN_BYTES, 900_000] {
        let body = payload(bytes);
        let put = node.send_chunked("/bucket/k", &[(ALGORITHM, "AES256")], &body);
        Mode::Managed.check(&ok(put));
        assert!(ok(node.send("GET", "/bucket/k", &[], b"")).body == body, "{bytes}");
    }
}

#[test]
fn a_body_in_chunks_of_any_length_is_encrypted_in_its_place() {
    let node = node();
    for (bytes, chunk) in [(5, 5), (65_519, 8192), (65_521, 65_519), (700_001, 8192), (700_001, 100_000)] {
        let body = payload(bytes);
        let mut framed = Vec::new();
        for part in body.chunks(chunk) {
            framed.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
            framed.extend_from_slice(part);
            framed.extend_from_slice(b"\r\n");
        }
        framed.extend_from_slice(b"0\r\n\r\n");
        let length = bytes.to_string();
        let headers = [
            ("content-encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", length.as_str()),
            (ALGORITHM, "AES256"),
        ];
        Mode::Managed.check(&ok(node.send_framed("PUT", "/bucket/k", &headers, &framed)));
        let get = ok(node.send("GET", "/bucket/k", &[], b""));
        assert!(get.body == body, "{bytes} bytes in chunks of {chunk}");
    }
}

#[test]
fn a_customers_key_must_come_and_fit() {
    let node = node();
    ok(send(&node, "PUT", "/bucket/k", &[Mode::Customer(1).write()], b"secret"));
    ok(send(&node, "PUT", "/bucket/plain", &[], b"plain"));
    for method in ["GET", "HEAD"] {
        let ask = |key: &str, mode: Mode| send(&node, method, &format!("/bucket/{key}"), &[mode.read()], b"");
        assert_eq!(ask("k", Mode::Plain).status, 400);
        assert_eq!(ask("k", Mode::Customer(2)).status, 403);
        assert_eq!(ask("plain", Mode::Customer(1)).status, 400);
        assert_eq!(ask("k", Mode::Customer(1)).status, 200);
    }
    let attributes = |mode: Mode| {
        let wanted = vec![("x-amz-object-attributes", "ObjectSize".to_owned())];
        send(&node, "GET", "/bucket/k?attributes", &[mode.read(), wanted], b"").status
    };
    assert_eq!((attributes(Mode::Plain), attributes(Mode::Customer(1))), (400, 200));
    let copy = |mode: Mode| {
        let source = vec![("x-amz-copy-source", "/bucket/k".to_owned())];
        send(&node, "PUT", "/bucket/copy", &[mode.source(), source], b"").status
    };
    assert_eq!((copy(Mode::Plain), copy(Mode::Customer(2)), copy(Mode::Customer(1))), (400, 403, 200));
    // Whoever reads does not say how; the node knows.
    let declared = send(&node, "GET", "/bucket/plain", &[Mode::Managed.write()], b"");
    assert_eq!(code(&declared), (400, "InvalidArgument".to_owned()));
}

#[test]
fn a_customers_key_is_refused_that_everybody_on_the_way_could_read() {
    let node = Node::with_settings("bucket", Settings::default());
    ok(send(&node, "PUT", "/bucket/k", &[], b"plain"));
    let source = vec![("x-amz-copy-source", "/bucket/k".to_owned())];
    let key = Mode::Customer(1).write();
    for (method, target, headers) in [
        ("PUT", "/bucket/c", vec![key.clone()]),
        ("PUT", "/bucket/c", vec![key[..1].to_vec()]),
        ("PUT", "/bucket/c", vec![key[1..2].to_vec()]),
        ("GET", "/bucket/k", vec![key.clone()]),
        ("POST", "/bucket/c?uploads", vec![key.clone()]),
        ("PUT", "/bucket/c?partNumber=1&uploadId=u", vec![key.clone()]),
        ("PUT", "/bucket/c", vec![source.clone(), Mode::Customer(1).source()]),
        ("GET", "/bucket/none?attributes", vec![key.clone()]),
    ] {
        let answer = send(&node, method, target, &headers, b"");
        assert_eq!(code(&answer), (400, "InvalidRequest".to_owned()), "{method} {target}");
        let said = answer.document("Error").child_text("Message").unwrap_or_default().to_owned();
        assert!(said.ends_with("must be made over a secure connection."), "{said}");
    }
    assert_eq!(send(&node, "HEAD", "/bucket/k", &[key], b"").status, 400);
    // What the node encrypts by itself needs no secret from outside.
    ok(send(&node, "PUT", "/bucket/k", &[Mode::Default.write()], b"x"));
}

#[test]
fn a_named_key_must_exist() {
    let node = node();
    let named = |id: &str| {
        let headers = vec![(ALGORITHM, "aws:kms".to_owned()), (KEY_ID, id.to_owned())];
        send(&node, "PUT", "/bucket/k", &[headers], b"x")
    };
    assert_eq!(code(&named("nobody")), (400, "KMS.NotFoundException".to_owned()));
    for id in ["team", "alias/team", "arn:aws:kms:us-east-1:000000000000:key/team"] {
        assert_eq!(ok(named(id)).header(KEY_ID), Some(id));
        assert_eq!(ok(node.send("GET", "/bucket/k", &[], b"")).body, b"x");
    }
}

#[test]
fn what_an_older_version_of_a_key_wraps_stays_readable() {
    let node = node();
    for (target, mode) in
        [("/bucket/a", Mode::Named), ("/bucket/b", Mode::Default), ("/bucket/c", Mode::Managed)]
    {
        ok(send(&node, "PUT", target, &[mode.write()], b"before"));
    }
    node.block_on(async {
        for name in ["team", "aws/s3", "aws/sse-s3"] {
            let vault = node.service().vault().unwrap();
            let rotated = rotate_key(node.service().engine(), &vault, name).await.unwrap();
            assert_eq!(rotated.version, 2);
        }
    });
    for target in ["/bucket/a", "/bucket/b", "/bucket/c"] {
        assert_eq!(ok(node.send("GET", target, &[], b"")).body, b"before", "{target}");
    }
    ok(send(&node, "PUT", "/bucket/d", &[Mode::Named.write()], b"after"));
    assert_eq!(ok(node.send("GET", "/bucket/d", &[], b"")).body, b"after");
}

#[test]
fn an_encryption_context_is_bound_and_repeated() {
    let node = node();
    let context = STANDARD.encode(r#"{"project":"x"}"#);
    let headers = [Mode::Named.write(), vec![("x-amz-server-side-encryption-context", context.clone())]];
    let put = ok(send(&node, "PUT", "/bucket/k", &headers, b"x"));
    assert_eq!(put.header("x-amz-server-side-encryption-context"), Some(context.as_str()));
    let get = ok(node.send("GET", "/bucket/k", &[], b""));
    assert_eq!((get.body.as_slice(), get.header("x-amz-server-side-encryption-context")), (&b"x"[..], None));
}

/// Uploads parts and completes the upload; returns the completion's answer.
fn multipart(node: &Node, target: &str, mode: Mode, parts: &[Vec<u8>]) -> Answer {
    let created = ok(send(node, "POST", &format!("{target}?uploads"), &[mode.write()], b""));
    mode.check(&created);
    let id = created.document("InitiateMultipartUploadResult");
    let id = id.child_text("UploadId").unwrap();
    let mut document = "<CompleteMultipartUpload>".to_owned();
    for (number, part) in (1..).zip(parts) {
        let upload = format!("{target}?partNumber={number}&uploadId={id}");
        // Each part comes twice: what was received first must leave no trace.
        ok(send(node, "PUT", &upload, &[mode.read()], &payload(100)));
        let put = ok(send(node, "PUT", &upload, &[mode.read()], part));
        mode.check(&put);
        let etag = put.header("etag").unwrap();
        document += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
    }
    document += "</CompleteMultipartUpload>";
    ok(send(node, "POST", &format!("{target}?uploadId={id}"), &[mode.read()], document.as_bytes()))
}

fn parts() -> Vec<Vec<u8>> {
    let mib = 1 << 20;
    vec![payload(5 * mib), payload(5 * mib + SEGMENT_PLAIN_BYTES + 1), payload(1)]
}

#[test]
fn parts_are_encrypted_on_their_own_and_read_as_one() {
    let node = node();
    let parts = parts();
    let whole = parts.concat();
    for mode in MODES {
        let completed = multipart(&node, "/bucket/k", mode, &parts);
        mode.check(&completed);
        let get = ok(send(&node, "GET", "/bucket/k", &[mode.read()], b""));
        assert!(get.body == whole, "{mode:?}");
        let etag = get.header("etag").unwrap();
        assert!(
            etag.ends_with("-3\"") && completed.body.windows(34).any(|text| text == &etag.as_bytes()[1..35])
        );
        let edge = parts[0].len();
        for (first, last) in [(edge - 1, edge), (edge, edge), (0, whole.len() - 1), (70_000, whole.len() - 2)]
        {
            let range = vec![("range", format!("bytes={first}-{last}"))];
            let get = ok(send(&node, "GET", "/bucket/k", &[mode.read(), range], b""));
            assert!(get.body == whole[first..=last], "{mode:?} {first}-{last}");
        }
        let second = ok(send(&node, "GET", "/bucket/k?partNumber=2", &[mode.read()], b""));
        assert!(second.body == parts[1]);
        let fourth = send(&node, "GET", "/bucket/k?partNumber=4", &[], b"");
        assert_eq!(code(&fourth), (400, "InvalidPart".to_owned()), "{mode:?}: with or without its key");
    }
}

#[test]
fn a_part_that_is_sent_again_has_the_same_etag_and_other_uploads_have_others() {
    let node = node();
    for mode in MODES {
        let upload = || {
            let created = ok(send(&node, "POST", "/bucket/k?uploads", &[mode.write()], b""));
            let id = created.document("InitiateMultipartUploadResult");
            format!("/bucket/k?partNumber=1&uploadId={}", id.child_text("UploadId").unwrap())
        };
        let etag = |target: &str, body: &[u8]| {
            ok(send(&node, "PUT", target, &[mode.read()], body)).header("etag").unwrap().to_owned()
        };
        let (one, other) = (upload(), upload());
        assert_eq!(etag(&one, b"part"), etag(&one, b"part"), "{mode:?}");
        assert_ne!(etag(&one, b"part"), etag(&one, b"else"), "{mode:?}");
        let shows_md5 = matches!(mode, Mode::Plain | Mode::Managed);
        assert_eq!(etag(&one, b"part") == etag(&other, b"part"), shows_md5, "{mode:?}");
    }
}

#[test]
fn parts_come_with_the_key_of_their_upload() {
    let node = node();
    for (mode, others) in [
        (Mode::Customer(1), &[Mode::Plain, Mode::Customer(2)][..]),
        (Mode::Managed, &[Mode::Customer(1)]),
        (Mode::Plain, &[Mode::Customer(1)]),
    ] {
        let created = ok(send(&node, "POST", "/bucket/k?uploads", &[mode.write()], b""));
        let id = created.document("InitiateMultipartUploadResult");
        let target = format!("/bucket/k?partNumber=1&uploadId={}", id.child_text("UploadId").unwrap());
        for other in others {
            let refused = send(&node, "PUT", &target, &[other.read()], b"x");
            assert_eq!(code(&refused), (400, "InvalidRequest".to_owned()), "{mode:?} {other:?}");
        }
        ok(send(&node, "PUT", &target, &[mode.read()], b"x"));
    }
}

#[test]
fn copies_go_from_every_scheme_to_every_other() {
    let node = node();
    let modes = [&MODES[..], &[Mode::Customer(2)]].concat();
    let joined = parts();
    for from in MODES {
        let large = payload(3 * SEGMENT_PLAIN_BYTES + 5);
        ok(send(&node, "PUT", "/bucket/small", &[from.write()], b"small"));
        ok(send(&node, "PUT", "/bucket/large", &[from.write()], &large));
        ok(send(&node, "PUT", "/bucket/empty", &[from.write()], b""));
        multipart(&node, "/bucket/parts", from, &joined);
        for to in &modes {
            for (name, bytes) in
                [("small", &b"small"[..]), ("large", &large), ("empty", b""), ("parts", &joined.concat())]
            {
                let source = vec![("x-amz-copy-source", format!("/bucket/{name}"))];
                let copy = send(&node, "PUT", "/bucket/copy", &[from.source(), to.write(), source], b"");
                to.check(&ok(copy));
                let get = ok(send(&node, "GET", "/bucket/copy", &[to.read()], b""));
                to.check(&get);
                assert!(get.body == bytes, "{from:?} to {to:?}: {name}");
            }
        }
    }
}

#[test]
fn parts_are_copied_from_every_scheme_into_every_other() {
    let node = node();
    let body = payload(6 << 20);
    for from in MODES {
        ok(send(&node, "PUT", "/bucket/source", &[from.write()], &body));
        for to in MODES {
            let created = ok(send(&node, "POST", "/bucket/k?uploads", &[to.write()], b""));
            let id = created.document("InitiateMultipartUploadResult");
            let id = id.child_text("UploadId").unwrap();
            let mut document = "<CompleteMultipartUpload>".to_owned();
            for (number, range) in [(1, "bytes=7-5500000"), (2, "bytes=65519-65520")] {
                let target = format!("/bucket/k?partNumber={number}&uploadId={id}");
                let headers = vec![
                    ("x-amz-copy-source", "/bucket/source".to_owned()),
                    ("x-amz-copy-source-range", range.to_owned()),
                ];
                let copied = ok(send(&node, "PUT", &target, &[headers, from.source(), to.read()], b""));
                let etag = copied.document("CopyPartResult");
                let etag = etag.child_text("ETag").unwrap();
                document += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
            }
            document += "</CompleteMultipartUpload>";
            ok(send(&node, "POST", &format!("/bucket/k?uploadId={id}"), &[], document.as_bytes()));
            let get = ok(send(&node, "GET", "/bucket/k", &[to.read()], b""));
            let expected = [&body[7..=5_500_000], &body[65_519..=65_520]].concat();
            assert!(get.body == expected, "{from:?} to {to:?}");
        }
    }
}

#[test]
fn a_copy_under_the_same_key_shares_the_payload() {
    let node = node();
    let body = payload(300_000);
    for mode in [Mode::Managed, Mode::Named, Mode::Customer(1)] {
        let put = ok(send(&node, "PUT", "/bucket/k", &[mode.write()], &body));
        let source = vec![("x-amz-copy-source", "/bucket/k".to_owned())];
        let copy = ok(send(&node, "PUT", "/bucket/copy", &[mode.write(), mode.source(), source], b""));
        let etag = copy.document("CopyObjectResult").child_text("ETag").unwrap().to_owned();
        // A copy that is encrypted again gets another ETag under these schemes, or its MD5.
        assert_eq!(Some(etag.as_str()), put.header("etag"), "{mode:?}");
    }
    // An object may be encrypted in its place.
    ok(send(&node, "PUT", "/bucket/k", &[], &body));
    let source = vec![("x-amz-copy-source", "/bucket/k".to_owned())];
    ok(send(&node, "PUT", "/bucket/k", &[Mode::Managed.write(), source], b""));
    let get = ok(node.send("GET", "/bucket/k", &[], b""));
    Mode::Managed.check(&get);
    assert!(get.body == body);
}

fn set_default(node: &Node, document: String) {
    let settings = [("encryption".to_owned(), Some(document.into_bytes()))].into();
    let change = BucketChange { settings, ..BucketChange::default() };
    node.block_on(node.service().engine().set_bucket("bucket", change)).unwrap();
}

/// Puts zeros in the place of the stored bytes of an object: whoever can change a drive can make the node's
/// own checksums fit again.
fn forge(node: &Node, stored: usize) {
    let engine = node.service().engine();
    node.block_on(async {
        let bucket = engine.bucket("bucket").unwrap().id;
        let object = engine.get(bucket, b"k", None).await.unwrap().found().unwrap();
        assert_eq!(object.stored_bytes(), stored as u64);
        let mut writer = engine.payload_writer(Some(stored as u64)).await.unwrap();
        let mut buffer = writer.buffer().await;
        buffer.set_len(stored);
        buffer.fill(0);
        writer.write(buffer).await.unwrap();
        let payload = writer.finish().await.unwrap().with_plain_bytes(object.bytes);
        let attributes = object.attributes.clone();
        engine.put(bucket, b"k", payload, attributes, Condition::default()).await.unwrap();
    });
}

#[test]
fn a_bucket_encrypts_what_comes_without_a_wish() {
    let node = node();
    let rule = |apply: &str| {
        format!(
            "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>{apply}\
             </ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>"
        )
    };
    for (apply, mode) in [
        ("<SSEAlgorithm>AES256</SSEAlgorithm>", Mode::Managed),
        ("<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>team</KMSMasterKeyID>", Mode::Named),
        ("<SSEAlgorithm>aws:kms</SSEAlgorithm>", Mode::Default),
    ] {
        set_default(&node, rule(apply));
        mode.check(&ok(send(&node, "PUT", "/bucket/k", &[], b"x")));
        mode.check(&ok(send(&node, "GET", "/bucket/k", &[], b"")));
        let created = ok(send(&node, "POST", "/bucket/k?uploads", &[], b""));
        mode.check(&created);
        let source = vec![("x-amz-copy-source", "/bucket/k".to_owned())];
        mode.check(&ok(send(&node, "PUT", "/bucket/copy", &[source], b"")));
        // The request's own wish comes first.
        for other in [Mode::Managed, Mode::Named, Mode::Customer(1)] {
            other.check(&ok(send(&node, "PUT", "/bucket/own", &[other.write()], b"x")));
        }
    }
}

#[test]
fn a_segment_that_does_not_authenticate_is_never_sent() {
    let node = node();
    for bytes in [100, 200_000] {
        ok(send(&node, "PUT", "/bucket/k", &[Mode::Managed.write()], &payload(bytes)));
        forge(&node, bytes + bytes.div_ceil(SEGMENT_PLAIN_BYTES) * TAG_BYTES);
        let get = node.send("GET", "/bucket/k", &[], b"");
        assert_eq!(code(&get), (500, "InternalError".to_owned()));
    }
}

fn append(node: &Node, offset: usize, headers: &[Headers], body: &[u8]) -> Answer {
    let offset = vec![("x-amz-write-offset-bytes", offset.to_string())];
    send(node, "PUT", "/bucket/log", &[headers.concat(), offset], body)
}

#[test]
fn what_is_appended_is_encrypted_as_the_object_is() {
    let node = node();
    for mode in MODES {
        let mut whole = payload(10);
        let first = ok(append(&node, 0, &[mode.write()], &whole));
        let mut etags = vec![first.header("etag").unwrap().to_owned()];
        // Short pieces are stored with the object's record, then together in an extent, and long ones alone.
        for bytes in [0, 1, 30_000, 40_000, 100, 2 * SEGMENT_PLAIN_BYTES, 400_000, 7] {
            let piece = payload(bytes + whole.len()).split_off(whole.len());
            let appended = ok(append(&node, whole.len(), &[mode.write()], &piece));
            mode.check(&appended);
            whole.extend_from_slice(&piece);
            let get = ok(send(&node, "GET", "/bucket/log", &[mode.read()], b""));
            mode.check(&get);
            assert!(get.body == whole, "{mode:?} {bytes}");
            assert_eq!(get.header("etag"), appended.header("etag"));
            etags.push(get.header("etag").unwrap().to_owned());
        }
        for (first, last) in [(9, 10), (10, 30_011), (30_010, 70_011), (5, whole.len() - 1)] {
            let range = vec![("range", format!("bytes={first}-{last}"))];
            let get = ok(send(&node, "GET", "/bucket/log", &[mode.read(), range], b""));
            assert!(get.body == whole[first..=last], "{mode:?} {first}-{last}");
        }
        etags.sort();
        etags.dedup();
        assert_eq!(etags.len(), 9, "each state has an ETag of its own");
        let source = vec![("x-amz-copy-source", "bucket/log".to_owned())];
        ok(send(&node, "PUT", "/bucket/copy", &[mode.write(), mode.source(), source], b""));
        assert!(ok(send(&node, "GET", "/bucket/copy", &[mode.read()], b"")).body == whole);
        assert_eq!(send(&node, "DELETE", "/bucket/log", &[], b"").status, 204);
    }
}

#[test]
fn parts_are_followed_by_what_is_appended() {
    let node = node();
    let parts = parts();
    for mode in MODES {
        multipart(&node, "/bucket/log", mode, &parts);
        let mut whole = parts.concat();
        for piece in [payload(100), payload(300_000)] {
            ok(append(&node, whole.len(), &[mode.read()], &piece));
            whole.extend_from_slice(&piece);
            assert!(ok(send(&node, "GET", "/bucket/log", &[mode.read()], b"")).body == whole, "{mode:?}");
        }
    }
}

#[test]
fn an_append_comes_with_the_key_of_its_object_and_no_other_wish() {
    let node = node();
    for mode in MODES {
        ok(append(&node, 0, &[mode.write()], b"12345"));
        for other in [Mode::Managed, Mode::Named, Mode::Customer(1), Mode::Customer(2)] {
            let expected = match (mode, other) {
                (mode, other) if mode == other => continue,
                (Mode::Customer(_), Mode::Customer(_)) => (403, "AccessDenied"),
                _ => (400, "InvalidRequest"),
            };
            let answer = append(&node, 5, &[other.write()], b"x");
            assert_eq!(code(&answer), (expected.0, expected.1.to_owned()), "{mode:?} {other:?}");
        }
        // What is encrypted with keys of the node is so without a wish; a customer's key must come.
        let unasked = append(&node, 5, &[], b"67890");
        let is_customers = matches!(mode, Mode::Customer(_));
        assert_eq!(unasked.status, if is_customers { 400 } else { 200 }, "{mode:?}");
        let expected: &[u8] = if is_customers { b"12345" } else { b"1234567890" };
        assert!(ok(send(&node, "GET", "/bucket/log", &[mode.read()], b"")).body == expected);
        assert_eq!(send(&node, "DELETE", "/bucket/log", &[], b"").status, 204);
    }
}

#[test]
fn an_encrypted_object_moves_to_another_key() {
    let node = node();
    for (mode, name) in MODES.into_iter().zip(["a", "b", "c", "d", "e"]) {
        let body = payload(100_000);
        ok(send(&node, "PUT", "/bucket/old", &[mode.write()], &body));
        let source = vec![("x-amz-rename-source", "old".to_owned())];
        // The customer's key is not asked for: nothing is read.
        ok(send(&node, "PUT", &format!("/bucket/{name}?renameObject"), &[source], b""));
        let get = ok(send(&node, "GET", &format!("/bucket/{name}"), &[mode.read()], b""));
        mode.check(&get);
        assert!(get.body == body, "{mode:?}");
        assert_eq!(code(&send(&node, "GET", "/bucket/old", &[mode.read()], b"")).0, 404);
    }
}
