//! Tags of objects, end to end against a simulated node.

use super::harness::Node;
use crate::s3::xml::Element;

fn tags(document: &Element) -> Vec<(&str, &str)> {
    let tag = |tag| Some((Element::child_text(tag, "Key")?, Element::child_text(tag, "Value")?));
    document.child("TagSet").unwrap().children_named("Tag").filter_map(tag).collect()
}

#[test]
fn tags_are_set_replaced_and_removed_without_touching_the_object() {
    let node = Node::with_bucket("bucket");
    let headers = [("x-amz-tagging", "b=2&a=1%20%2B"), ("x-amz-meta-m", "v")];
    assert_eq!(node.send("PUT", "/bucket/k", &headers, b"x").status, 200);
    let before = node.send("HEAD", "/bucket/k", &[], b"");
    assert_eq!(before.header("x-amz-tagging-count"), Some("2"));
    let get = || node.send("GET", "/bucket/k?tagging", &[], b"").document("Tagging");
    assert_eq!(tags(&get()), [("a", "1 +"), ("b", "2")]);

    let document = b"<Tagging><TagSet><Tag><Key>c</Key><Value>3</Value></Tag></TagSet></Tagging>";
    assert_eq!(node.send("PUT", "/bucket/k?tagging", &[], document).status, 200);
    assert_eq!(tags(&get()), [("c", "3")]);
    assert_eq!(node.send("DELETE", "/bucket/k?tagging", &[], b"").status, 204);
    assert_eq!(tags(&get()), []);
    let after = node.send("HEAD", "/bucket/k", &[], b"");
    assert_eq!(after.header("x-amz-tagging-count"), None);
    for name in ["last-modified", "etag", "x-amz-meta-m", "content-type"] {
        assert_eq!(after.header(name), before.header(name), "{name}");
    }
}

#[test]
fn what_cannot_be_tagged_is_refused() {
    let node = Node::with_bucket("bucket");
    node.send("PUT", "/bucket/k", &[], b"x");
    let document = b"<Tagging><TagSet/></Tagging>";
    let missing = node.send("PUT", "/bucket/gone?tagging", &[], document);
    assert_eq!(missing.error(), (404, "NoSuchKey".to_owned()));
    let missing = node.send("PUT", "/bucket/k?tagging&versionId=0199c0de00000001", &[], document);
    assert_eq!(missing.error(), (404, "NoSuchVersion".to_owned()));
    for (document, code) in [
        ("", "MalformedXML"),
        ("<Tagging/>", "MalformedXML"),
        ("<Tagging><TagSet><Tag><Key>aws:x</Key><Value/></Tag></TagSet></Tagging>", "InvalidTag"),
    ] {
        let refused = node.send("PUT", "/bucket/k?tagging", &[], document.as_bytes());
        assert_eq!(refused.error(), (400, code.to_owned()), "{document}");
    }
    let refused = node.send("PUT", "/bucket/other", &[("x-amz-tagging", "a=b=c")], b"x");
    assert_eq!(refused.error(), (400, "InvalidArgument".to_owned()));
    assert_eq!(node.send("GET", "/bucket/other", &[], b"").status, 404);
}

#[test]
fn a_copy_takes_the_tags_of_its_source_or_its_own() {
    let node = Node::with_bucket("bucket");
    node.send("PUT", "/bucket/from", &[("x-amz-tagging", "a=1")], b"x");
    let source = ("x-amz-copy-source", "bucket/from");
    let copied = |headers: &[(&str, &str)]| {
        let answer = node.send("PUT", "/bucket/to", &[&[source], headers].concat(), b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        let document = node.send("GET", "/bucket/to?tagging", &[], b"").document("Tagging");
        tags(&document).iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("&")
    };
    assert_eq!(copied(&[]), "a=1");
    assert_eq!(copied(&[("x-amz-metadata-directive", "REPLACE")]), "a=1");
    assert_eq!(copied(&[("x-amz-tagging", "b=2")]), "a=1");
    assert_eq!(copied(&[("x-amz-tagging-directive", "REPLACE"), ("x-amz-tagging", "b=2")]), "b=2");
    assert_eq!(copied(&[("x-amz-tagging-directive", "REPLACE")]), "");
    let headers = [source, ("x-amz-tagging-directive", "MERGE")];
    let refused = node.send("PUT", "/bucket/to", &headers, b"");
    assert_eq!(refused.error(), (400, "InvalidArgument".to_owned()));
}
