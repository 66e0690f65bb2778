//! Renaming, end to end against a simulated node.

use super::harness::{Answer, Node};

fn rename(node: &Node, from: &str, to: &str, headers: &[(&str, &str)]) -> Answer {
    let headers = [headers, &[("x-amz-rename-source", from)]].concat();
    node.send("PUT", &format!("/bucket/{to}?renameObject"), &headers, b"")
}

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.error(), (status, code.to_owned()));
}

fn body(node: &Node, key: &str) -> Option<Vec<u8>> {
    let get = node.send("GET", &format!("/bucket/{key}"), &[], b"");
    (get.status == 200).then_some(get.body)
}

#[test]
fn an_object_moves_with_all_that_is_stored_about_it() {
    let node = Node::with_bucket("bucket");
    for size in [0, 10, 200_000] {
        let payload = vec![size as u8; size];
        let described = [("x-amz-meta-n", "v"), ("content-type", "a/b")];
        let etag = node.send("PUT", "/bucket/a%20b", &described, &payload).header("etag").unwrap().to_owned();
        let moved = rename(&node, "a%20b", "c/d", &[("x-amz-client-token", "token")]);
        assert_eq!((moved.status, moved.body.len()), (200, 0), "{:?}", String::from_utf8_lossy(&moved.body));
        assert_eq!(body(&node, "a%20b"), None);
        let get = node.send("GET", "/bucket/c/d", &[], b"");
        assert!(get.body == payload);
        assert_eq!(get.header("etag"), Some(etag.as_str()));
        assert_eq!((get.header("x-amz-meta-n"), get.header("content-type")), (Some("v"), Some("a/b")));
        assert_eq!(get.header(":renamed"), None);
        node.send("DELETE", "/bucket/c/d", &[], b"");
    }
}

#[test]
fn a_rename_obeys_conditions_on_both_keys() {
    let node = Node::with_bucket("bucket");
    let etag = node.send("PUT", "/bucket/a", &[], b"a").header("etag").unwrap().to_owned();
    node.send("PUT", "/bucket/b", &[], b"b");
    let (past, future) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Fri, 06 Nov 2099 08:49:37 GMT");
    for (name, value) in [
        ("if-none-match", "*"),
        ("if-match", etag.as_str()),
        ("if-unmodified-since", past),
        ("if-modified-since", future),
        ("x-amz-rename-source-if-match", "\"00000000000000000000000000000000\""),
        ("x-amz-rename-source-if-none-match", etag.as_str()),
        ("x-amz-rename-source-if-none-match", "*"),
        ("x-amz-rename-source-if-unmodified-since", past),
        ("x-amz-rename-source-if-modified-since", future),
    ] {
        let answer = rename(&node, "a", "b", &[(name, value)]);
        assert_eq!(answer.error(), (412, "PreconditionFailed".to_owned()), "{name}");
        assert_eq!((body(&node, "a"), body(&node, "b")), (Some(b"a".to_vec()), Some(b"b".to_vec())));
    }
    refused(&rename(&node, "a", "c", &[("if-match", "*")]), 404, "NoSuchKey");
    refused(&rename(&node, "a", "c", &[("if-modified-since", past)]), 412, "PreconditionFailed");
    let all = [
        ("if-match", "*"),
        ("if-unmodified-since", future),
        ("x-amz-rename-source-if-match", etag.as_str()),
        ("x-amz-rename-source-if-unmodified-since", future),
    ];
    assert_eq!(rename(&node, "a", "b", &all).status, 200);
    assert_eq!((body(&node, "a"), body(&node, "b")), (None, Some(b"a".to_vec())));
}

#[test]
fn a_rename_may_be_repeated_with_its_token() {
    let node = Node::with_bucket("bucket");
    node.send("PUT", "/bucket/a", &[], b"a");
    let token = [("x-amz-client-token", "t1")];
    assert_eq!(rename(&node, "a", "b", &token).status, 200);
    assert_eq!(rename(&node, "a", "b", &token).status, 200);
    refused(&rename(&node, "a", "b", &[]), 404, "NoSuchKey");
    refused(&rename(&node, "a", "b", &[("x-amz-client-token", "t2")]), 404, "NoSuchKey");
    refused(&rename(&node, "other", "b", &token), 400, "IdempotencyParameterMismatch");
    node.send("PUT", "/bucket/a", &[], b"new");
    assert_eq!(rename(&node, "a", "b", &token).status, 200);
    assert_eq!((body(&node, "a"), body(&node, "b")), (Some(b"new".to_vec()), Some(b"a".to_vec())));
    assert_eq!(rename(&node, "b", "c", &token).status, 200);
    assert_eq!(body(&node, "c"), Some(b"a".to_vec()));
}

#[test]
fn what_cannot_be_renamed_is_refused() {
    let node = Node::with_bucket("bucket");
    node.send("PUT", "/bucket/a", &[], b"a");
    node.send("PUT", "/bucket/a/", &[], b"");
    refused(&rename(&node, "missing", "b", &[]), 404, "NoSuchKey");
    refused(&rename(&node, "a", "a", &[]), 400, "InvalidRequest");
    refused(&rename(&node, "a/", "b", &[]), 400, "InvalidRequest");
    refused(&rename(&node, "a", "b/", &[]), 400, "InvalidRequest");
    refused(&rename(&node, "", "b", &[]), 400, "InvalidArgument");
    refused(&rename(&node, "a", "b", &[("x-amz-client-token", "a b")]), 400, "InvalidArgument");
    assert_eq!(body(&node, "a"), Some(b"a".to_vec()));
}
