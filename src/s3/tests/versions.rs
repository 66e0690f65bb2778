//! Versions of objects, end to end against a simulated node: how they are named, read, hidden and removed.

use super::harness::{Answer, Node};
use crate::engine::{BucketChange, Versioning};
use crate::hash;

const VERSION: &str = "x-amz-version-id";
const MARKER: &str = "x-amz-delete-marker";

fn set_versioning(node: &Node, versioning: Versioning) {
    let versioning = Some(versioning);
    node.set_bucket("bucket", BucketChange { versioning, ..BucketChange::default() });
}

fn versioned() -> Node {
    let node = Node::with_bucket("bucket");
    set_versioning(&node, Versioning::Enabled);
    node
}

fn id(answer: &Answer) -> String {
    answer.header(VERSION).unwrap_or_else(|| panic!("a version id: {answer:?}")).to_owned()
}

fn put(node: &Node, body: &str) -> String {
    id(&node.send("PUT", "/bucket/k", &[], body.as_bytes()))
}

fn error(answer: &Answer) -> (u16, String) {
    answer.error()
}

#[test]
fn a_bucket_without_versioning_names_no_versions() {
    let node = Node::with_bucket("bucket");
    let put = node.send("PUT", "/bucket/k", &[], b"x");
    assert_eq!((put.status, put.header(VERSION)), (200, None));
    let get = node.send("GET", "/bucket/k", &[], b"");
    assert_eq!((get.status, get.header(VERSION)), (200, None));
    assert_eq!(node.send("GET", "/bucket/k?versionId=null", &[], b"").body, b"x");
    let missing = node.send("GET", "/bucket/k?versionId=0199c0de00000001", &[], b"");
    assert_eq!(error(&missing), (404, "NoSuchVersion".to_owned()));
    assert_eq!(missing.document("Error").child_text("VersionId"), Some("0199c0de00000001"));
    for id in ["x", "", "3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrH"] {
        let refused = node.send("GET", &format!("/bucket/k?versionId={id}"), &[], b"");
        assert_eq!(error(&refused), (400, "InvalidArgument".to_owned()), "{id}");
    }
    let delete = node.send("DELETE", "/bucket/k", &[], b"");
    assert_eq!((delete.status, delete.header(VERSION), delete.header(MARKER)), (204, None, None));
}

#[test]
fn every_version_can_be_read_by_its_id_and_described() {
    let node = versioned();
    let (first, second) = (put(&node, "one"), put(&node, "two"));
    assert_ne!(first, second);
    let current = node.send("GET", "/bucket/k", &[], b"");
    assert_eq!((current.body.as_slice(), id(&current)), (&b"two"[..], second.clone()));
    let target = format!("/bucket/k?versionId={first}");
    let older = node.send("GET", &target, &[("range", "bytes=1-")], b"");
    assert_eq!((older.status, older.body.as_slice(), id(&older)), (206, &b"ne"[..], first.clone()));
    let head = node.send("HEAD", &target, &[], b"");
    assert_eq!((head.status, head.body.len(), id(&head)), (200, 3, first.clone()));
    let unchanged = node.send("GET", &target, &[("if-none-match", head.header("etag").unwrap())], b"");
    assert_eq!((unchanged.status, id(&unchanged)), (304, first.clone()));
    let wanted = [("x-amz-object-attributes", "ETag,ObjectSize")];
    let target = format!("/bucket/k?attributes&versionId={first}");
    let attributes = node.send("GET", &target, &wanted, b"");
    assert_eq!(id(&attributes), first);
    assert_eq!(attributes.document("GetObjectAttributesResponse").child_text("ObjectSize"), Some("3"));
}

#[test]
fn a_delete_marker_hides_the_object_until_it_is_removed() {
    let node = versioned();
    let version = put(&node, "one");
    let deleted = node.send("DELETE", "/bucket/k", &[], b"");
    assert_eq!((deleted.status, deleted.header(MARKER)), (204, Some("true")));
    let marker = id(&deleted);

    for method in ["GET", "HEAD"] {
        let hidden = node.send(method, "/bucket/k", &[], b"");
        assert_eq!((hidden.status, hidden.header(MARKER), id(&hidden)), (404, Some("true"), marker.clone()));
        let by_id = node.send(method, &format!("/bucket/k?versionId={marker}"), &[], b"");
        assert_eq!(
            (by_id.status, by_id.header(MARKER), by_id.header("allow")),
            (405, Some("true"), Some("DELETE"))
        );
        assert!(by_id.header("last-modified").is_some());
    }
    for sub in ["tagging", "acl", "attributes"] {
        let headers = [("x-amz-object-attributes", "ETag")];
        let hidden = node.send("GET", &format!("/bucket/k?{sub}"), &headers, b"");
        assert_eq!(error(&hidden), (404, "NoSuchKey".to_owned()), "{sub}");
        let by_id = node.send("GET", &format!("/bucket/k?{sub}&versionId={marker}"), &headers, b"");
        assert_eq!(error(&by_id), (405, "MethodNotAllowed".to_owned()), "{sub}");
    }
    let copy = |source: &str| node.send("PUT", "/bucket/copy", &[("x-amz-copy-source", source)], b"");
    assert_eq!(error(&copy("bucket/k")), (404, "NoSuchKey".to_owned()));
    let of_marker = copy(&format!("bucket/k?versionId={marker}"));
    assert_eq!(error(&of_marker), (400, "InvalidRequest".to_owned()));

    let removed = node.send("DELETE", &format!("/bucket/k?versionId={marker}"), &[], b"");
    assert_eq!((removed.status, removed.header(MARKER), id(&removed)), (204, Some("true"), marker.clone()));
    assert_eq!(node.send("GET", "/bucket/k", &[], b"").body, b"one");
    let removed = node.send("DELETE", &format!("/bucket/k?versionId={version}"), &[], b"");
    assert_eq!((removed.status, removed.header(MARKER), id(&removed)), (204, None, version.clone()));
    let again = node.send("DELETE", &format!("/bucket/k?versionId={version}"), &[("if-match", "*")], b"");
    assert_eq!((again.status, id(&again)), (204, version));
    let nothing = node.send("GET", "/bucket/k", &[], b"");
    assert_eq!((nothing.status, nothing.header(MARKER)), (404, None));
}

#[test]
fn suspended_versioning_writes_over_the_null_version_and_keeps_the_others() {
    let node = Node::with_bucket("bucket");
    node.send("PUT", "/bucket/k", &[], b"null");
    set_versioning(&node, Versioning::Enabled);
    let numbered = put(&node, "numbered");
    set_versioning(&node, Versioning::Suspended);
    let again = node.send("PUT", "/bucket/k", &[], b"null again");
    assert_eq!((again.status, again.header(VERSION)), (200, None));
    let get = node.send("GET", "/bucket/k", &[], b"");
    assert_eq!((get.body.as_slice(), id(&get).as_str()), (&b"null again"[..], "null"));
    assert_eq!(node.send("GET", "/bucket/k?versionId=null", &[], b"").body, b"null again");
    let deleted = node.send("DELETE", "/bucket/k", &[], b"");
    assert_eq!((deleted.header(MARKER), id(&deleted).as_str()), (Some("true"), "null"));
    assert_eq!(error(&node.send("GET", "/bucket/k?versionId=null", &[], b"")).0, 405);
    node.send("DELETE", "/bucket/k?versionId=null", &[], b"");
    let get = node.send("GET", "/bucket/k", &[], b"");
    assert_eq!((get.body.as_slice(), id(&get)), (&b"numbered"[..], numbered));
    assert_eq!(error(&node.send("DELETE", "/bucket", &[], b"")), (409, "BucketNotEmpty".to_owned()));
}

#[test]
fn copies_read_and_name_versions() {
    let node = versioned();
    let (first, second) = (put(&node, "one"), put(&node, "two"));
    let source = format!("/bucket/k?versionId={first}");
    // A version may become current again without any other change.
    let restored = node.send("PUT", "/bucket/k", &[("x-amz-copy-source", source.as_str())], b"");
    assert_eq!(restored.status, 200, "{restored:?}");
    assert_eq!(restored.header("x-amz-copy-source-version-id"), Some(first.as_str()));
    assert!(id(&restored) != first && id(&restored) != second);
    assert_eq!(node.send("GET", "/bucket/k", &[], b"").body, b"one");
    let missing = [("x-amz-copy-source", "bucket/k?versionId=0199c0de00000001")];
    assert_eq!(error(&node.send("PUT", "/bucket/c", &missing, b"")), (404, "NoSuchVersion".to_owned()));

    let begun = node.send("POST", "/bucket/m?uploads", &[], b"").document("InitiateMultipartUploadResult");
    let upload = begun.child_text("UploadId").unwrap();
    let target = format!("/bucket/m?partNumber=1&uploadId={upload}");
    let source = format!("bucket/k?versionId={second}");
    let part = node.send("PUT", &target, &[("x-amz-copy-source", &source)], b"");
    assert_eq!(part.header("x-amz-copy-source-version-id"), Some(second.as_str()));
    let etag = part.document("CopyPartResult").child_text("ETag").unwrap().to_owned();
    let document = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>\
         </CompleteMultipartUpload>"
    );
    let target = format!("/bucket/m?uploadId={upload}");
    let completed = node.send("POST", &target, &[], document.as_bytes());
    let get = node.send("GET", "/bucket/m", &[], b"");
    assert_eq!((get.body.as_slice(), id(&get)), (&b"two"[..], id(&completed)));
    let repeated = node.send("POST", &target, &[], document.as_bytes());
    assert_eq!((repeated.status, id(&repeated)), (200, id(&completed)));
}

#[test]
fn conditions_look_at_the_current_object_or_at_the_named_version() {
    let node = versioned();
    let version = put(&node, "one");
    let etag = node.send("HEAD", "/bucket/k", &[], b"").header("etag").unwrap().to_owned();
    let target = format!("/bucket/k?versionId={version}");
    let refused = node.send("DELETE", &target, &[("if-match", "\"no\"")], b"");
    assert_eq!(error(&refused), (412, "PreconditionFailed".to_owned()));
    node.send("DELETE", "/bucket/k", &[], b"");
    let hide_again = |name, value| node.send("DELETE", "/bucket/k", &[(name, value)], b"");
    for (name, value) in [
        ("if-match", etag.as_str()),
        ("x-amz-if-match-size", "3"),
        ("x-amz-if-match-last-modified-time", "Thu, 01 Jan 2015 00:00:00 GMT"),
    ] {
        assert_eq!(error(&hide_again(name, value)), (412, "PreconditionFailed".to_owned()), "{name}");
    }
    assert_eq!(error(&hide_again("if-match", "*")), (404, "NoSuchKey".to_owned()));
    assert_eq!(hide_again("x-amz-if-match-size", "0").status, 204);
    let over_marker = node.send("PUT", "/bucket/k", &[("if-match", &etag)], b"x");
    assert_eq!(error(&over_marker), (404, "NoSuchKey".to_owned()));
    assert_eq!(node.send("PUT", "/bucket/k", &[("if-none-match", "*")], b"two").status, 200);
    let refused = node.send("PUT", "/bucket/k", &[("if-none-match", "*")], b"three");
    assert_eq!(error(&refused), (412, "PreconditionFailed".to_owned()));
    assert_eq!(node.send("DELETE", &target, &[("if-match", &etag)], b"").status, 204);
}

#[test]
fn many_versions_are_deleted_at_once_and_markers_are_named() {
    let node = versioned();
    let version = put(&node, "one");
    let delete = |objects: &str| {
        let order = format!("<Delete>{objects}</Delete>");
        let md5 = hash::base64_encode(&hash::md5(order.as_bytes()));
        let answer = node.send("POST", "/bucket?delete", &[("content-md5", &md5)], order.as_bytes());
        answer.document("DeleteResult")
    };
    let result = delete("<Object><Key>k</Key></Object><Object><Key>new</Key></Object>");
    let made: Vec<_> = result
        .children_named("Deleted")
        .map(|entry| {
            assert_eq!(
                (entry.child_text("DeleteMarker"), entry.child_text("VersionId")),
                (Some("true"), None)
            );
            entry.child_text("DeleteMarkerVersionId").unwrap().to_owned()
        })
        .collect();
    assert_eq!(made.len(), 2);
    let result = delete(&format!(
        "<Object><Key>k</Key><VersionId>{}</VersionId></Object>\
         <Object><Key>k</Key><VersionId>{version}</VersionId></Object>\
         <Object><Key>k</Key><VersionId>x</VersionId></Object>",
        made[0]
    ));
    let [marker, object, invalid] = &result.children[..] else { panic!("three results") };
    assert_eq!(marker.child_text("DeleteMarkerVersionId"), Some(made[0].as_str()));
    assert_eq!(marker.child_text("VersionId"), Some(made[0].as_str()));
    assert_eq!(
        (object.child_text("VersionId"), object.child("DeleteMarker")),
        (Some(version.as_str()), None)
    );
    assert_eq!((invalid.name.as_str(), invalid.child_text("Code")), ("Error", Some("InvalidArgument")));
    let left = node.send("GET", "/bucket?versions", &[], b"").document("ListVersionsResult");
    let left: Vec<_> =
        left.children_named("DeleteMarker").filter_map(|entry| entry.child_text("Key")).collect();
    assert_eq!(left, ["new"]);
}

#[test]
fn a_listing_of_versions_folds_keys_and_refuses_odd_markers() {
    let node = versioned();
    for key in ["a/1", "a/2", "b%20c"] {
        node.send("PUT", &format!("/bucket/{key}"), &[], b"x");
        node.send("DELETE", &format!("/bucket/{key}"), &[], b"");
    }
    let list = |query: &str| node.send("GET", &format!("/bucket?versions&{query}"), &[], b"");
    let result = list("delimiter=/&encoding-type=url").document("ListVersionsResult");
    assert_eq!(result.child("CommonPrefixes").unwrap().child_text("Prefix"), Some("a/"));
    let marker = result.child("DeleteMarker").unwrap();
    assert_eq!((marker.child_text("Key"), marker.child_text("IsLatest")), (Some("b%20c"), Some("true")));
    let version = result.child("Version").unwrap();
    assert_eq!((version.child_text("Key"), version.child_text("IsLatest")), (Some("b%20c"), Some("false")));
    assert!(version.child("Owner").is_some() && version.child_text("StorageClass") == Some("STANDARD"));
    let result = list("prefix=a/&max-keys=3").document("ListVersionsResult");
    assert_eq!(result.child_text("NextKeyMarker"), Some("a/2"));
    for query in ["version-id-marker=null", "key-marker=a&version-id-marker=x", "max-keys=-1"] {
        assert_eq!(error(&list(query)), (400, "InvalidArgument".to_owned()), "{query}");
    }
}
