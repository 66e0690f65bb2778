//! Signature Version 2, in the header and in the query: what older clients and profiles send.
//!
//! Source: AWS, "Signing and authenticating REST requests (AWS signature version 2)".

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;

use super::{
    AuthError, Authentication, Context, Identity, expiry, fresh_date, lossy, payload_without_chunk_keys,
    refuse_session, secret,
};
use crate::hash::base64_encode;
use crate::http::{Head, Query};

/// Query parameters that are part of the resource: sub-resources, overrides of response headers, and the
/// parameters of multipart uploads and versions. AWS's page lists the older ones; the younger ones are those
/// that AWS's own SDKs sign.
const SIGNED_PARAMETERS: [&str; 41] = [
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "delete",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "partNumber",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "retention",
    "select",
    "select-type",
    "storageClass",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// Authenticates by `Authorization: AWS AKID:signature`; `fields` is what follows the scheme.
pub(super) fn authenticate_header(
    head: &Head,
    query: &Query,
    fields: &str,
    context: &Context<'_>,
) -> Result<Authentication, AuthError> {
    let Some((id, signature)) = fields.trim().rsplit_once(':').filter(|(id, _)| !id.is_empty()) else {
        return Err(AuthError::InvalidArgument {
            message: "AWS authorization header is invalid.  Expected AwsAccessKeyId:signature".to_owned(),
            name: "Authorization".to_owned(),
            value: format!("AWS {fields}"),
        });
    };
    fresh_date(head, context.now)?;
    // An x-amz-date is signed among the x-amz- headers, and the place of Date is empty.
    let date: &[u8] = match head.header("x-amz-date") {
        Some(_) => b"",
        None => head.header("date").unwrap_or_default(),
    };
    verify(head, query, Claim { id, signature, date }, context)
}

/// Authenticates by the parameters `AWSAccessKeyId`, `Expires` and `Signature`.
pub(super) fn authenticate_query(
    head: &Head,
    query: &Query,
    context: &Context<'_>,
) -> Result<Authentication, AuthError> {
    let denied = |message: String| AuthError::AccessDenied { message };
    let required = |name: &str| {
        query.text(name).filter(|text| !text.is_empty()).ok_or_else(|| {
            denied(
                "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters"
                    .to_owned(),
            )
        })
    };
    let id = required("AWSAccessKeyId")?;
    let expires = required("Expires")?;
    // Base64 has no spaces: one stands where a plus sign was not encoded.
    let signature = required("Signature")?.replace(' ', "+");
    let end = Some(expires)
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse::<u64>().ok()?.checked_mul(1000))
        .ok_or_else(|| denied(format!("Invalid date (should be seconds since epoch): {expires}")))?;
    if context.now > end {
        return Err(AuthError::Expired { expires: expiry(end), server_time: context.now, seconds: None });
    }
    verify(head, query, Claim { id, signature: &signature, date: expires.as_bytes() }, context)
}

/// Who is said to have signed, and what stands in the place of the date.
struct Claim<'a> {
    id: &'a str,
    signature: &'a str,
    date: &'a [u8],
}

fn verify(
    head: &Head,
    query: &Query,
    Claim { id, signature, date }: Claim<'_>,
    context: &Context<'_>,
) -> Result<Authentication, AuthError> {
    refuse_session(head.header("x-amz-security-token"))?;
    let secret = secret(context, id)?;
    let matches = |string_to_sign: &[u8]| {
        bool::from(self::signature(&secret, string_to_sign).as_bytes().ct_eq(signature.as_bytes()))
    };
    let mut resource = Resource { query, virtual_bucket: context.virtual_bucket, path: head.path.as_str() };
    let literal = string_to_sign(head, date, &resource);
    let slashed = format!("{}/", head.path);
    let is_authentic = matches(&literal) || {
        // A path-style bucket is asked for as `/bucket`, yet boto signs it as `/bucket/`.
        let is_bucket = head.path.rfind('/') == Some(0) && head.path.len() > 1;
        resource.path = &slashed;
        is_bucket && context.virtual_bucket.is_none() && matches(&string_to_sign(head, date, &resource))
    };
    if !is_authentic {
        return Err(AuthError::SignatureDoesNotMatch {
            id: id.to_owned(),
            provided: signature.to_owned(),
            string_to_sign: lossy(&literal),
            canonical_request: None,
        });
    }
    Ok(Authentication {
        identity: Identity::AccessKey { id: id.to_owned() },
        payload: payload_without_chunk_keys(head)?,
    })
}

/// Base64 of the HMAC-SHA1 of a string to sign.
pub(super) fn signature(secret: &str, string_to_sign: &[u8]) -> String {
    let mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    base64_encode(&mac.chain_update(string_to_sign).finalize().into_bytes())
}

/// What is asked for.
pub(super) struct Resource<'a> {
    pub(super) path: &'a str,
    pub(super) query: &'a Query,
    pub(super) virtual_bucket: Option<&'a str>,
}

/// The string to sign; `date` is `Date`, nothing, or `Expires`.
pub(super) fn string_to_sign(head: &Head, date: &[u8], resource: &Resource<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let positional = |name: &str| head.header(name).unwrap_or_default();
    for line in [head.method.as_bytes(), positional("content-md5"), positional("content-type"), date] {
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    amz_headers(head, &mut out);
    if let Some(bucket) = resource.virtual_bucket {
        out.push(b'/');
        out.extend_from_slice(bucket.as_bytes());
    }
    // Literally as sent: encoded, in the case of the client's choice.
    out.extend_from_slice(resource.path.as_bytes());
    signed_parameters(resource.query, &mut out);
    out
}

/// Appends the x-amz- headers, sorted, those of one name joined by commas.
fn amz_headers(head: &Head, out: &mut Vec<u8>) {
    let mut headers: Vec<(&str, &[u8])> = head
        .headers
        .iter()
        .filter(|(name, _)| name.starts_with("x-amz-"))
        .map(|(name, value)| (name.as_str(), value.trim_ascii()))
        .collect();
    // Stable: values of one name keep their order.
    headers.sort_by_key(|(name, _)| *name);
    let mut previous = None;
    for (name, value) in headers {
        if previous == Some(name) {
            out.push(b',');
        } else {
            if previous.is_some() {
                out.push(b'\n');
            }
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
        }
        out.extend_from_slice(value);
        previous = Some(name);
    }
    if previous.is_some() {
        out.push(b'\n');
    }
}

/// Appends the sub-resources and overrides, sorted, their values decoded. One without a value stands alone.
fn signed_parameters(query: &Query, out: &mut Vec<u8>) {
    let is_signed = |name: &[u8]| SIGNED_PARAMETERS.iter().any(|have| have.as_bytes() == name);
    let mut signed: Vec<(&[u8], &[u8])> = query
        .parameters()
        .filter(|(name, _)| is_signed(name))
        .map(|(name, value)| (name, value.unwrap_or_default()))
        .collect();
    signed.sort_by_key(|(name, _)| *name);
    for (at, (name, value)) in signed.into_iter().enumerate() {
        out.push(if at == 0 { b'?' } else { b'&' });
        out.extend_from_slice(name);
        if !value.is_empty() {
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }
}
