//! Lifecycle rules carried out on a simulated node, by its clock.

use std::collections::BTreeMap;
use std::time::Duration;

use super::harness::Node;
use crate::engine::{BucketChange, Condition, Deletion, Lookup};
use crate::hash;
use crate::io::Host;
use crate::s3::lifecycle::{self, pass, pass::Done};
use crate::s3::service::Settings;
use crate::s3::settings::expiry::DayLength;
use crate::s3::settings::{Document, Lifecycle};

const DAY: DayLength = DayLength(10_000);

fn days(count: f64) -> Duration {
    Duration::from_millis(DAY.0).mul_f64(count)
}

fn node() -> Node {
    Node::with_settings("bkt", Settings { lifecycle_day_ms: DAY.0, ..Settings::default() })
}

/// Puts one rule.
#[track_caller]
fn put_rule(node: &Node, filter: &str, actions: &str) {
    let document = format!(
        "<LifecycleConfiguration><Rule><ID>r</ID><Status>Enabled</Status><Filter>{filter}</Filter>{actions}\
         </Rule></LifecycleConfiguration>"
    );
    let digest = hash::base64_encode(&hash::md5(document.as_bytes()));
    let answer = node.send("PUT", "/bkt?lifecycle", &[("content-md5", digest.as_str())], document.as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[track_caller]
fn set_versioning(node: &Node, status: &str) {
    let document = format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
    assert_eq!(node.send("PUT", "/bkt?versioning", &[], document.as_bytes()).status, 200);
}

#[track_caller]
fn put(node: &Node, key: &str, headers: &[(&str, &str)], payload: &[u8]) {
    assert_eq!(node.send("PUT", &format!("/bkt/{key}"), headers, payload).status, 200);
}

fn pass(node: &Node) -> Done {
    node.block_on(pass::run(node.service(), DAY, &|| false)).expect("a pass")
}

fn keys(node: &Node) -> Vec<String> {
    let listing = node.send("GET", "/bkt?list-type=2", &[], b"").document("ListBucketResult");
    listing.children_named("Contents").map(|it| it.child_text("Key").unwrap().to_owned()).collect()
}

/// Versions and delete markers of each key.
fn versions(node: &Node) -> BTreeMap<String, (usize, usize)> {
    let listing = node.send("GET", "/bkt?versions", &[], b"").document("ListVersionsResult");
    let mut counts = BTreeMap::<String, (usize, usize)>::new();
    for version in listing.children_named("Version") {
        counts.entry(version.child_text("Key").unwrap().to_owned()).or_default().0 += 1;
    }
    for marker in listing.children_named("DeleteMarker") {
        counts.entry(marker.child_text("Key").unwrap().to_owned()).or_default().1 += 1;
    }
    counts
}

fn counted(counts: &[(&str, usize, usize)]) -> BTreeMap<String, (usize, usize)> {
    counts.iter().map(|(key, versions, markers)| ((*key).to_owned(), (*versions, *markers))).collect()
}

const ONE_DAY: &str = "<Expiration><Days>1</Days></Expiration>";

#[test]
fn objects_of_a_prefix_go_when_their_days_have_passed_and_not_before() {
    let node = node();
    put_rule(&node, "<Prefix>logs/</Prefix>", ONE_DAY);
    put(&node, "logs/old", &[], b"x");
    put(&node, "kept", &[], b"x");
    node.pass(days(0.6));
    put(&node, "logs/new", &[], b"x");
    assert_eq!(pass(&node), Done::default());
    node.pass(days(0.5));
    assert_eq!(pass(&node), Done { expired: 1, ..Done::default() });
    assert_eq!(keys(&node), ["kept", "logs/new"]);
    let node = node.restart();
    node.pass(days(1.0));
    assert_eq!(pass(&node), Done { expired: 1, ..Done::default() });
    assert_eq!(keys(&node), ["kept"]);
}

#[test]
fn a_pass_goes_through_more_keys_than_one_step() {
    let node = node();
    put_rule(&node, "<Prefix>a</Prefix>", ONE_DAY);
    for number in 0..300 {
        put(&node, &format!("{}{number:03}", if number % 3 == 0 { "b" } else { "a" }), &[], b"");
    }
    node.pass(days(1.1));
    assert_eq!(pass(&node), Done { expired: 200, ..Done::default() });
    assert_eq!(keys(&node).len(), 100);
}

#[test]
fn tags_and_sizes_decide_together() {
    let node = node();
    let filter = "<And><Prefix>a</Prefix><Tag><Key>k</Key><Value>v</Value></Tag>\
                  <ObjectSizeGreaterThan>1</ObjectSizeGreaterThan>\
                  <ObjectSizeLessThan>4</ObjectSizeLessThan></And>";
    put_rule(&node, filter, ONE_DAY);
    let tagged = [("x-amz-tagging", "k=v&l=w")];
    put(&node, "a/gone", &tagged, b"xx");
    put(&node, "a/other-tag", &[("x-amz-tagging", "k=w")], b"xx");
    put(&node, "a/untagged", &[], b"xx");
    put(&node, "a/small", &tagged, b"x");
    put(&node, "a/large", &tagged, b"xxxx");
    put(&node, "b", &tagged, b"xx");
    node.pass(days(1.1));
    assert_eq!(pass(&node), Done { expired: 1, ..Done::default() });
    assert_eq!(keys(&node), ["a/large", "a/other-tag", "a/small", "a/untagged", "b"]);
}

#[test]
fn a_date_that_has_passed_expires_what_is_there_and_what_comes() {
    let node = node();
    put(&node, "a", &[], b"");
    put_rule(&node, "", "<Expiration><Date>2100-01-01T00:00:00Z</Date></Expiration>");
    assert_eq!(pass(&node), Done::default());
    put_rule(&node, "", "<Expiration><Date>1970-01-01T00:00:00Z</Date></Expiration>");
    assert_eq!(pass(&node), Done { expired: 1, ..Done::default() });
    put(&node, "b", &[], b"");
    assert_eq!(pass(&node), Done { expired: 1, ..Done::default() });
}

#[test]
fn with_versioning_objects_are_hidden_and_go_as_noncurrent_versions() {
    let node = node();
    set_versioning(&node, "Enabled");
    let noncurrent = "<NoncurrentVersionExpiration><NoncurrentDays>2</NoncurrentDays>\
                      </NoncurrentVersionExpiration>";
    put_rule(&node, "", &format!("{ONE_DAY}{noncurrent}"));
    put(&node, "k", &[], b"1");
    node.pass(days(1.1));
    assert_eq!(pass(&node), Done { expired: 1, ..Done::default() });
    assert_eq!(versions(&node), counted(&[("k", 1, 1)]));
    assert_eq!(keys(&node).len(), 0);
    // A day later the marker is old enough, but a version is behind it.
    node.pass(days(1.1));
    assert_eq!(pass(&node), Done::default());
    node.pass(days(1.1));
    assert_eq!(pass(&node), Done { noncurrent: 1, ..Done::default() });
    assert_eq!(versions(&node), counted(&[("k", 0, 1)]));
    assert_eq!(pass(&node), Done { delete_markers: 1, ..Done::default() });
    assert_eq!(versions(&node), counted(&[]));
}

#[test]
fn the_newest_of_the_noncurrent_versions_are_kept() {
    let node = node();
    set_versioning(&node, "Enabled");
    for version in 0..6 {
        put(&node, "k", &[], &[version]);
    }
    put(&node, "other", &[], b"");
    put_rule(
        &node,
        "",
        "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays>\
         <NewerNoncurrentVersions>2</NewerNoncurrentVersions></NoncurrentVersionExpiration>",
    );
    assert_eq!(pass(&node), Done::default());
    node.pass(days(1.1));
    assert_eq!(pass(&node), Done { noncurrent: 3, ..Done::default() });
    assert_eq!(versions(&node), counted(&[("k", 3, 0), ("other", 1, 0)]));
    assert_eq!(node.send("GET", "/bkt/k", &[], b"").body, [5]);
}

#[test]
fn a_delete_marker_goes_when_nothing_is_behind_it() {
    let node = node();
    set_versioning(&node, "Enabled");
    put(&node, "k", &[], b"");
    node.send("DELETE", "/bkt/k", &[], b"");
    node.send("DELETE", "/bkt/never", &[], b"");
    let marker = "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>";
    put_rule(&node, "", marker);
    assert_eq!(pass(&node), Done { delete_markers: 1, ..Done::default() });
    assert_eq!(versions(&node), counted(&[("k", 1, 1)]));
}

#[test]
fn suspended_versioning_replaces_the_null_version_by_a_marker() {
    let node = node();
    set_versioning(&node, "Suspended");
    put(&node, "k", &[], b"");
    put_rule(&node, "", ONE_DAY);
    node.pass(days(1.1));
    assert_eq!(pass(&node), Done { expired: 1, ..Done::default() });
    assert_eq!(versions(&node), counted(&[("k", 0, 1)]));
}

#[test]
fn what_is_locked_stays_until_its_retention_ends() {
    let node = node();
    assert_eq!(node.send("PUT", "/locked", &[("x-amz-bucket-object-lock-enabled", "true")], b"").status, 200);
    let rule = "<LifecycleConfiguration><Rule><ID>r</ID><Status>Enabled</Status><Filter/>\
                <NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays>\
                </NoncurrentVersionExpiration></Rule></LifecycleConfiguration>";
    let digest = hash::base64_encode(&hash::md5(rule.as_bytes()));
    let answer = node.send("PUT", "/locked?lifecycle", &[("content-md5", &digest)], rule.as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
    let digest = hash::base64_encode(&hash::md5(b"x"));
    let held = [("x-amz-object-lock-legal-hold", "ON"), ("content-md5", digest.as_str())];
    let put = node.send("PUT", "/locked/k", &held, b"x");
    assert_eq!(put.status, 200, "{put:?}");
    let version = put.header("x-amz-version-id").unwrap().to_owned();
    node.send("PUT", "/locked/k", &[], b"y");
    node.pass(days(1.1));
    assert_eq!(pass(&node), Done { locked: 1, ..Done::default() });
    let target = format!("/locked/k?legal-hold&versionId={version}");
    let off = b"<LegalHold><Status>OFF</Status></LegalHold>";
    let digest = hash::base64_encode(&hash::md5(off));
    assert_eq!(node.send("PUT", &target, &[("content-md5", &digest)], off).status, 200);
    assert_eq!(pass(&node), Done { noncurrent: 1, ..Done::default() });
}

#[test]
fn unfinished_uploads_of_a_prefix_are_aborted() {
    let node = node();
    let rule = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation>\
                </AbortIncompleteMultipartUpload>";
    put_rule(&node, "<Prefix>a/</Prefix>", rule);
    for key in ["a/1", "a/2", "b"] {
        assert_eq!(node.send("POST", &format!("/bkt/{key}?uploads"), &[], b"").status, 200);
    }
    node.pass(days(1.9));
    assert_eq!(pass(&node), Done::default());
    node.pass(days(0.2));
    assert_eq!(pass(&node), Done { uploads: 2, ..Done::default() });
    let left = node.send("GET", "/bkt?uploads", &[], b"").document("ListMultipartUploadsResult");
    let left: Vec<_> = left.children_named("Upload").map(|it| it.child_text("Key").unwrap()).collect();
    assert_eq!(left, ["b"]);
}

#[test]
fn rules_that_cannot_be_read_or_are_disabled_remove_nothing() {
    let node = node();
    put(&node, "k", &[], b"");
    node.pass(days(9.0));
    for document in ["<LifecycleConfiguration>", "", "<LifecycleConfiguration/>"] {
        let setting = (Lifecycle::NAME.to_owned(), Some(document.as_bytes().to_vec()));
        let settings = [setting].into_iter().collect();
        node.set_bucket("bkt", BucketChange { settings, ..BucketChange::default() });
        assert_eq!(pass(&node), Done::default());
    }
    put_rule(&node, "", ONE_DAY);
    let stored = node.send("GET", "/bkt?lifecycle", &[], b"").body;
    let disabled = String::from_utf8(stored).unwrap().replace("Enabled", "Disabled");
    let setting = (Lifecycle::NAME.to_owned(), Some(disabled.into_bytes()));
    let settings = [setting].into_iter().collect();
    node.set_bucket("bkt", BucketChange { settings, ..BucketChange::default() });
    assert_eq!(pass(&node), Done::default());
    assert_eq!(keys(&node), ["k"]);
}

#[test]
fn a_version_that_became_current_again_is_not_removed_as_replaced() {
    let node = node();
    set_versioning(&node, "Enabled");
    put(&node, "k", &[], b"1");
    let engine = node.service().engine();
    let bucket = engine.bucket("bkt").unwrap().id;
    let object = node.block_on(engine.get(bucket, b"k", None)).unwrap().found().unwrap();
    let deletion = Deletion {
        version: Some(object.version()),
        condition: Condition { sequence: Some(object.sequence), ..Condition::default() },
        only_replaced: true,
        ..Deletion::default()
    };
    assert!(node.block_on(engine.delete(bucket, b"k", deletion.clone())).is_err());
    put(&node, "k", &[], b"2");
    assert!(node.block_on(engine.delete(bucket, b"k", deletion)).unwrap().existed);
    assert!(matches!(node.block_on(engine.get(bucket, b"k", None)), Ok(Lookup::Found(_))));
}

#[test]
fn the_driver_passes_by_itself_while_the_node_lives() {
    let node = node();
    put_rule(&node, "", ONE_DAY);
    put(&node, "k", &[], b"");
    let end = node.now() + 2 * DAY.0;
    let host = node.service().engine().host().clone();
    node.block_on(lifecycle::run(node.service(), || host.now() > end));
    assert_eq!(keys(&node).len(), 0);
}
