//! Retention: a version under COMPLIANCE stays, whoever asks in whatever way, the root included.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::{document, form, node_with, outcome, set_policy, user};
use crate::client::{Client, Request, complete_upload, encode};
use crate::http::elements;
use crate::identities::manage;

const BODY: &[u8] = b"what the auditor wants to see";

fn md5(body: &[u8]) -> String {
    STANDARD.encode(<md5::Md5 as md5::Digest>::digest(body))
}

fn in_an_hour() -> String {
    (OffsetDateTime::now_utc() + Duration::hours(1)).replace_nanosecond(0).unwrap().format(&Rfc3339).unwrap()
}

/// Puts an object under a lock and returns its version.
fn lock(owner: &mut Client, key: &str, mode: &str, hold: Option<&str>) -> String {
    let mut put = Request::new("PUT", &format!("/vault/{key}"))
        .header("Content-MD5", &md5(BODY))
        .header("x-amz-object-lock-mode", mode)
        .header("x-amz-object-lock-retain-until-date", &in_an_hour());
    if let Some(hold) = hold {
        put = put.header("x-amz-object-lock-legal-hold", hold);
    }
    owner.send(put.body(BODY)).expect(200).header("x-amz-version-id").unwrap().to_owned()
}

fn vault(arguments: &[&str]) -> (crate::node::Node, Client) {
    let (node, mut owner) = node_with(arguments);
    let make = Request::new("PUT", "/vault").header("x-amz-bucket-object-lock-enabled", "true");
    owner.send(make).expect(200);
    (node, owner)
}

#[test]
fn a_version_under_compliance_outlives_every_attempt_on_it() {
    let (mut node, mut owner) = vault(&["--lifecycle-day-seconds", "1"]);
    let version = lock(&mut owner, "k", "COMPLIANCE", None);
    let target = format!("/vault/k?versionId={version}");
    let retention = |mode: &str, until: &str| {
        format!("<Retention><Mode>{mode}</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>")
    };
    let soon = (OffsetDateTime::now_utc() + Duration::minutes(1))
        .replace_nanosecond(0)
        .unwrap()
        .format(&Rfc3339)
        .unwrap();
    let set = |body: String| {
        Request::new("PUT", &format!("/vault/k?retention&versionId={version}"))
            .header("Content-MD5", &md5(body.as_bytes()))
            .body(body)
    };
    let order = format!("<Delete><Object><Key>k</Key><VersionId>{version}</VersionId></Object></Delete>");
    let suspend = "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>";
    let bypass = |request: Request| request.header("x-amz-bypass-governance-retention", "true");
    for (what, request, expected) in [
        ("a deletion", Request::new("DELETE", &target), (403, "AccessDenied")),
        ("a deletion that bypasses", bypass(Request::new("DELETE", &target)), (403, "AccessDenied")),
        (
            "a deletion under a condition",
            Request::new("DELETE", &target).header("If-Match", "*"),
            (403, "AccessDenied"),
        ),
        ("a shorter time", bypass(set(retention("COMPLIANCE", &soon))), (403, "AccessDenied")),
        ("a weaker mode", bypass(set(retention("GOVERNANCE", &in_an_hour()))), (403, "AccessDenied")),
        ("no retention", bypass(set("<Retention/>".to_owned())), (403, "AccessDenied")),
        (
            "a time in the past",
            set(retention("COMPLIANCE", "2001-01-01T00:00:00Z")),
            (400, "InvalidArgument"),
        ),
        (
            "an end of versions",
            Request::new("PUT", "/vault?versioning").body(suspend),
            (409, "InvalidBucketState"),
        ),
        ("the end of the bucket", Request::new("DELETE", "/vault"), (409, "BucketNotEmpty")),
        (
            "a rename over",
            Request::new("PUT", "/vault/k?renameObject").header("x-amz-rename-source", "other"),
            (400, "InvalidRequest"),
        ),
        (
            "a rename away",
            Request::new("PUT", "/vault/other?renameObject").header("x-amz-rename-source", "k"),
            (400, "InvalidRequest"),
        ),
    ] {
        let answer = owner.send(request);
        let (status, code) = outcome(&answer);
        assert_eq!((status, code.as_str()), expected, "{what}: {}", answer.text());
    }
    let append = Request::new("PUT", "/vault/k")
        .header("x-amz-write-offset-bytes", &BODY.len().to_string())
        .header("Content-MD5", &md5(b"more"))
        .body("more");
    assert!(owner.send(append).status >= 400, "versions do not grow");
    let many = bypass(Request::new("POST", "/vault?delete").header("Content-MD5", &md5(order.as_bytes())));
    let many = owner.send(many.body(order)).expect(200);
    assert_eq!(many.element("Code").as_deref(), Some("AccessDenied"));

    // What makes a new version or hides the old one leaves the old one where it is.
    owner.send(Request::new("PUT", "/vault/k").header("Content-MD5", &md5(b"over")).body("over")).expect(200);
    owner.send(Request::new("PUT", "/vault/k").header("x-amz-copy-source", "/box/k")).expect(200);
    let upload = owner.create_upload("vault", "k");
    let etag = owner.put_part("vault", "k", &upload, 1, b"part");
    owner.send(complete_upload("vault", "k", &upload, &[etag])).expect(200);
    let own = Request::new("PUT", "/vault/k")
        .header("x-amz-copy-source", &format!("/vault/k?versionId={version}"))
        .header("x-amz-metadata-directive", "REPLACE");
    owner.send(own).expect(200);
    owner.delete("vault", "k").expect(204);

    // Rules that expire everything at once, days that last a second, and a crash.
    let rules = "<LifecycleConfiguration><Rule><ID>a</ID><Filter/><Status>Enabled</Status>\
        <Expiration><Days>1</Days></Expiration>\
        <NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>\
        </Rule></LifecycleConfiguration>";
    owner
        .send(
            Request::new("PUT", "/vault?lifecycle").header("Content-MD5", &md5(rules.as_bytes())).body(rules),
        )
        .expect(200);
    let versions = |owner: &mut Client| {
        let listed = owner.send(Request::new("GET", "/vault?versions&prefix=k")).expect(200).text();
        elements(&listed, "VersionId")
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    // The rules have been carried out once the other old versions are gone.
    while versions(&mut owner).len() > 2 {
        assert!(std::time::Instant::now() < deadline, "{:?}", versions(&mut owner));
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    node.kill();
    node.restart(3);
    let mut owner = node.client();
    assert!(versions(&mut owner).contains(&version));
    assert_eq!(owner.send(Request::new("GET", &target)).expect(200).body, BODY);
    owner.send(bypass(Request::new("DELETE", &target))).expect_error(403, "AccessDenied");
}

#[test]
fn only_who_may_bypass_governance_does() {
    let (node, mut owner) = vault(&[]);
    let all_but_bypass = document(
        r#"{"Effect":"Allow","Action":"s3:*","Resource":"*"},
        {"Effect":"Deny","Action":"s3:BypassGovernanceRetention","Resource":"*"}"#,
    );
    let mut clerk = user(&node, "clerk", &all_but_bypass);
    let version = lock(&mut owner, "k", "GOVERNANCE", None);
    let target = format!("/vault/k?versionId={version}");
    let bypass = |request: Request| request.header("x-amz-bypass-governance-retention", "true");
    let order = format!("<Delete><Object><Key>k</Key><VersionId>{version}</VersionId></Object></Delete>");
    let many = || {
        let many =
            bypass(Request::new("POST", "/vault?delete").header("Content-MD5", &md5(order.as_bytes())));
        many.body(order.clone())
    };
    let end = || {
        let target = format!("/vault/k?retention&versionId={version}");
        bypass(Request::new("PUT", &target).header("Content-MD5", &md5(b"<Retention/>"))).body("<Retention/>")
    };
    clerk.send(Request::new("DELETE", &target)).expect_error(403, "AccessDenied");
    clerk.send(bypass(Request::new("DELETE", &target))).expect_error(403, "AccessDenied");
    clerk.send(end()).expect_error(403, "AccessDenied");
    assert_eq!(clerk.send(many()).expect(200).element("Code").as_deref(), Some("AccessDenied"));
    // A denial of the bucket's policy binds its owner, too.
    let deny = r#"{"Effect":"Deny","Principal":"*","Action":"s3:BypassGovernanceRetention",
        "Resource":"arn:aws:s3:::vault/*"}"#;
    set_policy(&mut owner, "vault", deny);
    owner.send(bypass(Request::new("DELETE", &target))).expect_error(403, "AccessDenied");
    assert_eq!(owner.send(many()).expect(200).element("Code").as_deref(), Some("AccessDenied"));
    owner.send(end()).expect_error(403, "AccessDenied");
    owner.send(Request::new("DELETE", "/vault?policy")).expect(204);
    // Who may write may not lock what is there, nor lift a hold.
    let hold = "<LegalHold><Status>ON</Status></LegalHold>";
    let set = |body: &str| {
        Request::new("PUT", "/vault/k?legal-hold").header("Content-MD5", &md5(body.as_bytes())).body(body)
    };
    owner.send(set(hold)).expect(200);
    let writer = document(
        r#"{"Effect":"Allow","Action":["s3:PutObject","s3:DeleteObject*","s3:GetObject*"],"Resource":"*"}"#,
    );
    let mut writer = user(&node, "writer", &writer);
    writer.send(set("<LegalHold><Status>OFF</Status></LegalHold>")).expect_error(403, "AccessDenied");
    let locked = Request::new("PUT", "/vault/new")
        .header("Content-MD5", &md5(BODY))
        .header("x-amz-object-lock-mode", "COMPLIANCE")
        .header("x-amz-object-lock-retain-until-date", &in_an_hour());
    writer.send(locked.body(BODY)).expect_error(403, "AccessDenied");
    owner.send(bypass(Request::new("DELETE", &target))).expect_error(403, "AccessDenied");
    manage(&node, &["user", "policy", "attach", "writer", "readwrite"]);
    writer.send(set("<LegalHold><Status>OFF</Status></LegalHold>")).expect(200);
    owner.send(bypass(Request::new("DELETE", &target))).expect(204);
}

#[test]
fn the_default_of_a_vault_locks_every_way_in() {
    let (_node, mut owner) = vault(&[]);
    let rule = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>\
        <Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>";
    owner
        .send(
            Request::new("PUT", "/vault?object-lock").header("Content-MD5", &md5(rule.as_bytes())).body(rule),
        )
        .expect(200);
    owner.send(Request::new("PUT", "/vault/put").header("Content-MD5", &md5(BODY)).body(BODY)).expect(200);
    owner.send(Request::new("PUT", "/vault/copy").header("x-amz-copy-source", "/box/k")).expect(200);
    let upload = owner.create_upload("vault", "parts");
    let etag = owner.put_part("vault", "parts", &upload, 1, b"part");
    owner.send(complete_upload("vault", "parts", &upload, &[etag])).expect(200);
    owner.send(Request::new("DELETE", "/vault?publicAccessBlock")).expect(204);
    let open =
        r#"{"Effect":"Allow","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::vault/*"}"#;
    set_policy(&mut owner, "vault", open);
    let posted = form("vault", &[("key", "posted"), ("Content-MD5", &md5(BODY))], BODY);
    super::send_anonymous(&mut owner, posted).expect(204);
    for key in ["put", "copy", "parts", "posted"] {
        let head = owner.head("vault", key).expect(200);
        assert_eq!(head.header("x-amz-object-lock-mode"), Some("COMPLIANCE"), "{key}");
        let version = encode(head.header("x-amz-version-id").unwrap());
        let delete = Request::new("DELETE", &format!("/vault/{key}?versionId={version}"));
        owner.send(delete).expect_error(403, "AccessDenied");
    }
    // The configuration itself cannot be taken away.
    let answer = owner.send(Request::new("DELETE", "/vault?object-lock"));
    assert_eq!(answer.status, 405, "{}", answer.text());
}
