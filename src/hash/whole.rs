//! Digests of bytes at hand, and of multipart objects from their parts' digests.

use md5::{Digest, Md5};
use sha2::Sha256;

use super::stream::{DigestPlan, Hasher};
use crate::base::checksum::ChecksumAlgorithm;
use crate::base::etag::ETag;

/// MD5 of a run of bytes.
pub fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

/// SHA-256 of a run of bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// CRC of the concatenation of two runs, from their CRCs and the second one's length in bytes.
/// Only for [`ChecksumAlgorithm::is_linear`] algorithms; big-endian values as in S3's headers.
///
/// # Panics
/// If the algorithm is not linear or a value is not [`ChecksumAlgorithm::length`] bytes long: the caller
/// has both from a [`Hasher`] or from [`super::checksum_parse`].
pub fn combine(algorithm: ChecksumAlgorithm, first: &[u8], second: &[u8], second_bytes: u64) -> Vec<u8> {
    use crc_fast::CrcAlgorithm::{Crc32Iscsi, Crc32IsoHdlc, Crc64Nvme};
    let crc = match algorithm {
        ChecksumAlgorithm::Crc32 => Crc32IsoHdlc,
        // CRC32C is the CRC of iSCSI; this crate combines it for lengths beyond `usize` too.
        ChecksumAlgorithm::Crc32c => Crc32Iscsi,
        ChecksumAlgorithm::Crc64Nvme => Crc64Nvme,
        digest => panic!("{} has no combination", digest.name()),
    };
    assert!(first.len() == algorithm.length() && second.len() == algorithm.length());
    let number = |value: &[u8]| value.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let combined = crc_fast::checksum_combine(crc, number(first), number(second), second_bytes);
    combined.to_be_bytes()[8 - algorithm.length()..].to_vec()
}

/// Checksum of a multipart object of kind COMPOSITE: the checksum of its parts' raw checksums, in order.
///
/// Source: AWS, "Checking object integrity", section "Composite checksums". The `-N` that S3 shows after
/// the value is not part of it.
pub fn composite<Value: AsRef<[u8]>>(
    algorithm: ChecksumAlgorithm,
    part_values: impl IntoIterator<Item = Value>,
) -> Vec<u8> {
    let mut hasher = Hasher::new(DigestPlan { checksum: Some(algorithm), ..DigestPlan::default() });
    for value in part_values {
        hasher.update(value.as_ref());
    }
    hasher.finish().checksum.map(|checksum| checksum.value).unwrap_or_default()
}

/// ETag of a multipart object: the MD5 of its parts' raw MD5s, in order, and their number, which is at most
/// [`crate::base::limits::PARTS_MAX`].
pub fn multipart_etag(part_digests: impl IntoIterator<Item = [u8; 16]>) -> ETag {
    let mut whole = Md5::new();
    let mut parts: u16 = 0;
    for digest in part_digests {
        whole.update(digest);
        parts += 1;
    }
    ETag { digest: whole.finalize().into(), parts }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_etag_of_parts_is_the_md5_of_their_md5s() {
        let parts = [md5(b"hello "), md5(b"world")];
        let tag = multipart_etag(parts);
        assert_eq!(tag.digest, md5(&parts.concat()));
        assert_eq!(tag.parts, 2);
        // The same parts through another implementation of MD5 (Python's hashlib).
        assert_eq!(tag.to_string(), "e09e4fd6265b36115fe3db32df945d84-2");
    }

    #[test]
    fn a_composite_checksum_is_the_checksum_of_the_parts_raw_checksums() {
        let parts = [sha256(b"hello "), sha256(b"world")];
        assert_eq!(composite(ChecksumAlgorithm::Sha256, parts), sha256(&parts.concat()));
        let crcs = [[0xcb, 0xf4, 0x39, 0x26], [0, 0, 0, 0]];
        assert_eq!(composite(ChecksumAlgorithm::Crc32, crcs), 0xbf2b1603u32.to_be_bytes());
    }

    #[test]
    fn crcs_of_runs_beyond_four_gibibytes_combine() {
        // CRC of n zero bytes doubles up by combination; two ways to the same length must agree.
        for algorithm in ChecksumAlgorithm::ALL.into_iter().filter(|algorithm| algorithm.is_linear()) {
            let zero = {
                let mut hasher =
                    Hasher::new(DigestPlan { checksum: Some(algorithm), ..DigestPlan::default() });
                hasher.update(&[0]);
                hasher.finish().checksum.unwrap().value
            };
            let mut doubled = vec![zero.clone()];
            for power in 0..33u32 {
                let last = &doubled[power as usize];
                doubled.push(combine(algorithm, last, last, 1 << power));
            }
            let short_then_long = combine(algorithm, &zero, &doubled[33], 1 << 33);
            let long_then_short = combine(algorithm, &doubled[33], &zero, 1);
            assert_eq!(short_then_long, long_then_short, "{}", algorithm.name());
        }
    }
}
