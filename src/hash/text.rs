//! Checksums as headers and XML carry them: base64 with padding (RFC 4648, section 4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::base::checksum::ChecksumAlgorithm;

/// Longest value that is decoded: SHA-512.
const DECODED_BYTES_MAX: usize = 64;

/// Base64 with padding.
pub fn base64_encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Decodes exactly `length` bytes (a digest; at most 64). `None` if the text is not strict base64 (alphabet,
/// padding, unused bits) or not of that length, which S3 answers with InvalidDigest or InvalidRequest.
pub fn base64_decode(text: &[u8], length: usize) -> Option<Vec<u8>> {
    if length > DECODED_BYTES_MAX || text.len() != length.div_ceil(3) * 4 {
        return None;
    }
    STANDARD.decode(text).ok().filter(|bytes| bytes.len() == length)
}

/// Reads the base64 value of an `x-amz-checksum-*` header or XML element.
pub fn checksum_parse(algorithm: ChecksumAlgorithm, text: &[u8]) -> Option<Vec<u8>> {
    base64_decode(text, algorithm.length())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_that_are_not_exactly_base64_of_the_length_are_refused() {
        let crc = ChecksumAlgorithm::Crc32;
        assert_eq!(checksum_parse(crc, b"y/Q5Jg=="), Some(vec![0xcb, 0xf4, 0x39, 0x26]));
        for text in [
            "",
            "y/Q5Jg",
            "y/Q5Jg=",
            "y/Q5Jh==",
            "y_Q5Jg==",
            "y/Q5Jg==\n",
            " y/Q5Jg==",
            "y/Q5JgA=",
            "cbf43926",
            "y/Q5Jg===",
            "====",
            "y/Q5Jg==y/Q5Jg==",
        ] {
            assert_eq!(checksum_parse(crc, text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(base64_decode(&[b'A'; 4000], 3000), None);
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(bytes in prop::collection::vec(any::<u8>(), 0..=64)) {
            let text = base64_encode(&bytes);
            prop_assert_eq!(base64_decode(text.as_bytes(), bytes.len()), Some(bytes));
        }

        #[test]
        fn any_bytes_are_judged_without_panic(
            text in prop::collection::vec(any::<u8>(), 0..100),
            length in 0usize..100,
        ) {
            let _ = base64_decode(&text, length);
        }
    }
}
