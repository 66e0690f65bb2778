//! Signature Versions 4 and 2, written from AWS's documentation and apart from the node's own, so that one
//! checks the other.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::client::{Request, encode};

#[derive(Clone, Debug)]
pub struct Credentials {
    pub access_key_id: String,
    pub secret_key: String,
    pub region: String,
}

/// Whom a signature is for: `YYYYMMDDTHHMMSSZ`, and the credential's scope behind the day.
#[derive(Clone, Debug)]
pub struct Scope {
    pub moment: String,
    pub region: String,
    pub service: String,
    pub terminator: String,
}

impl Scope {
    /// What a request of that moment needs.
    pub fn at(moment: OffsetDateTime, region: &str) -> Self {
        let moment =
            moment.format(format_description!("[year][month][day]T[hour][minute][second]Z")).unwrap();
        let text = str::to_owned;
        Self { moment, region: text(region), service: text("s3"), terminator: text("aws4_request") }
    }

    fn text(&self) -> String {
        format!("{}/{}/{}/{}", &self.moment[..8], self.region, self.service, self.terminator)
    }

    fn key(&self, secret: &str) -> Vec<u8> {
        let mut key = sha256_mac(format!("AWS4{secret}").as_bytes(), &self.moment[..8]);
        for part in [&self.region, &self.service, &self.terminator] {
            key = sha256_mac(&key, part);
        }
        key
    }
}

/// The state that chunk signatures continue from a request's signature.
pub struct Chunks {
    key: Vec<u8>,
    moment: String,
    scope: String,
    previous: String,
}

/// Signs a request in its `Authorization` header (SigV4); the payload is promised as `x-amz-content-sha256`
/// says, which is added if the request has none.
pub fn v4(request: &mut Request, credentials: &Credentials) -> Chunks {
    let now = OffsetDateTime::now_utc();
    v4_at(request, credentials, now)
}

pub fn v4_at(request: &mut Request, credentials: &Credentials, now: OffsetDateTime) -> Chunks {
    v4_for(request, credentials, &Scope::at(now, &credentials.region))
}

pub fn v4_for(request: &mut Request, credentials: &Credentials, scope: &Scope) -> Chunks {
    if request.get("x-amz-content-sha256").is_none() {
        let digest = hex(&Sha256::digest(&request.body));
        request.headers.push(("x-amz-content-sha256".to_owned(), digest));
    }
    request.headers.push(("x-amz-date".to_owned(), scope.moment.clone()));
    let payload = request.get("x-amz-content-sha256").unwrap().to_owned();
    let (names, signature) = v4_signature(request, credentials, scope, &payload);
    request.headers.push((
        "Authorization".to_owned(),
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{},SignedHeaders={names},Signature={signature}",
            credentials.access_key_id,
            scope.text()
        ),
    ));
    let key = scope.key(&credentials.secret_key);
    Chunks { key, moment: scope.moment.clone(), scope: scope.text(), previous: signature }
}

/// Appends the parameters of a presigned URL (SigV4) that lives `seconds`; the headers that the request has are
/// signed, and must come with it.
pub fn presign_v4(request: &mut Request, credentials: &Credentials, scope: &Scope, seconds: &str) {
    let names = signed_headers(request).into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(";");
    let credential = format!("{}/{}", credentials.access_key_id, scope.text());
    for (name, value) in [
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
        ("X-Amz-Credential", credential.as_str()),
        ("X-Amz-Date", scope.moment.as_str()),
        ("X-Amz-Expires", seconds),
        ("X-Amz-SignedHeaders", names.as_str()),
    ] {
        append(request, name, value);
    }
    let payload = request.get("x-amz-content-sha256").unwrap_or("UNSIGNED-PAYLOAD").to_owned();
    let (_, signature) = v4_signature(request, credentials, scope, &payload);
    append(request, "X-Amz-Signature", &signature);
}

fn append(request: &mut Request, name: &str, value: &str) {
    let joint = if request.target.contains('?') { '&' } else { '?' };
    request.target.push_str(&format!("{joint}{name}={}", encode(value)));
}

fn signed_headers(request: &Request) -> Vec<(String, String)> {
    let mut signed: Vec<(String, String)> = request
        .headers
        .iter()
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .filter(|(name, _)| name == "host" || name.starts_with("x-amz-") || name.starts_with("content-"))
        .collect();
    signed.sort();
    signed
}

/// The names of the signed headers, and the signature.
fn v4_signature(
    request: &Request,
    credentials: &Credentials,
    scope: &Scope,
    payload: &str,
) -> (String, String) {
    let signed = signed_headers(request);
    let names: Vec<&str> = signed.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(";");
    let lines: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let canonical = format!(
        "{}\n{}\n{}\n{lines}\n{names}\n{payload}",
        request.method,
        request.path(),
        canonical_query(request.query()),
    );
    let string_to_sign = format!(
        "AWS4-HMAC-SHA256\n{}\n{}\n{}",
        scope.moment,
        scope.text(),
        hex(&Sha256::digest(canonical.as_bytes()))
    );
    (names, hex(&sha256_mac(&scope.key(&credentials.secret_key), &string_to_sign)))
}

/// Signature of a form's policy (base64): the field `x-amz-signature`.
pub fn post_v4(policy: &str, credentials: &Credentials, scope: &Scope) -> String {
    hex(&sha256_mac(&scope.key(&credentials.secret_key), policy))
}

impl Chunks {
    /// One chunk of an aws-chunked body with its signature; the last one is empty.
    pub fn chunk(&mut self, data: &[u8]) -> Vec<u8> {
        let empty = hex(&Sha256::digest(b""));
        let text = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{}\n{empty}\n{}",
            self.moment,
            self.scope,
            self.previous,
            hex(&Sha256::digest(data))
        );
        self.previous = hex(&sha256_mac(&self.key, &text));
        let mut out = format!("{:x};chunk-signature={}\r\n", data.len(), self.previous).into_bytes();
        out.extend_from_slice(data);
        if !data.is_empty() {
            out.extend_from_slice(b"\r\n");
        }
        out
    }

    /// The trailer section after the last chunk, signed.
    pub fn trailer(&self, name: &str, value: &str) -> Vec<u8> {
        let digest = hex(&Sha256::digest(format!("{name}:{value}\n").as_bytes()));
        let text =
            format!("AWS4-HMAC-SHA256-TRAILER\n{}\n{}\n{}\n{digest}", self.moment, self.scope, self.previous);
        let signature = hex(&sha256_mac(&self.key, &text));
        format!("{name}:{value}\r\nx-amz-trailer-signature:{signature}\r\n\r\n").into_bytes()
    }
}

/// Appends the parameters of a presigned URL (SigV2) that ends at `expires`, in seconds since 1970.
pub fn presign_v2(request: &mut Request, credentials: &Credentials, sub_resources: &str, expires: u64) {
    let expires = expires.to_string();
    let signature = v2_signature(request, credentials, &expires, sub_resources);
    append(request, "AWSAccessKeyId", &credentials.access_key_id);
    append(request, "Expires", &expires);
    append(request, "Signature", &signature);
}

/// Signs a request in its `Authorization` header (SigV2). `Date` is added if it has none; `sub_resources` is
/// the part of the query that AWS signs, as it stands in the canonical resource (`?acl`), or nothing.
pub fn v2(request: &mut Request, credentials: &Credentials, sub_resources: &str) {
    if request.get("Date").is_none() && request.get("x-amz-date").is_none() {
        let date = OffsetDateTime::now_utc()
            .format(format_description!(
                "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
            ))
            .unwrap();
        request.headers.push(("Date".to_owned(), date));
    }
    let has_own_date = request.get("x-amz-date").is_some();
    let date = if has_own_date { "" } else { request.get("Date").unwrap_or_default() }.to_owned();
    let signature = v2_signature(request, credentials, &date, sub_resources);
    request
        .headers
        .push(("Authorization".to_owned(), format!("AWS {}:{signature}", credentials.access_key_id)));
}

fn v2_signature(request: &Request, credentials: &Credentials, date: &str, sub_resources: &str) -> String {
    let mut amazon: Vec<(String, String)> = request
        .headers
        .iter()
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .filter(|(name, _)| name.starts_with("x-amz-"))
        .collect();
    amazon.sort();
    let amazon: String = amazon.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let text = format!(
        "{}\n{}\n{}\n{date}\n{amazon}{}{sub_resources}",
        request.method,
        request.get("Content-MD5").unwrap_or_default(),
        request.get("Content-Type").unwrap_or_default(),
        request.path(),
    );
    let mut mac = Hmac::<Sha1>::new_from_slice(credentials.secret_key.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256_mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// The query's parameters, sorted; their encoding is kept as sent, which must be AWS's.
fn canonical_query(query: &str) -> String {
    let mut parameters: Vec<String> = query
        .split('&')
        .filter(|parameter| !parameter.is_empty())
        .map(|parameter| if parameter.contains('=') { parameter.to_owned() } else { format!("{parameter}=") })
        .collect();
    parameters.sort();
    parameters.join("&")
}
