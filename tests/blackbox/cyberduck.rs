//! The requests of an old Cyberduck, letter for letter: SigV2, dates in `Date`, folders as empty keys.

use crate::client::Request;
use crate::content::payload;
use crate::http::{Connection, Response, elements};
use crate::node::Node;
use crate::sign;

/// A browsing session: its headers come in the order that the client sends them.
struct Session {
    node: Node,
    connection: Connection,
}

impl Session {
    fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let mut request = Request::new(method, target);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let sub_resource = match request.query() {
            query @ ("location" | "acl" | "versioning" | "logging" | "requestPayment" | "uploads") => {
                format!("?{query}")
            }
            _ => String::new(),
        };
        sign::v2(&mut request, self.node.credentials(), &sub_resource);
        let request = request
            .header("Host", &self.node.address().to_string())
            .header("Connection", "Keep-Alive")
            .header("User-Agent", "Cyberduck/4.2.1 (Mac OS X/10.7.4) (i386)")
            .header("Accept-Encoding", "gzip,deflate")
            .body(body);
        let waits = request.get("Expect").is_some();
        self.connection.send(&request.head()).unwrap();
        if waits {
            self.connection.receive(false).unwrap().expect(100);
        }
        self.connection.send(&request.body).unwrap();
        self.connection.receive(method == "HEAD").unwrap()
    }
}

const PAYER: (&str, &str) = ("x-amz-request-payer", "requester");

#[test]
fn an_old_cyberduck_browses_uploads_renames_and_deletes() {
    let node = Node::start();
    let connection = Connection::open(node.address()).unwrap();
    let mut session = Session { node, connection };

    assert!(session.send("GET", "/", &[], b"").expect(200).text().contains("<Buckets"));
    session
        .send("PUT", "/bucket", &[("Content-Type", "text/xml"), ("x-amz-acl", "private")], b"")
        .expect(200);
    let buckets = session.send("GET", "/", &[], b"").expect(200);
    assert_eq!(elements(&buckets.text(), "Name"), ["bucket"]);
    assert!(
        session
            .send("GET", "/bucket/?location", &[PAYER], b"")
            .expect(200)
            .text()
            .contains("LocationConstraint")
    );
    session.send("GET", "/bucket/?versioning", &[PAYER], b"").expect(200);
    session.send("GET", "/bucket/?logging", &[PAYER], b"").expect(200);
    session.send("GET", "/bucket/?acl", &[PAYER], b"").expect(200);

    // An empty folder; the listing's prefix has no `=`.
    let list = "/bucket/?max-keys=1000&prefix&delimiter=%2F";
    let empty = session.send("GET", list, &[PAYER], b"").expect(200);
    assert_eq!(elements(&empty.text(), "Key"), Vec::<String>::new());
    session
        .send("PUT", "/bucket/f%C3%B6lder%20one/", &[("Content-Type", "application/x-directory"), PAYER], b"")
        .expect(200);

    // An upload that waits for 100.
    let body = payload(1, 300_000);
    let date = time::OffsetDateTime::now_utc()
        .format(time::macros::format_description!(
            "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
        ))
        .unwrap();
    let upload = [
        ("Date", date.as_str()),
        ("Content-Type", "image/jpeg"),
        ("x-amz-acl", "private"),
        ("x-amz-storage-class", "STANDARD"),
        ("x-amz-meta-mtime", "1335265000"),
        PAYER,
        ("Expect", "100-continue"),
    ];
    session.send("PUT", "/bucket/f%C3%B6lder%20one/a%2Bb%20%231.jpg", &upload, &body).expect(200);
    session.send("PUT", "/bucket/top.txt", &[("Content-Type", "text/plain"), PAYER], b"top").expect(200);

    let top = session.send("GET", list, &[PAYER], b"").expect(200);
    assert_eq!(elements(&top.text(), "Key"), ["top.txt"]);
    assert_eq!(elements(&elements(&top.text(), "CommonPrefixes")[0], "Prefix"), ["f\u{f6}lder one/"]);
    let folder = "/bucket/?max-keys=1000&prefix=f%C3%B6lder%20one%2F&delimiter=%2F";
    let inside = session.send("GET", folder, &[PAYER], b"").expect(200);
    assert_eq!(elements(&inside.text(), "Key"), ["f\u{f6}lder one/", "f\u{f6}lder one/a+b #1.jpg"]);

    let key = "/bucket/f%C3%B6lder%20one/a%2Bb%20%231.jpg";
    let head = session.send("HEAD", key, &[PAYER], b"").expect(200);
    assert_eq!(head.header("Content-Length"), Some("300000"));
    assert_eq!(head.header("x-amz-meta-mtime"), Some("1335265000"));
    assert_eq!(head.header("Content-Type"), Some("image/jpeg"));
    assert!(session.send("GET", key, &[PAYER], b"").expect(200).body == body);
    let range = session.send("GET", key, &[("Range", "bytes=299990-"), PAYER], b"").expect(206);
    assert!(range.body == body[299_990..]);

    // A rename: copy, then delete.
    let copy = [
        ("x-amz-copy-source", "/bucket/f%C3%B6lder%20one/a%2Bb%20%231.jpg"),
        ("x-amz-metadata-directive", "COPY"),
        ("x-amz-acl", "private"),
        PAYER,
    ];
    session.send("PUT", "/bucket/renamed.jpg", &copy, b"").expect(200);
    session.send("DELETE", key, &[PAYER], b"").expect(204);
    session.send("DELETE", "/bucket/f%C3%B6lder%20one/", &[PAYER], b"").expect(204);
    assert!(session.send("GET", "/bucket/renamed.jpg", &[PAYER], b"").expect(200).body == body);
    session.send("HEAD", key, &[PAYER], b"").expect(404);

    let uploads = session.send("GET", "/bucket/?uploads", &[PAYER], b"").expect(200);
    assert_eq!(uploads.element("UploadId"), None);
    for key in ["renamed.jpg", "top.txt"] {
        session.send("DELETE", &format!("/bucket/{key}"), &[PAYER], b"").expect(204);
    }
    session.send("DELETE", "/bucket", &[], b"").expect(204);
}

#[test]
fn a_wrong_secret_is_refused_under_version_two_as_well() {
    let node = Node::start();
    let mut credentials = node.credentials().clone();
    credentials.secret_key.push('x');
    let mut request = Request::new("GET", "/").header("Host", &node.address().to_string());
    sign::v2(&mut request, &credentials, "");
    let mut connection = Connection::open(node.address()).unwrap();
    connection.send(&request.bytes()).unwrap();
    let refused = connection.receive(false).unwrap().expect_error(403, "SignatureDoesNotMatch");
    assert!(refused.element("StringToSign").unwrap().starts_with("GET\n\n\n"));
}
