//! What the layers below refuse, in S3's terms.

use std::fmt::Write as _;

use crate::auth::{AuthError, PolicyError};
use crate::base::limits::CLOCK_SKEW_MS_MAX;
use crate::engine::EngineError;
use crate::net::BodyError;
use crate::s3::error::{Code, S3Error};
use crate::s3::xml;

impl From<EngineError> for S3Error {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::NoSuchBucket => Code::NoSuchBucket.into(),
            EngineError::BucketExists => Code::BucketAlreadyOwnedByYou.into(),
            EngineError::BucketNotEmpty => Code::BucketNotEmpty.into(),
            EngineError::NoSuchUpload => Code::NoSuchUpload.into(),
            EngineError::InvalidPart => Code::InvalidPart.into(),
            EngineError::ConditionOnMissing => Code::NoSuchKey.into(),
            EngineError::ConditionFailed => Code::PreconditionFailed.into(),
            EngineError::Changed => Code::OperationAborted.into(),
            EngineError::LimitExceeded(_) => Self::invalid_request(error.to_string()),
            EngineError::Locked => Self::new(Code::AccessDenied)
                .with_message("Access Denied because object protected by object lock."),
            EngineError::DeleteMarker => Code::MethodNotAllowed.into(),
            EngineError::NoSuchObject => Code::NoSuchKey.into(),
            EngineError::QuotaExceeded { .. } => Code::XMinioAdminBucketQuotaExceeded.into(),
            EngineError::Full => Code::InsufficientStorage.into(),
            EngineError::Busy => Code::SlowDown.into(),
            EngineError::Stopping => Code::ServiceUnavailable.into(),
            // Certainly not done, and reads go on: so no internal error. SDKs try again, which helps if another
            // core serves the next connection; load balancers look elsewhere.
            EngineError::ReadOnly(_) => Self::new(Code::ServiceUnavailable).with_message(
                "This part of the node takes no changes since one of its drives failed. Reads go on.",
            ),
            // The client learns nothing of drives and files; the log does.
            EngineError::Failed(_) => {
                tracing::error!("{error}");
                Self::new(Code::InternalError).with_message(
                    "Something failed in the node, most likely one of its drives; its log says what. Whether a \
                     change was made is not known.",
                )
            }
            EngineError::Corrupt(_) => {
                tracing::error!("{error}");
                Self::new(Code::InternalError).with_message(
                    "What is stored here is damaged, or cannot be read from its drive. The node's log says more.",
                )
            }
        }
    }
}

impl From<AuthError> for S3Error {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::InvalidAccessKeyId { id } => {
                Self::new(Code::InvalidAccessKeyId).with_field("AWSAccessKeyId", id)
            }
            AuthError::SignatureDoesNotMatch { id, provided, string_to_sign, canonical_request } => {
                signature_does_not_match(&id, &provided, &string_to_sign, canonical_request.as_deref())
            }
            AuthError::RequestTimeTooSkewed { request_time, server_time } => {
                Self::new(Code::RequestTimeTooSkewed)
                    .with_field("RequestTime", request_time)
                    .with_field("ServerTime", xml::timestamp(server_time))
                    .with_field("MaxAllowedSkewMilliseconds", CLOCK_SKEW_MS_MAX)
            }
            AuthError::Expired { expires, server_time, seconds } => {
                let error = Self::new(Code::AccessDenied)
                    .with_message("Request has expired")
                    .with_field("Expires", expires)
                    .with_field("ServerTime", xml::timestamp(server_time));
                match seconds {
                    Some(seconds) => error.with_field("X-Amz-Expires", seconds),
                    None => error,
                }
            }
            AuthError::HeadersNotSigned { names } => Self::new(Code::AccessDenied)
                .with_message("There were headers present in the request which were not signed")
                .with_field("HeadersNotSigned", names.join(", ")),
            AuthError::AccessDenied { message } => Self::new(Code::AccessDenied).with_message(message),
            AuthError::AuthorizationHeaderMalformed { message, region } => {
                let error = Self::new(Code::AuthorizationHeaderMalformed).with_message(message);
                match region {
                    Some(region) => error.with_field("Region", region),
                    None => error,
                }
            }
            AuthError::AuthorizationQueryParametersError { message, region } => {
                let error = Self::new(Code::AuthorizationQueryParametersError).with_message(message);
                match region {
                    Some(region) => error.with_field("Region", region),
                    None => error,
                }
            }
            AuthError::InvalidArgument { message, name, value } => {
                Self::invalid_argument(message, name, value)
            }
            AuthError::InvalidToken => Code::InvalidToken.into(),
            AuthError::NotImplemented { message } => Self::new(Code::NotImplemented).with_message(message),
            AuthError::InvalidRequest { message } => Self::invalid_request(message),
            AuthError::InvalidContentSha256 { value: None } => {
                Self::invalid_request("Missing required header for this request: x-amz-content-sha256")
            }
            AuthError::InvalidContentSha256 { value: Some(value) } => Self::invalid_argument(
                "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
                 STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a \
                 valid sha256 value.",
                "x-amz-content-sha256",
                value,
            ),
        }
    }
}

impl From<PolicyError> for S3Error {
    fn from(error: PolicyError) -> Self {
        match error {
            PolicyError::Document(message) => Self::new(Code::InvalidPolicyDocument).with_message(message),
            PolicyError::Refused(message) => Self::new(Code::AccessDenied).with_message(message),
        }
    }
}

/// The error that shows what was signed here, so that its reader can compare it with what they signed.
fn signature_does_not_match(
    id: &str,
    provided: &str,
    string_to_sign: &str,
    canonical_request: Option<&str>,
) -> S3Error {
    let error = S3Error::new(Code::SignatureDoesNotMatch)
        .with_field("AWSAccessKeyId", id)
        .with_field("StringToSign", string_to_sign)
        .with_field("SignatureProvided", provided)
        .with_field("StringToSignBytes", spaced_hex(string_to_sign));
    match canonical_request {
        Some(text) => {
            error.with_field("CanonicalRequest", text).with_field("CanonicalRequestBytes", spaced_hex(text))
        }
        None => error,
    }
}

/// Bytes as `41 57 53 34`.
fn spaced_hex(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if !out.is_empty() {
            out.push(' ');
        }
        let _ = write!(out, "{byte:02x}");
    }
    out
}

impl From<BodyError> for S3Error {
    fn from(error: BodyError) -> Self {
        let mut error = match error {
            BodyError::Incomplete => Self::new(Code::IncompleteBody),
            BodyError::TimedOut => Self::new(Code::RequestTimeout),
            BodyError::Malformed => {
                Self::invalid_request("The body of the request is not framed as HTTP requires.")
            }
        };
        error.close = true;
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_signature_shows_what_was_signed() {
        let error = S3Error::from(AuthError::SignatureDoesNotMatch {
            id: "AKID".to_owned(),
            provided: "beef".to_owned(),
            string_to_sign: "AWS4\n".to_owned(),
            canonical_request: Some("GET".to_owned()),
        });
        assert_eq!(error.code, Code::SignatureDoesNotMatch);
        let names: Vec<_> = error.fields.iter().map(|(name, _)| *name).collect();
        assert_eq!(
            names,
            [
                "AWSAccessKeyId",
                "StringToSign",
                "SignatureProvided",
                "StringToSignBytes",
                "CanonicalRequest",
                "CanonicalRequestBytes"
            ]
        );
        assert_eq!(error.fields[3].1, "41 57 53 34 0a");
    }

    #[test]
    fn a_body_that_cannot_be_read_on_ends_its_connection() {
        for error in [BodyError::Incomplete, BodyError::TimedOut, BodyError::Malformed] {
            assert!(S3Error::from(error).close);
        }
    }

    #[test]
    fn a_failed_drive_is_not_described_to_clients() {
        let error = S3Error::from(EngineError::Failed("/data/secret: EIO".to_owned()));
        assert_eq!(error.code, Code::InternalError);
        assert!(!error.message.contains("secret") && !error.message.contains("EIO"), "{}", error.message);
    }
}
