//! The chunked transfer coding (RFC 9112, section 7.1), decoded in place.

use crate::base::limits::{CHUNK_LINE_BYTES_MAX, CHUNK_OVERREAD_BYTES, TRAILER_BYTES_MAX};

/// Decodes a chunked body piece by piece, however the pieces were cut.
#[derive(Debug, Default)]
pub struct ChunkedDecoder {
    state: State,
}

/// What [`ChunkedDecoder::decode`] made of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Payload bytes, now at the start of the input.
    pub payload: usize,
    /// Bytes of the input that belong to the body; after the end of the body there may be more, untouched.
    pub consumed: usize,
}

/// The framing is not that of RFC 9112.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkedError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the hexadecimal size; how many digits there were.
    Size {
        value: u64,
        digits: u8,
    },
    /// After the size, in an extension that is skipped; how long the line is.
    Extension {
        value: u64,
        bytes: usize,
    },
    /// Between CR and LF after a size.
    SizeLineFeed {
        value: u64,
    },
    /// In the payload of a chunk; how much is to come.
    Data {
        remaining: u64,
    },
    /// At the CR after a chunk's payload.
    DataReturn,
    /// At the LF after a chunk's payload.
    DataLineFeed,
    /// In the trailer section, at the start of a line or within one; how many bytes it has had.
    Trailer {
        bytes: usize,
        line_bytes: usize,
    },
    /// Between CR and LF in the trailer section.
    TrailerLineFeed {
        bytes: usize,
        line_bytes: usize,
    },
    Done,
}

impl Default for State {
    fn default() -> Self {
        Self::Size { value: 0, digits: 0 }
    }
}

impl ChunkedDecoder {
    /// Whether the whole body, with its trailer section, has been seen.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// How many bytes to receive next, so that long chunks arrive without a copy and short ones in few
    /// system calls.
    pub fn want(&self) -> usize {
        match self.state {
            State::Done => 0,
            State::Data { remaining } => {
                let chunk_end = usize::try_from(remaining).unwrap_or(usize::MAX);
                chunk_end.saturating_add(b"\r\nfffff\r\n".len()).max(CHUNK_OVERREAD_BYTES)
            }
            _ => CHUNK_OVERREAD_BYTES,
        }
    }

    /// Decodes `bytes`, which were received after those of the last call, and moves payload to their start.
    /// Everything is consumed, except what follows the end of the body.
    pub fn decode(&mut self, bytes: &mut [u8]) -> Result<Decoded, ChunkedError> {
        let mut done = Decoded { payload: 0, consumed: 0 };
        while done.consumed < bytes.len() && self.state != State::Done {
            if let State::Data { remaining } = self.state {
                let rest = bytes.len() - done.consumed;
                let count = usize::try_from(remaining).unwrap_or(usize::MAX).min(rest);
                if done.payload != done.consumed {
                    bytes.copy_within(done.consumed..done.consumed + count, done.payload);
                }
                done.payload += count;
                done.consumed += count;
                let remaining = remaining - count as u64;
                self.state = if remaining == 0 { State::DataReturn } else { State::Data { remaining } };
            } else {
                self.state = self.state.after(bytes[done.consumed])?;
                done.consumed += 1;
            }
        }
        Ok(done)
    }
}

impl State {
    /// The state after a byte of framing.
    fn after(self, byte: u8) -> Result<Self, ChunkedError> {
        match (self, byte) {
            (Self::Size { value, digits }, _) if byte.is_ascii_hexdigit() => {
                // Sixteen digits fill 64 bits.
                let digit = char::from(byte).to_digit(16).ok_or(ChunkedError)?;
                let room = digits < 16;
                room.then(|| Self::Size { value: value << 4 | u64::from(digit), digits: digits + 1 })
                    .ok_or(ChunkedError)
            }
            (Self::Size { digits: 0, .. }, _) => Err(ChunkedError),
            (Self::Size { value, .. } | Self::Extension { value, .. }, b'\r') => {
                Ok(Self::SizeLineFeed { value })
            }
            (Self::Size { value, .. }, b';' | b' ' | b'\t') => Ok(Self::Extension { value, bytes: 1 }),
            (Self::Extension { value, bytes }, _) if is_text(byte) && bytes < CHUNK_LINE_BYTES_MAX => {
                Ok(Self::Extension { value, bytes: bytes + 1 })
            }
            (Self::SizeLineFeed { value: 0 }, b'\n') => Ok(Self::Trailer { bytes: 0, line_bytes: 0 }),
            (Self::SizeLineFeed { value }, b'\n') => Ok(Self::Data { remaining: value }),
            (Self::DataReturn, b'\r') => Ok(Self::DataLineFeed),
            (Self::DataLineFeed, b'\n') => Ok(Self::default()),
            (Self::Trailer { bytes, line_bytes }, b'\r') => Ok(Self::TrailerLineFeed { bytes, line_bytes }),
            (Self::Trailer { bytes, line_bytes }, _) if is_text(byte) && bytes < TRAILER_BYTES_MAX => {
                Ok(Self::Trailer { bytes: bytes + 1, line_bytes: line_bytes + 1 })
            }
            (Self::TrailerLineFeed { line_bytes: 0, .. }, b'\n') => Ok(Self::Done),
            (Self::TrailerLineFeed { bytes, .. }, b'\n') => Ok(Self::Trailer { bytes, line_bytes: 0 }),
            _ => Err(ChunkedError),
        }
    }
}

/// What may stand in an extension or a trailer line: no control characters but the tab.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes `stream` in pieces; returns the payload and what was left after the end.
    fn decode(stream: &[u8], pieces: &[usize]) -> Result<(Vec<u8>, Vec<u8>, bool), ChunkedError> {
        let mut decoder = ChunkedDecoder::default();
        let (mut payload, mut left) = (Vec::new(), Vec::new());
        let mut rest = stream;
        let mut sizes = pieces.iter().copied().chain(std::iter::repeat(stream.len()));
        while !rest.is_empty() {
            let count = sizes.next().unwrap().clamp(1, rest.len());
            let mut piece = rest[..count].to_vec();
            rest = &rest[count..];
            let decoded = decoder.decode(&mut piece)?;
            assert!(decoded.consumed == count || decoder.is_done());
            payload.extend_from_slice(&piece[..decoded.payload]);
            left.extend_from_slice(&piece[decoded.consumed..]);
        }
        Ok((payload, left, decoder.is_done()))
    }

    #[test]
    fn extensions_and_trailers_are_skipped_and_the_next_request_is_left() {
        let stream = b"5;a=\"b\"\r\nhello\r\n01 \r\n!\r\n0\r\nA: b\r\nC: d\r\n\r\nGET /";
        let (payload, left, done) = decode(stream, &[]).unwrap();
        assert_eq!((payload.as_slice(), left.as_slice(), done), (&b"hello!"[..], &b"GET /"[..], true));
    }

    #[test]
    fn framing_that_is_not_chunked_is_refused() {
        let long_extension = format!("1;{}\r\n", "a".repeat(CHUNK_LINE_BYTES_MAX + 1));
        let long_trailer = format!("0\r\n{}", "a: b\r\n".repeat(TRAILER_BYTES_MAX));
        for stream in [
            "\r\n",
            "g\r\n",
            "-1\r\n",
            "0x1\r\n",
            "1\n",
            "1\r\r",
            "1\r\nab",
            "1\r\na\n",
            "1\r\na\r\r",
            "00000000000000001\r\n",
            "1;\n\r\n",
            "0\r\na\nb\r\n",
            "0\r\n\rx",
            "1;\0\r\n",
            &long_extension,
            &long_trailer,
        ] {
            assert_eq!(decode(stream.as_bytes(), &[]), Err(ChunkedError), "{stream:?}");
        }
    }

    #[test]
    fn the_largest_size_neither_overflows_nor_ends() {
        let (payload, _, done) = decode(b"ffffffffffffffff\r\nabc", &[]).unwrap();
        assert_eq!((payload.as_slice(), done), (&b"abc"[..], false));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_payload(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6),
            pieces in proptest::collection::vec(1usize..20, 0..60),
        ) {
            let mut stream = Vec::new();
            for chunk in &chunks {
                stream.extend_from_slice(format!("{:X};x\r\n", chunk.len()).as_bytes());
                stream.extend_from_slice(chunk);
                stream.extend_from_slice(b"\r\n");
            }
            stream.extend_from_slice(b"0\r\nT: v\r\n\r\nnext");
            let (payload, left, done) = decode(&stream, &pieces).unwrap();
            prop_assert!(done);
            prop_assert_eq!(payload, chunks.concat());
            prop_assert_eq!(left, b"next");
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(
            stream in proptest::collection::vec(proptest::sample::select(b"0123f;\r\n ax".to_vec()), 0..60),
            pieces in proptest::collection::vec(1usize..9, 0..60),
        ) {
            prop_assert_eq!(decode(&stream, &[]), decode(&stream, &pieces));
        }
    }
}
