//! Encrypting a run of payload where it was received: in the buffers that it is written from.
//!
//! Payload is received behind what a buffer holds already, and of each segment the room of its tag is left
//! free. Whether a segment is the last is known only when more comes, or nothing; so a full one waits.

use super::data_key::RunKey;
use crate::base::limits::CHUNK_OVERREAD_BYTES;
use crate::crypt::{SEGMENT_BYTES, SEGMENT_PLAIN_BYTES, SegmentCipher, TAG_BYTES};
use crate::io::Buffer;

/// Encrypts one run; it sees one buffer after the other.
pub struct Sealer<'a> {
    cipher: &'a SegmentCipher,
    /// Number of the segment at hand.
    number: u64,
    /// Where it begins in the buffer.
    start: usize,
    /// Its payload is complete, and the buffer goes on behind the room of its tag.
    is_full: bool,
}

impl<'a> Sealer<'a> {
    pub fn new(run: &'a RunKey) -> Self {
        Self { cipher: &run.cipher, number: 0, start: 0, is_full: false }
    }

    /// How many bytes may be received into `buffer` now; none if it is full. `is_framed`: what comes may
    /// turn out to be framing, so a segment that wants little is offered more, which moves on if it is payload.
    pub fn room(&self, buffer: &Buffer, is_framed: bool) -> usize {
        let open = if self.is_full { 0 } else { buffer.len() - self.start };
        let room = (SEGMENT_PLAIN_BYTES - open).min(buffer.spare().saturating_sub(TAG_BYTES));
        if is_framed && room > 0 {
            room.max(CHUNK_OVERREAD_BYTES.min(buffer.spare().saturating_sub(2 * TAG_BYTES)))
        } else {
            room
        }
    }

    /// Takes note of what was received, and encrypts what cannot be the last segment.
    pub fn received(&mut self, buffer: &mut Buffer) {
        loop {
            let end = buffer.len();
            if self.is_full {
                if end == self.start + SEGMENT_BYTES {
                    return;
                }
                self.seal(buffer, self.start + SEGMENT_BYTES, false);
            } else if end - self.start >= SEGMENT_PLAIN_BYTES {
                let payload_end = self.start + SEGMENT_PLAIN_BYTES;
                buffer.set_len(end + TAG_BYTES);
                buffer.copy_within(payload_end..end, payload_end + TAG_BYTES);
                self.is_full = true;
            } else {
                return;
            }
        }
    }

    /// Encrypts the segment at hand, and is ready for the next buffer.
    pub fn end_buffer(&mut self, buffer: &mut Buffer, is_last: bool) {
        if buffer.len() > self.start {
            if !self.is_full {
                buffer.set_len(buffer.len() + TAG_BYTES);
            }
            self.seal(buffer, buffer.len(), is_last);
        }
        self.start = 0;
    }

    fn seal(&mut self, buffer: &mut Buffer, end: usize, is_last: bool) {
        self.cipher.seal(self.number, is_last, &mut buffer[self.start..end]);
        self.number += 1;
        self.start = end;
        self.is_full = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::BUFFER_BYTES;
    use crate::crypt::{Key, Layout};
    use proptest::prelude::*;

    fn run_key() -> RunKey {
        RunKey { number: 0, salt: [0; 16], cipher: SegmentCipher::new(&Key::new([4; 32])) }
    }

    proptest! {
        #[test]
        fn payload_that_comes_in_any_pieces_is_encrypted_as_one_run(
            bytes in prop_oneof![0..700_000usize, 65_510..65_530usize, 262_070..262_090usize],
            pieces in proptest::collection::vec((1..100_000usize, any::<bool>()), 1..20),
        ) {
            let run = run_key();
            let plain: Vec<u8> = (0..bytes).map(|index| (index / 251 + index % 253) as u8).collect();
            let (mut sealer, mut stored) = (Sealer::new(&run), Vec::new());
            let (mut rest, mut pieces) = (&plain[..], pieces.into_iter().cycle());
            while !rest.is_empty() {
                let mut buffer = Buffer::heap(BUFFER_BYTES);
                while !rest.is_empty() {
                    let (piece, is_framed) = pieces.next().unwrap();
                    let room = sealer.room(&buffer, is_framed);
                    if room == 0 {
                        break;
                    }
                    let (now, later) = rest.split_at(piece.min(room).min(rest.len()));
                    prop_assert_eq!(buffer.append(now), now.len());
                    rest = later;
                    sealer.received(&mut buffer);
                }
                sealer.end_buffer(&mut buffer, rest.is_empty());
                prop_assert!(rest.is_empty() || buffer.spare() == 0, "all but the last buffer are full");
                stored.extend_from_slice(&buffer);
            }
            let layout = Layout::of_plain(bytes as u64);
            prop_assert_eq!(stored.len() as u64, layout.stored_bytes());
            let length = run.cipher.open(layout, 0, &mut stored).unwrap();
            prop_assert!(stored[..length] == plain);
        }
    }
}
