//! Digests of payload while it streams: MD5 for ETags, SHA-256 for signatures, S3's additional checksums.

use crate::base::checksum::{Checksum, ChecksumAlgorithm};

/// What to compute over a payload.
#[derive(Clone, Copy, Debug, Default)]
pub struct DigestPlan {
    pub md5: bool,
    pub sha256: bool,
    pub checksum: Option<ChecksumAlgorithm>,
}

/// The digests of a [`DigestPlan`], each `Some` if it was asked for.
#[derive(Clone, Debug, Default)]
pub struct Digests {
    pub md5: Option<[u8; 16]>,
    pub sha256: Option<[u8; 32]>,
    /// A full-object checksum.
    pub checksum: Option<Checksum>,
}

/// Computes several digests over the same bytes in one pass.
pub struct Hasher {}

#[allow(unused_variables)]
impl Hasher {
    pub fn new(plan: DigestPlan) -> Self {
        unimplemented!()
    }

    pub fn update(&mut self, bytes: &[u8]) {
        unimplemented!()
    }

    pub fn finish(self) -> Digests {
        unimplemented!()
    }
}

/// CRC of the concatenation of two runs, from their CRCs and the second one's length in bytes.
/// Only for [`ChecksumAlgorithm::is_linear`] algorithms; big-endian values as in S3's headers.
#[allow(unused_variables)]
pub fn combine(algorithm: ChecksumAlgorithm, first: &[u8], second: &[u8], second_bytes: u64) -> Vec<u8> {
    unimplemented!()
}
