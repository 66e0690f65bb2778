//! The client's side: signs request heads. Tests and the load generator use it; a node only verifies.
//!
//! Paths and queries must be percent-encoded already ([`crate::http::percent`]).

use std::fmt;

use super::canonical::{self, Parts};
use super::chunks::ChunkSigner;
use super::keys::SigningKey;
use super::sigv2::{self, Resource};
use super::sigv4::{ALGORITHM, string_to_sign};
use crate::http::percent::encode;
use crate::http::{Head, Query, date};
use crate::io::TimestampMs;

/// Who signs, and for which region. `Debug` does not print the secret.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    pub id: &'a str,
    pub secret: &'a str,
    pub region: &'a str,
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Credentials")
            .field("id", &self.id)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

/// Signs with Signature Version 4: sets `x-amz-date`, `x-amz-content-sha256` (to `payload`: a SHA-256 in hex,
/// `UNSIGNED-PAYLOAD`, `STREAMING-…`) and `authorization`. All headers present are signed; `host` must be.
///
/// Returns the signer of the payload's chunks, for the `STREAMING-AWS4-HMAC-SHA256-…` payloads.
pub fn sign_v4(
    head: &mut Head,
    credentials: Credentials<'_>,
    now: TimestampMs,
    payload: &str,
) -> ChunkSigner {
    let timestamp = date::basic(now);
    set(head, "x-amz-date", timestamp.clone());
    set(head, "x-amz-content-sha256", payload.to_owned());
    remove(head, "authorization");
    let (names, scope) = (header_names(head), scope(credentials, &timestamp));
    let key = SigningKey::derive(credentials.secret, &timestamp[..8], credentials.region);
    let signature = signature_v4(head, &key, &timestamp, &scope, &names, payload);
    let value = format!(
        "{ALGORITHM} Credential={}/{scope}, SignedHeaders={names}, Signature={}",
        credentials.id,
        text(&signature),
    );
    set(head, "authorization", value);
    ChunkSigner::new(key, &timestamp, &scope, signature)
}

/// Presigns with Signature Version 4: appends the `X-Amz-*` parameters to the query. All headers present are
/// signed and must be sent so; `host` must be among them. The URL lives `seconds` (1 to 604,800).
pub fn presign_v4(head: &mut Head, credentials: Credentials<'_>, now: TimestampMs, seconds: u64) {
    let timestamp = date::basic(now);
    let (names, scope) = (header_names(head), scope(credentials, &timestamp));
    append(head, "X-Amz-Algorithm", ALGORITHM);
    append(head, "X-Amz-Credential", &format!("{}/{scope}", credentials.id));
    append(head, "X-Amz-Date", &timestamp);
    append(head, "X-Amz-Expires", &seconds.to_string());
    append(head, "X-Amz-SignedHeaders", &names);
    let key = SigningKey::derive(credentials.secret, &timestamp[..8], credentials.region);
    let payload = head.text("x-amz-content-sha256").unwrap_or("UNSIGNED-PAYLOAD").to_owned();
    let signature = signature_v4(head, &key, &timestamp, &scope, &names, &payload);
    append(head, "X-Amz-Signature", text(&signature));
}

/// Signs the policy of a form (base64) with Signature Version 4: the field `x-amz-signature`.
pub fn sign_post(policy: &str, credentials: Credentials<'_>, now: TimestampMs) -> String {
    let key = SigningKey::derive(credentials.secret, &date::basic(now)[..8], credentials.region);
    text(&key.sign(policy.as_bytes())).to_owned()
}

/// Signs the policy of a form (base64) with Signature Version 2: the field `signature`.
pub fn sign_post_v2(policy: &str, credentials: Credentials<'_>) -> String {
    sigv2::signature(credentials.secret, policy.as_bytes())
}

/// Signs with Signature Version 2: sets `authorization`, and `date` if there is neither it nor `x-amz-date`.
/// `virtual_bucket` is the bucket that `host` names, if it names one.
pub fn sign_v2(
    head: &mut Head,
    credentials: Credentials<'_>,
    now: TimestampMs,
    virtual_bucket: Option<&str>,
) {
    let amz_date = head.header("x-amz-date").is_some();
    if !amz_date && head.header("date").is_none() {
        set(head, "date", text(&date::imf_fixdate(now)).to_owned());
    }
    let date = if amz_date { Vec::new() } else { head.header("date").unwrap_or_default().to_vec() };
    let signature = signature_v2(head, credentials, &date, virtual_bucket);
    set(head, "authorization", format!("AWS {}:{signature}", credentials.id));
}

/// Presigns with Signature Version 2: appends `AWSAccessKeyId`, `Expires` (seconds since 1970) and
/// `Signature` to the query.
pub fn presign_v2(head: &mut Head, credentials: Credentials<'_>, expires: u64, virtual_bucket: Option<&str>) {
    let expires = expires.to_string();
    let signature = signature_v2(head, credentials, expires.as_bytes(), virtual_bucket);
    append(head, "AWSAccessKeyId", credentials.id);
    append(head, "Expires", &expires);
    append(head, "Signature", &signature);
}

fn signature_v4(
    head: &Head,
    key: &SigningKey,
    timestamp: &str,
    scope: &str,
    signed_headers: &str,
    payload: &str,
) -> [u8; 64] {
    let query = query(head);
    let parts = Parts { query: &query, signed_headers, payload: payload.as_bytes() };
    key.sign(&string_to_sign(timestamp, scope, &canonical::request(head, &parts)))
}

fn signature_v2(
    head: &Head,
    credentials: Credentials<'_>,
    date: &[u8],
    virtual_bucket: Option<&str>,
) -> String {
    let query = query(head);
    let resource = Resource { path: &head.path, query: &query, virtual_bucket };
    sigv2::signature(credentials.secret, &sigv2::string_to_sign(head, date, &resource))
}

/// A query that cannot be read is signed as none: no node takes it.
fn query(head: &Head) -> Query {
    Query::parse(head.query.as_deref()).unwrap_or_default()
}

fn scope(credentials: Credentials<'_>, timestamp: &str) -> String {
    format!("{}/{}/s3/aws4_request", &timestamp[..8], credentials.region)
}

/// `SignedHeaders` of all headers.
fn header_names(head: &Head) -> String {
    let mut names: Vec<&str> = head.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names.join(";")
}

fn remove(head: &mut Head, name: &str) {
    head.headers.retain(|(have, _)| have != name);
}

fn set(head: &mut Head, name: &str, value: String) {
    remove(head, name);
    head.headers.push((name.to_owned(), value.into_bytes()));
}

/// Appends a parameter to the query, encoded.
fn append(head: &mut Head, name: &str, value: &str) {
    let query = head.query.get_or_insert_default();
    if !query.is_empty() {
        query.push('&');
    }
    query.push_str(name);
    query.push('=');
    query.push_str(&encode(value.as_bytes()));
}

/// Hex and dates are ASCII.
fn text(ascii: &[u8]) -> &str {
    std::str::from_utf8(ascii).unwrap_or_default()
}
