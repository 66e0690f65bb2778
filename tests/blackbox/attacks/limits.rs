//! Bombs: what is small to send and large to hold or slow to read is refused, by whomever it is sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{SECRET, document, form, keys, node, outcome, send_anonymous};
use crate::client::{Client, Request};
use crate::http::Connection;

/// Documents that are no larger than they may be, and would be much if somebody believed them.
fn bombs(root: &str) -> Vec<(&'static str, Vec<u8>)> {
    let wrapped = |inside: String| format!("<{root}>{inside}</{root}>").into_bytes();
    let laughs: String = (1..10)
        .map(|level| format!("<!ENTITY l{level} \"{}\">", format!("&l{};", level - 1).repeat(10)))
        .collect();
    let laughs = format!("<!DOCTYPE lolz [<!ENTITY l0 \"lol\">{laughs}]><{root}>&l9;</{root}>");
    let external = format!("<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><{root}>&x;</{root}>");
    let parameter = format!("<!DOCTYPE a [<!ENTITY % x SYSTEM \"http://127.0.0.1:1/\"> %x;]><{root}/>");
    let attributes: String = (0..200_000).map(|number| format!(" a{number}=''")).collect();
    vec![
        ("a billion laughs", laughs.into_bytes()),
        ("a file as an entity", external.into_bytes()),
        ("an address as a document type", parameter.into_bytes()),
        ("an entity that nobody declared", wrapped("&x;".to_owned())),
        ("a deep document", wrapped("<a>".repeat(500_000))),
        ("a deep document that ends", wrapped("<a>".repeat(200_000) + &"</a>".repeat(200_000))),
        ("a wide document", wrapped("<a/>".repeat(900_000))),
        ("many attributes", format!("<{root}{attributes}/>").into_bytes()),
        ("the same attribute twice", format!("<{root} a='' a=''/>").into_bytes()),
        ("one endless name", format!("<{}", "a".repeat(3_000_000)).into_bytes()),
        ("one endless comment", format!("<{root}><!--{}", "-".repeat(3_000_000)).into_bytes()),
        ("bytes that are no text", wrapped("\u{fffd}".to_owned()).iter().map(|byte| byte | 0x80).collect()),
        ("UTF-16", "<a/>".encode_utf16().flat_map(u16::to_le_bytes).collect()),
    ]
}

#[test]
fn documents_that_grow_when_they_are_read_are_malformed() {
    let (_node, mut owner) = node();
    for (target, method, root) in [
        ("/box?tagging", "PUT", "Tagging"),
        ("/box?lifecycle", "PUT", "LifecycleConfiguration"),
        ("/box?delete", "POST", "Delete"),
        ("/box/k?tagging", "PUT", "Tagging"),
        ("/fresh", "PUT", "CreateBucketConfiguration"),
    ] {
        for (what, bomb) in bombs(root) {
            let digest = STANDARD.encode(<md5::Md5 as md5::Digest>::digest(&bomb));
            let request = Request::new(method, target)
                .header("Content-MD5", &digest)
                .header("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
                .body(bomb);
            let answer = owner.send(request);
            let (status, code) = outcome(&answer);
            assert_eq!((status, code.as_str()), (400, "MalformedXML"), "{target}: {what}");
        }
    }
    assert_eq!(owner.get("box", "k").expect(200).body, SECRET);
}

#[test]
fn documents_and_payloads_beyond_their_limits_are_not_received() {
    let (node, mut owner) = node();
    // Nothing of these bodies is sent: the answer comes all the same.
    let announced = |owner: &Client, target: &str, bytes: &str| {
        let request = Request::new("PUT", target)
            .header("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
            .header("Content-Length", bytes);
        let mut connection = Connection::open(node.address()).unwrap();
        connection.send(&owner.sign(request).head()).unwrap();
        outcome(&connection.receive(false).unwrap())
    };
    for (target, bytes) in [
        ("/box/huge", "5368709121"),
        ("/box/huge", "18446744073709551615"),
        ("/box?tagging", "4194305"),
        ("/box?policy", "4194305"),
        ("/box?cors", "18446744073709551615"),
    ] {
        assert_eq!(announced(&owner, target, bytes), (400, "EntityTooLarge".to_owned()), "{target} {bytes}");
    }
    assert_eq!(announced(&owner, "/box/huge", "18446744073709551616").0, 400);
    // A body whose length nobody announced ends where its limit is.
    let endless = Request::new("PUT", "/box?policy")
        .header("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
        .header("Transfer-Encoding", "chunked");
    let mut connection = Connection::open(node.address()).unwrap();
    connection.send(&owner.sign(endless).head()).unwrap();
    let chunk = [b"100000\r\n".as_slice(), &vec![b' '; 1 << 20], b"\r\n"].concat();
    for _ in 0..64 {
        if connection.send(&chunk).is_err() {
            break;
        }
    }
    assert_eq!(outcome(&connection.receive(false).unwrap()), (400, "EntityTooLarge".to_owned()));
    let many = "<Object><Key>k</Key></Object>".repeat(1001);
    let order = format!("<Delete>{many}</Delete>");
    let digest = STANDARD.encode(<md5::Md5 as md5::Digest>::digest(&order));
    let order = Request::new("POST", "/box?delete").header("Content-MD5", &digest).body(order);
    owner.send(order).expect_error(400, "MalformedXML");
    let metadata = Request::new("PUT", "/box/new").header("x-amz-meta-a", &"a".repeat(2049)).body("x");
    owner.send(metadata).expect_error(400, "MetadataTooLarge");
    let key = format!("/box/{}", "k".repeat(1025));
    owner.send(Request::new("PUT", &key).body("x")).expect_error(400, "KeyTooLongError");
    assert_eq!(keys(&mut owner, "box"), ["k"]);
}

#[test]
fn policies_that_are_deep_wide_or_said_twice_are_refused() {
    let (node, mut owner) = node();
    let nested = |open: &str, close: &str| open.repeat(9_000) + &close.repeat(9_000);
    let statement =
        r#"{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::box/*"}"#;
    let twice = r#"{"Effect":"Deny","Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::box/*"}"#;
    for (what, policy) in [
        ("deep lists", nested("[", "]")),
        ("deep objects", nested("{\"a\":", "}")),
        ("deep statements", document(&nested("[", "]"))),
        ("more than 20 KiB", document(&vec![statement; 250].join(","))),
        ("two effects", document(twice)),
        ("an unknown element", document(&statement.replace("\"Effect\"", "\"effect\":\"Allow\",\"Effect\""))),
        ("numbers beyond numbers", document(&statement.replace("\"*\"", &"9".repeat(10_000)))),
        ("no text", "\u{0}\u{1}".to_owned()),
    ] {
        let answer = owner.send(Request::new("PUT", "/box?policy").body(policy));
        let (status, code) = outcome(&answer);
        assert!(status == 400 && code == "MalformedPolicy", "{what}: {status} {code}");
    }
    owner.send(Request::new("GET", "/box?policy")).expect_error(404, "NoSuchBucketPolicy");
    // As many stars as fit are matched against a long key in no time.
    let stars = format!("arn:aws:s3:::box/{}b", "*a".repeat(4_000));
    let policy = document(&statement.replace("arn:aws:s3:::box/*", &stars));
    owner.send(Request::new("PUT", "/box?policy").body(policy)).expect(204);
    let key = format!("/box/{}", "a".repeat(1024));
    owner.send(Request::new("GET", &key)).expect_error(404, "NoSuchKey");
    // The admin API bounds its documents, too.
    let mut admin = Client::new(node.admin(), node.credentials().clone());
    for body in [nested("[", "]"), format!("{{\"name\":\"{}\"}}", "a".repeat(1 << 17))] {
        let answer = admin.try_send(Request::new("POST", "/admin/v1/users").body(body));
        assert!(answer.is_ok_and(|answer| answer.status == 400));
    }
}

#[test]
fn requests_that_ask_for_much_get_no_more_than_there_is() {
    let (_node, mut owner) = node();
    let body: Vec<u8> = (0..100_000_u32).map(|number| number as u8).collect();
    owner.put("box", "k", &body).expect(200);
    // No byte is sent twice, however many ranges ask for it.
    for ranges in ["0-,".repeat(60), "0-99999,1-99999,".repeat(30), "-100000,".repeat(50)] {
        let get = Request::new("GET", "/box/k").header("Range", &format!("bytes={ranges}"));
        let answer = owner.send(get);
        assert!(answer.body.len() < body.len() + 4096, "{} bytes", answer.body.len());
    }
    let many: String = (0..1000).map(|at| format!("{at}-{at},")).collect();
    let get = Request::new("GET", "/box/k").header("Range", &format!("bytes={many}"));
    assert_eq!(owner.send(get).expect(200).body.len(), body.len());
    for count in ["2147483647", "1000000"] {
        let list = owner.send(Request::new("GET", &format!("/box?list-type=2&max-keys={count}"))).expect(200);
        assert_eq!(list.element("MaxKeys").as_deref(), Some("1000"), "{count}");
    }
    for count in ["-1", "99999999999999999999", "1e9", "%00"] {
        let list = owner.send(Request::new("GET", &format!("/box?list-type=2&max-keys={count}")));
        assert_eq!(list.status, 400, "{count}");
    }
    for target in [
        "/box/k?partNumber=0",
        "/box/k?partNumber=10001",
        "/box/k?partNumber=-1",
        "/box/k?partNumber=99999999999999999999",
    ] {
        assert_eq!(owner.send(Request::new("GET", target)).status, 400, "{target}");
    }
}

#[test]
fn signatures_cost_no_more_than_their_request() {
    let (node, mut owner) = node();
    let mut signed = owner.sign(Request::new("GET", "/box/k"));
    // Every name that is signed is put into the canonical request with its value: not twice.
    for names in [
        "host;".repeat(2_000) + "host",
        "host;host".to_owned(),
        (0..5_000).map(|number| number.to_string()).collect::<Vec<_>>().join(";"),
        ";".repeat(5_000),
    ] {
        let (_, value) = signed.headers.iter_mut().find(|(name, _)| name == "Authorization").unwrap();
        let start = value.find("SignedHeaders=").unwrap() + 14;
        let end = start + value[start..].find(',').unwrap();
        value.replace_range(start..end, &names);
        let answer = owner.try_send_as_is(&signed).unwrap();
        assert_eq!(outcome(&answer), (400, "AuthorizationHeaderMalformed".to_owned()), "{names:.40}");
    }
    for query in ["a&".repeat(5_000), "a=%".to_owned(), "%".repeat(1_000)] {
        let answer = send_anonymous(&mut owner, Request::new("GET", &format!("/box?{query}")));
        assert_eq!(answer.status, 400, "{query:.40}");
    }
    // Forms: many fields, large ones, and parts without an end.
    let fields = vec![("a", "b"); 300];
    let many = form("box", &fields, b"x");
    let large = "v".repeat(30_000);
    for request in [many, form("box", &[("key", "k2"), ("x", &large)], b"x")] {
        let answer = send_anonymous(&mut owner, request);
        assert_eq!(outcome(&answer), (400, "MaxPostPreDataLengthExceededError".to_owned()));
    }
    let mut connection = Connection::open(node.address()).unwrap();
    connection
        .send(b"POST /box HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data; boundary=b\r\n\
                Transfer-Encoding: chunked\r\n\r\n10000\r\n--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n")
        .unwrap();
    let _ = connection.send(&vec![b'a'; 1 << 16]);
    assert_eq!(connection.receive(false).unwrap().status, 400);
    // Chunks of nothing but framing.
    for body in [
        format!("1;chunk-signature={}\r\n", "0".repeat(100_000)),
        format!("0\r\n{}\r\n", "a:b\r\n".repeat(5_000)),
        format!("0\r\nx-amz-checksum-crc32:{}\r\n\r\n", "A".repeat(100_000)),
    ] {
        let put = Request::new("PUT", "/box/new")
            .header("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
            .header("x-amz-decoded-content-length", "1")
            .body(body);
        assert_eq!(owner.send(put).status, 400);
    }
    assert_eq!(keys(&mut owner, "box"), ["k"]);
}
