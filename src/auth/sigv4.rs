//! Signature Version 4 in the `Authorization` header, and what presigned URLs share with it.
//!
//! Source: AWS, "Authenticating requests: using the Authorization header (AWS Signature Version 4)".

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::canonical::{self, Parts};
use super::chunks::ChunkSigner;
use super::keys::hex;
use super::{
    AuthError, Authentication, Context, Identity, PayloadPromise, fresh_date, lossy, refuse_session, secret,
};
use crate::http::{Head, Query, date};

pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Authenticates by the fields that follow the scheme in `Authorization`.
pub(super) fn authenticate(
    head: &Head,
    query: &Query,
    fields: &str,
    context: &Context<'_>,
) -> Result<Authentication, AuthError> {
    let malformed = |message: String, region: Option<String>| AuthError::AuthorizationHeaderMalformed {
        message: format!("The authorization header is malformed; {message}"),
        region,
    };
    let fields = Fields::parse(fields).ok_or_else(|| {
        let components = "the authorization header requires three components: Credential, SignedHeaders, and \
                          Signature.";
        malformed(components.to_owned(), None)
    })?;
    let scope = Scope::parse(fields.credential).map_err(|message| malformed(message, None))?;
    let signed =
        canonical::signed_names(fields.signed_headers).map_err(|message| malformed(message, None))?;
    let timestamp = date::basic(fresh_date(head, context.now)?);
    scope
        .check(context.region, &timestamp)
        .map_err(|Mismatch { message, region }| malformed(message, region))?;
    refuse_session(head.header("x-amz-security-token"))?;
    let sha256 = head.header("x-amz-content-sha256");
    let payload = sha256.ok_or(AuthError::InvalidContentSha256 { value: None })?;
    let promise = Payload::parse(payload)?;
    Claim {
        scope: &scope,
        timestamp: &timestamp,
        signed: &signed,
        parts: Parts { query, signed_headers: fields.signed_headers, payload },
        signature: fields.signature,
        promise,
    }
    .verify(head, context)
}

/// The fields of the header, in any order, with or without spaces after the commas.
struct Fields<'a> {
    credential: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

impl<'a> Fields<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for field in text.split(',') {
            let (name, value) = field.trim().split_once('=')?;
            let place = match name.trim() {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed_headers,
                "Signature" => &mut signature,
                _ => continue,
            };
            if place.replace(value.trim()).is_some() {
                return None;
            }
        }
        Some(Self { credential: credential?, signed_headers: signed_headers?, signature: signature? })
    }
}

/// `AKID/YYYYMMDD/REGION/SERVICE/aws4_request`.
pub(super) struct Scope<'a> {
    pub(super) id: &'a str,
    pub(super) date: &'a str,
    region: &'a str,
    service: &'a str,
    terminator: &'a str,
    /// All after the id, as it is signed.
    text: &'a str,
}

/// A scope that is well-formed but not of this request at this node.
pub(super) struct Mismatch {
    pub(super) message: String,
    /// The region to use instead, if that is what is wrong.
    pub(super) region: Option<String>,
}

impl<'a> Scope<'a> {
    /// Splits a credential from its end: an access key id may contain slashes, the rest may not.
    pub(super) fn parse(credential: &'a str) -> Result<Self, String> {
        let mut parts = credential.rsplitn(5, '/');
        let mut next = || parts.next();
        let (Some(terminator), Some(service), Some(region), Some(date), Some(id)) =
            (next(), next(), next(), next(), next())
        else {
            return Err("the Credential is mal-formed; expecting \
                        \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\"."
                .to_owned());
        };
        if id.is_empty() {
            return Err("a non-empty Access Key (AKID) must be provided in the credential.".to_owned());
        }
        if date.len() != 8 || !date.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!(
                "incorrect date format \"{date}\". This date in the credential must be in the format \
                 \"yyyyMMdd\"."
            ));
        }
        Ok(Self { id, date, region, service, terminator, text: &credential[id.len() + 1..] })
    }

    /// Checks the scope against the node's region and the request's `timestamp` (`20130524T000000Z`).
    pub(super) fn check(&self, region: &str, timestamp: &str) -> Result<(), Mismatch> {
        let mismatch = |message: String| Err(Mismatch { message, region: None });
        if self.terminator != "aws4_request" {
            let terminator = self.terminator;
            return mismatch(format!(
                "incorrect terminal \"{terminator}\". This endpoint uses \"aws4_request\"."
            ));
        }
        if self.service != "s3" {
            let service = self.service;
            return mismatch(format!("incorrect service \"{service}\". This endpoint belongs to \"s3\"."));
        }
        if self.region != region {
            let message = format!("the region '{}' is wrong; expecting '{region}'", self.region);
            return Err(Mismatch { message, region: Some(region.to_owned()) });
        }
        let date = &timestamp[..8];
        if self.date != date {
            return mismatch(format!(
                "Invalid credential date \"{}\". This date is not the same as X-Amz-Date: \"{date}\".",
                self.date
            ));
        }
        Ok(())
    }
}

/// The forms of `x-amz-content-sha256`.
#[derive(Clone, Copy)]
pub(super) enum Payload {
    Unsigned,
    Sha256([u8; 32]),
    SignedChunks,
    SignedChunksTrailer,
    UnsignedChunksTrailer,
}

impl Payload {
    pub(super) fn parse(value: &[u8]) -> Result<Self, AuthError> {
        match value {
            b"UNSIGNED-PAYLOAD" => return Ok(Self::Unsigned),
            b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => return Ok(Self::SignedChunks),
            b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => return Ok(Self::SignedChunksTrailer),
            b"STREAMING-UNSIGNED-PAYLOAD-TRAILER" => return Ok(Self::UnsignedChunksTrailer),
            b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"
            | b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER" => {
                return Err(AuthError::NotImplemented {
                    message: "Chunks signed with AWS Signature Version 4A are not implemented".to_owned(),
                });
            }
            _ => {}
        }
        if value.len() != 64 || !value.iter().all(u8::is_ascii_hexdigit) {
            return Err(AuthError::InvalidContentSha256 { value: Some(lossy(value)) });
        }
        let nibble = |digit: u8| (digit as char).to_digit(16).unwrap_or_default() as u8;
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(value.chunks_exact(2)) {
            *byte = nibble(pair[0]) << 4 | nibble(pair[1]);
        }
        Ok(Self::Sha256(digest))
    }
}

/// The string to sign of a canonical request.
pub(super) fn string_to_sign(timestamp: &str, scope: &str, canonical_request: &[u8]) -> Vec<u8> {
    let digest = hex(&Sha256::digest(canonical_request).into());
    let head = [ALGORITHM, "\n", timestamp, "\n", scope, "\n"].concat();
    [head.as_bytes(), &digest].concat()
}

/// A request that says who signed it, checked for everything but the signature.
pub(super) struct Claim<'a> {
    pub(super) scope: &'a Scope<'a>,
    /// `20130524T000000Z`.
    pub(super) timestamp: &'a str,
    /// The names in `parts.signed_headers`.
    pub(super) signed: &'a [&'a str],
    pub(super) parts: Parts<'a>,
    /// As sent.
    pub(super) signature: &'a str,
    pub(super) promise: Payload,
}

impl Claim<'_> {
    pub(super) fn verify(&self, head: &Head, context: &Context<'_>) -> Result<Authentication, AuthError> {
        let names = canonical::unsigned_names(head, self.signed);
        if !names.is_empty() {
            return Err(AuthError::HeadersNotSigned { names });
        }
        let id = self.scope.id;
        let secret = secret(context, id)?;
        let key = context.signing_keys.key(id, &secret, self.scope.date, context.region);
        let canonical_request = canonical::request(head, &self.parts);
        let string_to_sign = string_to_sign(self.timestamp, self.scope.text, &canonical_request);
        let expected = key.sign(&string_to_sign);
        if !bool::from(expected.as_slice().ct_eq(self.signature.as_bytes())) {
            return Err(AuthError::SignatureDoesNotMatch {
                id: id.to_owned(),
                provided: self.signature.to_owned(),
                string_to_sign: lossy(&string_to_sign),
                canonical_request: Some(lossy(&canonical_request)),
            });
        }
        let chunks = || ChunkSigner::new(key, self.timestamp, self.scope.text, expected);
        let payload = match self.promise {
            Payload::Unsigned => PayloadPromise::Unsigned,
            Payload::Sha256(digest) => PayloadPromise::Sha256(digest),
            Payload::SignedChunks => PayloadPromise::SignedChunks(chunks()),
            Payload::SignedChunksTrailer => PayloadPromise::SignedChunksTrailer(chunks()),
            Payload::UnsignedChunksTrailer => PayloadPromise::UnsignedChunksTrailer,
        };
        Ok(Authentication { identity: Identity::AccessKey { id: id.to_owned() }, payload })
    }
}
