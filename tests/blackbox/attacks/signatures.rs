//! Signatures: checked on every path, over everything that matters, for this service, now, and once.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use time::{Duration, OffsetDateTime};

use super::{SECRET, form, keys, node, outcome, send_anonymous, with_secret};
use crate::client::{Client, Request, complete_upload, encode};
use crate::node::Node;
use crate::sign::{self, Credentials, Scope};

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

fn refused(client: &mut Client, request: &Request, status: u16, code: &str, what: &str) {
    let response = client.try_send_as_is(request).unwrap();
    assert_eq!(outcome(&response), (status, code.to_owned()), "{what}: {}", response.text());
}

/// One request for each path on which somebody's handler forgot the signature, with the sub-resources that Version
/// 2 signs. All of them would succeed if they were the owner's.
fn paths(upload: &str) -> Vec<(&'static str, Request, String)> {
    let upload_id = format!("uploadId={}", encode(upload));
    let part = format!("/box/up?partNumber=1&{upload_id}");
    let signed_part = format!("?partNumber=1&uploadId={upload}");
    let framed = "4\r\nevil\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n";
    let unsigned_trailer = |target: &str| {
        Request::new("PUT", target)
            .header("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
            .header("x-amz-decoded-content-length", "4")
            .header("x-amz-trailer", "x-amz-checksum-crc32")
            .body(framed)
    };
    let streamed = |kind: &str| {
        let chunk = format!("4;chunk-signature={0}\r\nevil\r\n0;chunk-signature={0}\r\n\r\n", "0".repeat(64));
        Request::new("PUT", "/box/new")
            .header("x-amz-content-sha256", kind)
            .header("x-amz-decoded-content-length", "4")
            .body(chunk)
    };
    let unsigned_payload =
        Request::new("PUT", "/box/new").header("x-amz-content-sha256", "UNSIGNED-PAYLOAD").body("evil");
    let order = "<Delete><Object><Key>k</Key></Object></Delete>";
    let digest = STANDARD.encode(<md5::Md5 as md5::Digest>::digest(order));
    let copy = |target: &str| Request::new("PUT", target).header("x-amz-copy-source", "/box/k");
    let etag = "\"00000000000000000000000000000000\"".to_owned();
    vec![
        ("a listing of buckets", Request::new("GET", "/"), String::new()),
        ("a read", Request::new("GET", "/box/k"), String::new()),
        ("an upload", Request::new("PUT", "/box/new").body("evil"), String::new()),
        ("an unsigned payload", unsigned_payload, String::new()),
        ("an unsigned trailer", unsigned_trailer("/box/new"), String::new()),
        (
            "an archive to extract",
            unsigned_trailer("/box/new").header("x-amz-meta-snowball-auto-extract", "true"),
            String::new(),
        ),
        ("signed chunks", streamed("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), String::new()),
        ("a signed trailer", streamed("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"), String::new()),
        ("a copy", copy("/box/new"), String::new()),
        ("a part", Request::new("PUT", &part).body("evil"), signed_part.clone()),
        ("a part with an unsigned trailer", unsigned_trailer(&part), signed_part.clone()),
        ("a copied part", copy(&part), signed_part),
        ("a completion", complete_upload("box", "up", upload, &[etag]), format!("?uploadId={upload}")),
        (
            "the end of an upload",
            Request::new("DELETE", &format!("/box/up?{upload_id}")),
            format!("?uploadId={upload}"),
        ),
        (
            "an order to delete",
            Request::new("POST", "/box?delete").header("Content-MD5", &digest).body(order),
            "?delete".to_owned(),
        ),
        ("a deletion", Request::new("DELETE", "/box/k"), String::new()),
        ("a policy", Request::new("PUT", "/box?policy").body("{}"), "?policy".to_owned()),
        ("the end of a bucket", Request::new("DELETE", "/box"), String::new()),
    ]
}

#[test]
fn no_path_forgets_the_signature() {
    let (node, mut owner) = node();
    let upload = owner.create_upload("box", "up");
    let host = node.address().to_string();
    let forger = with_secret(node.credentials(), "a guess");
    let mut client = Client::new(node.address(), forger.clone());
    let id = &forger.access_key_id;
    for (what, request, sub_resources) in paths(&upload) {
        let request = request.header("Host", &host);
        let mismatch = |client: &mut Client, request: &Request, how: &str| {
            refused(client, request, 403, "SignatureDoesNotMatch", &format!("{what}, {how}"));
        };
        let mut signed = request.clone();
        sign::v4(&mut signed, &forger);
        mismatch(&mut client, &signed, "signed in a header");
        let value = signed.headers.last_mut().map(|(_, value)| value).unwrap();
        let end = value.rfind('=').unwrap() + 1;
        value.truncate(end);
        mismatch(&mut client, &signed, "with an empty signature");
        let scope = Scope::at(now(), &forger.region);
        let mut signed = request.clone();
        sign::presign_v4(&mut signed, &forger, &scope, "60");
        mismatch(&mut client, &signed, "signed in the query");
        let mut signed = request.clone();
        sign::v2(&mut signed, &forger, &sub_resources);
        mismatch(&mut client, &signed, "signed in a header of version 2");
        let mut signed = request.clone();
        sign::presign_v2(&mut signed, &forger, &sub_resources, now().unix_timestamp() as u64 + 60);
        mismatch(&mut client, &signed, "signed in the query by version 2");

        // Credentials that come without a signature are none, wherever they stand.
        let joint = if request.target.contains('?') { '&' } else { '?' };
        let mut named = request.clone();
        let credential = encode(&format!("{id}/{}/us-east-1/s3/aws4_request", &scope.moment[..8]));
        named.target.push_str(&format!("{joint}X-Amz-Credential={credential}"));
        refused(&mut client, &named, 400, "AuthorizationQueryParametersError", what);
        let mut named = request.clone();
        named.target.push_str(&format!("{joint}AWSAccessKeyId={id}"));
        refused(&mut client, &named, 403, "AccessDenied", what);
        let named = request.clone().header("Authorization", &format!("AWS4-HMAC-SHA256 Credential={id}"));
        refused(&mut client, &named, 400, "AuthorizationHeaderMalformed", what);
        let anonymous = client.try_send_as_is(&request).unwrap();
        assert_eq!(anonymous.status, 403, "{what}, signed by nobody: {}", anonymous.text());
    }
    assert_eq!(keys(&mut owner, "box"), ["k"]);
    assert_eq!(owner.get("box", "k").expect(200).body, SECRET);
    let parts = owner.send(Request::new("GET", &format!("/box/up?uploadId={}", encode(&upload)))).expect(200);
    assert_eq!(parts.element("PartNumber"), None);
    owner.send(Request::new("GET", "/box?policy")).expect_error(404, "NoSuchBucketPolicy");
}

/// The fields of a form for `bucket` whose policy has these conditions beside those that it needs.
fn form_fields(
    credentials: &Credentials,
    bucket: &str,
    key: &str,
    conditions: &str,
) -> Vec<(&'static str, String)> {
    let scope = Scope::at(now(), &credentials.region);
    let credential =
        format!("{}/{}/us-east-1/s3/aws4_request", credentials.access_key_id, &scope.moment[..8]);
    let policy = STANDARD.encode(format!(
        r#"{{"expiration":"2099-01-01T00:00:00Z","conditions":[{{"bucket":"{bucket}"}},["starts-with","$key","up/"],
        {{"x-amz-algorithm":"AWS4-HMAC-SHA256"}},{{"x-amz-credential":"{credential}"}},
        {{"x-amz-date":"{}"}}{conditions}]}}"#,
        scope.moment
    ));
    let signature = sign::post_v4(&policy, credentials, &scope);
    vec![
        ("key", key.to_owned()),
        ("x-amz-algorithm", "AWS4-HMAC-SHA256".to_owned()),
        ("x-amz-credential", credential),
        ("x-amz-date", scope.moment),
        ("policy", policy),
        ("x-amz-signature", signature),
    ]
}

fn posted(bucket: &str, fields: &[(&str, String)]) -> Request {
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    form(bucket, &fields, b"evil")
}

#[test]
fn a_form_does_only_what_its_policy_says_where_it_says() {
    let (node, mut owner) = node();
    owner.put_bucket("other");
    let own = node.credentials();
    let mut client = Client::new(node.address(), own.clone());
    let post = |client: &mut Client, bucket: &str, fields: &[(&str, String)]| {
        outcome(&send_anonymous(client, posted(bucket, fields)))
    };
    let denied = (403, "AccessDenied".to_owned());
    let good = form_fields(own, "box", "up/form", "");
    assert_eq!(post(&mut client, "box", &good).0, 204);
    owner.delete("box", "up/form").expect(204);

    // To another bucket, also if a field repeats the name that was signed.
    assert_eq!(post(&mut client, "other", &good), denied);
    let named = [good.clone(), vec![("bucket", "box".to_owned())]].concat();
    assert_eq!(post(&mut client, "other", &named), denied);
    // To another key, with more than was agreed to, and with a forged or missing signature.
    assert_eq!(post(&mut client, "box", &form_fields(own, "box", "elsewhere", "")), denied);
    for field in [("acl", "public-read"), ("x-amz-meta-a", "b"), ("tagging", "<Tagging/>")] {
        let more = [good.clone(), vec![(field.0, field.1.to_owned())]].concat();
        assert_eq!(post(&mut client, "box", &more), denied, "{field:?}");
    }
    let long = form_fields(own, "box", "up/form", r#",["content-length-range",0,3]"#);
    assert_eq!(post(&mut client, "box", &long), (400, "EntityTooLarge".to_owned()));
    let forger = with_secret(own, "a guess");
    let forged = post(&mut client, "box", &form_fields(&forger, "box", "up/form", ""));
    assert_eq!(forged, (403, "SignatureDoesNotMatch".to_owned()));
    for at in 1..good.len() {
        let mut fields = good.clone();
        let (name, _) = fields.remove(at);
        assert_ne!(post(&mut client, "box", &fields).0, 204, "without {name}");
    }
    // Without any of that it is nobody's, and nobody may write here.
    assert_eq!(post(&mut client, "box", &good[..1]), denied);
    assert_eq!((keys(&mut owner, "box"), keys(&mut owner, "other")), (vec!["k".to_owned()], Vec::new()));
}

#[test]
fn a_presigned_url_says_what_was_signed_or_nothing() {
    let (node, mut owner) = node();
    owner.put("box", "other", b"other").expect(200);
    let own = node.credentials();
    let host = node.address().to_string();
    let url = |method: &str, seconds: &str, moment: OffsetDateTime| {
        let mut request = Request::new(method, "/box/k").header("Host", &host);
        sign::presign_v4(&mut request, own, &Scope::at(moment, &own.region), seconds);
        request
    };
    let good = url("GET", "60", now());
    assert_eq!(owner.try_send_as_is(&good).unwrap().expect(200).body, SECRET);

    let changed = |from: &str, to: &str| {
        assert!(good.target.contains(from), "{from} in {}", good.target);
        Request { target: good.target.replacen(from, to, 1), ..good.clone() }
    };
    let mismatch = (403, "SignatureDoesNotMatch");
    let malformed = (400, "AuthorizationQueryParametersError");
    let with_header = |name: &str, value: &str| good.clone().header(name, value);
    let other_method = |method: &str| Request { method: method.to_owned(), ..good.clone() };
    let other_host = Request { headers: vec![("Host".to_owned(), "elsewhere".to_owned())], ..good.clone() };
    let wrong_signature = {
        let mut request = good.clone();
        let end = request.target.len();
        request.target.replace_range(end - 4.., "0000");
        request
    };
    for (what, request, (status, code)) in [
        ("another key", changed("/box/k", "/box/other"), mismatch),
        ("another method", other_method("DELETE"), mismatch),
        ("another host", other_host, mismatch),
        ("a longer life", changed("X-Amz-Expires=60", "X-Amz-Expires=600"), mismatch),
        ("a sub-resource", changed("?", "?acl&"), mismatch),
        ("a version", changed("?", "?versionId=null&"), mismatch),
        ("another answer", changed("?", "?response-content-type=text%2Fhtml&"), mismatch),
        ("a parameter in front", changed("?", "?X-Amz-Expires=600&"), mismatch),
        ("a parameter behind", changed("&X-Amz-Signature", "&X-Amz-Expires=600&X-Amz-Signature"), mismatch),
        ("a signature cut short", wrong_signature, mismatch),
        ("fewer signed headers", changed("SignedHeaders=host", "SignedHeaders=x"), (403, "AccessDenied")),
        ("a header that does more", with_header("x-amz-copy-source", "/box/other"), (403, "AccessDenied")),
        ("a second set of credentials", with_header("Authorization", "AWS a:b"), (400, "InvalidArgument")),
        ("another algorithm", changed("HMAC-SHA256", "HMAC-SHA1"), malformed),
        ("no time", changed("X-Amz-Date", "X-Amz-Dote"), malformed),
        ("no life", changed("X-Amz-Expires", "X-Amz-Expired"), malformed),
        ("more than a week", url("GET", "604801", now()), malformed),
        ("an endless life", url("GET", "99999999999999999999999", now()), malformed),
        ("a negative life", url("GET", "-1", now()), malformed),
        ("no number", url("GET", "1e3", now()), malformed),
        ("no time at all", url("GET", "0", now()), malformed),
        ("after its end", url("GET", "60", now() - Duration::minutes(2)), (403, "AccessDenied")),
        ("before its time", url("GET", "60", now() + Duration::hours(1)), (403, "AccessDenied")),
    ] {
        refused(&mut owner, &request, status, code, what);
    }
    let seven_days_ago = url("GET", "604800", now() - Duration::days(7) + Duration::minutes(1));
    owner.try_send_as_is(&seven_days_ago).unwrap().expect(200);
    assert_eq!(keys(&mut owner, "box"), ["k", "other"]);
}

#[test]
fn a_presigned_url_of_version_two_says_what_was_signed_or_nothing() {
    let (node, mut owner) = node();
    owner.put("box", "other", b"other").expect(200);
    let own = node.credentials();
    let url = |method: &str, seconds: i64| {
        let mut request = Request::new(method, "/box/k").header("Host", "h");
        sign::presign_v2(&mut request, own, "", (now().unix_timestamp() + seconds) as u64);
        request
    };
    let good = url("GET", 60);
    owner.try_send_as_is(&good).unwrap().expect(200);
    let changed =
        |from: &str, to: &str| Request { target: good.target.replacen(from, to, 1), ..good.clone() };
    for (what, request, code) in [
        ("another key", changed("/box/k", "/box/other"), "SignatureDoesNotMatch"),
        ("a longer life", changed("Expires=", "Expires=9"), "SignatureDoesNotMatch"),
        ("a sub-resource", changed("?", "?acl&"), "SignatureDoesNotMatch"),
        ("a version", changed("?", "?versionId=null&"), "SignatureDoesNotMatch"),
        ("another answer", changed("?", "?response-content-type=a&"), "SignatureDoesNotMatch"),
        ("another method", Request { method: "DELETE".to_owned(), ..good.clone() }, "SignatureDoesNotMatch"),
        ("a header that does more", good.clone().header("x-amz-acl", "public-read"), "SignatureDoesNotMatch"),
        ("after its end", url("GET", -1), "AccessDenied"),
        ("no end", changed("Expires", "Expired"), "AccessDenied"),
    ] {
        refused(&mut owner, &request, 403, code, what);
    }
    assert_eq!(keys(&mut owner, "box"), ["k", "other"]);
}

#[test]
fn version_two_signs_every_sub_resource() {
    let (node, mut owner) = node();
    let own = node.credentials();
    let signed = |method: &str, path: &str| {
        let mut request = Request::new(method, path).header("Host", "h");
        sign::v2(&mut request, own, "");
        request
    };
    let bucket = [
        "accelerate",
        "acl",
        "cors",
        "encryption",
        "lifecycle",
        "location",
        "logging",
        "notification",
        "object-lock",
        "ownershipControls",
        "policy",
        "policyStatus",
        "publicAccessBlock",
        "replication",
        "requestPayment",
        "tagging",
        "uploads",
        "versioning",
        "versions",
        "website",
    ];
    let object = [
        "acl",
        "legal-hold",
        "retention",
        "tagging",
        "torrent",
        "uploadId=x",
        "versionId=null",
        "partNumber=1",
        "response-content-type=a",
        "response-content-disposition=a",
    ];
    for (path, names) in [("/box", &bucket[..]), ("/box/k", &object[..])] {
        let good = signed("GET", path);
        owner.try_send_as_is(&good).unwrap().expect(200);
        for name in names {
            let more = Request { target: format!("{path}?{name}"), ..good.clone() };
            refused(&mut owner, &more, 403, "SignatureDoesNotMatch", name);
        }
    }
    for (method, path, name) in [
        ("DELETE", "/box", "policy"),
        ("DELETE", "/box", "publicAccessBlock"),
        ("PUT", "/box/k", "acl"),
        ("POST", "/box/k", "uploads"),
        ("POST", "/box", "delete"),
    ] {
        let more = Request { target: format!("{path}?{name}"), ..signed(method, path) };
        refused(&mut owner, &more, 403, "SignatureDoesNotMatch", name);
    }
}

#[test]
fn a_signature_is_for_this_service_region_and_day() {
    let (node, mut owner) = node();
    let own = node.credentials();
    let host = node.address().to_string();
    let here = Scope::at(now(), "us-east-1");
    let (region, service, terminator) = ("eu-west-1".to_owned(), "iam".to_owned(), "aws5_request".to_owned());
    for (what, scope) in [
        ("another region", Scope { region, ..here.clone() }),
        ("another service", Scope { service, ..here.clone() }),
        ("another terminator", Scope { terminator, ..here.clone() }),
    ] {
        let mut request = Request::new("GET", "/box/k").header("Host", &host);
        sign::v4_for(&mut request, own, &scope);
        refused(&mut owner, &request, 400, "AuthorizationHeaderMalformed", what);
        let mut request = Request::new("GET", "/box/k").header("Host", &host);
        sign::presign_v4(&mut request, own, &scope, "60");
        refused(&mut owner, &request, 400, "AuthorizationQueryParametersError", what);
    }
    for (what, moment) in [
        ("yesterday", now() - Duration::days(1)),
        ("sixteen minutes ago", now() - Duration::minutes(16)),
        ("in sixteen minutes", now() + Duration::minutes(16)),
    ] {
        let mut request = Request::new("GET", "/box/k").header("Host", &host);
        sign::v4_at(&mut request, own, moment);
        refused(&mut owner, &request, 403, "RequestTimeTooSkewed", what);
    }
    // Yesterday's key under today's date.
    let mut request = Request::new("GET", "/box/k").header("Host", &host);
    sign::v4_for(&mut request, own, &here);
    let yesterday = Scope::at(now() - Duration::days(1), "us-east-1").moment[..8].to_owned();
    for (name, value) in &mut request.headers {
        if name == "Authorization" {
            *value = value.replacen(&here.moment[..8], &yesterday, 1);
        }
    }
    refused(&mut owner, &request, 400, "AuthorizationHeaderMalformed", "another day than the date's");
    // Version 2 without any date would be good for ever.
    let mut request = Request::new("GET", "/box/k").header("Host", &host).header("Date", "");
    sign::v2(&mut request, own, "");
    request.headers.retain(|(name, _)| name != "Date");
    refused(&mut owner, &request, 403, "AccessDenied", "no date");
}

#[test]
fn every_header_of_amazons_is_signed_or_refused() {
    let (node, mut owner) = node();
    let signed = owner.sign(Request::new("PUT", "/box/k2").body("x"));
    for (name, value) in [
        ("x-amz-acl", "public-read"),
        ("x-amz-copy-source", "/box/k"),
        ("x-amz-meta-a", "b"),
        ("X-AMZ-Tagging", "a=b"),
        ("x-amz-security-token", ""),
    ] {
        let more = signed.clone().header(name, value);
        refused(&mut owner, &more, 403, "AccessDenied", name);
    }
    // A signed value cannot be cut in two, nor can a second one stand beside it.
    let copy = owner.sign(Request::new("PUT", "/box/k2").header("x-amz-copy-source", "/box/k,/box/k"));
    let mut cut = copy.clone();
    cut.headers.retain(|(name, _)| name != "x-amz-copy-source");
    let cut = cut.header("x-amz-copy-source", "/box/k").header("x-amz-copy-source", "/box/k");
    refused(&mut owner, &cut, 400, "InvalidArgument", "one value as two");
    assert_eq!(keys(&mut owner, "box"), ["k"]);
    drop(node);
}

#[test]
fn chunk_signatures_are_good_for_one_place_of_one_request() {
    let (node, mut owner) = node();
    let start = |key: &str| {
        let mut request = Request::new("PUT", &format!("/box/{key}"))
            .header("Host", &node.address().to_string())
            .header("x-amz-decoded-content-length", "8")
            .header("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
        let chunks = sign::v4(&mut request, node.credentials());
        (request, chunks)
    };
    let end = b"\r\n".to_vec();
    let (first, mut chunks) = start("first");
    let of_first = [chunks.chunk(b"evil"), chunks.chunk(b"mind"), chunks.chunk(b"")];
    let whole = [of_first.concat(), end.clone()].concat();
    owner.try_send_as_is(&first.clone().body(whole)).unwrap().expect(200);
    let (second, _) = start("second");
    let [one, two, last] = &of_first;
    for (what, request, body) in [
        ("chunks of another request", &second, [one, two, last].map(Clone::clone).concat()),
        ("chunks in another order", &first, [two, one, last].map(Clone::clone).concat()),
        ("a chunk twice", &first, [one, one, last].map(Clone::clone).concat()),
        ("a chunk left out", &first, [one, last].map(Clone::clone).concat()),
        ("a signature of another chunk", &first, {
            let (head, _) = one.split_at(one.len() - 6);
            [head, b"hell\r\n", two, last].concat()
        }),
    ] {
        let request = request.clone().body([body, end.clone()].concat());
        refused(&mut owner, &request, 403, "SignatureDoesNotMatch", what);
    }
    // The last chunk says that there is nothing more: without it, anybody could cut the rest off.
    let cut = first.clone().body([one.clone(), two.clone()].concat());
    let response = owner.try_send_as_is(&cut).unwrap();
    assert_eq!(response.status, 400, "{}", response.text());
    assert_eq!(keys(&mut owner, "box"), ["first", "k"]);
}

#[test]
fn there_are_no_sessions_to_take_over() {
    let (node, mut owner) = node();
    let token = Request::new("GET", "/box/k").header("x-amz-security-token", "FwoGZXIvYXdzE");
    owner.send(token).expect_error(400, "InvalidToken");
    let mut url = Request::new("GET", "/box/k?X-Amz-Security-Token=FwoGZXIvYXdzE")
        .header("Host", &node.address().to_string());
    sign::presign_v4(&mut url, node.credentials(), &Scope::at(now(), "us-east-1"), "60");
    refused(&mut owner, &url, 400, "InvalidToken", "a token in the query");
    // Who asks for a session, or for an identity without a key, gets none.
    for action in ["AssumeRole", "AssumeRoleWithWebIdentity", "GetSessionToken"] {
        let body = format!("Action={action}&Version=2011-06-15&WebIdentityToken=eyJhbGciOiJub25lIn0.e30.");
        let ask = Request::new("POST", "/").header("Content-Type", "application/x-www-form-urlencoded");
        let answer = send_anonymous(&mut owner, ask.body(body));
        assert!([403, 405].contains(&answer.status), "{action}: {}", answer.text());
    }
    for value in ["Bearer eyJhbGciOiJub25lIn0.e30.", "Basic cm9vdDpyb290", "AWS4-HMAC-SHA512 a", "AWS"] {
        let answer = owner
            .try_send_as_is(&Request::new("GET", "/box/k").header("Host", "h").header("Authorization", value))
            .unwrap();
        assert_eq!(outcome(&answer), (400, "InvalidArgument".to_owned()), "{value}");
    }
}

#[test]
fn headers_that_other_stores_trust_mean_nothing() {
    let (node, mut owner) = node();
    for (name, value) in [
        ("X-Minio-Source-Replication-Request", "true"),
        ("X-Minio-Internal-actual-size", "1"),
        ("X-Minio-Replication-Server-Side-Encryption-Sealed-Key", "AAAA"),
        ("X-Rustfs-Internal", "true"),
        ("X-Remote-User", "root"),
        ("X-Forwarded-User", "root"),
        ("X-Auth-Token", "R0VUCgoKTW9u"),
        ("X-Amz-Cf-Id", "root"),
        ("X-Original-URL", "/box/public"),
        ("X-Rewrite-Url", "/box/public"),
        ("X-Http-Method-Override", "HEAD"),
        ("Cookie", "token=root"),
        ("Forwarded", "for=127.0.0.1;host=box;proto=https"),
    ] {
        let anonymous = Request::new("GET", "/box/k").header(name, value);
        send_anonymous(&mut owner, anonymous).expect_error(403, "AccessDenied");
        // With a signature they do nothing either: no method changes, and nothing of them is kept.
        owner.send(Request::new("PUT", "/box/kept").header(name, value).body("x")).expect(200);
        let head = owner.head("box", "kept").expect(200);
        assert_eq!(head.header(name), None, "{name}");
    }
    drop(node);
}

/// Who knows no secret learns what AWS tells as well, and no more: whether a key id exists.
#[test]
fn unknown_and_inactive_keys_are_told_alike() {
    let (node, mut owner) = node();
    let mut stranger = super::stranger(&node, "acme");
    let id = stranger.credentials.access_key_id.clone();
    crate::identities::manage(&node, &["key", "deactivate", &id]);
    stranger.get("box", "k").expect_error(403, "InvalidAccessKeyId");
    let deleted = Node::credentials(&node).clone();
    owner.credentials = Credentials { access_key_id: "AKIANOBODY".to_owned(), ..deleted };
    owner.get("box", "k").expect_error(403, "InvalidAccessKeyId");
}
