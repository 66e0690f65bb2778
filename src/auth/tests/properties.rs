//! What holds for any request.

use proptest::prelude::*;

use super::*;

const CREDENTIALS: sign::Credentials<'_> = sign::Credentials { id: ID, secret: SECRET, region: "us-east-1" };

fn any_header() -> impl Strategy<Value = (String, Vec<u8>)> {
    let name = prop_oneof!["[a-z-]{1,12}", "x-amz-[a-z-]{1,12}"];
    (name, prop::collection::vec(any::<u8>(), 0..20))
}

/// Requests that a client could send, still unsigned.
fn any_request() -> impl Strategy<Value = Head> {
    let query = prop::option::of("([ -$&-~]|%[0-9a-fA-F]{2}){0,30}");
    let headers = prop::collection::vec(any_header(), 0..6);
    ("(GET|PUT|DELETE)", "/([ -$&-~é]|%[0-9a-fA-F]{2}){0,30}", query, headers).prop_map(
        |(method, path, query, mut headers)| {
            headers.push(("host".to_owned(), b"localhost:9000".to_vec()));
            let special =
                ["authorization", "x-amz-date", "date", "x-amz-content-sha256", "x-amz-security-token"];
            headers.retain(|(name, _)| !special.contains(&name.as_str()));
            Head { method, path, query, headers, version_minor: 1 }
        },
    )
}

/// Text made of the pieces that the parsers look for, and of anything else.
fn any_pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "AWS4-HMAC-SHA256",
            "AWS",
            "Credential=",
            "SignedHeaders=",
            "Signature=",
            ID,
            "/",
            "20130524",
            "us-east-1",
            "s3",
            "aws4_request",
            ", ",
            ";",
            "host",
            ":",
            "&",
            "=",
            "%",
            "%2F",
            "+",
            "X-Amz-Algorithm=",
            "X-Amz-Credential=",
            "X-Amz-Date=",
            "X-Amz-Expires=",
            "X-Amz-SignedHeaders=",
            "X-Amz-Signature=",
            "AWSAccessKeyId=",
            "Expires=",
            "20130524T000000Z",
            "60",
            "UNSIGNED-PAYLOAD",
            EMPTY_SHA256,
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        ])
        .prop_map(str::to_owned),
        ".{0,4}",
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn what_a_client_signs_is_authentic_and_nothing_else_is(
        request in any_request(),
        at in any::<prop::sample::Index>(),
    ) {
        let mut v4 = request.clone();
        sign::sign_v4(&mut v4, CREDENTIALS, EXAMPLE_MS, EMPTY_SHA256);
        let mut v4_query = request.clone();
        sign::presign_v4(&mut v4_query, CREDENTIALS, EXAMPLE_MS, 60);
        let mut v2 = request.clone();
        sign::sign_v2(&mut v2, CREDENTIALS, EXAMPLE_MS, Some("bucket"));
        let mut v2_query = request;
        sign::presign_v2(&mut v2_query, CREDENTIALS, EXAMPLE_MS / 1000, Some("bucket"));
        for head in [v4, v4_query, v2, v2_query] {
            let authentication = check(&head, EXAMPLE_MS, Some("bucket")).unwrap();
            prop_assert_eq!(authentication.identity, Identity::AccessKey { id: ID.to_owned() });
            // Another object, and another method, are never authentic.
            let mut other = head.clone();
            let places: Vec<usize> = other.path.char_indices().map(|(place, _)| place).skip(1).collect();
            let place = if places.is_empty() { other.path.len() } else { *at.get(&places) };
            // Before a character, or within an escape: a path that is another one or none at all.
            other.path.insert(place, 'Q');
            prop_assert!(check(&other, EXAMPLE_MS, Some("bucket")).is_err());
            let other = Head { method: "POST".to_owned(), ..head };
            prop_assert!(check(&other, EXAMPLE_MS, Some("bucket")).is_err());
        }
    }

    #[test]
    fn any_head_is_judged_without_panic(
        path in ".{0,20}",
        query in prop::option::of(any_pieces()),
        authorization in prop::option::of(any_pieces()),
        headers in prop::collection::vec(any_header(), 0..4),
        date in any_pieces(),
        payload in any_pieces(),
    ) {
        let mut head = Head { method: "PUT".to_owned(), path, query, headers, version_minor: 1 };
        let mut push = |name: &str, value: String| head.headers.push((name.to_owned(), value.into_bytes()));
        push("x-amz-date", date);
        push("x-amz-content-sha256", payload);
        if let Some(value) = authorization {
            push("authorization", value);
        }
        let _ = check(&head, EXAMPLE_MS, None);
    }

    #[test]
    fn a_mangled_signed_head_is_judged_without_panic(
        request in any_request(),
        cut in 0usize..400,
        byte in any::<u8>(),
    ) {
        let mut header = request.clone();
        sign::sign_v4(&mut header, CREDENTIALS, EXAMPLE_MS, EMPTY_SHA256);
        let value = &mut header.headers.iter_mut().find(|(name, _)| name == "authorization").unwrap().1;
        if let Some(place) = value.get_mut(cut) {
            *place = byte;
        } else {
            value.truncate(cut / 2);
        }
        let _ = check(&header, EXAMPLE_MS, None);
        let mut query = request;
        sign::presign_v4(&mut query, CREDENTIALS, EXAMPLE_MS, 60);
        let text: String = query.query.take().unwrap().chars().take(cut).collect();
        query.query = Some(text);
        let _ = check(&query, EXAMPLE_MS, None);
    }
}
