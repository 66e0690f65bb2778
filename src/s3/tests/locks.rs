//! Locks of object versions, end to end against a simulated node.

use std::time::Duration;

use super::harness::{Answer, Node};
use crate::engine::{BucketChange, Versioning};
use crate::http::date;

const HOUR: Duration = Duration::from_secs(60 * 60);
const MODE: &str = "x-amz-object-lock-mode";
const UNTIL: &str = "x-amz-object-lock-retain-until-date";
const HOLD: &str = "x-amz-object-lock-legal-hold";
const BYPASS: (&str, &str) = ("x-amz-bypass-governance-retention", "true");
const BODY: &[u8] = b"body of a locked object";

/// A node whose bucket locks objects, with `rule` as its default.
fn locking(rule: &str) -> Node {
    let node = Node::with_bucket("bucket");
    let document = format!(
        "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>{rule}\
         </ObjectLockConfiguration>"
    );
    let settings = [("object-lock".to_owned(), Some(document.into_bytes()))].into();
    let versioning = Some(Versioning::Enabled);
    node.set_bucket("bucket", BucketChange { versioning, settings, ..BucketChange::default() });
    node
}

fn id(answer: &Answer) -> String {
    answer.header("x-amz-version-id").unwrap_or_else(|| panic!("a version id: {answer:?}")).to_owned()
}

/// A time from now, as headers and documents have it.
fn later(node: &Node, time: Duration) -> String {
    date::iso8601(node.now() + time.as_millis() as u64)
}

fn retention(mode: &str, until: &str) -> Vec<u8> {
    format!("<Retention><Mode>{mode}</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>")
        .into_bytes()
}

fn md5_of_body() -> String {
    crate::hash::base64_encode(&crate::hash::md5(BODY))
}

#[test]
fn a_version_under_retention_stays_until_its_time_or_for_who_may_bypass_it() {
    let node = locking("");
    for mode in ["GOVERNANCE", "COMPLIANCE"] {
        let until = later(&node, HOUR);
        let md5 = md5_of_body();
        let headers = [(MODE, mode), (UNTIL, until.as_str()), ("content-md5", md5.as_str())];
        let version = id(&node.send("PUT", "/bucket/k", &headers, BODY));
        let head = node.send("HEAD", "/bucket/k", &[], b"");
        assert_eq!((head.header(MODE), head.header(UNTIL)), (Some(mode), Some(until.as_str())));
        assert_eq!(head.header(HOLD), None);

        let target = format!("/bucket/k?versionId={version}");
        let refused = node.send("DELETE", &target, &[], b"");
        assert_eq!(refused.error(), (403, "AccessDenied".to_owned()));
        let message = "Access Denied because object protected by object lock.";
        assert_eq!(refused.document("Error").child_text("Message"), Some(message));
        // Without a version nothing is lost.
        assert_eq!(node.send("DELETE", "/bucket/k", &[], b"").header("x-amz-delete-marker"), Some("true"));
        let bypassed = node.send("DELETE", &target, &[BYPASS], b"");
        assert_eq!(bypassed.status, if mode == "GOVERNANCE" { 204 } else { 403 });
        node.pass(HOUR);
        assert_eq!(node.send("DELETE", &target, &[], b"").status, 204);
    }
}

#[test]
fn a_retention_in_force_is_extended_and_not_shortened() {
    let node = locking("");
    node.send("PUT", "/bucket/k", &[], BODY);
    let put = |headers: &[(&str, &str)], document: &[u8]| {
        let answer = node.send("PUT", "/bucket/k?retention", headers, document);
        if answer.status == 200 { 200 } else { answer.error().0 }
    };
    let get = || node.send("GET", "/bucket/k?retention", &[], b"");
    assert_eq!(get().error(), (404, "NoSuchObjectLockConfiguration".to_owned()));
    let (early, late) = (later(&node, HOUR), later(&node, 2 * HOUR));
    assert_eq!(put(&[], &retention("GOVERNANCE", &early)), 200);
    assert_eq!(put(&[], &retention("GOVERNANCE", &late)), 200);
    assert_eq!(put(&[], &retention("GOVERNANCE", &early)), 403);
    assert_eq!(put(&[], &retention("COMPLIANCE", &late)), 403);
    assert_eq!(put(&[], b"<Retention/>"), 403);
    assert_eq!(put(&[BYPASS], b"<Retention/>"), 200);
    assert_eq!(get().error().0, 404);
    assert_eq!(put(&[], &retention("COMPLIANCE", &late)), 200);
    assert_eq!(put(&[BYPASS], &retention("GOVERNANCE", &late)), 403);
    assert_eq!(put(&[BYPASS], &retention("COMPLIANCE", &early)), 403);
    assert_eq!(put(&[BYPASS], b"<Retention/>"), 403);
    let document = get().document("Retention");
    assert_eq!(document.child_text("Mode"), Some("COMPLIANCE"));
    assert_eq!(document.child_text("RetainUntilDate"), Some(late.as_str()));
}

#[test]
fn a_legal_hold_stands_beside_any_retention() {
    let node = locking("");
    let version = id(&node.send("PUT", "/bucket/k", &[], BODY));
    let hold = |status: &str| {
        let document = format!("<LegalHold><Status>{status}</Status></LegalHold>");
        node.send("PUT", "/bucket/k?legal-hold", &[], document.as_bytes())
    };
    let held = || {
        let document = node.send("GET", "/bucket/k?legal-hold", &[], b"").document("LegalHold");
        document.child_text("Status").unwrap().to_owned()
    };
    assert_eq!(id(&hold("ON")), version);
    assert_eq!(held(), "ON");
    assert_eq!(node.send("HEAD", "/bucket/k", &[], b"").header(HOLD), Some("ON"));
    let target = format!("/bucket/k?versionId={version}");
    assert_eq!(node.send("DELETE", &target, &[BYPASS], b"").error().0, 403);
    assert_eq!(hold("maybe").error(), (400, "MalformedXML".to_owned()));
    assert_eq!(hold("OFF").status, 200);
    assert_eq!(held(), "OFF");
    assert_eq!(node.send("DELETE", &target, &[], b"").status, 204);
}

#[test]
fn the_default_of_the_bucket_locks_what_comes_without_a_wish() {
    let node =
        locking("<Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule>");
    let unproven = node.send("PUT", "/bucket/k", &[], BODY);
    assert_eq!(unproven.error(), (400, "InvalidRequest".to_owned()));
    let md5 = md5_of_body();
    node.send("PUT", "/bucket/k", &[("content-md5", &md5)], BODY);
    let head = node.send("HEAD", "/bucket/k", &[], b"");
    let until = date::parse_iso8601(head.header(UNTIL).unwrap()).unwrap();
    assert_eq!(head.header(MODE), Some("GOVERNANCE"));
    assert!(until.abs_diff(node.now() + 24 * HOUR.as_millis() as u64) < 60_000);

    let late = later(&node, 48 * HOUR);
    let own = [(MODE, "COMPLIANCE"), (UNTIL, late.as_str())];
    let copy = [own[0], own[1], ("x-amz-copy-source", "bucket/k")];
    assert_eq!(node.send("PUT", "/bucket/copy", &copy, b"").status, 200);
    assert_eq!(node.send("HEAD", "/bucket/copy", &[], b"").header(MODE), Some("COMPLIANCE"));

    for (headers, mode) in [(&own[..], "COMPLIANCE"), (&[], "GOVERNANCE")] {
        let begun = node.send("POST", "/bucket/m?uploads", headers, b"");
        let begun = begun.document("InitiateMultipartUploadResult");
        let upload = begun.child_text("UploadId").unwrap();
        let part = node.send("PUT", &format!("/bucket/m?partNumber=1&uploadId={upload}"), &[], BODY);
        let document = format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part>\
             </CompleteMultipartUpload>",
            part.header("etag").unwrap()
        );
        let done = node.send("POST", &format!("/bucket/m?uploadId={upload}"), &[], document.as_bytes());
        let target = format!("/bucket/m?versionId={}", id(&done));
        assert_eq!(node.send("HEAD", &target, &[], b"").header(MODE), Some(mode));
        assert_eq!(node.send("DELETE", &target, &[], b"").error().0, 403);
    }
}

#[test]
fn a_bucket_without_the_configuration_locks_nothing() {
    let node = Node::with_bucket("bucket");
    node.send("PUT", "/bucket/k", &[], BODY);
    let until = later(&node, HOUR);
    let message = |answer: &Answer| {
        assert_eq!(answer.error(), (400, "InvalidRequest".to_owned()));
        answer.document("Error").child_text("Message").unwrap().to_owned()
    };
    for (sub, document) in [
        ("retention", retention("GOVERNANCE", &until)),
        ("legal-hold", b"<LegalHold><Status>ON</Status></LegalHold>".to_vec()),
    ] {
        let target = format!("/bucket/k?{sub}");
        let expected = "Bucket is missing Object Lock Configuration";
        assert_eq!(message(&node.send("GET", &target, &[], b"")), expected);
        assert_eq!(message(&node.send("PUT", &target, &[], &document)), expected);
        assert_eq!(node.send("PUT", &target, &[], b"").error(), (400, "MalformedXML".to_owned()));
    }
    let expected = "Bucket is missing ObjectLockConfiguration";
    assert_eq!(message(&node.send("PUT", "/bucket/k", &[(HOLD, "ON")], BODY)), expected);
    assert_eq!(message(&node.send("POST", "/bucket/k?uploads", &[(HOLD, "ON")], b"")), expected);
    // Who bypasses what is not there harms nothing.
    assert_eq!(node.send("DELETE", "/bucket/k", &[BYPASS], b"").status, 204);
}
