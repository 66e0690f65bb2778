//! Names: one request is about one bucket and one key, however they are spelled and wherever they stand.

use super::{SECRET, document, keys, node, node_with, outcome, send_anonymous, set_policy, user};
use crate::client::{Client, Request};

/// Whoever may read and write `open/*` in `box`, and nothing else.
const OPEN_ONLY: &str = r#"{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject","s3:DeleteObject"],
    "Resource":"arn:aws:s3:::box/open/*"}"#;

#[test]
fn a_signature_for_one_spelling_is_good_for_what_it_means_only() {
    let (node, mut owner) = node();
    owner.put("box", "a/b", SECRET).expect(200);
    owner.put_bucket("victim");
    owner.put("victim", "a/b", b"other").expect(200);
    let signed = owner.sign(Request::new("GET", "/box/a/b"));
    for (target, expected) in [
        // The same key: AWS's rules make one canonical path of these.
        ("/box/a%2Fb", (200, "")),
        ("/box/%61/b", (200, "")),
        ("/box//a/b", (403, "SignatureDoesNotMatch")),
        ("/box/./a/b", (403, "SignatureDoesNotMatch")),
        ("/box/x/../a/b", (403, "SignatureDoesNotMatch")),
        ("/box/a/b/", (403, "SignatureDoesNotMatch")),
        ("/BOX/a/b", (403, "SignatureDoesNotMatch")),
        ("/box/A/b", (403, "SignatureDoesNotMatch")),
        ("/box/a%252Fb", (403, "SignatureDoesNotMatch")),
        ("/box/a\\b", (403, "SignatureDoesNotMatch")),
        ("/victim/../box/a/b", (403, "SignatureDoesNotMatch")),
        // The same canonical path, but a slash that is encoded ends no bucket's name.
        ("/box%2Fa/b", (400, "InvalidBucketName")),
        ("/%62ox/a/b", (200, "")),
    ] {
        let request = Request { target: target.to_owned(), ..signed.clone() };
        let response = owner.try_send_as_is(&request).unwrap();
        let (status, code) = outcome(&response);
        assert_eq!((status, code.as_str()), expected, "{target}");
        if status == 200 {
            assert_eq!(response.body, SECRET, "{target}");
        }
    }
    drop(node);
}

#[test]
fn no_spelling_leads_out_of_what_a_policy_allows() {
    let (node, mut owner) = node();
    owner.put("box", "secret/k", SECRET).expect(200);
    owner.put_bucket("victim");
    owner.put("victim", "k", SECRET).expect(200);
    let mut mallory = user(&node, "mallory", &document(OPEN_ONLY));
    for target in [
        "/box/open/../secret/k",
        "/box/open/..%2Fsecret%2Fk",
        "/box/open/%2E%2E/secret/k",
        "/box/open/..%5Csecret%5Ck",
        "/box/open/%00/../../secret/k",
        "/box/open/..%2F..%2Fvictim%2Fk",
        "/box/open/.%2E/.%2E/victim/k",
    ] {
        // These are keys of their own under open/: allowed, and not there.
        let read = mallory.try_send_as_is(&signed_literally(&mallory, "GET", target)).unwrap();
        assert_ne!(read.body, SECRET, "{target}");
        assert!([403, 404].contains(&read.status), "{target}: {}", read.status);
        let write = mallory.try_send_as_is(&signed_literally(&mallory, "PUT", target)).unwrap();
        assert_eq!(write.status, 200, "{target}: {}", write.text());
        let delete = mallory.try_send_as_is(&signed_literally(&mallory, "DELETE", target)).unwrap();
        assert_eq!(delete.status, 204, "{target}: {}", delete.text());
    }
    for target in
        ["/box/secret/k", "/box//open/k", "/box/OPEN/k", "/box/./open/k", "/box/open%00", "/victim/k"]
    {
        for method in ["GET", "PUT", "DELETE"] {
            let answer = mallory.try_send_as_is(&signed_literally(&mallory, method, target)).unwrap();
            assert_eq!(outcome(&answer), (403, "AccessDenied".to_owned()), "{method} {target}");
        }
    }
    // What is decoded once is not decoded again.
    owner.put("box", "open/a%2Fb", b"a literal percent").expect(200);
    owner.put("box", "open/a/b", b"a slash").expect(200);
    let literal = Request::new("PUT", "/box/open/copy").header("x-amz-copy-source", "/box/open/a%252Fb");
    mallory.send(literal).expect(200);
    assert_eq!(owner.get("box", "open/copy").expect(200).body, b"a literal percent");
    for key in ["open/a%2Fb", "open/a/b", "open/copy"] {
        owner.delete("box", key).expect(204);
    }
    for source in [
        "/box/secret/k",
        "box/open/../secret/k",
        "/box/open/..%2Fsecret%2Fk",
        "/box/open/%2e%2e/secret/k",
        "../box/secret/k",
        "/box%2Fopen%2F..%2Fsecret%2Fk",
        "%2Fbox%2Fsecret%2Fk",
        "/box/open/%252e%252e/secret/k",
        "/victim/k",
        "/box/../victim/k",
        "%2e%2e/victim/k",
        "//victim/k",
        "http://localhost/box/secret/k",
        "/box/secret/k?versionId=null",
        "/box/open/k?versionId=/../secret/k",
        "file:///etc/passwd",
        "",
    ] {
        let copy = Request::new("PUT", "/box/open/copy").header("x-amz-copy-source", source);
        let answer = mallory.send(copy);
        assert!([400, 403, 404].contains(&answer.status), "{source}: {}", answer.text());
    }
    let (left, victim) = (keys(&mut owner, "box"), keys(&mut owner, "victim"));
    assert_eq!((left, victim), (vec!["k".to_owned(), "secret/k".to_owned()], vec!["k".to_owned()]));
    assert_eq!(owner.get("box", "secret/k").expect(200).body, SECRET);
    assert_eq!(owner.get("victim", "k").expect(200).body, SECRET);
}

/// Signs the canonical form of a target, and sends the target as it is.
fn signed_literally(client: &Client, method: &str, target: &str) -> Request {
    let decoded = percent_encoding::percent_decode_str(target).decode_utf8().unwrap();
    let canonical = crate::client::encode(&decoded).replace("%2F", "/");
    let body = if method == "PUT" { "evil" } else { "" };
    let signed = client.sign(Request::new(method, &canonical).body(body));
    Request { target: target.to_owned(), ..signed }
}

#[test]
fn names_of_buckets_lead_to_no_files() {
    let (node, mut owner) = node();
    let files = |node: &crate::node::Node| {
        let mut names: Vec<_> =
            std::fs::read_dir(node.data(0)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = files(&node);
    for target in [
        "/..",
        "/.",
        "/%2e%2e",
        "/..%2Fx",
        "/.hidden",
        "/a..b",
        "/-abc",
        "/ab",
        "/Abc",
        "/a_b",
        "/con.",
        "/box%00",
        "/a%20b",
        "/127.0.0.1",
        "/xn--abc",
        "/%ff%fe",
        "/%2Fetc%2Fpasswd",
    ] {
        let signed = owner.sign(Request::new("PUT", target));
        let answer = owner.try_send_as_is(&signed).unwrap();
        assert!([400, 403].contains(&answer.status), "{target}: {}", answer.status);
    }
    let long = owner.send(Request::new("PUT", &format!("/{}", "a".repeat(64))));
    assert_eq!(outcome(&long), (400, "InvalidBucketName".to_owned()));
    assert_eq!(files(&node), before, "files of the data directory");
    let listed = owner.send(Request::new("GET", "/")).expect(200).text();
    assert_eq!(crate::http::elements(&listed, "Name"), ["box"]);
}

#[test]
fn a_host_names_a_bucket_only_under_the_nodes_domain() {
    let (node, mut owner) = node_with(&["--domain", "s3.test"]);
    owner.put_bucket("victim");
    owner.put("victim", "k", b"the victim's").expect(200);
    let named = |host: &str| Request::new("GET", "/box/k").header("Host", host);
    // Path-style, whatever else the host says.
    for host in
        ["victim.s3.test.evil.example", "victim.other.example", "s3.test", "xs3.test", "victim", "[::1]"]
    {
        assert_eq!(owner.send(named(host)).expect(200).body, SECRET, "{host}");
    }
    // Names of buckets that cannot be.
    for host in ["..s3.test", "victim%2Fk.s3.test", "-.s3.test", "a..b.s3.test", "$.s3.test"] {
        let answer = owner.send(named(host));
        assert_eq!(outcome(&answer), (400, "InvalidBucketName".to_owned()), "{host}");
    }
    // The host is signed: nobody turns a request for one bucket into one for another.
    let mut signed = owner.sign(named("box.s3.test"));
    signed.headers[0].1 = "victim.s3.test".to_owned();
    let answer = owner.try_send_as_is(&signed).unwrap();
    assert_eq!(outcome(&answer), (403, "SignatureDoesNotMatch".to_owned()));
    // A target with a host of its own counts as the host (RFC 9112), for the signature too.
    let mut absolute = owner.sign(Request::new("GET", "/k").header("Host", "box.s3.test"));
    absolute.target = "http://victim.s3.test/k".to_owned();
    let answer = owner.try_send_as_is(&absolute).unwrap();
    assert_eq!(outcome(&answer), (403, "SignatureDoesNotMatch".to_owned()));
    // What proxies say about the host changes nothing.
    for header in ["X-Forwarded-Host", "X-Host", "X-Forwarded-Server"] {
        let asked = Request::new("GET", "/k").header("Host", "victim.s3.test").header(header, "box.s3.test");
        assert_eq!(owner.send(asked).expect(200).body, b"the victim's", "{header}");
    }
    // No host stands in a place where a client would follow it unasked: not in errors, not in redirects.
    let evil = Request::new("PUT", "/box/new").header("Host", "evil.example").body("x");
    assert_eq!(owner.send(evil).expect(200).header("Location"), None);
    drop(node);
}

#[test]
fn where_a_request_comes_from_is_what_the_socket_says() {
    let (node, mut owner) = node();
    owner.send(Request::new("DELETE", "/box?publicAccessBlock")).expect(204);
    let from = |network: &str| {
        format!(
            r#"{{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::box/*",
            "Condition":{{"IpAddress":{{"aws:SourceIp":"{network}"}}}}}}"#
        )
    };
    set_policy(&mut owner, "box", &from("198.51.100.0/24"));
    for header in [
        "X-Forwarded-For",
        "X-Real-IP",
        "Forwarded",
        "True-Client-IP",
        "CF-Connecting-IP",
        "X-Client-IP",
        "X-Amz-Source-Ip",
        "aws:SourceIp",
    ] {
        let value = if header == "Forwarded" { "for=198.51.100.7" } else { "198.51.100.7" };
        let request = Request::new("GET", "/box/k").header(header, value);
        if header.contains(':') {
            continue;
        }
        send_anonymous(&mut owner, request).expect_error(403, "AccessDenied");
    }
    // PROXY protocol is not spoken either.
    let mut connection = crate::http::Connection::open(node.address()).unwrap();
    connection
        .send(b"PROXY TCP4 198.51.100.7 127.0.0.1 1 2\r\nGET /box/k HTTP/1.1\r\nHost: h\r\n\r\n")
        .unwrap();
    assert_eq!(connection.receive(false).unwrap().status, 400);
    set_policy(&mut owner, "box", &from("127.0.0.0/8"));
    let honest = Request::new("GET", "/box/k").header("X-Forwarded-For", "198.51.100.7");
    send_anonymous(&mut owner, honest).expect(200);
    // Neither does anybody claim a secure transport that is not there.
    let secure = r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::box/*",
        "Condition":{"Bool":{"aws:SecureTransport":"true"}}}"#;
    set_policy(&mut owner, "box", secure);
    for (name, value) in [
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Ssl", "on"),
        ("Front-End-Https", "on"),
        ("Forwarded", "proto=https"),
    ] {
        let request = Request::new("GET", "/box/k").header(name, value);
        send_anonymous(&mut owner, request).expect_error(403, "AccessDenied");
    }
}

#[test]
fn one_of_two_contradicting_names_is_not_chosen() {
    let (node, mut owner) = node();
    let version = "0000000000000001";
    for target in [
        format!("/box/k?versionId={version}&versionId=null"),
        format!("/box/k?versionId=null&version%49d={version}"),
        "/box/k?uploadId=a&uploadId=b".to_owned(),
        "/box/k?partNumber=1&partNumber=2".to_owned(),
        "/box?acl&policy".to_owned(),
        "/box?policy&tagging".to_owned(),
    ] {
        let answer = owner.try_send_as_is(&owner.sign(Request::new("GET", &target))).unwrap();
        let is_refused = [400, 403].contains(&answer.status);
        assert!(is_refused, "{target}: {} {}", answer.status, answer.text());
    }
    // Names that differ in case or by an underscore are other names.
    for (name, value) in
        [("x_amz_acl", "public-read"), ("x-amz_acl", "public-read"), ("x-amz--acl", "public-read")]
    {
        let put = Request::new("PUT", "/box/plain").header(name, value).body("x");
        owner.send(put).expect(200);
    }
    for target in ["/box/k?VersionId=none", "/box/k?VERSIONID=none", "/box/k?version_id=none"] {
        assert_eq!(owner.send(Request::new("GET", target)).expect(200).body, SECRET, "{target}");
    }
    drop(node);
}
