//! Every reason to refuse a request, and what the refusal carries.

use super::*;

const NOW: TimestampMs = EXAMPLE_MS;
const CREDENTIALS: sign::Credentials<'_> = sign::Credentials { id: ID, secret: SECRET, region: "us-east-1" };

fn get() -> Head {
    head("GET /bucket/key\nhost: localhost:9000")
}

fn signed(credentials: sign::Credentials<'_>, payload: &str) -> Head {
    let mut head = get();
    sign::sign_v4(&mut head, credentials, NOW, payload);
    head
}

fn presigned(seconds: u64) -> Head {
    let mut head = get();
    sign::presign_v4(&mut head, CREDENTIALS, NOW, seconds);
    head
}

/// Replaces text in the query or, if there is none, in the Authorization header.
fn altered(mut head: Head, from: &str, to: &str) -> Head {
    if let Some(query) = &mut head.query {
        assert!(query.contains(from), "{query}");
        *query = query.replace(from, to);
        return head;
    }
    let value = &mut head.headers.iter_mut().find(|(name, _)| name == "authorization").unwrap().1;
    let text = String::from_utf8(value.clone()).unwrap();
    assert!(text.contains(from), "{text}");
    *value = text.replace(from, to).into_bytes();
    head
}

fn without(mut head: Head, header: &str) -> Head {
    head.headers.retain(|(name, _)| name != header);
    head
}

fn with(mut head: Head, header: &str, value: &str) -> Head {
    head.headers.push((header.to_owned(), value.as_bytes().to_vec()));
    head
}

#[track_caller]
fn refusal(head: &Head) -> AuthError {
    check(head, NOW, None).expect_err("must be refused")
}

/// The message, and the region if it is wrong.
#[track_caller]
fn malformed(head: &Head) -> (String, Option<String>) {
    match refusal(head) {
        AuthError::AuthorizationHeaderMalformed { message, region } => {
            let detail = message.strip_prefix("The authorization header is malformed; ").unwrap();
            (detail.to_owned(), region)
        }
        AuthError::AuthorizationQueryParametersError { message, region } => (message, region),
        error => panic!("{error:?}"),
    }
}

#[test]
fn a_request_without_credentials_is_anonymous() {
    let authentication = check(&get(), NOW, None).unwrap();
    assert_eq!(authentication.identity, Identity::Anonymous);
    assert!(matches!(authentication.payload, PayloadPromise::Unsigned));
    let chunked = with(get(), "x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
    let payload = check(&chunked, NOW, None).unwrap().payload;
    assert!(matches!(payload, PayloadPromise::UnsignedChunksTrailer));
    let chunked = with(get(), "x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
    assert!(matches!(refusal(&chunked), AuthError::AccessDenied { .. }));
}

#[test]
fn each_form_of_the_content_sha256_is_promised() {
    let promise = |payload: &str| check(&signed(CREDENTIALS, payload), NOW, None).unwrap().payload;
    assert!(matches!(promise("UNSIGNED-PAYLOAD"), PayloadPromise::Unsigned));
    assert!(matches!(promise(EMPTY_SHA256), PayloadPromise::Sha256(_)));
    assert!(matches!(promise("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), PayloadPromise::SignedChunks(_)));
    assert!(matches!(
        promise("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"),
        PayloadPromise::SignedChunksTrailer(_)
    ));
    assert!(matches!(promise("STREAMING-UNSIGNED-PAYLOAD-TRAILER"), PayloadPromise::UnsignedChunksTrailer));
    for wrong in ["", "abc", "UNSIGNED", &EMPTY_SHA256[1..], &EMPTY_SHA256.replace('e', "g")] {
        let value = Some(wrong.to_owned());
        assert_eq!(refusal(&signed(CREDENTIALS, wrong)), AuthError::InvalidContentSha256 { value });
    }
    let missing = without(signed(CREDENTIALS, EMPTY_SHA256), "x-amz-content-sha256");
    assert_eq!(refusal(&missing), AuthError::InvalidContentSha256 { value: None });
    let elliptic = signed(CREDENTIALS, "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD");
    assert!(matches!(refusal(&elliptic), AuthError::NotImplemented { .. }));
}

#[test]
fn an_unknown_key_is_named_and_a_wrong_secret_is_not_told() {
    let other = sign::Credentials { id: "AKIDOTHER", ..CREDENTIALS };
    let id = "AKIDOTHER".to_owned();
    assert_eq!(refusal(&signed(other, EMPTY_SHA256)), AuthError::InvalidAccessKeyId { id });
    let wrong = sign::Credentials { secret: "wrong", ..CREDENTIALS };
    let error = refusal(&signed(wrong, EMPTY_SHA256));
    assert!(!format!("{error:?}").contains(SECRET));
    let AuthError::SignatureDoesNotMatch { id, provided, string_to_sign, canonical_request } = error else {
        panic!("{error:?}")
    };
    assert_eq!((id.as_str(), provided.len()), (ID, 64));
    assert!(
        string_to_sign
            .starts_with("AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n")
    );
    let signed_headers = "host;x-amz-content-sha256;x-amz-date";
    assert_eq!(
        canonical_request.unwrap(),
        format!(
            "GET\n/bucket/key\n\nhost:localhost:9000\nx-amz-content-sha256:{EMPTY_SHA256}\n\
             x-amz-date:20130524T000000Z\n\n{signed_headers}\n{EMPTY_SHA256}"
        )
    );
}

#[test]
fn a_malformed_header_is_explained() {
    let head = || signed(CREDENTIALS, EMPTY_SHA256);
    for (from, to, message) in [
        (
            "Signature=",
            "Other=",
            "the authorization header requires three components: Credential, \
          SignedHeaders, and Signature.",
        ),
        (
            "Credential=AKIA",
            "Credential=AKIA, Credential=AKIA",
            "the authorization header requires three \
          components: Credential, SignedHeaders, and Signature.",
        ),
        (
            "/20130524/us-east-1/s3",
            "/20130524/s3",
            "the Credential is mal-formed; expecting \
          \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".",
        ),
        (ID, "", "a non-empty Access Key (AKID) must be provided in the credential."),
        (
            "/20130524/",
            "/2013-05-24/",
            "incorrect date format \"2013-05-24\". This date in the credential \
          must be in the format \"yyyyMMdd\".",
        ),
        (
            "/20130524/",
            "/20130523/",
            "Invalid credential date \"20130523\". This date is not the same as \
          X-Amz-Date: \"20130524\".",
        ),
        ("/s3/", "/ec2/", "incorrect service \"ec2\". This endpoint belongs to \"s3\"."),
        ("aws4_request", "aws5", "incorrect terminal \"aws5\". This endpoint uses \"aws4_request\"."),
    ] {
        assert_eq!(malformed(&altered(head(), from, to)), (message.to_owned(), None), "{from} -> {to}");
    }
    let region = sign::Credentials { region: "eu-west-1", ..CREDENTIALS };
    assert_eq!(
        malformed(&signed(region, EMPTY_SHA256)),
        ("the region 'eu-west-1' is wrong; expecting 'us-east-1'".to_owned(), Some("us-east-1".to_owned()))
    );
}

#[test]
fn fields_may_stand_in_any_order_without_spaces() {
    let head = signed(CREDENTIALS, EMPTY_SHA256);
    let value = head.text("authorization").unwrap().to_owned();
    let mut fields: Vec<&str> = value.strip_prefix("AWS4-HMAC-SHA256 ").unwrap().split(", ").collect();
    fields.reverse();
    for value in [
        format!("AWS4-HMAC-SHA256 {}", fields.join(",")),
        format!("AWS4-HMAC-SHA256   {} ", fields.join("  ,  ")),
    ] {
        let head = with(without(head.clone(), "authorization"), "authorization", &value);
        assert_signed(&head, NOW, None, &value);
    }
}

#[test]
fn host_and_every_amz_header_must_be_signed() {
    let names = |names: &[&str]| AuthError::HeadersNotSigned {
        names: names.iter().map(|&name| name.to_owned()).collect(),
    };
    let head = signed(CREDENTIALS, EMPTY_SHA256);
    let added = with(with(head.clone(), "x-amz-acl", "public-read"), "x-amz-acl", "private");
    assert_eq!(refusal(&added), names(&["x-amz-acl"]));
    assert_eq!(refusal(&altered(head, "=host;", "=")), names(&["host"]));
    let presigned = with(presigned(60), "x-amz-tagging", "a=b");
    assert_eq!(refusal(&presigned), names(&["x-amz-tagging"]));
    assert_eq!(
        refusal(&altered(presigned, "SignedHeaders=host", "SignedHeaders=date")),
        names(&["host", "x-amz-tagging"])
    );
}

#[test]
fn clocks_may_differ_by_fifteen_minutes() {
    let skew = 15 * 60 * 1000;
    let head = signed(CREDENTIALS, EMPTY_SHA256);
    for time in [NOW - skew, NOW + skew] {
        assert_signed(&head, time, None, "within");
    }
    for time in [NOW - skew - 1, NOW + skew + 1] {
        let request_time = "20130524T000000Z".to_owned();
        assert_eq!(
            check(&head, time, None).unwrap_err(),
            AuthError::RequestTimeTooSkewed { request_time, server_time: time }
        );
    }
    for (name, value) in [("x-amz-date", "tomorrow"), ("date", ""), ("x-amz-date", "20130524")] {
        let head = with(without(head.clone(), "x-amz-date"), name, value);
        let AuthError::AccessDenied { message } = refusal(&head) else { panic!() };
        assert_eq!(message, "AWS authentication requires a valid Date or x-amz-date header");
    }
}

#[test]
fn a_presigned_url_has_its_time() {
    assert_signed(&presigned(60), NOW + 60_000, None, "its last moment");
    let late = NOW + 60_001;
    assert_eq!(
        check(&presigned(60), late, None).unwrap_err(),
        AuthError::Expired {
            expires: "2013-05-24T00:01:00Z".to_owned(),
            server_time: late,
            seconds: Some("60".to_owned()),
        }
    );
    assert_signed(&presigned(60), NOW - 15 * 60 * 1000, None, "its signer's clock is ahead");
    assert_eq!(
        check(&presigned(60), NOW - 15 * 60 * 1000 - 1, None).unwrap_err(),
        AuthError::AccessDenied { message: "Request is not valid yet".to_owned() }
    );
    let week = "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be \
                less than 604800 seconds";
    assert_signed(&presigned(604_800), NOW, None, "a week");
    for (expires, message) in [
        ("604801", week),
        ("99999999999999999999999", week),
        ("-1", "X-Amz-Expires must be non-negative"),
        ("0", "X-Amz-Expires must be at least 1"),
        ("%2B1", "X-Amz-Expires should be a number"),
        ("1h", "X-Amz-Expires should be a number"),
    ] {
        let head = altered(presigned(60), "Expires=60", &format!("Expires={expires}"));
        assert_eq!(malformed(&head), (message.to_owned(), None), "{expires}");
    }
}

#[test]
fn a_presigned_url_needs_all_of_its_parameters() {
    let query = presigned(60).query.unwrap();
    for parameter in query.split('&') {
        let rest: Vec<&str> = query.split('&').filter(|other| *other != parameter).collect();
        let head = Head { query: Some(rest.join("&")), ..get() };
        let message = "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, \
                       X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.";
        assert_eq!(malformed(&head), (message.to_owned(), None), "{parameter}");
    }
    for (from, to, message) in [
        ("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1", "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""),
        (
            "Date=20130524T000000Z",
            "Date=20130524",
            "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"",
        ),
        (
            "%2F20130524%2F",
            "%2F20130525%2F",
            "Error parsing the X-Amz-Credential parameter; Invalid credential date \"20130525\". This date is \
             not the same as X-Amz-Date: \"20130524\".",
        ),
    ] {
        assert_eq!(malformed(&altered(presigned(60), from, to)), (message.to_owned(), None));
    }
    assert_eq!(
        malformed(&altered(presigned(60), "us-east-1", "eu-west-1")),
        (
            "Error parsing the X-Amz-Credential parameter; the region 'eu-west-1' is wrong; expecting \
             'us-east-1'"
                .to_owned(),
            Some("us-east-1".to_owned())
        )
    );
}

#[test]
fn a_presigned_payload_hash_is_promised() {
    let mut head = with(get(), "x-amz-content-sha256", EMPTY_SHA256);
    sign::presign_v4(&mut head, CREDENTIALS, NOW, 60);
    assert!(matches!(assert_signed(&head, NOW, None, "signed"), PayloadPromise::Sha256(_)));
    assert!(matches!(
        refusal(&without(head, "x-amz-content-sha256")),
        AuthError::SignatureDoesNotMatch { .. }
    ));
}

#[test]
fn credentials_are_given_once() {
    let mut both = signed(CREDENTIALS, EMPTY_SHA256);
    both.query = presigned(60).query;
    let mut v2 = signed(CREDENTIALS, EMPTY_SHA256);
    v2.query = Some("AWSAccessKeyId=x&Expires=1&Signature=y".to_owned());
    let mut twice = signed(CREDENTIALS, EMPTY_SHA256);
    twice.headers.push(("authorization".to_owned(), b"AWS a:b".to_vec()));
    for head in [both, v2, twice] {
        let AuthError::InvalidArgument { message, name, .. } = refusal(&head) else { panic!() };
        assert_eq!(
            (message.as_str(), name.as_str()),
            (
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query \
                 string parameter or the Authorization header should be specified",
                "Authorization"
            )
        );
    }
}

#[test]
fn an_unknown_scheme_is_refused() {
    for value in ["Bearer token", "Basic dXNlcjpwYXNz", "AWS4-HMAC-SHA512 Credential=x", ""] {
        let AuthError::InvalidArgument { message, name, value: given } =
            refusal(&with(get(), "authorization", value))
        else {
            panic!("{value}")
        };
        assert_eq!((message.as_str(), name.as_str()), ("Unsupported Authorization Type", "Authorization"));
        assert_eq!(given, value);
    }
    let elliptic = with(get(), "authorization", "AWS4-ECDSA-P256-SHA256 Credential=x");
    assert!(matches!(refusal(&elliptic), AuthError::NotImplemented { .. }));
}

#[test]
fn a_session_token_cannot_be_ours() {
    let mut header = with(get(), "x-amz-security-token", "token");
    sign::sign_v4(&mut header, CREDENTIALS, NOW, EMPTY_SHA256);
    let mut query = Head { query: Some("X-Amz-Security-Token=token".to_owned()), ..get() };
    sign::presign_v4(&mut query, CREDENTIALS, NOW, 60);
    let mut v2 = with(get(), "x-amz-security-token", "token");
    sign::sign_v2(&mut v2, CREDENTIALS, NOW, None);
    for head in [header, query, v2] {
        assert_eq!(refusal(&head), AuthError::InvalidToken);
    }
    let mut empty = Head { query: Some("X-Amz-Security-Token=".to_owned()), ..get() };
    sign::presign_v4(&mut empty, CREDENTIALS, NOW, 60);
    assert_signed(&empty, NOW, None, "an empty token is none");
}

#[test]
fn version_2_is_refused_for_the_same_reasons() {
    let mut head = get();
    sign::sign_v2(&mut head, CREDENTIALS, NOW, None);
    assert_eq!(head.text("date"), Some("Fri, 24 May 2013 00:00:00 GMT"));
    assert_signed(&head, NOW, None, "v2");
    assert!(matches!(check(&head, NOW + 900_001, None), Err(AuthError::RequestTimeTooSkewed { .. })));
    let mut chunked = with(get(), "x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
    sign::sign_v2(&mut chunked, CREDENTIALS, NOW, None);
    let payload = assert_signed(&chunked, NOW, None, "v2 chunked");
    assert!(matches!(payload, PayloadPromise::UnsignedChunksTrailer));
    assert!(matches!(refusal(&without(head.clone(), "date")), AuthError::AccessDenied { .. }));
    assert!(matches!(refusal(&altered(head.clone(), ID, "x")), AuthError::InvalidAccessKeyId { .. }));
    assert!(matches!(refusal(&altered(head.clone(), ":", "")), AuthError::InvalidArgument { .. }));
    assert!(matches!(
        check(&head, NOW, Some("bucket")),
        Err(AuthError::SignatureDoesNotMatch { canonical_request: None, .. })
    ));
}

#[test]
fn a_presigned_version_2_url_has_its_time() {
    let seconds = NOW / 1000 + 60;
    let mut head = get();
    sign::presign_v2(&mut head, CREDENTIALS, seconds, None);
    assert_signed(&head, NOW + 60_000, None, "its last moment");
    let late = NOW + 60_001;
    assert_eq!(
        check(&head, late, None).unwrap_err(),
        AuthError::Expired { expires: "2013-05-24T00:01:00Z".to_owned(), server_time: late, seconds: None }
    );
    for expires in ["tomorrow", "-1", "%2B1", "99999999999999999999"] {
        let head = altered(head.clone(), &format!("Expires={seconds}"), &format!("Expires={expires}"));
        let AuthError::AccessDenied { message } = refusal(&head) else { panic!("{expires}") };
        assert!(message.starts_with("Invalid date (should be seconds since epoch): "), "{message}");
    }
    let partial = Head { query: Some(format!("AWSAccessKeyId={ID}&Expires={seconds}")), ..get() };
    let AuthError::AccessDenied { message } = refusal(&partial) else { panic!() };
    assert_eq!(
        message,
        "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters"
    );
}

#[test]
fn a_version_2_bucket_may_be_signed_with_a_slash_that_was_not_sent() {
    let request = |path: &str| {
        let mut head = Head { path: path.to_owned(), ..get() };
        sign::sign_v2(&mut head, CREDENTIALS, NOW, None);
        head
    };
    let sent_as = |head: Head, path: &str| check(&Head { path: path.to_owned(), ..head }, NOW, None);
    assert!(sent_as(request("/bucket/"), "/bucket").is_ok());
    assert!(sent_as(request("/bucket/key/"), "/bucket/key").is_err());
    assert!(sent_as(request("/bucket"), "/bucket/").is_err());
    assert!(sent_as(request("//"), "/").is_err());
}
