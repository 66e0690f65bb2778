//! Who is asking: AWS Signature Versions 4 and 2, in headers and presigned URLs, and the signatures of
//! chunked payloads. Pure functions over a request head, a key table and a time.
//!
//! [`authenticate`] finds the scheme of a request and leaves it to the scheme's file: `sigv4` (header),
//! `presigned` (SigV4 query) and `sigv2` (both). They share the canonical forms of `canonical` and the cached
//! signing keys of `keys`. [`authenticate_form`] does the same for a posted form, whose [`PostPolicy`] is what
//! is signed. [`sign`] is the client's side of the same rules.
//!
//! What somebody may do is decided by [`policy`], which knows policies and [`acl`]s of a [`principal`].

pub mod acl;
mod canonical;
mod chunks;
pub mod directory;
mod error;
mod keys;
pub mod policy;
mod post_form;
mod post_policy;
mod presigned;
pub mod principal;
pub mod sign;
mod sigv2;
mod sigv4;
#[cfg(test)]
mod tests;

pub use chunks::ChunkSigner;
pub use error::AuthError;
pub use keys::{SigningKey, SigningKeys};
pub use post_form::authenticate_form;
pub use post_policy::{PolicyError, PostPolicy};

use crate::base::limits::{ACCESS_KEY_ID_LENGTH_MAX, CLOCK_SKEW_MS_MAX};
use crate::http::{Head, Query, date};
use crate::io::TimestampMs;

/// What a check needs to know of the node.
pub struct Context<'a> {
    pub region: &'a str,
    pub now: TimestampMs,
    pub keys: &'a dyn Keys,
    /// Derived keys of earlier requests: one per core.
    pub signing_keys: &'a SigningKeys,
    /// Bucket name taken from a virtual-hosted `Host`, if the request used one (SigV2 signs it).
    pub virtual_bucket: Option<&'a str>,
}

/// Looks secret keys up.
pub trait Keys {
    /// The secret of an access key id, or `None` if there is no such (active) key.
    fn secret(&self, access_key_id: &str) -> Option<String>;
}

/// Who signed a request, and what is promised about its payload.
#[derive(Debug)]
pub struct Authentication {
    pub identity: Identity,
    pub payload: PayloadPromise,
}

/// On whose behalf a request is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// No credentials at all: whether that may pass is a matter of policy.
    Anonymous,
    AccessKey {
        id: String,
    },
}

/// How the payload is to be checked while it streams.
#[derive(Debug)]
pub enum PayloadPromise {
    /// `UNSIGNED-PAYLOAD`, and most SigV2 and anonymous requests: nothing is promised.
    Unsigned,
    /// SHA-256 of the whole payload.
    Sha256([u8; 32]),
    /// aws-chunked, each chunk signed (`STREAMING-AWS4-HMAC-SHA256-PAYLOAD`).
    SignedChunks(ChunkSigner),
    /// aws-chunked, each chunk and the trailer signed (`…-PAYLOAD-TRAILER`).
    SignedChunksTrailer(ChunkSigner),
    /// aws-chunked without signatures, with trailers (`STREAMING-UNSIGNED-PAYLOAD-TRAILER`).
    UnsignedChunksTrailer,
}

/// Decides who sent the request. Never looks at anything but the head.
///
/// A request names at most one scheme. One that names none is anonymous, and its payload may still be
/// framed as unsigned aws-chunked.
pub fn authenticate(head: &Head, context: &Context<'_>) -> Result<Authentication, AuthError> {
    let query = Query::parse(head.query.as_deref())
        .map_err(|_| AuthError::InvalidRequest { message: "Couldn't parse the specified URI.".to_owned() })?;
    let header = head.headers_named("authorization").count();
    let query_v4 = query.has("X-Amz-Algorithm");
    let query_v2 = query.has("Signature");
    if header + usize::from(query_v4) + usize::from(query_v2) > 1 {
        return Err(AuthError::InvalidArgument {
            message: "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature \
                      query string parameter or the Authorization header should be specified"
                .to_owned(),
            name: "Authorization".to_owned(),
            value: lossy(head.header("authorization").unwrap_or_default()),
        });
    }
    if let Some(value) = head.header("authorization") {
        return by_header(head, &query, value, context);
    }
    // A part of a presigned URL without the rest of it is a mistake worth naming, not an anonymous request.
    if query_v4 || ["X-Amz-Signature", "X-Amz-Credential"].iter().any(|name| query.has(name)) {
        return presigned::authenticate(head, &query, context);
    }
    if query_v2 || query.has("AWSAccessKeyId") {
        return sigv2::authenticate_query(head, &query, context);
    }
    Ok(Authentication { identity: Identity::Anonymous, payload: payload_without_chunk_keys(head)? })
}

fn by_header(
    head: &Head,
    query: &Query,
    value: &[u8],
    context: &Context<'_>,
) -> Result<Authentication, AuthError> {
    let unsupported = || AuthError::InvalidArgument {
        message: "Unsupported Authorization Type".to_owned(),
        name: "Authorization".to_owned(),
        value: lossy(value),
    };
    let text = std::str::from_utf8(value).map_err(|_| unsupported())?;
    let (scheme, fields) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    match scheme {
        sigv4::ALGORITHM => sigv4::authenticate(head, query, fields, context),
        "AWS4-ECDSA-P256-SHA256" => Err(AuthError::NotImplemented {
            message: "AWS Signature Version 4A is not implemented; use AWS4-HMAC-SHA256".to_owned(),
        }),
        "AWS" => sigv2::authenticate_header(head, query, fields, context),
        _ => Err(unsupported()),
    }
}

/// The access key id that a request claims to be signed with, whatever its signature is worth. What cannot be one is
/// not returned: somebody may have put a secret in its place.
pub fn claimed_key(head: &Head) -> Option<String> {
    let of_scope = |credential: &str| Some(credential.rsplitn(5, '/').nth(4)?.to_owned());
    let id = if let Some(value) = head.text("authorization") {
        let (scheme, fields) = value.split_once([' ', '\t'])?;
        match scheme {
            sigv4::ALGORITHM => {
                let mut fields = fields.split(',').map(str::trim);
                of_scope(fields.find_map(|field| field.strip_prefix("Credential="))?)?
            }
            "AWS" => fields.trim().rsplit_once(':')?.0.to_owned(),
            _ => return None,
        }
    } else {
        let query = Query::parse(head.query.as_deref()).ok()?;
        match query.text("X-Amz-Credential") {
            Some(credential) => of_scope(credential)?,
            None => query.text("AWSAccessKeyId")?.to_owned(),
        }
    };
    let is_id =
        (1..=ACCESS_KEY_ID_LENGTH_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    is_id.then_some(id)
}

/// Whether a request names no scheme, nor has any part of one: then [`authenticate`] finds it anonymous. What
/// cannot be read is not.
pub fn is_anonymous(head: &Head) -> bool {
    const SIGNED: [&str; 5] =
        ["X-Amz-Algorithm", "X-Amz-Signature", "X-Amz-Credential", "Signature", "AWSAccessKeyId"];
    head.header("authorization").is_none()
        && Query::parse(head.query.as_deref()).is_ok_and(|query| !SIGNED.iter().any(|name| query.has(name)))
}

/// What `x-amz-content-sha256` promises in a request that no key of Signature Version 4 signed: an anonymous
/// one, or one of Version 2. Most of them don't send it.
fn payload_without_chunk_keys(head: &Head) -> Result<PayloadPromise, AuthError> {
    Ok(match head.header("x-amz-content-sha256") {
        None => PayloadPromise::Unsigned,
        Some(value) => match sigv4::Payload::parse(value)? {
            sigv4::Payload::Unsigned => PayloadPromise::Unsigned,
            sigv4::Payload::Sha256(digest) => PayloadPromise::Sha256(digest),
            sigv4::Payload::UnsignedChunksTrailer => PayloadPromise::UnsignedChunksTrailer,
            // There is no key that the chunks could be signed with.
            sigv4::Payload::SignedChunks | sigv4::Payload::SignedChunksTrailer => {
                return Err(AuthError::AccessDenied {
                    message: "Signed chunks need a request signed with AWS4-HMAC-SHA256".to_owned(),
                });
            }
        },
    })
}

/// Text for messages and logs of bytes that need not be text.
fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The request's time, as sent and read: `x-amz-date`, or else `Date`. Both may have SigV4's form or HTTP's.
fn date(head: &Head) -> Result<(&str, TimestampMs), AuthError> {
    let name = if head.header("x-amz-date").is_some() { "x-amz-date" } else { "date" };
    let parse = |text| date::parse_basic(text).or_else(|| date::parse_http_date(text));
    let read = head.text(name).and_then(|text| Some((text, parse(text)?)));
    read.ok_or_else(|| AuthError::AccessDenied {
        message: "AWS authentication requires a valid Date or x-amz-date header".to_owned(),
    })
}

/// [`date`], near enough to this node's clock.
fn fresh_date(head: &Head, now: TimestampMs) -> Result<TimestampMs, AuthError> {
    let (sent, moment) = date(head)?;
    if moment.abs_diff(now) > CLOCK_SKEW_MS_MAX {
        let request_time = sent.to_owned();
        return Err(AuthError::RequestTimeTooSkewed { request_time, server_time: now });
    }
    Ok(moment)
}

/// The end of a presigned URL's life, as AWS writes it: without fractions of seconds.
fn expiry(moment: TimestampMs) -> String {
    date::iso8601(moment / 1000 * 1000).replace(".000Z", "Z")
}

/// There are no sessions, so no token can be one of ours. An empty one is how some clients say "none".
fn refuse_session(token: Option<&[u8]>) -> Result<(), AuthError> {
    token.is_none_or(<[u8]>::is_empty).then_some(()).ok_or(AuthError::InvalidToken)
}

/// Looks a secret up, and says who is unknown.
fn secret(context: &Context<'_>, id: &str) -> Result<String, AuthError> {
    context.keys.secret(id).ok_or_else(|| AuthError::InvalidAccessKeyId { id: id.to_owned() })
}
