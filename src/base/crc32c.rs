//! CRC-32C (Castagnoli; RFC 3720, appendix B.4): what the records, blocks and payload on a drive are checked by.
//!
//! The polynomial is folded in vector registers where the CPU can (`docs/decisions/0016-crc32c.md`).

use crc_fast::{CrcAlgorithm, Digest};

/// The checksum of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    // It comes in the low half.
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// The checksum of what `crc` is that of, followed by `bytes`.
pub fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    // A CRC is the state, inverted.
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(!crc));
    digest.update(bytes);
    digest.finalize() as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_rfc_3720_come_out() {
        let ascending: Vec<u8> = (0..32).collect();
        assert_eq!(super::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(super::crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(super::crc32c(&ascending), 0x46dd_794e);
        assert_eq!(super::crc32c(b""), 0);
    }

    proptest! {
        #[test]
        fn another_implementation_agrees_at_any_length_and_split(
            bytes in proptest::collection::vec(any::<u8>(), 0..5000),
            split in any::<prop::sample::Index>(),
        ) {
            let expected = ::crc32c::crc32c(&bytes);
            prop_assert_eq!(super::crc32c(&bytes), expected);
            let (first, rest) = bytes.split_at(split.index(bytes.len() + 1));
            prop_assert_eq!(super::crc32c_append(super::crc32c(first), rest), expected);
        }
    }
}
