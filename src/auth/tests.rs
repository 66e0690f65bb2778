//! The published examples, another implementation's requests, refusals, and properties.

mod botocore;
mod examples_v2;
mod examples_v4;
mod properties;
mod refusals;

use super::*;

pub(super) const ID: &str = "AKIAIOSFODNN7EXAMPLE";
pub(super) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
/// 2013-05-24T00:00:00Z, the time of AWS's examples of Signature Version 4.
pub(super) const EXAMPLE_MS: TimestampMs = 1_369_353_600_000;
pub(super) const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// One key, as AWS's examples use it.
pub(super) struct ExampleKey;

impl Keys for ExampleKey {
    fn secret(&self, access_key_id: &str) -> Option<String> {
        (access_key_id == ID).then(|| SECRET.to_owned())
    }
}

/// A head from its lines: request line without the version, then `name: value`.
pub(super) fn head(text: &str) -> Head {
    let mut lines = text.lines();
    let (method, target) = lines.next().unwrap().split_once(' ').unwrap();
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_ascii_lowercase(), value.trim().as_bytes().to_vec())
    });
    Head {
        method: method.to_owned(),
        path: path.to_owned(),
        query,
        headers: headers.collect(),
        version_minor: 1,
    }
}

/// Authenticates with the example key in us-east-1.
pub(super) fn check(
    head: &Head,
    now: TimestampMs,
    virtual_bucket: Option<&str>,
) -> Result<Authentication, AuthError> {
    let signing_keys = SigningKeys::new();
    let context =
        Context { region: "us-east-1", now, keys: &ExampleKey, signing_keys: &signing_keys, virtual_bucket };
    let first = authenticate(head, &context);
    // A cached key must not change the answer.
    assert_eq!(format!("{first:?}"), format!("{:?}", authenticate(head, &context)));
    first
}

/// Asserts that the example key signed the request.
#[track_caller]
pub(super) fn assert_signed(
    head: &Head,
    now: TimestampMs,
    virtual_bucket: Option<&str>,
    name: &str,
) -> PayloadPromise {
    match check(head, now, virtual_bucket) {
        Ok(authentication) => {
            assert_eq!(authentication.identity, Identity::AccessKey { id: ID.to_owned() }, "{name}");
            authentication.payload
        }
        Err(error) => panic!("{name}: {error:#?}"),
    }
}
