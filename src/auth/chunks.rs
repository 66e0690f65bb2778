//! Signatures of aws-chunked payloads: each chunk's signature covers the one before it, the first one the
//! request's.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::keys::{SigningKey, hex};

/// SHA-256 of nothing: chunks have no headers of their own, but a place for their hash.
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Signs the chain of chunks, or verifies it.
///
/// Source: AWS, "Signature calculations for the Authorization header: transferring payload in multiple
/// chunks" and "Signature calculations for trailing headers".
#[derive(Debug)]
pub struct ChunkSigner {
    key: SigningKey,
    /// Time stamp and scope of the request, as two lines.
    scope: String,
    /// Signature of the chunk before, at first of the request.
    previous: [u8; 64],
}

impl ChunkSigner {
    /// `timestamp` is the request's as `20130524T000000Z`, `scope` is `20130524/us-east-1/s3/aws4_request`,
    /// `seed` the request's signature.
    pub(super) fn new(key: SigningKey, timestamp: &str, scope: &str, seed: [u8; 64]) -> Self {
        Self { key, scope: format!("{timestamp}\n{scope}"), previous: seed }
    }

    /// Checks the next chunk's signature (hex, as sent) over the SHA-256 of its bytes; the last chunk is the
    /// empty one. Constant time. After a mismatch the chain stays where it was.
    pub fn verify_chunk(&mut self, sha256: &[u8; 32], signature: &[u8]) -> bool {
        let expected = self.chunk_signature(sha256);
        self.advance(expected, signature)
    }

    /// Checks `x-amz-trailer-signature` over the trailer lines (`name:value\n` each, as canonicalised by
    /// AWS). Constant time. The signature's own line is not among `trailers`.
    pub fn verify_trailer(&mut self, trailers: &[(String, Vec<u8>)], signature: &[u8]) -> bool {
        let expected = self.trailer_signature(trailers);
        self.advance(expected, signature)
    }

    /// The next chunk's signature, for a client to send.
    pub fn sign_chunk(&mut self, sha256: &[u8; 32]) -> [u8; 64] {
        self.previous = self.chunk_signature(sha256);
        self.previous
    }

    /// The trailer's signature, for a client to send after the empty chunk.
    pub fn sign_trailer(&mut self, trailers: &[(String, Vec<u8>)]) -> [u8; 64] {
        self.previous = self.trailer_signature(trailers);
        self.previous
    }

    fn advance(&mut self, expected: [u8; 64], signature: &[u8]) -> bool {
        let same = bool::from(expected.as_slice().ct_eq(signature));
        if same {
            self.previous = expected;
        }
        same
    }

    fn chunk_signature(&self, sha256: &[u8; 32]) -> [u8; 64] {
        let lines = [EMPTY_SHA256.as_bytes(), b"\n", &hex(sha256)].concat();
        self.signature("AWS4-HMAC-SHA256-PAYLOAD", &lines)
    }

    fn trailer_signature(&self, trailers: &[(String, Vec<u8>)]) -> [u8; 64] {
        let mut lines: Vec<(String, &[u8])> =
            trailers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.trim_ascii())).collect();
        lines.sort_unstable();
        let mut hash = Sha256::new();
        for (name, value) in lines {
            hash.update(name.as_bytes());
            hash.update(b":");
            hash.update(value);
            hash.update(b"\n");
        }
        self.signature("AWS4-HMAC-SHA256-TRAILER", &hex(&hash.finalize().into()))
    }

    fn signature(&self, algorithm: &str, last: &[u8]) -> [u8; 64] {
        let head = [algorithm, "\n", &self.scope, "\n"].concat();
        self.key.sign(&[head.as_bytes(), &self.previous, b"\n", last].concat())
    }
}
