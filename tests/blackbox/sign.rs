//! Signature Versions 4 and 2, written from AWS's documentation and apart from the node's own, so that one
//! checks the other.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::client::Request;

#[derive(Clone, Debug)]
pub struct Credentials {
    pub access_key_id: String,
    pub secret_key: String,
    pub region: String,
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
    let moment = now.format(format_description!("[year][month][day]T[hour][minute][second]Z")).unwrap();
    let scope = format!("{}/{}/s3/aws4_request", &moment[..8], credentials.region);
    if request.get("x-amz-content-sha256").is_none() {
        let digest = hex(&Sha256::digest(&request.body));
        request.headers.push(("x-amz-content-sha256".to_owned(), digest));
    }
    request.headers.push(("x-amz-date".to_owned(), moment.clone()));
    let mut signed: Vec<(String, String)> = request
        .headers
        .iter()
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .filter(|(name, _)| name == "host" || name.starts_with("x-amz-") || name.starts_with("content-"))
        .collect();
    signed.sort();
    let names: Vec<&str> = signed.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(";");
    let lines: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let canonical = format!(
        "{}\n{}\n{}\n{lines}\n{names}\n{}",
        request.method,
        request.path(),
        canonical_query(request.query()),
        request.get("x-amz-content-sha256").unwrap()
    );
    let string_to_sign =
        format!("AWS4-HMAC-SHA256\n{moment}\n{scope}\n{}", hex(&Sha256::digest(canonical.as_bytes())));
    let mut key = sha256_mac(format!("AWS4{}", credentials.secret_key).as_bytes(), &moment[..8]);
    for part in [credentials.region.as_str(), "s3", "aws4_request"] {
        key = sha256_mac(&key, part);
    }
    let signature = hex(&sha256_mac(&key, &string_to_sign));
    request.headers.push((
        "Authorization".to_owned(),
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders={names},Signature={signature}",
            credentials.access_key_id
        ),
    ));
    Chunks { key, moment, scope, previous: signature }
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
    let mut amazon: Vec<(String, String)> = request
        .headers
        .iter()
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .filter(|(name, _)| name.starts_with("x-amz-"))
        .collect();
    amazon.sort();
    let amazon: String = amazon.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let text = format!(
        "{}\n{}\n{}\n{}\n{amazon}{}{sub_resources}",
        request.method,
        request.get("Content-MD5").unwrap_or_default(),
        request.get("Content-Type").unwrap_or_default(),
        if request.get("x-amz-date").is_some() { "" } else { request.get("Date").unwrap_or_default() },
        request.path(),
    );
    let mut mac = Hmac::<Sha1>::new_from_slice(credentials.secret_key.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    request
        .headers
        .push(("Authorization".to_owned(), format!("AWS {}:{signature}", credentials.access_key_id)));
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
