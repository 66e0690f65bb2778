//! Policies: every operation asks for everything that it does, of the resource that it does it to.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{SECRET, document, form, keys, node, outcome, send_anonymous, set_policy, stranger, user};
use crate::client::{Client, Request, complete_upload, encode};
use crate::identities::manage;

/// Everything in `box/open/*`, and listing it; nothing elsewhere.
const OPEN_ONLY: &str = r#"{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::box/open/*"},
    {"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::box",
    "Condition":{"StringLike":{"s3:prefix":"open/*"}}}"#;

#[track_caller]
fn denied(client: &mut Client, request: Request, what: &str) {
    let is_head = request.method == "HEAD";
    let answer = client.send(request);
    let (status, code) = outcome(&answer);
    assert_eq!(status, 403, "{what}: {}", answer.text());
    assert!(is_head || code == "AccessDenied", "{what}: {code}");
}

#[test]
fn no_operation_is_a_way_around_another() {
    let (node, mut owner) = node();
    owner.put_bucket("victim");
    owner.put("victim", "k", SECRET).expect(200);
    let own_upload = owner.create_upload("box", "open/up");
    let foreign_upload = owner.create_upload("box", "up");
    let mut mallory = user(&node, "mallory", &document(OPEN_ONLY));
    mallory.put("box", "open/k", b"own").expect(200);

    let put = |target: &str| Request::new("PUT", target).body("evil");
    let get = |target: &str| Request::new("GET", target);
    let copy = |target: &str, source: &str| Request::new("PUT", target).header("x-amz-copy-source", source);
    let upload = |key: &str, id: &str| format!("/box/{key}?uploadId={}", encode(id));
    let part = |key: &str, id: &str| format!("{}&partNumber=1", upload(key, id));
    let rename = |target: &str, source: &str| {
        Request::new("PUT", &format!("{target}?renameObject")).header("x-amz-rename-source", source)
    };
    for (what, request) in [
        ("a read", get("/box/k")),
        ("a head", Request::new("HEAD", "/box/k")),
        ("a range", get("/box/k").header("Range", "bytes=0-0")),
        ("a part of an object", get("/box/k?partNumber=1")),
        ("a version", get("/box/k?versionId=null")),
        ("attributes", get("/box/k?attributes").header("x-amz-object-attributes", "ETag")),
        ("tags", get("/box/k?tagging")),
        ("an ACL", get("/box/k?acl")),
        ("a retention", get("/box/k?retention")),
        ("a legal hold", get("/box/k?legal-hold")),
        ("a condition", get("/box/k").header("If-Modified-Since", "Sat, 01 Jan 2000 00:00:00 GMT")),
        (
            "a condition that fails",
            get("/box/k").header("If-Unmodified-Since", "Sat, 01 Jan 2000 00:00:00 GMT"),
        ),
        ("an ETag", get("/box/k").header("If-None-Match", "*")),
        ("a listing", get("/box?list-type=2")),
        ("a listing of another prefix", get("/box?list-type=2&prefix=k")),
        ("a listing of versions", get("/box?versions&prefix=open%2F")),
        ("a listing of uploads", get("/box?uploads&prefix=open%2F")),
        ("an upload", put("/box/k")),
        ("an upload that appends", put("/box/k").header("x-amz-write-offset-bytes", "0")),
        ("a deletion", Request::new("DELETE", "/box/k")),
        ("a deletion of a version", Request::new("DELETE", "/box/k?versionId=null")),
        ("a copy out", copy("/box/open/copy", "/box/k")),
        ("a copy of a version", copy("/box/open/copy", "/box/k?versionId=null")),
        ("a copy from another bucket", copy("/box/open/copy", "/victim/k")),
        ("a copy over", copy("/box/k", "/box/open/k")),
        ("a copied part", copy(&part("open/up", &own_upload), "/box/k")),
        (
            "a range of a copied part",
            copy(&part("open/up", &own_upload), "/victim/k").header("x-amz-copy-source-range", "bytes=0-0"),
        ),
        ("a rename out", rename("/box/open/moved", "k")),
        ("a rename over", rename("/box/k", "open/k")),
        ("an upload in parts", Request::new("POST", "/box/k?uploads")),
        ("a part", put(&part("up", &foreign_upload))),
        ("a list of parts", get(&upload("up", &foreign_upload))),
        ("the end of an upload", Request::new("DELETE", &upload("up", &foreign_upload))),
        ("a completion", complete_upload("box", "up", &foreign_upload, &["x".to_owned()])),
        ("tags that are set", put("/box/k?tagging")),
        ("an ACL that is set", Request::new("PUT", "/box/k?acl").header("x-amz-acl", "public-read")),
        ("a bucket's ACL", get("/box?acl")),
        ("a bucket's policy", get("/box?policy")),
        ("the end of a policy", Request::new("DELETE", "/box?policy")),
        ("lifecycle", put("/box?lifecycle")),
        ("a listing of buckets", get("/")),
        ("a bucket", Request::new("PUT", "/mallorys")),
    ] {
        denied(&mut mallory, request, what);
    }
    // An upload is one of its key and bucket: the right to another key does not help.
    for (what, request) in [
        ("a part under another key", put(&part("open/up", &foreign_upload))),
        (
            "a completion under another key",
            complete_upload("box", "open/up", &foreign_upload, &["x".to_owned()]),
        ),
        ("a list under another key", get(&upload("open/up", &foreign_upload))),
        ("an end under another key", Request::new("DELETE", &upload("open/up", &foreign_upload))),
    ] {
        let answer = mallory.send(request);
        assert_eq!(outcome(&answer), (404, "NoSuchUpload".to_owned()), "{what}");
    }
    let order = "<Delete><Object><Key>k</Key></Object><Object><Key>open/k</Key></Object></Delete>";
    let digest = STANDARD.encode(<md5::Md5 as md5::Digest>::digest(order));
    let ordered = mallory
        .send(Request::new("POST", "/box?delete").header("Content-MD5", &digest).body(order))
        .expect(200);
    assert_eq!(ordered.element("Code").as_deref(), Some("AccessDenied"));
    assert_eq!(crate::http::elements(&ordered.text(), "Key"), ["k", "open/k"]);
    assert_eq!(keys(&mut owner, "box"), ["k"]);
    assert_eq!(owner.get("box", "k").expect(200).body, SECRET);
    owner.send(get(&upload("up", &foreign_upload))).expect(200);
}

#[test]
fn what_a_policy_grants_to_all_is_no_more_than_it_says() {
    let (_node, mut owner) = node();
    owner.send(Request::new("DELETE", "/box?publicAccessBlock")).expect(204);
    owner.put("box", "site/k", b"public").expect(200);
    let site =
        r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::box/site/*"}"#;
    set_policy(&mut owner, "box", site);
    send_anonymous(&mut owner, Request::new("GET", "/box/site/k")).expect(200);
    for (method, target) in [
        ("GET", "/box/k"),
        ("GET", "/box"),
        ("GET", "/box/site/../k"),
        ("GET", "/box/site/k?acl"),
        ("GET", "/box/site/k?versionId=null"),
        ("GET", "/box/site/missing"),
        ("PUT", "/box/site/k"),
        ("DELETE", "/box/site/k"),
        ("POST", "/box/site/k?uploads"),
        ("POST", "/box?delete"),
        ("GET", "/"),
        ("PUT", "/nobodys"),
    ] {
        let answer = send_anonymous(&mut owner, Request::new(method, target));
        let expected = if target == "/box?delete" { 400 } else { 403 };
        assert_eq!(answer.status, expected, "{method} {target}: {}", answer.text());
    }
    // Answers cannot be made to look like something else by a link: that takes a signature.
    let link = Request::new("GET", "/box/site/k?response-content-type=text%2Fhtml");
    send_anonymous(&mut owner, link).expect_error(400, "InvalidRequest");
    let posted = send_anonymous(&mut owner, form("box", &[("key", "site/k")], b"evil"));
    assert_eq!(outcome(&posted), (403, "AccessDenied".to_owned()));
    assert_eq!(owner.get("box", "site/k").expect(200).body, b"public");
}

#[test]
fn a_denial_binds_every_way_to_the_same_thing() {
    let (_node, mut owner) = node();
    let upload = owner.create_upload("box", "safe/up");
    let part = owner.put_part("box", "safe/up", &upload, 1, b"part");
    let all = |action: &str| {
        format!(
            r#"{{"Effect":"Deny","Principal":"*","Action":"{action}","Resource":"arn:aws:s3:::box/safe/*"}}"#
        )
    };
    set_policy(&mut owner, "box", &all("s3:PutObject"));
    let target = "/box/safe/k";
    denied(&mut owner, Request::new("PUT", target).body("x"), "put");
    denied(&mut owner, Request::new("PUT", target).header("x-amz-copy-source", "/box/k"), "copy");
    denied(&mut owner, Request::new("POST", "/box/safe/k?uploads"), "begin");
    denied(&mut owner, complete_upload("box", "safe/up", &upload, &[part]), "complete");
    let rename = Request::new("PUT", "/box/safe/k?renameObject").header("x-amz-rename-source", "k");
    denied(&mut owner, rename, "rename");
    let another = format!("/box/safe/up?partNumber=2&uploadId={}", encode(&upload));
    denied(&mut owner, Request::new("PUT", &another).body("x"), "part");
    denied(&mut owner, Request::new("PUT", &another).header("x-amz-copy-source", "/box/k"), "copied part");
    set_policy(&mut owner, "box", &all("s3:DeleteObject"));
    owner.put("box", "safe/k", b"kept").expect(200);
    denied(&mut owner, Request::new("DELETE", target), "delete");
    let away = Request::new("PUT", "/box/away?renameObject").header("x-amz-rename-source", "safe/k");
    denied(&mut owner, away, "rename away");
    let order = "<Delete><Object><Key>safe/k</Key></Object></Delete>";
    let digest = STANDARD.encode(<md5::Md5 as md5::Digest>::digest(order));
    let ordered = owner
        .send(Request::new("POST", "/box?delete").header("Content-MD5", &digest).body(order))
        .expect(200);
    assert_eq!(ordered.element("Code").as_deref(), Some("AccessDenied"));
    assert_eq!(owner.get("box", "safe/k").expect(200).body, b"kept");
}

#[test]
fn another_account_gets_nobody_to_act_for_it() {
    let (node, mut owner) = node();
    let mut stranger = stranger(&node, "acme");
    stranger.put_bucket("theirs");
    stranger.put("theirs", "k", b"their own").expect(200);
    for (what, request) in [
        ("a read", Request::new("GET", "/box/k")),
        ("a copy", Request::new("PUT", "/theirs/copy").header("x-amz-copy-source", "/box/k")),
        ("an upload", Request::new("PUT", "/box/k").body("evil")),
        ("a listing", Request::new("GET", "/box")),
        ("a bucket's settings", Request::new("GET", "/box?location")),
        (
            "an owner's name",
            Request::new("HEAD", "/box").header("x-amz-expected-bucket-owner", "000000000000"),
        ),
    ] {
        denied(&mut stranger, request, what);
    }
    stranger.send(Request::new("PUT", "/box")).expect_error(409, "BucketAlreadyExists");
    let mine = stranger.send(Request::new("GET", "/")).expect(200).text();
    assert_eq!(crate::http::elements(&mine, "Name"), ["theirs"]);
    // A policy of the stranger's bucket cannot give what belongs to others, nor name other buckets.
    let other = r#"{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::box/*"}"#;
    let answer = stranger.send(Request::new("PUT", "/theirs?policy").body(document(other)));
    assert_eq!(outcome(&answer), (400, "MalformedPolicy".to_owned()));
    // The owner's own requests cannot be led to a bucket that changed hands.
    let expected = Request::new("PUT", "/theirs/k").header("x-amz-expected-bucket-owner", "000000000000");
    denied(&mut owner, expected.body("x"), "a bucket of somebody else");
    let expected = Request::new("PUT", "/box/copy")
        .header("x-amz-copy-source", "/theirs/k")
        .header("x-amz-source-expected-bucket-owner", "000000000000");
    denied(&mut owner, expected, "a source of somebody else");
    assert_eq!(owner.get("box", "k").expect(200).body, SECRET);
}

/// Rights to manage some identities are no way to the others.
#[test]
fn who_manages_users_does_not_become_root() {
    let (node, _owner) = node();
    let manager =
        document(r#"{"Effect":"Allow","Action":["ringcask:*AccessKey*","ringcask:*User*"],"Resource":"*"}"#);
    let manager = user(&node, "manager", &manager);
    let root = node.credentials().access_key_id.clone();
    let mut admin = Client::new(node.admin(), manager.credentials.clone());
    manage(&node, &["account", "create", "acme"]);
    for (method, target, body) in [
        ("POST", "/admin/v1/keys", "{}".to_owned()),
        ("POST", "/admin/v1/keys", r#"{"user":null}"#.to_owned()),
        ("POST", &format!("/admin/v1/keys/{root}/rotate"), "{}".to_owned()),
        ("PUT", &format!("/admin/v1/keys/{root}"), r#"{"active":false}"#.to_owned()),
        ("DELETE", &format!("/admin/v1/keys/{root}"), String::new()),
        ("POST", "/admin/v1/accounts", r#"{"name":"mine"}"#.to_owned()),
        ("PUT", "/admin/v1/policies/manager", document(r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#)),
        ("POST", "/admin/v1/groups", r#"{"name":"g"}"#.to_owned()),
        ("POST", "/admin/v1/kms/keys", r#"{"name":"k"}"#.to_owned()),
    ] {
        let answer = admin.send(Request::new(method, target).body(body));
        assert!([400, 403, 404].contains(&answer.status), "{method} {target}: {}", answer.text());
        assert!(!answer.text().contains("secretAccessKey"), "{method} {target}");
    }
    // A policy over buckets is none over identities, however many stars it has.
    for (name, resource) in [("stars", "arn:aws:s3:::*"), ("bucket", "arn:aws:s3:::box/*")] {
        let all = document(&format!(r#"{{"Effect":"Allow","Action":"*","Resource":"{resource}"}}"#));
        let credentials = user(&node, name, &all).credentials.clone();
        let mut admin = Client::new(node.admin(), credentials);
        let body = format!(r#"{{"user":"{name}"}}"#);
        let answer = admin.send(Request::new("POST", "/admin/v1/keys").body(body));
        assert_eq!(answer.status, 403, "{resource}: {}", answer.text());
    }
}
