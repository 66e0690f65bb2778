//! Ways around a policy that must not be ways: what a request says without meaning it, operations that come down
//! to others, and objects that change while somebody asks for them.

use super::Bytes;
use super::harness::{Answer, Node};
use crate::auth::{Authentication, Identity, PayloadPromise};
use crate::s3::error::Code;
use crate::s3::request::Request;
use crate::s3::route::Operation;
use crate::s3::service::{NewBuckets, Settings};

/// A node with the operator's bucket `bkt`, in which ACLs count and nothing is blocked.
fn open_node() -> Node {
    let settings = Settings { new_buckets: NewBuckets::Acl, ..Settings::default() };
    let node = Node::with_settings("bkt", settings);
    assert_eq!(node.send("PUT", "/bkt/k", &[], b"text").status, 200);
    node
}

/// A statement of a policy of `bkt`; `what` are the action, the resource and conditions.
fn statement(effect: &str, what: &str) -> String {
    let what = what.replace('@', "arn:aws:s3:::");
    format!(r#"{{"Effect":"{effect}","Principal":"*",{what}}}"#)
}

fn set_policy(node: &Node, statements: &[String]) {
    let policy = format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, statements.join(","));
    let answer = node.send("PUT", "/bkt?policy", &[], policy.as_bytes());
    assert_eq!(answer.status, 204, "{policy}: {answer:?}");
}

fn denied(answer: &Answer) {
    assert_eq!(answer.error(), (403, "AccessDenied".to_owned()));
}

#[test]
fn what_an_operation_ignores_fulfils_no_condition() {
    let node = open_node();
    let actions = r#""Action":["s3:GetObject","s3:DeleteObject","s3:ListBucket","s3:PutObject"],
        "Resource":["@bkt","@bkt/*"]"#;
    let if_only = |condition: &str| {
        set_policy(&node, &[statement("Allow", &format!(r#"{actions},"Condition":{{{condition}}}"#))]);
    };
    if_only(r#""StringLike":{"s3:prefix":"public/*"}"#);
    assert_eq!(node.send_as("other", "GET", "/bkt?prefix=public/x", &[], b"").status, 200);
    denied(&node.send_as("other", "GET", "/bkt/k?prefix=public/x", &[], b""));
    denied(&node.send_anonymous("GET", "/bkt/k?prefix=public/x"));
    if_only(r#""StringEquals":{"s3:x-amz-acl":"bucket-owner-full-control"}"#);
    let acl = [("x-amz-acl", "bucket-owner-full-control")];
    assert_eq!(node.send_as("other", "PUT", "/bkt/new", &acl, b"x").status, 200);
    denied(&node.send_as("other", "GET", "/bkt/k", &acl, b""));
    denied(&node.send_as("other", "DELETE", "/bkt/k", &acl, b""));
    if_only(r#""NumericLessThan":{"s3:signatureAge":"600000"}"#);
    let date = "/bkt/k?X-Amz-Date=20990101T000000Z";
    denied(&node.send_anonymous("GET", date));
    denied(&node.send_as("other", "GET", date, &[], b""));
}

#[test]
fn counts_are_compared_as_they_are_understood() {
    let node = open_node();
    set_policy(
        &node,
        &[
            statement("Allow", r#""Action":"s3:ListBucket","Resource":"@bkt""#),
            statement(
                "Deny",
                r#""Action":"s3:ListBucket","Resource":"@bkt",
                "Condition":{"NumericGreaterThan":{"s3:max-keys":"10"}}"#,
            ),
        ],
    );
    let list = |count: &str| {
        node.send_as("other", "GET", &format!("/bkt?list-type=2&max-keys={count}"), &[], b"").status
    };
    for count in ["10", "0010", "%2B10"] {
        assert_eq!(list(count), 200, "{count}");
    }
    for count in ["11", "0011", "%2B11", "000000000000000000000000001000"] {
        assert_eq!(list(count), 403, "{count}");
    }
}

#[test]
fn tags_that_a_copy_ignores_fulfil_no_condition() {
    let node = open_node();
    set_policy(
        &node,
        &[
            statement("Allow", r#""Action":["s3:GetObject","s3:PutObjectTagging"],"Resource":"@bkt/*""#),
            statement(
                "Allow",
                r#""Action":"s3:PutObject","Resource":"@bkt/*",
                "Condition":{"StringEquals":{"s3:RequestObjectTag/level":"public"}}"#,
            ),
        ],
    );
    let copy = |directive: &str| {
        let headers = [
            ("x-amz-copy-source", "/bkt/k"),
            ("x-amz-tagging", "level=public"),
            ("x-amz-tagging-directive", directive),
        ];
        node.send_as("other", "PUT", "/bkt/copy", &headers, b"").status
    };
    // The source is the operator's own, whom its ACL lets read.
    assert_eq!(node.send("PUT", "/bkt/k?acl", &[("x-amz-acl", "public-read")], b"").status, 200);
    assert_eq!((copy("COPY"), copy("REPLACE")), (403, 200));
}

#[test]
fn a_rename_is_an_upload_to_whoever_denies_uploads() {
    let node = open_node();
    let all = statement("Allow", r#""Action":"s3:*","Resource":["@bkt","@bkt/*"]"#);
    let deny = |action: &str| statement("Deny", &format!(r#""Action":"{action}","Resource":"@bkt/safe/*""#));
    let rename = || {
        let source = [("x-amz-rename-source", "k")];
        node.send("PUT", "/bkt/safe/k?renameObject", &source, b"")
    };
    for action in ["s3:PutObject", "s3:RenameObject", "s3:Put*"] {
        set_policy(&node, &[all.clone(), deny(action)]);
        denied(&rename());
    }
    // Who wants new keys only wants them of renames, too.
    let new_only = r#""Action":"s3:PutObject","Resource":"@bkt/*","Condition":{
        "Null":{"s3:if-none-match":"true"},"Bool":{"s3:ObjectCreationOperation":"true"}}"#;
    set_policy(&node, &[all.clone(), statement("Deny", new_only)]);
    denied(&rename());
    set_policy(&node, &[all]);
    assert_eq!(rename().status, 200);
}

#[test]
fn a_header_that_only_copies_heed_fulfils_no_condition_of_others() {
    let node = open_node();
    let copies = |condition: &str| {
        let read = statement("Allow", r#""Action":"s3:GetObject","Resource":"@bkt/*""#);
        let what = format!(r#""Action":"s3:PutObject","Resource":"@bkt/*","Condition":{{{condition}}}"#);
        set_policy(&node, &[read, statement("Allow", &what)]);
    };
    assert_eq!(node.send("PUT", "/bkt/k?acl", &[("x-amz-acl", "public-read")], b"").status, 200);
    let source = ("x-amz-copy-source", "/bkt/k");
    copies(r#""StringEquals":{"s3:x-amz-copy-source":"bkt/k"}"#);
    denied(&node.send_as("other", "POST", "/bkt/own?uploads", &[source], b""));
    assert_eq!(node.send_as("other", "PUT", "/bkt/own", &[source], b"").status, 200);
    // The parts of an upload that somebody else began are copies, too.
    let begun = node.send("POST", "/bkt/own?uploads", &[], b"").document("InitiateMultipartUploadResult");
    let upload = begun.child_text("UploadId").unwrap().to_owned();
    let part = format!("/bkt/own?partNumber=1&uploadId={upload}");
    denied(&node.send_as("other", "PUT", &part, &[], b"own bytes"));
    assert_eq!(node.send_as("other", "PUT", &part, &[source], b"").status, 200);
    denied(&node.send_as("other", "POST", &format!("/bkt/own?uploadId={upload}"), &[source], b"<x/>"));
    let form = b"--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nown\r\n\
        --b\r\nContent-Disposition: form-data; name=\"x-amz-copy-source\"\r\n\r\n/bkt/k\r\n\
        --b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nown bytes\r\n--b--\r\n";
    let kind = [("content-type", "multipart/form-data; boundary=b")];
    denied(&node.send_unsigned("POST", "/bkt", &kind, form));
    copies(r#""StringEquals":{"s3:x-amz-metadata-directive":"COPY"}"#);
    denied(&node.send_as("other", "PUT", "/bkt/own", &[("x-amz-metadata-directive", "COPY")], b"own bytes"));
    // A rename keeps what the object has, whatever its headers say.
    let all = statement("Allow", r#""Action":"s3:*","Resource":["@bkt","@bkt/*"]"#);
    for (key, header) in [
        ("s3:x-amz-server-side-encryption", ("x-amz-server-side-encryption", "AES256")),
        ("s3:x-amz-acl", ("x-amz-acl", "AES256")),
        ("s3:RequestObjectTag/level", ("x-amz-tagging", "level=AES256")),
    ] {
        let unless = format!(
            r#""Action":"s3:PutObject","Resource":"@bkt/*","Condition":{{"StringNotEquals":{{"{key}":"AES256"}}}}"#
        );
        set_policy(&node, &[all.clone(), statement("Deny", &unless)]);
        denied(&node.send("PUT", "/bkt/moved?renameObject", &[("x-amz-rename-source", "k"), header], b""));
    }
}

#[test]
fn making_a_bucket_again_changes_no_acl_that_its_policy_protects() {
    let node = open_node();
    let deny = statement("Deny", r#""Action":"s3:PutBucketAcl","Resource":"@bkt""#);
    set_policy(&node, &[deny]);
    denied(&node.send("PUT", "/bkt?acl", &[("x-amz-acl", "public-read-write")], b""));
    denied(&node.send("PUT", "/bkt", &[("x-amz-acl", "public-read-write")], b""));
    assert_eq!(node.send("PUT", "/bkt", &[], b"").status, 200);
    assert_eq!(node.send("DELETE", "/bkt?policy", &[], b"").status, 204);
    assert_eq!(node.send("PUT", "/bkt", &[("x-amz-acl", "public-read-write")], b"").status, 200);
}

#[test]
fn who_signs_nothing_and_can_be_allowed_nothing_is_refused_before_the_order_is_read() {
    let order = b"<Delete><Object><Key>k</Key></Object></Delete>";
    let delete = |node: &Node| node.send_unsigned("POST", "/bkt?delete", &[], order);
    let node = Node::with_bucket("bkt");
    denied(&delete(&node));
    // Where an ACL or a policy could allow it, each key has its own answer, and the order needs its digest.
    let node = open_node();
    assert_eq!(delete(&node).error(), (400, "InvalidRequest".to_owned()));
}

#[test]
fn an_append_gets_nothing_that_only_new_objects_get() {
    let node = open_node();
    for header in [("x-amz-tagging", "a=b"), ("x-amz-acl", "private"), ("x-amz-grant-read", "id=x")] {
        let headers = [("x-amz-write-offset-bytes", "4"), header];
        let answer = node.send("PUT", "/bkt/k", &headers, b"more");
        assert_eq!(answer.error(), (501, "NotImplemented".to_owned()), "{header:?}");
    }
    assert_eq!(node.send("GET", "/bkt/k", &[], b"").body, b"text");
}

#[test]
fn conditions_on_what_is_there_tell_it_only_to_readers() {
    let node = open_node();
    let write = r#""Action":["s3:PutObject","s3:DeleteObject"],"Resource":"@bkt/*""#;
    set_policy(&node, &[statement("Allow", write)]);
    let etag = node.send("HEAD", "/bkt/k", &[], b"").header("etag").unwrap().to_owned();
    let matches = [("if-match", etag.as_str())];
    denied(&node.send_as("other", "PUT", "/bkt/k", &matches, b"x"));
    denied(&node.send_as("other", "PUT", "/bkt/k", &[("if-none-match", etag.as_str())], b"x"));
    denied(&node.send_as("other", "DELETE", "/bkt/k", &matches, b""));
    denied(&node.send_as("other", "DELETE", "/bkt/k", &[("x-amz-if-match-size", "4")], b""));
    let delete_many = |etag: &str| {
        let order = format!("<Delete><Object><Key>k</Key><ETag>{etag}</ETag></Object></Delete>");
        let digest = crate::hash::base64_encode(&crate::hash::md5(order.as_bytes()));
        let headers = [("content-md5", digest.as_str()), ("if-match", "*")];
        let answer = node.send_as("other", "POST", "/bkt?delete", &headers, order.as_bytes());
        let error = answer.document("DeleteResult").child("Error").cloned();
        error.map(|error| error.child_text("Code").unwrap().to_owned())
    };
    assert_eq!(delete_many(&etag), Some("AccessDenied".to_owned()));
    // What each key of an order must be counts, not what stands in the head.
    let read = statement("Allow", r#""Action":"s3:GetObject","Resource":"@bkt/*""#);
    let unless_star = r#""Action":"s3:DeleteObject","Resource":"@bkt/*",
        "Condition":{"StringEquals":{"s3:if-match":"*"}}"#;
    let set_read = [("x-amz-acl", "public-read")];
    assert_eq!(node.send("PUT", "/bkt/k?acl", &set_read, b"").status, 200);
    set_policy(&node, &[statement("Allow", write), read, statement("Deny", unless_star)]);
    assert_eq!(delete_many("*"), Some("AccessDenied".to_owned()));
    assert_eq!(delete_many(&etag), None);
    assert_eq!(node.send("HEAD", "/bkt/k", &[], b"").status, 404);
}

#[test]
fn an_object_that_comes_after_the_decision_was_not_decided_about() {
    let node = open_node();
    // Nobody but the owner may read, and all may list: who asks for a missing key may know that it is missing.
    set_policy(&node, &[statement("Allow", r#""Action":"s3:ListBucket","Resource":"@bkt""#)]);
    let decide = |operation: Operation, target: &str| {
        let request = Request::for_test("GET", target, &[]);
        let identity = Identity::AccessKey { id: "other".to_owned() };
        let authentication = Authentication { identity, payload: PayloadPromise::Unsigned };
        node.block_on(node.service().authorize(request, operation, authentication, &mut Bytes(b"")))
    };
    assert!(decide(Operation::GetObject, "/bkt/k").is_err());
    let read = decide(Operation::GetObject, "/bkt/late").unwrap();
    let attributes = decide(Operation::GetObjectAttributes, "/bkt/late?attributes").unwrap();
    let tagging = decide(Operation::GetObjectTagging, "/bkt/late?tagging").unwrap();
    let acl = decide(Operation::GetObjectAcl, "/bkt/late?acl").unwrap();
    assert_eq!(node.send("PUT", "/bkt/late", &[("x-amz-tagging", "a=b")], b"secret").status, 200);
    let object = node.block_on(async {
        let service = node.service();
        let bucket = service.engine().bucket("bkt").unwrap();
        service.engine().get(bucket.id, b"late", None).await.unwrap().found().unwrap()
    });
    for authorized in [read, attributes, tagging, acl] {
        assert!(authorized.has_seen());
        assert_eq!(authorized.check_seen(&object).unwrap_err().code, Code::ServiceUnavailable);
    }
}

#[test]
fn spellings_of_a_key_are_the_key_or_another_one() {
    let node = open_node();
    for target in ["/bkt/secret/k", "/bkt//secret/k", "/bkt/a/../secret/k"] {
        assert_eq!(node.send("PUT", target, &[], b"x").status, 200, "{target}");
    }
    set_policy(
        &node,
        &[
            statement("Allow", r#""Action":["s3:GetObject","s3:PutObject"],"Resource":"@bkt/*""#),
            statement("Deny", r#""Action":"S3:gET*","Resource":"@bkt/secret/*""#),
        ],
    );
    for target in ["/bkt/secret/k", "/bkt/secret%2Fk", "/bkt/%73ecret/k", "/bkt/secret//k", "/bkt/secret/"] {
        assert_eq!(node.send_as("root", "GET", target, &[], b"").status, 403, "{target}");
    }
    // Nothing is folded: these are other keys.
    for target in ["/bkt//secret/k", "/bkt/a/../secret/k"] {
        assert_eq!(node.send_as("root", "GET", target, &[], b"").status, 200, "{target}");
    }
    for source in ["bkt/secret/k", "/bkt/secret/k", "%2Fbkt%2Fsecret%2Fk", "bkt/%73ecret/k"] {
        let copy = [("x-amz-copy-source", source)];
        denied(&node.send("PUT", "/bkt/copy", &copy, b""));
        let part = node.send("PUT", "/bkt/copy?partNumber=1&uploadId=none", &copy, b"");
        assert_ne!(part.status, 200, "{source}");
    }
}

#[test]
fn what_is_not_named_is_denied_or_left_out_as_written() {
    let node = open_node();
    let everything = statement("Allow", r#""Action":"s3:*","Resource":["@bkt","@bkt/*"]"#);
    let get = |id: &str, target: &str| node.send_as(id, "GET", target, &[], b"").status;
    assert_eq!(node.send("PUT", "/bkt/public/k", &[("x-amz-acl", "public-read")], b"x").status, 200);
    // All but the public keys: the bucket itself is among the rest.
    let rest = statement("Deny", r#""Action":"s3:*","NotResource":"@bkt/public/*""#);
    set_policy(&node, &[everything.clone(), rest]);
    assert_eq!((get("root", "/bkt/public/k"), get("root", "/bkt/k"), get("root", "/bkt")), (200, 403, 403));
    let not_reads = statement("Deny", r#""NotAction":"s3:Get*","Resource":["@bkt","@bkt/*"]"#);
    set_policy(&node, &[everything, not_reads]);
    assert_eq!((get("root", "/bkt/k"), get("root", "/bkt")), (200, 403));
    denied(&node.send("DELETE", "/bkt/k", &[], b""));
    let reads = statement("Allow", r#""NotAction":["s3:Put*","s3:Delete*"],"Resource":["@bkt","@bkt/*"]"#);
    set_policy(&node, &[reads]);
    assert_eq!((get("other", "/bkt/public/k"), get("other", "/bkt")), (200, 200));
    denied(&node.send_as("other", "PUT", "/bkt/new", &[], b"x"));
    denied(&node.send_as("other", "DELETE", "/bkt/k", &[], b""));
    // Only one account is spared, and its root with it.
    let spared = r#"{"Effect":"Deny","NotPrincipal":{"AWS":"arn:aws:iam::444455556666:root"},"Action":"s3:*",
        "Resource":["arn:aws:s3:::bkt","arn:aws:s3:::bkt/*"]}"#;
    let all = statement("Allow", r#""Action":"s3:*","Resource":["@bkt","@bkt/*"]"#);
    set_policy(&node, &[all, spared.to_owned()]);
    assert_eq!((get("other", "/bkt"), get("root", "/bkt")), (200, 403));
    assert_eq!(node.send_anonymous("GET", "/bkt").status, 403);
}
