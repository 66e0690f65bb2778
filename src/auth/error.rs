//! Why a request is refused.

use crate::io::TimestampMs;

/// Why a request is refused; `s3/` turns it into AWS's code and status. Messages are AWS's texts where AWS's
/// are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthError {
    InvalidAccessKeyId {
        id: String,
    },
    /// The strings this side computed, so that a client's author can compare. The secret is not in them.
    SignatureDoesNotMatch {
        id: String,
        provided: String,
        string_to_sign: String,
        /// Only Signature Version 4 has one.
        canonical_request: Option<String>,
    },
    /// More than [`crate::base::limits::CLOCK_SKEW_MS_MAX`] apart.
    RequestTimeTooSkewed {
        /// As sent.
        request_time: String,
        server_time: TimestampMs,
    },
    /// Presigned URL past its time: AWS answers AccessDenied "Request has expired".
    Expired {
        /// When, as `2013-05-25T00:00:00Z`.
        expires: String,
        server_time: TimestampMs,
        /// `X-Amz-Expires` as sent; SigV2 has none.
        seconds: Option<String>,
    },
    /// AccessDenied "There were headers present in the request which were not signed", with their names.
    HeadersNotSigned {
        names: Vec<String>,
    },
    /// AccessDenied with a message (no date, …).
    AccessDenied {
        message: String,
    },
    AuthorizationHeaderMalformed {
        message: String,
        /// The region to use instead, if that is what is wrong.
        region: Option<String>,
    },
    AuthorizationQueryParametersError {
        message: String,
        /// The region to use instead, if that is what is wrong.
        region: Option<String>,
    },
    /// Credentials given twice (header and query), unknown scheme, …
    InvalidArgument {
        message: String,
        name: String,
        value: String,
    },
    InvalidRequest {
        message: String,
    },
    /// `x-amz-content-sha256` is missing or none of the known forms.
    InvalidContentSha256 {
        value: Option<String>,
    },
    /// A session token came with the request, and there are no sessions: AWS's InvalidToken.
    InvalidToken,
    /// A scheme of AWS's that this node does not have.
    NotImplemented {
        message: String,
    },
}
