//! Signatures of requests: any head is judged without a panic; what a client signs is authentic, also by a
//! second reading of AWS's documentation; and nothing of what is signed can be changed.

use hmac::{Hmac, KeyInit, Mac};
use ringcask::auth::sign::{Credentials, presign_v2, presign_v4, sign_v2, sign_v4};
use ringcask::auth::{self, AuthError, Identity, Keys, SigningKeys};
use ringcask::http::Head;
use sha2::{Digest, Sha256};

use super::{Random, request};

const KEY: Credentials<'_> = Credentials {
    id: "AKIAIOSFODNN7EXAMPLE",
    secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    region: "us-east-1",
};
/// Those of AWS's examples, and of the heads that botocore and others signed.
const TIMES: [u64; 4] = [1_369_353_600_000, 1_175_139_620_000, 1_772_368_245_000, 1_795_381_859_000];
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Lines of text: method and target, then headers.
pub fn run(data: &[u8]) {
    let Some(head) = request::head(data) else { return };
    for now in TIMES {
        let first = judge(&head, now);
        assert_eq!(first, judge(&head, now));
        if first.as_ref().is_ok_and(|identity| *identity != Identity::Anonymous) {
            agree(&head);
        }
    }
    let mut random = Random::of(data);
    let mut plain = head;
    let special = ["authorization", "x-amz-date", "date", "x-amz-content-sha256", "x-amz-security-token"];
    plain.headers.retain(|(name, _)| !special.contains(&name.as_str()));
    if !is_plain(plain.query.as_deref()) {
        return;
    }
    let now = TIMES[0];
    let mut v4 = plain.clone();
    sign_v4(&mut v4, KEY, now, EMPTY_SHA256);
    let mut v4_query = plain.clone();
    presign_v4(&mut v4_query, KEY, now, 60);
    let mut v2 = plain.clone();
    sign_v2(&mut v2, KEY, now, None);
    let mut v2_query = plain;
    presign_v2(&mut v2_query, KEY, now / 1000, None);
    for (signed, is_v4) in [(v4, true), (v4_query, true), (v2, false), (v2_query, false)] {
        assert_eq!(judge(&signed, now), Ok(Identity::AccessKey { id: KEY.id.to_owned() }), "{signed:?}");
        if is_v4 {
            agree(&signed);
        }
        change(&signed, is_v4, now, &mut random);
    }
}

/// Whether a query has nothing of signatures, and can be read.
fn is_plain(query: Option<&str>) -> bool {
    let special = ["awsaccesskeyid", "signature", "expires"];
    let Ok(query) = ringcask::http::Query::parse(query) else { return false };
    // The presigned parameters come on top.
    query.parameters().len() < 200
        && query.parameters().all(|(name, _)| {
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            !special.contains(&name.as_str()) && !name.starts_with("x-amz-")
        })
}

struct OneKey;

impl Keys for OneKey {
    fn secret(&self, id: &str) -> Option<String> {
        (id == KEY.id).then(|| KEY.secret.to_owned())
    }
}

fn judge(head: &Head, now: u64) -> Result<Identity, AuthError> {
    let signing_keys = SigningKeys::new();
    let context = auth::Context {
        region: KEY.region,
        now,
        keys: &OneKey,
        signing_keys: &signing_keys,
        virtual_bucket: None,
    };
    auth::authenticate(head, &context).map(|authentication| authentication.identity)
}

/// Changes something that is signed.
fn change(signed: &Head, is_v4: bool, now: u64, random: &mut Random) {
    let mut other = signed.clone();
    let what = random.below(if is_v4 { 4 } else { 2 });
    match what {
        0 => other.method = if signed.method == "GET" { "PUT" } else { "GET" }.to_owned(),
        1 => flip(&mut other.path, 1, random),
        2 => match &mut other.query {
            Some(query) => flip(query, 0, random),
            None => other.query = Some("acl".to_owned()),
        },
        _ => {
            let count = other.headers.len();
            let (name, value) = &mut other.headers[random.below(count)];
            if value.is_empty() || name == "authorization" {
                return;
            }
            let at = random.below(value.len());
            value[at] ^= 1 << random.below(7);
        }
    }
    let changed = judge(&other, now);
    let is_same = match what {
        0 => false,
        1 if is_v4 => request_decoded(&other.path) == request_decoded(&signed.path),
        1 => other.path == signed.path,
        2 => parameters(&other) == parameters(signed),
        _ => words(&other) == words(signed),
    };
    let is_authentic = changed.as_ref().is_ok_and(|identity| *identity != Identity::Anonymous);
    assert!(is_same || !is_authentic, "{signed:?}\nis as good as\n{other:?}");
    if is_same && what != 2 {
        assert!(is_authentic, "{signed:?}\nis other than\n{other:?}: {changed:?}");
    }
}

/// Changes one character of ASCII behind `from` to another that may stand in a target.
fn flip(text: &mut String, from: usize, random: &mut Random) {
    let mut bytes = std::mem::take(text).into_bytes();
    if bytes.len() > from {
        let at = from + random.below(bytes.len() - from);
        let to = b'!' + (random.below(94) as u8);
        if bytes[at].is_ascii() && to != b'?' && to != b'#' {
            bytes[at] = to;
        }
    }
    *text = String::from_utf8(bytes).expect("ASCII for ASCII");
}

fn request_decoded(path: &str) -> Result<Vec<u8>, String> {
    ringcask::http::percent::decode_path(path).map(|path| path.into_owned()).map_err(|_| path.to_owned())
}

/// The parameters that are signed, in any order.
fn parameters(head: &Head) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let query = ringcask::http::Query::parse(head.query.as_deref()).ok()?;
    let own = |(name, value): (&[u8], Option<&[u8]>)| (name.to_vec(), value.unwrap_or_default().to_vec());
    let mut parameters: Vec<_> = query.parameters().map(own).collect();
    parameters.sort();
    Some(parameters)
}

/// Headers without the spaces that do not count.
fn words(head: &Head) -> Vec<(String, Vec<Vec<u8>>)> {
    let words = |value: &[u8]| {
        let words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        words.map(<[u8]>::to_vec).collect()
    };
    head.headers.iter().map(|(name, value)| (name.clone(), words(value))).collect()
}

/// Computes the signature of Version 4 again, step by step as AWS describes it, and compares.
fn agree(head: &Head) {
    let authorization = head.text("authorization").unwrap_or_default();
    let query = head.query.clone().unwrap_or_default();
    let parameter = |name: &str| {
        let pair = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")))?;
        String::from_utf8(request_decoded(&pair.replace('+', " ")).ok()?).ok()
    };
    let field = |name: &str| {
        let fields = authorization.strip_prefix("AWS4-HMAC-SHA256")?;
        let field = fields.split(',').find_map(|field| field.trim().strip_prefix(name))?;
        Some(field.trim().strip_prefix('=')?.trim().to_owned())
    };
    let is_header = !authorization.is_empty();
    let (credential, names, signature, moment, payload) = if is_header {
        let date = || head.text("x-amz-date").map(str::to_owned);
        let payload = head.text("x-amz-content-sha256").map(str::to_owned);
        (field("Credential"), field("SignedHeaders"), field("Signature"), date(), payload)
    } else {
        let payload = parameter("X-Amz-Content-Sha256")
            .or_else(|| head.text("x-amz-content-sha256").map(str::to_owned))
            .unwrap_or_else(|| "UNSIGNED-PAYLOAD".to_owned());
        let [credential, names, signature, moment] =
            ["X-Amz-Credential", "X-Amz-SignedHeaders", "X-Amz-Signature", "X-Amz-Date"].map(parameter);
        (credential, names, signature, moment, Some(payload))
    };
    let (Some(credential), Some(names), Some(signature), Some(moment), Some(payload)) =
        (credential, names, signature, moment, payload)
    else {
        // Version 2, or a date in another form.
        return;
    };
    if moment.len() != 16 {
        return;
    }
    let scope = credential.split_once('/').expect("a scope").1.to_owned();
    let mut pairs: Vec<String> = query
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.starts_with("X-Amz-Signature="))
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let again = |text: &str| uri_encode(&request_decoded(&text.replace('+', " ")).unwrap(), true);
            format!("{}={}", again(name), again(value))
        })
        .collect();
    // By name and then by value: the equals sign sorts before whatever a name may go on with, but for `-` and
    // digits and the like.
    pairs.sort_by(|left, right| left.split_once('=').cmp(&right.split_once('=')));
    let path = match request_decoded(&head.path) {
        Ok(path) => uri_encode(&path, false),
        Err(path) => path,
    };
    let mut canonical = format!("{}\n{path}\n{}\n", head.method, pairs.join("&")).into_bytes();
    for name in names.split(';') {
        let values: Vec<Vec<u8>> = words(head)
            .into_iter()
            .filter(|(have, _)| *have == name.to_ascii_lowercase())
            .map(|(_, words)| words.join(&b' '))
            .collect();
        canonical.extend_from_slice(&[name.as_bytes(), b":", &values.join(&b','), b"\n"].concat());
    }
    canonical.extend_from_slice(format!("\n{names}\n{payload}").as_bytes());
    let digest = hex(&Sha256::digest(&canonical));
    let text = format!("AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}");
    let mut key = mac(format!("AWS4{}", KEY.secret).as_bytes(), scope.split('/').next().unwrap());
    for part in [KEY.region, "s3", "aws4_request"] {
        key = mac(&key, part);
    }
    assert_eq!(hex(&mac(&key, &text)), signature, "{}", String::from_utf8_lossy(&canonical));
}

/// AWS's `UriEncode`.
fn uri_encode(bytes: &[u8], with_slash: bool) -> String {
    let mut out = String::new();
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(*byte))
            }
            b'/' if !with_slash => out.push('/'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
