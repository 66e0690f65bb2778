//! Signature Version 4 in the query: presigned URLs.
//!
//! Source: AWS, "Authenticating requests: using query parameters (AWS Signature Version 4)".

use super::canonical::{self, Parts};
use super::sigv4::{ALGORITHM, Claim, Mismatch, Payload, Scope};
use super::{AuthError, Authentication, Context, expiry, refuse_session};
use crate::base::limits::{CLOCK_SKEW_MS_MAX, PRESIGNED_SECONDS_MAX};
use crate::http::{Head, Query, date};
use crate::io::TimestampMs;

fn refused(message: impl Into<String>) -> AuthError {
    AuthError::AuthorizationQueryParametersError { message: message.into(), region: None }
}

/// Authenticates by the `X-Amz-*` parameters.
pub(super) fn authenticate(
    head: &Head,
    query: &Query,
    context: &Context<'_>,
) -> Result<Authentication, AuthError> {
    let required = |name: &str| {
        query.text(name).filter(|text| !text.is_empty()).ok_or_else(|| {
            refused(
                "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, \
                 X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
            )
        })
    };
    let algorithm = required("X-Amz-Algorithm")?;
    let credential = required("X-Amz-Credential")?;
    let signature = required("X-Amz-Signature")?;
    let timestamp = required("X-Amz-Date")?;
    let signed_headers = required("X-Amz-SignedHeaders")?;
    let expires = required("X-Amz-Expires")?;
    if algorithm != ALGORITHM {
        return Err(refused(format!("X-Amz-Algorithm only supports \"{ALGORITHM}\"")));
    }
    let scope_error = |message: String, region: Option<String>| {
        let message = format!("Error parsing the X-Amz-Credential parameter; {message}");
        AuthError::AuthorizationQueryParametersError { message, region }
    };
    let scope = Scope::parse(credential).map_err(|message| scope_error(message, None))?;
    let signed = canonical::signed_names(signed_headers).map_err(refused)?;
    let moment = date::parse_basic(timestamp)
        .filter(|moment| date::basic(*moment) == timestamp)
        .ok_or_else(|| refused("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\""))?;
    scope
        .check(context.region, timestamp)
        .map_err(|Mismatch { message, region }| scope_error(message, region))?;
    check_time(moment, expires, context)?;
    refuse_session(query.get("X-Amz-Security-Token"))?;
    refuse_session(head.header("x-amz-security-token"))?;
    let given = query.get("X-Amz-Content-Sha256").or_else(|| head.header("x-amz-content-sha256"));
    let payload = given.unwrap_or(b"UNSIGNED-PAYLOAD");
    let promise = Payload::parse(payload)?;
    Claim {
        scope: &scope,
        timestamp,
        signed: &signed,
        parts: Parts { query, signed_headers, payload },
        signature,
        promise,
    }
    .verify(head, context)
}

/// Checks that the URL's time has come and has not passed; `expires` is its life in seconds, as sent.
fn check_time(moment: TimestampMs, expires: &str, context: &Context<'_>) -> Result<(), AuthError> {
    let digits = expires.strip_prefix('-').unwrap_or(expires);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refused("X-Amz-Expires should be a number"));
    }
    if digits.len() < expires.len() {
        return Err(refused("X-Amz-Expires must be non-negative"));
    }
    let seconds = match digits.parse::<u64>() {
        Ok(0) => return Err(refused("X-Amz-Expires must be at least 1")),
        Ok(seconds) if seconds <= PRESIGNED_SECONDS_MAX => seconds,
        // Beyond 64 bits, too: digits that are a number, and too large a one.
        _ => {
            return Err(refused(format!(
                "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must \
                 be less than {PRESIGNED_SECONDS_MAX} seconds"
            )));
        }
    };
    if moment > context.now.saturating_add(CLOCK_SKEW_MS_MAX) {
        return Err(AuthError::AccessDenied { message: "Request is not valid yet".to_owned() });
    }
    let end = moment.saturating_add(seconds * 1000);
    if context.now > end {
        return Err(AuthError::Expired {
            expires: expiry(end),
            server_time: context.now,
            seconds: Some(expires.to_owned()),
        });
    }
    Ok(())
}
