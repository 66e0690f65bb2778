//! ACLs of objects and `x-amz-expiration`, end to end against a simulated node.

use super::harness::{Answer, Node};
use crate::s3::service::{NewBuckets, Settings};
use crate::s3::xml::Element;

const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";

/// A node whose buckets heed ACLs.
fn heeding() -> Node {
    Node::with_settings("bucket", Settings { new_buckets: NewBuckets::Acl, ..Settings::default() })
}

/// Owner, and each grant as its permission and grantee; the owner is called so.
fn grants(answer: &Answer) -> Vec<String> {
    let document = answer.document("AccessControlPolicy");
    let owner = document.child("Owner").and_then(|owner| owner.child_text("ID")).unwrap().to_owned();
    let grant = |grant: &Element| {
        let grantee = grant.child("Grantee").unwrap();
        let who = match grantee.child_text("ID") {
            Some(id) if id == owner => "owner",
            Some(id) => id,
            None => grantee.child_text("URI").unwrap(),
        };
        format!("{} {who}", grant.child_text("Permission").unwrap())
    };
    let list = document.child("AccessControlList").unwrap();
    let mut grants: Vec<_> = list.children_named("Grant").map(grant).collect();
    grants.sort();
    grants
}

#[test]
fn an_object_has_the_acl_that_its_writer_or_somebody_later_gives_it() {
    let node = heeding();
    let get = |target: &str| grants(&node.send("GET", target, &[], b""));
    let public = vec!["FULL_CONTROL owner".to_owned(), format!("READ {ALL_USERS}")];
    node.send("PUT", "/bucket/k", &[], b"x");
    assert_eq!(get("/bucket/k?acl"), ["FULL_CONTROL owner"]);
    assert_eq!(node.send("PUT", "/bucket/k", &[("x-amz-acl", "public-read")], b"x").status, 200);
    assert_eq!(get("/bucket/k?acl"), public);
    let before = node.send("HEAD", "/bucket/k", &[], b"");
    assert_eq!(node.send("PUT", "/bucket/k?acl", &[("x-amz-acl", "private")], b"").status, 200);
    assert_eq!(get("/bucket/k?acl"), ["FULL_CONTROL owner"]);
    let after = node.send("HEAD", "/bucket/k", &[], b"");
    assert_eq!(after.header("last-modified"), before.header("last-modified"));
    assert_eq!(after.header("etag"), before.header("etag"));

    // What a GET answers can be put, and a copy does not take its source's.
    node.send("PUT", "/bucket/k?acl", &[("x-amz-grant-read", &format!("uri=\"{ALL_USERS}\""))], b"");
    assert_eq!(get("/bucket/k?acl"), [format!("READ {ALL_USERS}")]);
    let document = node.send("GET", "/bucket/k?acl", &[], b"").body;
    assert_eq!(node.send("PUT", "/bucket/k?acl", &[], &document).status, 200);
    node.send("PUT", "/bucket/copy", &[("x-amz-copy-source", "bucket/k")], b"");
    assert_eq!(get("/bucket/copy?acl"), ["FULL_CONTROL owner"]);

    let begun = node.send("POST", "/bucket/m?uploads", &[("x-amz-acl", "public-read")], b"");
    let begun = begun.document("InitiateMultipartUploadResult");
    let upload = begun.child_text("UploadId").unwrap();
    let part = node.send("PUT", &format!("/bucket/m?partNumber=1&uploadId={upload}"), &[], b"x");
    let document = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part>\
         </CompleteMultipartUpload>",
        part.header("etag").unwrap()
    );
    node.send("POST", &format!("/bucket/m?uploadId={upload}"), &[], document.as_bytes());
    assert_eq!(get("/bucket/m?acl"), public);
    assert_eq!(node.send("GET", "/bucket/m", &[], b"").header(":acl"), None);
}

#[test]
fn acls_that_mean_nobody_or_everybody_at_once_are_refused() {
    let node = heeding();
    node.send("PUT", "/bucket/k", &[], b"x");
    let put = |headers: &[(&str, &str)], body: &[u8]| {
        let answer = node.send("PUT", "/bucket/k?acl", headers, body);
        if answer.status == 200 { (200, String::new()) } else { answer.error() }
    };
    for (headers, code) in [
        (&[("x-amz-acl", "public-ready")][..], "InvalidArgument"),
        (&[("x-amz-grant-read", "id=nobody")], "InvalidArgument"),
        (&[("x-amz-acl", "private"), ("x-amz-grant-read", "id=nobody")], "InvalidArgument"),
        (&[], "MissingSecurityHeader"),
    ] {
        assert_eq!(put(headers, b""), (400, code.to_owned()), "{headers:?}");
    }
    assert_eq!(put(&[], b"<AccessControlPolicy/>"), (400, "MalformedACLError".to_owned()));
    let missing = node.send("PUT", "/bucket/gone?acl", &[("x-amz-acl", "private")], b"");
    assert_eq!(missing.error(), (404, "NoSuchKey".to_owned()));
    let refused = node.send("PUT", "/bucket/new", &[("x-amz-acl", "public-ready")], b"x");
    assert_eq!(refused.error(), (400, "InvalidArgument".to_owned()));
    assert_eq!(node.send("GET", "/bucket/new", &[], b"").status, 404);
}

#[test]
fn a_bucket_whose_owner_owns_everything_takes_no_acls() {
    let node = Node::with_bucket("other");
    let enforced = [("x-amz-object-ownership", "BucketOwnerEnforced")];
    assert_eq!(node.send("PUT", "/bucket", &enforced, b"").status, 200);
    let put = |target: &str, acl: &str| node.send("PUT", target, &[("x-amz-acl", acl)], b"");
    assert_eq!(put("/bucket/k", "bucket-owner-full-control").status, 200);
    for target in ["/bucket/k", "/bucket/k?acl"] {
        for acl in ["private", "public-read"] {
            let refused = put(target, acl);
            assert_eq!(refused.error(), (400, "AccessControlListNotSupported".to_owned()), "{target} {acl}");
        }
    }
    assert_eq!(grants(&node.send("GET", "/bucket/k?acl", &[], b"")), ["FULL_CONTROL owner"]);
}

#[test]
fn clients_that_send_private_unasked_can_upload_to_buckets_made_by_default() {
    let node = Node::with_bucket("bucket");
    let put = |target: &str, headers: &[(&str, &str)]| node.send("PUT", target, headers, b"");
    let private = ("x-amz-acl", "private");
    assert_eq!(put("/bucket/k", &[private]).status, 200);
    assert_eq!(put("/bucket/copy", &[private, ("x-amz-copy-source", "/bucket/k")]).status, 200);
    assert_eq!(node.send("POST", "/bucket/large?uploads", &[private], b"").status, 200);
    assert_eq!(grants(&node.send("GET", "/bucket/k?acl", &[], b"")), ["FULL_CONTROL owner"]);

    let refusal = (400, "AccessControlListNotSupported".to_owned());
    assert_eq!(put("/bucket/k?acl", &[private]).error(), refusal);
    assert_eq!(put("/bucket/k", &[("x-amz-acl", "public-read")]).error(), refusal);
    assert_eq!(put("/bucket/k", &[private, ("x-amz-grant-read", "id=owner")]).error(), refusal);
}

#[test]
fn answers_say_when_a_rule_removes_the_object() {
    let node = Node::with_bucket("bucket");
    let rules = b"<LifecycleConfiguration><Rule><ID>old ones</ID><Status>Enabled</Status><Filter><Tag>\
                  <Key>t</Key><Value>1</Value></Tag></Filter><Expiration><Days>2</Days></Expiration></Rule>\
                  </LifecycleConfiguration>";
    let md5 = crate::hash::base64_encode(&crate::hash::md5(rules));
    let set = node.send("PUT", "/bucket?lifecycle", &[("content-md5", &md5)], rules);
    assert_eq!(set.status, 200, "{set:?}");
    let put = node.send("PUT", "/bucket/k", &[("x-amz-tagging", "t=1")], b"x");
    let announced = put.header("x-amz-expiration").expect("a date").to_owned();
    assert!(announced.starts_with("expiry-date=\"") && announced.ends_with("rule-id=\"old%20ones\""));
    for method in ["GET", "HEAD"] {
        let read = node.send(method, "/bucket/k", &[], b"");
        assert_eq!(read.header("x-amz-expiration"), Some(announced.as_str()));
    }
    let copied = node.send("PUT", "/bucket/copy", &[("x-amz-copy-source", "bucket/k")], b"");
    assert!(copied.header("x-amz-expiration").is_some());
    assert_eq!(node.send("PUT", "/bucket/k", &[], b"x").header("x-amz-expiration"), None);
    assert_eq!(node.send("GET", "/bucket/k", &[], b"").header("x-amz-expiration"), None);
}
