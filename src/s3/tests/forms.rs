//! Posted forms, signed and not, end to end against a simulated node.

use super::harness::{Answer, Node, ROOT};
use crate::auth::sign::sign_post;
use crate::base::limits::FORM_BYTES_MAX;
use crate::engine::{BucketChange, Versioning};
use crate::hash::{self, base64_encode};
use crate::s3::Settings;

/// A form as a browser sends it.
#[derive(Clone)]
struct Posted {
    fields: Vec<(String, String)>,
    file: Option<(String, Vec<u8>)>,
}

impl Posted {
    fn new(fields: &[(&str, &str)], file: &[u8]) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let file = Some(("C:\\dir\\photo.jpg".to_owned(), file.to_vec()));
        Self { fields: fields.iter().map(own).collect(), file }
    }

    /// Adds a policy with these conditions beside those that every test has, and its signature.
    fn signed(mut self, node: &Node, conditions: &str) -> Self {
        let date = crate::http::date::basic(node.now());
        let credential = format!("{}/{}/us-east-1/s3/aws4_request", ROOT.id, &date[..8]);
        let policy = format!(
            "{{\"expiration\": \"9999-01-01T00:00:00Z\", \"conditions\": [{{\"bucket\": \"bucket\"}}, \
             [\"starts-with\", \"$key\", \"up/\"], {{\"x-amz-credential\": \"{credential}\"}}, \
             {{\"x-amz-algorithm\": \"AWS4-HMAC-SHA256\"}}, {{\"x-amz-date\": \"{date}\"}}{conditions}]}}"
        );
        let policy = base64_encode(policy.as_bytes());
        let signature = sign_post(&policy, ROOT, node.now());
        for (name, value) in [
            ("x-amz-credential", credential),
            ("x-amz-algorithm", "AWS4-HMAC-SHA256".to_owned()),
            ("x-amz-date", date),
            ("policy", policy),
            ("x-amz-signature", signature),
        ] {
            self.fields.push((name.to_owned(), value));
        }
        self
    }

    fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, value) in &self.fields {
            let part = format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
            body.extend(part.into_bytes());
        }
        if let Some((name, bytes)) = &self.file {
            let head = format!(
                "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
                 Content-Type: image/jpeg\r\n\r\n"
            );
            body.extend(head.into_bytes());
            body.extend(bytes);
            body.extend(b"\r\n");
        }
        body.extend(b"--b--\r\n");
        body
    }

    fn post(&self, node: &Node) -> Answer {
        node.send_unsigned("POST", "/bucket", &[("content-type", TYPE)], &self.body())
    }
}

const TYPE: &str = "multipart/form-data; boundary=b";

fn outcome(answer: &Answer) -> (u16, String) {
    if answer.status < 400 { (answer.status, String::new()) } else { answer.error() }
}

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.error(), (status, code.to_owned()), "{:?}", String::from_utf8_lossy(&answer.body));
}

#[test]
fn a_signed_form_stores_its_file_with_what_its_fields_say() {
    let node = Node::with_bucket("bucket");
    let near_delimiters = [b"\r\n--b\r".repeat(3), b"\r\n--".to_vec()].concat();
    for file in [Vec::new(), b"x".to_vec(), near_delimiters, vec![7; 300_000]] {
        let fields = [("key", "up/${filename}"), ("Content-Type", "image/png"), ("x-amz-meta-n", "v")];
        let conditions = ", [\"starts-with\", \"$Content-Type\", \"image/\"], {\"x-amz-meta-n\": \"v\"}";
        let answer = Posted::new(&fields, &file).signed(&node, conditions).post(&node);
        assert_eq!(outcome(&answer), (204, String::new()), "{:?}", String::from_utf8_lossy(&answer.body));
        assert_eq!(answer.header("location"), Some("http://localhost:9000/bucket/up/photo.jpg"));
        let get = node.send("GET", "/bucket/up/photo.jpg", &[("x-amz-checksum-mode", "ENABLED")], b"");
        assert!(get.body == file, "{} bytes", file.len());
        assert_eq!(get.header("etag"), answer.header("etag"));
        assert_eq!((get.header("content-type"), get.header("x-amz-meta-n")), (Some("image/png"), Some("v")));
        assert!(get.header("x-amz-checksum-crc64nvme").is_some());
    }
}

#[test]
fn the_policy_decides() {
    let node = Node::with_bucket("bucket");
    let post = |fields: &[(&str, &str)], conditions: &str| {
        let answer = Posted::new(fields, b"12345").signed(&node, conditions).post(&node);
        let message = match answer.status {
            400.. => answer.document("Error").child_text("Message").unwrap_or_default().to_owned(),
            _ => String::new(),
        };
        let (status, code) = outcome(&answer);
        (status, code, message.replace("Invalid according to Policy: ", ""))
    };
    let denied = |why: &str| (403, "AccessDenied".to_owned(), why.to_owned());
    assert_eq!(
        post(&[("key", "elsewhere")], ""),
        denied("Policy Condition failed: [\"starts-with\", \"$key\", \"up/\"]")
    );
    assert_eq!(
        post(&[("key", "up/a"), ("acl", "public-read")], ", {\"acl\": \"private\"}"),
        denied("Policy Condition failed: [\"eq\", \"$acl\", \"private\"]")
    );
    let extra = [("key", "up/a"), ("x-amz-meta-a", "1")];
    assert_eq!(post(&extra, ""), denied("Extra input fields: x-amz-meta-a"));
    assert_eq!(post(&[("key", "up/a"), ("x-ignore-a", "1")], "").0, 204);

    let sized = |range: &str| {
        let (status, code, _) =
            post(&[("key", "up/sized")], &format!(", [\"content-length-range\", {range}]"));
        (status, code)
    };
    assert_eq!(sized("0, 4"), (400, "EntityTooLarge".to_owned()));
    assert_eq!(sized("6, 10"), (400, "EntityTooSmall".to_owned()));
    assert_eq!(node.send("GET", "/bucket/up/sized", &[], b"").status, 404);
    assert_eq!(sized("5, 5").0, 204);
    assert_eq!(sized("5").1, "InvalidPolicyDocument");
    assert_eq!(node.send("GET", "/bucket/up/sized", &[], b"").body, b"12345");
}

#[test]
fn a_form_is_its_signers_or_nobodys() {
    let node = Node::with_bucket("bucket");
    let form = Posted::new(&[("key", "up/a")], b"x").signed(&node, "");
    let with = |name: &str, value: &str| {
        let mut form = form.clone();
        let field = form.fields.iter_mut().find(|field| field.0 == name).unwrap();
        value.clone_into(&mut field.1);
        form.post(&node)
    };
    let without = |name: &str| {
        let mut form = form.clone();
        form.fields.retain(|field| field.0 != name);
        form.post(&node)
    };
    refused(&with("x-amz-signature", &"0".repeat(64)), 403, "SignatureDoesNotMatch");
    let date = crate::http::date::basic(node.now());
    let unknown = format!("nobody/{}/us-east-1/s3/aws4_request", &date[..8]);
    refused(&with("x-amz-credential", &unknown), 403, "InvalidAccessKeyId");
    refused(&with("x-amz-credential", "root"), 400, "InvalidArgument");
    refused(&without("x-amz-signature"), 400, "InvalidArgument");
    refused(&without("policy"), 400, "InvalidArgument");
    refused(&without("key"), 400, "InvalidArgument");
    refused(&Posted::new(&[("key", "k")], b"x").post(&node), 403, "AccessDenied");
    let body = form.body();
    let beside = [("content-type", TYPE), ("authorization", "AWS root:x")];
    refused(&node.send_unsigned("POST", "/bucket", &beside, &body), 400, "InvalidArgument");
    refused(&node.send_unsigned("POST", "/other-bucket", &beside[..1], &body), 403, "AccessDenied");
    let mut twice = form.clone();
    twice.fields.push(("Key".to_owned(), "up/b".to_owned()));
    refused(&twice.post(&node), 400, "InvalidArgument");
    let mut empty = form.clone();
    empty.file = None;
    refused(&empty.post(&node), 400, "InvalidArgument");
    assert_eq!(node.send("GET", "/bucket/up/a", &[], b"").status, 404);
    assert_eq!(form.post(&node).status, 204);
}

#[test]
fn a_form_signed_with_version_2_is_as_good() {
    let node = Node::with_bucket("bucket");
    let policy = "{\"expiration\": \"9999-01-01T00:00:00Z\", \"conditions\": [{\"bucket\": \"bucket\"}, \
                  {\"key\": \"k\"}]}";
    let policy = base64_encode(policy.as_bytes());
    let signature = crate::auth::sign::sign_post_v2(&policy, ROOT);
    let post = |signature: &str| {
        let fields =
            [("key", "k"), ("AWSAccessKeyId", ROOT.id), ("policy", &policy), ("signature", signature)];
        Posted::new(&fields, b"two").post(&node)
    };
    refused(&post("AAAA"), 403, "SignatureDoesNotMatch");
    assert_eq!(post(&signature).status, 204);
    assert_eq!(node.send("GET", "/bucket/k", &[], b"").body, b"two");
}

#[test]
fn the_browser_is_told_what_the_form_asks_for() {
    let node = Node::with_bucket("bucket");
    let post = |name: &str, value: &str| {
        let conditions = format!(", {{\"{name}\": \"{value}\"}}");
        Posted::new(&[("key", "up/a b"), (name, value)], b"x").signed(&node, &conditions).post(&node)
    };
    let created = post("success_action_status", "201");
    assert_eq!(created.status, 201);
    let document = created.document("PostResponse");
    assert_eq!(document.child_text("Location"), Some("http://localhost:9000/bucket/up/a%20b"));
    assert_eq!(document.child_text("Key"), Some("up/a b"));
    assert_eq!(document.child_text("ETag"), created.header("etag"));
    assert_eq!(post("success_action_status", "200").status, 200);
    assert_eq!(post("success_action_status", "404").status, 204);
    let there = post("success_action_redirect", "http://example.com/done");
    assert_eq!(there.status, 303);
    let etag = there.header("etag").unwrap().trim_matches('"').to_owned();
    let expected = format!("http://example.com/done?bucket=bucket&key=up%2Fa%20b&etag=%22{etag}%22");
    assert_eq!(there.header("location"), Some(expected.as_str()));
}

#[test]
fn a_form_tags_its_object_and_makes_versions() {
    let node = Node::with_bucket("bucket");
    let enabled = BucketChange { versioning: Some(Versioning::Enabled), ..BucketChange::default() };
    node.set_bucket("bucket", enabled);
    let tagging = "<Tagging><TagSet><Tag><Key>colour</Key><Value>sky blue</Value></Tag></TagSet></Tagging>";
    let conditions = ", [\"starts-with\", \"$tagging\", \"<Tagging>\"]";
    let form = Posted::new(&[("key", "up/a"), ("tagging", tagging)], b"x").signed(&node, conditions);
    let (first, second) = (form.post(&node), form.post(&node));
    assert_eq!((first.status, second.status), (204, 204));
    assert!(first.header("x-amz-version-id").is_some());
    assert_ne!(first.header("x-amz-version-id"), second.header("x-amz-version-id"));
    let tags = node.send("GET", "/bucket/up/a?tagging", &[], b"").document("Tagging");
    let tag = tags.child("TagSet").unwrap().child("Tag").unwrap();
    assert_eq!((tag.child_text("Key"), tag.child_text("Value")), (Some("colour"), Some("sky blue")));
    let malformed = Posted::new(&[("key", "up/a"), ("tagging", "<Tagging></x>")], b"x");
    refused(&malformed.signed(&node, conditions).post(&node), 400, "MalformedXML");
}

#[test]
fn a_form_may_ask_for_encryption() {
    let node = Node::with_bucket("bucket");
    let name = "x-amz-server-side-encryption";
    let body = vec![3; 200_000];
    let form = Posted::new(&[("key", "up/a"), (name, "AES256")], &body);
    let posted = form.signed(&node, ", {\"x-amz-server-side-encryption\": \"AES256\"}").post(&node);
    assert_eq!((posted.status, posted.header(name)), (204, Some("AES256")));
    let get = node.send("GET", "/bucket/up/a", &[], b"");
    assert!(get.body == body);
    assert_eq!(get.header(name), Some("AES256"));
}

#[test]
fn a_file_must_be_what_the_form_promises() {
    let node = Node::with_bucket("bucket");
    let post = |name: &str, value: &str, conditions: &str| {
        Posted::new(&[("key", "up/a"), (name, value)], b"file").signed(&node, conditions).post(&node)
    };
    let sha256 = |bytes: &[u8]| base64_encode(&hash::sha256(bytes));
    refused(&post("x-amz-checksum-sha256", &sha256(b"else"), ""), 400, "BadDigest");
    refused(&post("x-amz-checksum-sha256", "sailor", ""), 400, "BadDigest");
    let md5 = base64_encode(&hash::md5(b"else"));
    let conditions = ", [\"starts-with\", \"$content-md5\", \"\"]";
    refused(&post("Content-MD5", &md5, conditions), 400, "BadDigest");
    let stored = post("x-amz-checksum-sha256", &sha256(b"file"), "");
    assert_eq!(stored.header("x-amz-checksum-sha256"), Some(sha256(b"file").as_str()));
    let conditions = ", {\"if-none-match\": \"*\"}";
    refused(&post("If-None-Match", "*", conditions), 412, "PreconditionFailed");
}

#[test]
fn what_is_no_form_is_refused() {
    let node = Node::with_bucket("bucket");
    let post =
        |kind: &str, body: &[u8]| node.send_unsigned("POST", "/bucket", &[("content-type", kind)], body);
    refused(&post(TYPE, b"nothing"), 400, "MalformedPOSTRequest");
    refused(&post(TYPE, b""), 400, "MalformedPOSTRequest");
    refused(&post("multipart/form-data", b"--b--"), 400, "MalformedPOSTRequest");
    refused(&post("multipart/mixed; boundary=b", b"--b--"), 412, "PreconditionFailed");
    let whole = Posted::new(&[("key", "up/a")], b"file").signed(&node, "").body();
    refused(&post(TYPE, &whole[..whole.len() - 4]), 400, "MalformedPOSTRequest");
    let long = Posted::new(&[("key", "k"), ("x-ignore-a", &"x".repeat(FORM_BYTES_MAX))], b"x");
    refused(&long.post(&node), 400, "MaxPostPreDataLengthExceededError");
    assert_eq!(node.send("GET", "/bucket/up/a", &[], b"").status, 404);
    let plain = node.send("POST", "/bucket", &[("content-type", "text/plain")], b"x");
    refused(&plain, 412, "PreconditionFailed");
}

#[test]
fn a_form_brings_no_customers_key_over_plain_http() {
    let posted = |node: &Node| {
        let (key, digest) = ([7; 32], hash::md5(&[7; 32]));
        let fields = [
            ("algorithm", "AES256".to_owned()),
            ("key", base64_encode(&key)),
            ("key-MD5", base64_encode(&digest)),
        ]
        .map(|(name, value)| (format!("x-amz-server-side-encryption-customer-{name}"), value));
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let conditions: String =
            fields.iter().map(|(name, value)| format!(", {{\"{name}\": \"{value}\"}}")).collect();
        let fields = [&[("key", "up/k")], &fields[..]].concat();
        Posted::new(&fields, b"x").signed(node, &conditions).post(node)
    };
    refused(&posted(&Node::with_settings("bucket", Settings::default())), 400, "InvalidRequest");
    assert_eq!(posted(&Node::with_bucket("bucket")).status, 204);
}
