//! Injection: what somebody stored or asked for never becomes structure of an answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{form, node, outcome, send_anonymous, set_policy};
use crate::client::{Request, encode, target};
use crate::http::{Connection, elements};

/// The head of the answer to a signed request, as it came.
fn raw_head(node: &crate::node::Node, owner: &crate::client::Client, request: Request) -> String {
    let mut connection = Connection::open(node.address()).unwrap();
    connection.send(&owner.sign(request).bytes()).unwrap();
    let head = connection.receive_head().unwrap();
    head.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect()
}

#[test]
fn no_value_becomes_a_header_of_an_answer() {
    let (node, mut owner) = node();
    let evil = "x\r\nSet-Cookie: evil=1\r\n\r\n<script>";
    for name in [
        "response-content-type",
        "response-content-disposition",
        "response-content-language",
        "response-content-encoding",
        "response-cache-control",
        "response-expires",
    ] {
        for value in [evil, "x\nSet-Cookie: evil=1", "x\rSet-Cookie: evil=1", "x\0"] {
            let head =
                raw_head(&node, &owner, Request::new("GET", &format!("/box/k?{name}={}", encode(value))));
            assert!(!head.contains("\nSet-Cookie"), "{name}: {head}");
        }
    }
    // A key in a Location, an ETag, a version, an error.
    for key in ["a\r\nSet-Cookie: evil=1", "a\nSet-Cookie: evil=1"] {
        let upload =
            raw_head(&node, &owner, Request::new("POST", &format!("{}?uploads", target("box", key))));
        let missing = raw_head(&node, &owner, Request::new("GET", &target("box", key)));
        let form = raw_head(&node, &owner, Request::new("GET", &format!("/box?prefix={}", encode(key))));
        for head in [upload, missing, form] {
            assert!(!head.contains("\nSet-Cookie"), "{head}");
        }
    }
    // Rules of CORS, whose texts stand in answers to anybody.
    let cors = |expose: &str| {
        format!(
            "<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod>\
             <ExposeHeader>{expose}</ExposeHeader></CORSRule></CORSConfiguration>"
        )
    };
    for expose in ["x-evil&#10;Set-Cookie: 1", "x-evil&#13;&#10;Set-Cookie: 1", "x-evil&#13;Set-Cookie: 1"] {
        let rules = cors(expose);
        let digest = STANDARD.encode(<md5::Md5 as md5::Digest>::digest(&rules));
        owner.send(Request::new("PUT", "/box?cors").header("Content-MD5", &digest).body(rules)).expect(200);
        let head = raw_head(&node, &owner, Request::new("GET", "/box/k").header("Origin", "http://a"));
        assert!(!head.contains("\nSet-Cookie"), "{head}");
        assert!(head.contains("x-evil"), "{head}");
    }
}

#[test]
fn no_field_of_a_form_becomes_a_header_of_later_answers() {
    let (node, mut owner) = node();
    owner.send(Request::new("DELETE", "/box?publicAccessBlock")).expect(204);
    let write =
        r#"{"Effect":"Allow","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::box/*"}"#;
    set_policy(&mut owner, "box", write);
    for name in [
        "x-amz-meta-a\nSet-Cookie: evil=1; x",
        "x-amz-meta-a\rSet-Cookie: evil=1; x",
        "x-amz-meta-a: evil",
        "x-amz-meta-a b",
        "x-amz-meta-\u{e9}",
        "x-amz-\0",
    ] {
        let posted = send_anonymous(&mut owner, form("box", &[("key", "posted"), (name, "v")], b"x"));
        assert_eq!(outcome(&posted), (400, "InvalidArgument".to_owned()), "{name:?}");
    }
    // A value may be anything, and is one line wherever it is shown.
    let fields = [
        ("key", "posted"),
        ("x-amz-meta-a", "b\r\nSet-Cookie: evil=1"),
        ("Content-Type", "a/b\nSet-Cookie: evil=1"),
    ];
    send_anonymous(&mut owner, form("box", &fields, b"x")).expect(204);
    let head = raw_head(&node, &owner, Request::new("HEAD", "/box/posted"));
    assert!(head.contains("x-amz-meta-a: b") && !head.contains("\nSet-Cookie"), "{head}");
    // Where the browser goes next is the form's to say, and it says a web address or nothing.
    for url in ["javascript:alert(1)", "http://h/\r\nSet-Cookie: evil=1", "//evil.example", "/"] {
        let fields = [("key", "posted"), ("success_action_redirect", url)];
        let posted = send_anonymous(&mut owner, form("box", &fields, b"x")).expect(204);
        assert_eq!(posted.header("Set-Cookie"), None, "{url}");
    }
    // What the node keeps beside headers cannot be written as one.
    for name in [":lock", ":acl", ":tags", ":encryption"] {
        let posted = send_anonymous(&mut owner, form("box", &[("key", "posted"), (name, "v")], b"x"));
        assert_eq!(posted.status, 204, "{name}");
        let head = raw_head(&node, &owner, Request::new("HEAD", "/box/posted"));
        assert!(!head.contains(name), "{head}");
    }
}

#[test]
fn no_key_becomes_an_element_of_a_document() {
    let (_node, mut owner) = node();
    let evil = "a</Key></Contents><Contents><Key>forged</Key><!--<![CDATA[&lt;&amp;\"'";
    owner.put("box", evil, b"x").expect(200);
    let upload = owner.create_upload("box", evil);
    for list in ["/box", "/box?list-type=2", "/box?versions", "/box?uploads"] {
        let listed = owner.send(Request::new("GET", list)).expect(200).text();
        let found = elements(&listed, "Key");
        assert!(found.contains(&evil.to_owned()), "{list}: {listed}");
        assert!(!found.contains(&"forged".to_owned()) && !listed.contains("</Key&gt;"), "{list}: {listed}");
    }
    for asked in ["prefix", "delimiter", "marker", "start-after", "encoding-type", "continuation-token"] {
        let list = format!("/box?list-type=2&{asked}={}", encode(evil));
        let listed = owner.send(Request::new("GET", &list)).text();
        assert!(!listed.contains("<Key>forged"), "{asked}: {listed}");
    }
    let missing = owner.send(Request::new("GET", &target("box", &format!("{evil}x")))).expect(404);
    assert_eq!(missing.element("Key").as_deref(), Some(format!("{evil}x").as_str()));
    let parts = format!("{}?uploadId={}", target("box", evil), encode(&upload));
    assert_eq!(owner.send(Request::new("GET", &parts)).expect(200).element("Key").as_deref(), Some(evil));
    for method in ["GET", "BREW"] {
        let answer =
            owner.try_send_as_is(&Request::new(method, "/%3Cforged%3E/k").header("Host", "h")).unwrap();
        assert!(!answer.text().contains("<forged>"), "{}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/xml"));
    }
    let wrong = owner
        .try_send_as_is(
            &Request::new("GET", "/box/k").header("Host", "h").header("Authorization", "<forged/>"),
        )
        .unwrap();
    assert!(!wrong.text().contains("<forged/>"), "{}", wrong.text());
}

#[test]
fn no_key_begins_a_line_of_the_log() {
    let (mut node, mut owner) = super::node_with(&["--log-level", "trace"]);
    let key = "k\n2026-01-01T00:00:00Z  INFO forged\r\x1b[31m";
    let mut stranger = super::stranger(&node, "acme");
    stranger.get("box", key).expect_error(403, "AccessDenied");
    let _ = owner.send(Request::new("GET", &target("box", key)).header("User-Agent", "a\u{1b}[2J"));
    assert!(node.terminate().success());
    let log = node.log_whole();
    assert!(log.contains("access denied"), "{log}");
    assert!(!log.lines().any(|line| line.starts_with("2026-01-01T00:00:00Z  INFO forged")), "{log}");
    assert!(!log.contains('\x1b'), "{log}");
}
