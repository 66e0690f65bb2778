//! Several digests over one stream of bytes.

use sha1::{Digest, Sha1};
use sha2::Sha512;
use xxhash_rust::xxh3::Xxh3;
use xxhash_rust::xxh64::Xxh64;

use super::lanes::{self, Md5, Sha256, Update};
use crate::base::checksum::{Checksum, ChecksumAlgorithm, ChecksumKind};

/// Bytes that go through every digest before the next ones are looked at. They stay in the first-level cache
/// (32 KiB or more on every server processor) beside the digests' states, so payload is read from memory
/// once however many digests are asked for. Much smaller pieces cost calls; larger ones leave the cache.
const PIECE_BYTES: usize = 16 * 1024;

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
///
/// A SHA-256 that is both payload hash and checksum is computed once, and so is an MD5 that is both ETag and
/// checksum.
#[derive(Clone)]
pub struct Hasher {
    plan: DigestPlan,
    /// The ETag's, the checksum, or both.
    md5: Option<Md5>,
    /// Of the whole stream: the payload hash, the checksum, or both.
    sha256: Option<Sha256>,
    /// Of the bytes since the last [`Hasher::finish_chunk`].
    chunk: Option<Sha256>,
    other: Other,
}

/// The checksum, where it is neither SHA-256 nor MD5. Large states are boxed: most streams have small ones.
#[derive(Clone)]
enum Other {
    None,
    /// CRC-32/ISO-HDLC, CRC-32C or CRC-64/NVME.
    Crc(crc_fast::Digest),
    Sha1(Sha1),
    Sha512(Box<Sha512>),
    Xxhash64(Box<Xxh64>),
    Xxhash3(Box<Xxh3>),
    Xxhash128(Box<Xxh3>),
}

impl Other {
    fn new(algorithm: ChecksumAlgorithm) -> Self {
        use crc_fast::{CrcAlgorithm, Digest};
        match algorithm {
            ChecksumAlgorithm::Sha256 | ChecksumAlgorithm::Md5 => Self::None,
            ChecksumAlgorithm::Crc32 => Self::Crc(Digest::new(CrcAlgorithm::Crc32IsoHdlc)),
            ChecksumAlgorithm::Crc64Nvme => Self::Crc(Digest::new(CrcAlgorithm::Crc64Nvme)),
            ChecksumAlgorithm::Crc32c => Self::Crc(Digest::new(CrcAlgorithm::Crc32Iscsi)),
            ChecksumAlgorithm::Sha1 => Self::Sha1(Sha1::new()),
            ChecksumAlgorithm::Sha512 => Self::Sha512(Box::default()),
            ChecksumAlgorithm::Xxhash64 => Self::Xxhash64(Box::new(Xxh64::new(0))),
            ChecksumAlgorithm::Xxhash3 => Self::Xxhash3(Box::default()),
            ChecksumAlgorithm::Xxhash128 => Self::Xxhash128(Box::default()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::None => {}
            Self::Crc(crc) => crc.update(bytes),
            Self::Sha1(sha1) => sha1.update(bytes),
            Self::Sha512(sha512) => sha512.update(bytes),
            Self::Xxhash64(xxhash) => xxhash.update(bytes),
            Self::Xxhash3(xxhash) | Self::Xxhash128(xxhash) => xxhash.update(bytes),
        }
    }

    /// The value of `length` bytes, as S3 writes it: numbers are big-endian.
    fn finish(self, length: usize) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            // A 32-bit CRC comes in the low half of the 64 bits.
            Self::Crc(crc) => crc.finalize().to_be_bytes()[8 - length..].to_vec(),
            Self::Sha1(sha1) => sha1.finalize().to_vec(),
            Self::Sha512(sha512) => sha512.finalize().to_vec(),
            Self::Xxhash64(xxhash) => xxhash.digest().to_be_bytes().to_vec(),
            Self::Xxhash3(xxhash) => xxhash.digest().to_be_bytes().to_vec(),
            Self::Xxhash128(xxhash) => xxhash.digest128().to_be_bytes().to_vec(),
        }
    }
}

impl Hasher {
    pub fn new(plan: DigestPlan) -> Self {
        let md5 = plan.md5 || plan.checksum == Some(ChecksumAlgorithm::Md5);
        let sha256 = plan.sha256 || plan.checksum == Some(ChecksumAlgorithm::Sha256);
        Self {
            plan,
            md5: md5.then(Md5::default),
            sha256: sha256.then(Sha256::default),
            chunk: None,
            other: plan.checksum.map_or(Other::None, Other::new),
        }
    }

    /// Like [`Hasher::new`], with a SHA-256 of its own for each chunk of a signed aws-chunked payload:
    /// [`Hasher::finish_chunk`] ends one.
    pub fn new_chunked(plan: DigestPlan) -> Self {
        Self { chunk: Some(Sha256::default()), ..Self::new(plan) }
    }

    /// Whether SHA-256 is computed, of the stream or of its chunks.
    pub fn has_sha256(&self) -> bool {
        self.sha256.is_some() || self.chunk.is_some()
    }

    /// Takes the next bytes of the stream.
    pub fn update(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE_BYTES) {
            lanes::update_many(&mut [self.fused(piece)]);
            self.update_others(piece);
        }
    }

    /// Takes the next bytes of several streams, which costs less than one stream after the other: least for
    /// sixteen or thirty-two. Pieces should be of about the same length, and together fit the second-level cache.
    pub fn update_many(streams: &mut [(&mut Self, &[u8])]) {
        let mut updates: Vec<_> = streams.iter_mut().map(|(hasher, bytes)| hasher.fused(bytes)).collect();
        lanes::update_many(&mut updates);
        for (hasher, bytes) in streams {
            hasher.update_others(bytes);
        }
    }

    /// The digests that are computed together: MD5, and one of SHA-256.
    fn fused<'a>(&'a mut self, bytes: &'a [u8]) -> Update<'a> {
        let sha256 = if self.chunk.is_some() { &mut self.chunk } else { &mut self.sha256 };
        Update { md5: self.md5.as_mut(), sha256: sha256.as_mut(), bytes }
    }

    /// What [`Self::fused`] leaves out. Few streams have two of SHA-256.
    fn update_others(&mut self, bytes: &[u8]) {
        if let (Some(_), Some(sha256)) = (&self.chunk, &mut self.sha256) {
            sha256.update(bytes);
        }
        self.other.update(bytes);
    }

    /// SHA-256 of the bytes since the start or the previous call; begins the next chunk.
    ///
    /// The hasher must come from [`Hasher::new_chunked`].
    pub fn finish_chunk(&mut self) -> [u8; 32] {
        let chunk = self.chunk.as_mut().expect("a hasher of chunks");
        std::mem::take(chunk).finish()
    }

    /// The digests of all bytes seen.
    pub fn finish(self) -> Digests {
        let md5 = self.md5.map(Md5::finish);
        let sha256 = self.sha256.map(Sha256::finish);
        let checksum = self.plan.checksum.map(|algorithm| {
            let value = match algorithm {
                ChecksumAlgorithm::Sha256 => sha256.unwrap_or_default().to_vec(),
                ChecksumAlgorithm::Md5 => md5.unwrap_or_default().to_vec(),
                _ => self.other.finish(algorithm.length()),
            };
            Checksum { algorithm, kind: ChecksumKind::FullObject, value }
        });
        Digests { md5: md5.filter(|_| self.plan.md5), sha256: sha256.filter(|_| self.plan.sha256), checksum }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hash;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn plan(checksum: ChecksumAlgorithm) -> DigestPlan {
        DigestPlan { md5: true, sha256: true, checksum: Some(checksum) }
    }

    fn digests(plan: DigestPlan, pieces: &[&[u8]]) -> Digests {
        let mut hasher = Hasher::new(plan);
        for piece in pieces {
            hasher.update(piece);
        }
        hasher.finish()
    }

    fn checksum(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Vec<u8> {
        digests(plan(algorithm), &[bytes]).checksum.unwrap().value
    }

    /// Bytes without a short period, so that a digest of the wrong range shows.
    fn varied(length: usize) -> Vec<u8> {
        (0..length as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    }

    /// Check values: RFC 1321 (MD5), FIPS 180-2 (SHA), the catalogue of parametrised CRC algorithms.
    #[test]
    fn published_vectors_hold() {
        assert_eq!(hex(&hash::md5(b"")), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(hex(&hash::md5(b"message digest")), "f96b697d7cb7938d525a2f31aaf161d0");
        assert_eq!(
            hex(&hash::sha256(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let digits = b"123456789";
        for (algorithm, value) in [
            (ChecksumAlgorithm::Crc32, "cbf43926"),
            (ChecksumAlgorithm::Crc32c, "e3069283"),
            (ChecksumAlgorithm::Crc64Nvme, "ae8b14860a799888"),
            (ChecksumAlgorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
            (ChecksumAlgorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
            (ChecksumAlgorithm::Md5, "25f9e794323b453885f5181f1b624d0b"),
        ] {
            assert_eq!(hex(&checksum(algorithm, digits)), value, "{}", algorithm.name());
        }
        // Of the AWS SDKs' own tests.
        assert_eq!(hex(&checksum(ChecksumAlgorithm::Xxhash64, b"Hello world")), "c500b0c912b376d8");
        assert_eq!(
            hex(&checksum(ChecksumAlgorithm::Sha1, b"abc")),
            "a9993e364706816aba3e25717850c26c9cd0d89d"
        );
    }

    #[test]
    fn a_digest_that_was_not_asked_for_is_absent() {
        let nothing = digests(DigestPlan::default(), &[b"abc"]);
        assert!(nothing.md5.is_none() && nothing.sha256.is_none() && nothing.checksum.is_none());
        let checksum_only = DigestPlan { checksum: Some(ChecksumAlgorithm::Sha256), ..DigestPlan::default() };
        let digests = digests(checksum_only, &[b"abc"]);
        assert!(digests.sha256.is_none());
        assert_eq!(digests.checksum.unwrap().value, hash::sha256(b"abc"));
        let md5_only = DigestPlan { checksum: Some(ChecksumAlgorithm::Md5), ..DigestPlan::default() };
        let digests = super::tests::digests(md5_only, &[b"abc"]);
        assert!(digests.md5.is_none());
        assert_eq!(digests.checksum.unwrap().value, hash::md5(b"abc"));
    }

    #[test]
    fn every_split_of_a_stream_gives_the_same_digests() {
        let bytes = varied(200);
        for algorithm in ChecksumAlgorithm::ALL {
            let whole = digests(plan(algorithm), &[&bytes]);
            for at in 0..=bytes.len() {
                let (first, second) = bytes.split_at(at);
                let split = digests(plan(algorithm), &[first, second]);
                assert_eq!(split.md5, whole.md5, "at {at}");
                assert_eq!(split.sha256, whole.sha256, "at {at}");
                assert_eq!(split.checksum, whole.checksum, "at {at}");
            }
        }
    }

    #[test]
    fn pieces_larger_than_the_cache_piece_are_hashed_whole() {
        for length in [PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 7] {
            let bytes = varied(length);
            for algorithm in ChecksumAlgorithm::ALL {
                let whole = digests(plan(algorithm), &[&bytes]);
                let bytewise: Vec<&[u8]> = bytes.chunks(1).collect();
                let split = digests(plan(algorithm), &bytewise);
                assert_eq!(whole.md5, Some(hash::md5(&bytes)));
                assert_eq!((split.md5, split.sha256), (whole.md5, whole.sha256));
                assert_eq!(split.checksum, whole.checksum);
            }
        }
    }

    #[test]
    fn chunks_have_digests_of_their_own_beside_the_stream() {
        let mut hasher = Hasher::new_chunked(plan(ChecksumAlgorithm::Sha256));
        hasher.update(b"one");
        assert_eq!(hasher.finish_chunk(), hash::sha256(b"one"));
        hasher.update(b"tw");
        hasher.update(b"o");
        assert_eq!(hasher.finish_chunk(), hash::sha256(b"two"));
        assert_eq!(hasher.finish_chunk(), hash::sha256(b""));
        let digests = hasher.finish();
        assert_eq!(digests.sha256, Some(hash::sha256(b"onetwo")));
        assert_eq!(digests.md5, Some(hash::md5(b"onetwo")));
        assert_eq!(digests.checksum.unwrap().value, hash::sha256(b"onetwo"));
    }

    proptest! {
        /// Other implementations than those the hasher uses.
        #[test]
        fn checksums_are_those_of_other_implementations(
            bytes in prop::collection::vec(any::<u8>(), 0..2000),
            cut in 0..2000usize,
        ) {
            let (first, second) = bytes.split_at(cut.min(bytes.len()));
            let ours = |algorithm| digests(plan(algorithm), &[first, second]).checksum.unwrap().value;
            let xxh64 = twox_hash::XxHash64::oneshot(0, &bytes).to_be_bytes();
            prop_assert_eq!(ours(ChecksumAlgorithm::Xxhash64), xxh64);
            let xxh3 = twox_hash::XxHash3_64::oneshot(&bytes).to_be_bytes();
            prop_assert_eq!(ours(ChecksumAlgorithm::Xxhash3), xxh3);
            let xxh128 = twox_hash::XxHash3_128::oneshot(&bytes).to_be_bytes();
            prop_assert_eq!(ours(ChecksumAlgorithm::Xxhash128), xxh128);
            let crc = u64::from(crc32fast::hash(&bytes)).to_be_bytes()[4..].to_vec();
            prop_assert_eq!(ours(ChecksumAlgorithm::Crc32), crc);
        }

        #[test]
        fn the_crc_of_two_runs_combines_from_theirs(
            first in prop::collection::vec(any::<u8>(), 0..5000),
            second in prop::collection::vec(any::<u8>(), 0..5000),
        ) {
            let together = [first.as_slice(), second.as_slice()].concat();
            for algorithm in ChecksumAlgorithm::ALL.into_iter().filter(|algorithm| algorithm.is_linear()) {
                let combined = hash::combine(
                    algorithm,
                    &checksum(algorithm, &first),
                    &checksum(algorithm, &second),
                    second.len() as u64,
                );
                prop_assert_eq!(combined, checksum(algorithm, &together));
            }
        }
    }
}
