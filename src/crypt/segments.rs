//! Payload in segments: each encrypted in place, authenticated on its own, and bound to its number and to
//! whether it is the last.
//!
//! A run of payload is cut into segments of [`SEGMENT_PLAIN_BYTES`], the last one shorter; each is stored
//! with its tag behind it. A stored segment is as long as what one checksum of an extent covers and as a
//! quarter of a large buffer, so that segments never lie across buffers, extents or checksums. Changed bytes,
//! segments in another order or of another run, and a run that ends early are all found when the segment at
//! hand is opened: its number is the nonce, and the mark of the last is authenticated with it.
//!
//! This is what Rogaway and others named STREAM ("Online Authenticated-Encryption and its Nonce-Reuse
//! Misuse-Resistance", 2015), with a random key in place of a random prefix of the nonce.

use std::ops::Range;

use ::ring::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};

use super::keys::{Damaged, Key, cipher};
use crate::base::limits::CHECKSUM_CHUNK_BYTES;

/// Bytes of an authentication tag.
pub const TAG_BYTES: usize = 16;

/// Bytes of a stored segment, but for the last.
pub const SEGMENT_BYTES: usize = CHECKSUM_CHUNK_BYTES;

/// Payload bytes of a segment, but for the last.
pub const SEGMENT_PLAIN_BYTES: usize = SEGMENT_BYTES - TAG_BYTES;

/// Where the bytes of a run of payload are once it is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    plain_bytes: u64,
}

/// The segments that hold a range of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRange {
    /// Their bytes, within the stored run.
    pub stored: Range<u64>,
    /// Number of the first.
    pub first: u64,
    /// Payload bytes at the beginning of the first that are not wanted.
    pub skip: usize,
}

impl Layout {
    /// Segments of the longest run that is received in one piece, 5 GiB.
    pub const SEGMENTS_MAX: u64 = crate::base::limits::PART_BYTES_MAX.div_ceil(SEGMENT_PLAIN_BYTES as u64);

    /// The layout of a run of so many payload bytes.
    pub fn of_plain(plain_bytes: u64) -> Self {
        Self { plain_bytes }
    }

    /// The layout of a run that takes so many bytes encrypted; `None` if no run does.
    pub fn of_stored(stored_bytes: u64) -> Option<Self> {
        let tags = stored_bytes.div_ceil(SEGMENT_BYTES as u64) * TAG_BYTES as u64;
        let layout = Self { plain_bytes: stored_bytes.checked_sub(tags)? };
        (layout.stored_bytes() == stored_bytes).then_some(layout)
    }

    pub fn plain_bytes(self) -> u64 {
        self.plain_bytes
    }

    /// Bytes of the run encrypted. An empty run has no segment: there is nothing in it to keep secret, and
    /// its length stands in its record like every other.
    pub fn stored_bytes(self) -> u64 {
        self.plain_bytes + self.segments() * TAG_BYTES as u64
    }

    pub fn segments(self) -> u64 {
        self.plain_bytes.div_ceil(SEGMENT_PLAIN_BYTES as u64)
    }

    /// The segments that hold `range` of the payload. Panics if it ends beyond the run.
    pub fn stored_range(self, range: Range<u64>) -> StoredRange {
        assert!(range.start <= range.end && range.end <= self.plain_bytes);
        let (plain, stored) = (SEGMENT_PLAIN_BYTES as u64, SEGMENT_BYTES as u64);
        let first = range.start / plain;
        let end = if range.is_empty() { first } else { range.end.div_ceil(plain) };
        let start = (first * stored).min(self.stored_bytes());
        StoredRange {
            stored: start..(end * stored).min(self.stored_bytes()).max(start),
            first,
            skip: (range.start - first * plain) as usize,
        }
    }
}

/// Encrypts and decrypts the segments of one run of payload.
pub struct SegmentCipher {
    cipher: LessSafeKey,
}

impl SegmentCipher {
    /// `key` belongs to this run alone.
    pub fn new(key: &Key) -> Self {
        Self { cipher: cipher(key) }
    }

    /// Encrypts a segment in place: payload, and behind it room for the tag. Each number once under a key.
    /// Panics without room for the tag.
    pub fn seal(&self, number: u64, is_last: bool, segment: &mut [u8]) {
        let (payload, room) = segment.split_last_chunk_mut::<TAG_BYTES>().expect("room for the tag");
        let tag = self
            .cipher
            .seal_in_place_separate_tag(nonce(number), Aad::from([u8::from(is_last)]), payload)
            .expect("a segment is shorter than GCM's 64 GiB");
        room.copy_from_slice(tag.as_ref());
    }

    /// Decrypts whole segments of a run, the first of which has the number `first`, in place: the payload
    /// moves together at the beginning of `stored` while it is decrypted. Returns its length.
    pub fn open(&self, layout: Layout, first: u64, stored: &mut [u8]) -> Result<usize, Damaged> {
        let mut plain_end = 0;
        let mut stored_start = 0;
        let mut number = first;
        while stored_start < stored.len() {
            let is_last = number + 1 == layout.segments();
            let length = SEGMENT_BYTES.min(stored.len() - stored_start);
            if length < SEGMENT_BYTES && !is_last {
                return Err(Damaged);
            }
            // From where the payload so far ends, so that decrypting closes the gap of the tags before.
            let both = &mut stored[plain_end..stored_start + length];
            let aad = Aad::from([u8::from(is_last)]);
            let opened = self
                .cipher
                .open_within(nonce(number), aad, both, stored_start - plain_end..)
                .map_err(|_| Damaged)?;
            plain_end += opened.len();
            stored_start += length;
            number += 1;
        }
        Ok(plain_end)
    }
}

fn nonce(number: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - 8..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLAIN: u64 = SEGMENT_PLAIN_BYTES as u64;

    fn payload(bytes: u64) -> Vec<u8> {
        (0..bytes).map(|index| (index / 251 + index % 253) as u8).collect()
    }

    fn run_cipher(byte: u8) -> SegmentCipher {
        SegmentCipher::new(&Key::new([byte; 32]))
    }

    /// A run as it is stored.
    fn encrypted(cipher: &SegmentCipher, plain: &[u8]) -> Vec<u8> {
        let mut stored = Vec::new();
        let count = plain.chunks(SEGMENT_PLAIN_BYTES).count();
        for (number, part) in plain.chunks(SEGMENT_PLAIN_BYTES).enumerate() {
            let start = stored.len();
            stored.extend_from_slice(part);
            stored.extend_from_slice(&[0; TAG_BYTES]);
            cipher.seal(number as u64, number + 1 == count, &mut stored[start..]);
        }
        stored
    }

    fn opened(cipher: &SegmentCipher, plain: u64, first: u64, stored: &[u8]) -> Result<Vec<u8>, Damaged> {
        let mut buffer = stored.to_vec();
        let length = cipher.open(Layout::of_plain(plain), first, &mut buffer)?;
        buffer.truncate(length);
        Ok(buffer)
    }

    /// Lengths around every boundary.
    fn lengths() -> impl Strategy<Value = u64> {
        let around = (0..4u64, -2..3i64).prop_map(|(count, by)| (count * PLAIN).saturating_add_signed(by));
        prop_oneof![around, 0..5 * PLAIN]
    }

    #[test]
    fn lengths_follow_from_each_other() {
        let stored = |plain| Layout::of_plain(plain).stored_bytes();
        assert_eq!(stored(0), 0);
        assert_eq!(stored(1), 17);
        assert_eq!(stored(PLAIN), 65_536);
        assert_eq!(stored(PLAIN + 1), 65_536 + 17);
        for impossible in [1, 16, 65_536 + 1, 65_536 + 16] {
            assert_eq!(Layout::of_stored(impossible), None);
        }
    }

    #[test]
    fn what_was_encrypted_before_still_opens() {
        // Made by an independent implementation: Python's `cryptography`.
        let of = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        assert_eq!(encrypted(&run_cipher(3), b"plain"), of("1148e7b7c7fb66e1970b54cd911c3ec7ad9c16c379"));
        let mut two = b"plain".to_vec();
        two.resize(5 + TAG_BYTES, 0);
        run_cipher(3).seal(0x0102_0304, false, &mut two);
        assert_eq!(two, of("3adad3189d32ee61eb7ced5967c395aa36d1804450"));
    }

    #[test]
    fn a_run_without_its_end_or_with_more_is_found_out() {
        let cipher = run_cipher(1);
        let plain = payload(3 * PLAIN);
        let stored = encrypted(&cipher, &plain);
        let segment = |number: usize| &stored[number * SEGMENT_BYTES..(number + 1) * SEGMENT_BYTES];
        assert_eq!(opened(&cipher, 3 * PLAIN, 0, &stored).unwrap(), plain);
        // The run and its length in the record were both cut, or both grew.
        assert_eq!(opened(&cipher, 2 * PLAIN, 0, &stored[..2 * SEGMENT_BYTES]), Err(Damaged));
        assert_eq!(opened(&cipher, 4 * PLAIN, 0, &[&stored, segment(2)].concat()), Err(Damaged));
        // Swapped, repeated, and taken from another run.
        for (first, second) in [(1, 0), (0, 0), (1, 1)] {
            let mixed = [segment(first), segment(second), segment(2)].concat();
            assert_eq!(opened(&cipher, 3 * PLAIN, 0, &mixed), Err(Damaged));
        }
        let other = encrypted(&run_cipher(2), &plain);
        let mixed = [&stored[..SEGMENT_BYTES], &other[SEGMENT_BYTES..]].concat();
        assert_eq!(opened(&cipher, 3 * PLAIN, 0, &mixed), Err(Damaged));
    }

    proptest! {
        #[test]
        fn stored_lengths_are_those_of_exactly_one_run(plain in lengths()) {
            let layout = Layout::of_plain(plain);
            prop_assert_eq!(Layout::of_stored(layout.stored_bytes()), Some(layout));
        }

        #[test]
        fn any_range_comes_from_its_segments_alone(plain in lengths(), cut in any::<(u64, u64)>()) {
            let cipher = run_cipher(5);
            let bytes = payload(plain);
            let stored = encrypted(&cipher, &bytes);
            let layout = Layout::of_plain(plain);
            prop_assert_eq!(stored.len() as u64, layout.stored_bytes());
            let (one, two) = (cut.0 % (plain + 1), cut.1 % (plain + 1));
            let range = one.min(two)..one.max(two);
            let StoredRange { stored: part, first, skip } = layout.stored_range(range.clone());
            prop_assert!(part.end - part.start <= (range.end - range.start) + 2 * SEGMENT_BYTES as u64);
            let got = opened(&cipher, plain, first, &stored[part.start as usize..part.end as usize]).unwrap();
            let wanted = (range.end - range.start) as usize;
            let got = if wanted == 0 { &[][..] } else { &got[skip..skip + wanted] };
            prop_assert!(got == &bytes[range.start as usize..range.end as usize]);
        }

        #[test]
        fn a_changed_bit_is_found_wherever_it_is(
            plain in 1..3 * PLAIN, at in any::<prop::sample::Index>(), bit in 0..8u8,
        ) {
            let cipher = run_cipher(6);
            let mut stored = encrypted(&cipher, &payload(plain));
            let at = at.index(stored.len());
            stored[at] ^= 1 << bit;
            prop_assert_eq!(opened(&cipher, plain, 0, &stored), Err(Damaged));
            let first = (at / SEGMENT_BYTES) * SEGMENT_BYTES;
            // What lies before the changed segment still opens.
            let before = opened(&cipher, plain, 0, &stored[..first]).unwrap();
            prop_assert_eq!(before.len() as u64, (first / SEGMENT_BYTES) as u64 * PLAIN);
        }
    }
}
