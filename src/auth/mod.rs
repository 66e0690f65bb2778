//! Who is asking: AWS Signature Versions 4 and 2, in headers and presigned URLs, and the signatures of
//! chunked payloads. Pure functions over a request head, a key table and a time.

use crate::http::Head;
use crate::io::TimestampMs;

/// What a check needs to know of the node.
pub struct Context<'a> {
    pub region: &'a str,
    pub now: TimestampMs,
    pub keys: &'a dyn Keys,
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
    /// `UNSIGNED-PAYLOAD`, SigV2, anonymous: nothing is promised.
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

/// Verifies the chain of chunk signatures.
///
/// Source: AWS, "Signature calculations for the Authorization header: transferring payload in multiple
/// chunks" and "… including trailing headers".
#[derive(Debug)]
pub struct ChunkSigner {}

#[allow(unused_variables)]
impl ChunkSigner {
    /// Checks the next chunk's signature (hex, as sent) over the SHA-256 of its bytes; the last chunk is the
    /// empty one. Constant time.
    pub fn verify_chunk(&mut self, sha256: &[u8; 32], signature: &[u8]) -> bool {
        unimplemented!()
    }

    /// Checks `x-amz-trailer-signature` over the trailer lines (`name:value\n` each, as canonicalised by
    /// AWS). Constant time.
    pub fn verify_trailer(&mut self, trailers: &[(String, Vec<u8>)], signature: &[u8]) -> bool {
        unimplemented!()
    }
}

/// Why a request is refused; `s3/` turns it into AWS's code and status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthError {
    InvalidAccessKeyId {
        id: String,
    },
    SignatureDoesNotMatch {
        id: String,
        provided: String,
        string_to_sign: String,
        canonical_request: Option<String>,
    },
    RequestTimeTooSkewed {
        request_time: String,
        server_time: TimestampMs,
    },
    /// Presigned URL past its time: AWS answers AccessDenied "Request has expired".
    Expired {
        expires: String,
        server_time: TimestampMs,
    },
    /// AccessDenied with a message (no date, unsigned required header, …).
    AccessDenied {
        message: String,
    },
    AuthorizationHeaderMalformed {
        message: String,
        region: Option<String>,
    },
    AuthorizationQueryParametersError {
        message: String,
    },
    /// Credentials given twice (header and query), unknown algorithm, …: InvalidArgument or InvalidRequest.
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
}

/// Decides who sent the request. Never looks at anything but the head.
#[allow(unused_variables)]
pub fn authenticate(head: &Head, context: &Context<'_>) -> Result<Authentication, AuthError> {
    unimplemented!()
}
