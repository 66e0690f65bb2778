//! The `aws-chunked` content coding, decoded in place.
//!
//! ```text
//! hex-size[;chunk-signature=<64 hex>] CR LF  payload CR LF      any number of times
//! 0[;chunk-signature=<64 hex>] CR LF                            the last chunk
//! [name:value (CR LF | LF)]… [x-amz-trailer-signature:<64 hex> CR LF]
//! CR LF
//! ```
//!
//! Sources: AWS, "Signature calculations for the Authorization header: transferring payload in multiple
//! chunks" and "… including trailing headers". Some clients (minio-go among them) end trailer lines with a
//! bare LF, and then close the block of them with CR LF before the signature's line: a line feed alone ends
//! a line, together with a CR LF that follows at once. The coding lies within the body, whose length HTTP
//! knows, so that this leniency can't move the boundary of the request.
//!
//! A caller receives into its buffer behind the payload it has, then lets the decoder walk over what came:
//!
//! ```
//! use ringcask::http::aws_chunked::{AwsChunkedDecoder, Event, Span};
//!
//! let mut decoder = AwsChunkedDecoder::default();
//! let mut buffer = b"5\r\nhello\r\n0\r\n\r\n".to_vec();
//! let mut span = Span::received(0..buffer.len());
//! while let Some(event) = decoder.next(&mut buffer, &mut span).unwrap() {
//!     if let Event::Payload(range) = event {
//!         assert_eq!(&buffer[range], b"hello"); // to be hashed
//!     }
//! }
//! buffer.truncate(span.payload());
//! assert!(decoder.is_done());
//! assert_eq!(buffer, b"hello");
//! ```

use std::ops::Range;

use crate::base::limits::{
    CHUNK_LINE_BYTES_MAX, CHUNK_OVERREAD_BYTES, CHUNKS_END_BYTES, TRAILER_BYTES_MAX, TRAILERS_MAX,
};
use crate::io::Run;

/// Length of a signature in hexadecimal digits.
pub const SIGNATURE_BYTES: usize = 64;

/// A chunk or trailer signature as it was sent: hexadecimal digits, of either case.
pub type Signature = [u8; SIGNATURE_BYTES];

/// Length of the line between two chunks: the CR LF of one, size and signature of the next.
const LINE_BYTES_USUAL: usize = "\r\n100000;chunk-signature=\r\n".len() + SIGNATURE_BYTES;

/// Something the decoder found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A chunk begins. The last one is empty, and is announced and ended like all others.
    Chunk { bytes: u64, signature: Option<Signature> },
    /// Payload of the current chunk, at this range of the buffer, right behind what was accepted before.
    Payload(Range<usize>),
    /// The current chunk is complete.
    ChunkEnd,
    /// The payload is complete. Trailers have names in lower case and trimmed values, in the order sent;
    /// `x-amz-trailer-signature` is apart.
    End { trailers: Vec<(String, Vec<u8>)>, signature: Option<Signature> },
}

/// The framing is not `aws-chunked`; the text says what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AwsChunkedError(pub &'static str);

/// Where in a buffer decoded payload ends and framed bytes lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    payload: usize,
    raw: Range<usize>,
}

impl Span {
    /// Framed bytes were received at `range`, right behind `range.start` bytes of payload.
    pub fn received(range: Range<usize>) -> Self {
        Self { payload: range.start, raw: range }
    }

    /// Framed bytes that the decoder has not looked at.
    pub fn unread(&self) -> Range<usize> {
        self.raw.clone()
    }

    /// Where the payload ends: the buffer's length once the decoder has returned `None`.
    pub fn payload(&self) -> usize {
        self.payload
    }
}

/// Decodes an `aws-chunked` body piece by piece, however the pieces were cut.
#[derive(Debug, Default)]
pub struct AwsChunkedDecoder {
    state: State,
    /// The line of framing at hand, without its end.
    line: Vec<u8>,
    /// Of the chunk that was announced last.
    chunk: Announced,
    trailers: Vec<(String, Vec<u8>)>,
    trailer_signature: Option<Signature>,
    /// Bytes of all trailer lines.
    trailer_bytes: usize,
}

/// What a chunk's line said.
#[derive(Clone, Copy, Debug, Default)]
struct Announced {
    bytes: u64,
    is_signed: bool,
}

impl Announced {
    /// Length of what stands between a chunk before it and its payload.
    fn framing_bytes(self) -> usize {
        let digits = self.bytes.checked_ilog(16).unwrap_or(0) as usize + 1;
        let extension = if self.is_signed { ";chunk-signature=".len() + SIGNATURE_BYTES } else { 0 };
        "\r\n".len() + digits + extension + "\r\n".len()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// In the line with size and signature.
    #[default]
    Size,
    /// In payload; how much is to come.
    Data {
        remaining: u64,
    },
    /// The chunk's payload is complete, its end not yet reported.
    DataEnd {
        last: bool,
    },
    /// At the CR or LF after a chunk's payload.
    DataReturn,
    DataLineFeed,
    /// In a trailer line, or at the start of one.
    Trailer,
    /// After a trailer line that ended with a bare LF: a CR LF may belong to its end.
    TrailerBareEnd,
    TrailerBareEndReturn,
    Done,
}

impl AwsChunkedDecoder {
    /// Whether [`Event::End`] was returned. A body that ends before it is incomplete.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// How many bytes to receive next so that payload lands where it belongs. Behind a long chunk at most
    /// the next chunk's line is received; short chunks are received together and moved down over the lines
    /// between them. 0 at the end.
    pub fn want(&self) -> usize {
        match self.state {
            State::Done => 0,
            State::Data { remaining } => {
                let chunk_end = usize::try_from(remaining).unwrap_or(usize::MAX);
                chunk_end.saturating_add(LINE_BYTES_USUAL).max(CHUNK_OVERREAD_BYTES)
            }
            _ => CHUNK_OVERREAD_BYTES,
        }
    }

    /// Payload of the current chunk that is still to come.
    pub fn due(&self) -> u64 {
        match self.state {
            State::Data { remaining } => remaining,
            _ => 0,
        }
    }

    /// What comes next if the chunks go on as they began, as they do from every client that is known: all of the
    /// same length but the last. At most `room` bytes of payload; `rest` is how much of it is still to come. `None`
    /// if nothing can be expected, or nothing but payload.
    pub fn runs(&self, room: usize, mut rest: u64) -> Option<Vec<Run>> {
        let mut due = match self.state {
            State::Data { remaining } => remaining,
            State::DataReturn => 0,
            _ => return None,
        };
        if self.chunk.bytes < CHUNK_OVERREAD_BYTES as u64 {
            return None;
        }
        let (mut runs, mut room) = (Vec::new(), room as u64);
        loop {
            let payload = due.min(room);
            (room, rest) = (room - payload, rest.saturating_sub(payload));
            let next = Announced { bytes: self.chunk.bytes.min(rest), ..self.chunk };
            let framing = match next.bytes {
                _ if payload < due => 0,
                0 => CHUNKS_END_BYTES,
                _ => next.framing_bytes(),
            };
            // Not above the room.
            runs.push(Run { payload: payload as usize, framing });
            if payload < due || next.bytes == 0 || room == 0 {
                break;
            }
            due = next.bytes;
        }
        (runs.iter().any(|run| run.framing > 0)).then_some(runs)
    }

    /// The next event in what was received; `None` when all of it is used up. Every received byte is used
    /// up, so the span can be dropped then; bytes behind the end are an error.
    pub fn next(&mut self, buffer: &mut [u8], span: &mut Span) -> Result<Option<Event>, AwsChunkedError> {
        loop {
            if let State::DataEnd { last } = self.state {
                self.state = if last { State::Trailer } else { State::DataReturn };
                return Ok(Some(Event::ChunkEnd));
            }
            if span.raw.is_empty() {
                return Ok(None);
            }
            match self.state {
                State::Data { remaining } => return Ok(Some(self.take_payload(remaining, buffer, span))),
                State::Size => self.take_line(buffer, span)?,
                _ => {}
            }
            if span.raw.is_empty() {
                return Ok(None);
            }
            let byte = buffer[span.raw.start];
            span.raw.start += 1;
            if let Some(event) = self.take_framing(byte)? {
                return Ok(Some(event));
            }
        }
    }

    /// Accepts what there is of the current chunk's payload, moved down over framing before it.
    fn take_payload(&mut self, remaining: u64, buffer: &mut [u8], span: &mut Span) -> Event {
        let count = usize::try_from(remaining).unwrap_or(usize::MAX).min(span.raw.len());
        let from = span.raw.start;
        if from != span.payload {
            buffer.copy_within(from..from + count, span.payload);
        }
        let accepted = span.payload..span.payload + count;
        span.raw.start += count;
        span.payload += count;
        let remaining = remaining - count as u64;
        self.state = if remaining == 0 { State::DataEnd { last: false } } else { State::Data { remaining } };
        Event::Payload(accepted)
    }

    /// Advances to the end of a chunk's line, or of what was received.
    fn take_line(&mut self, buffer: &[u8], span: &mut Span) -> Result<(), AwsChunkedError> {
        let received = &buffer[span.raw.clone()];
        let length = received.iter().position(|byte| *byte == b'\n').unwrap_or(received.len());
        if self.line.len() + length > CHUNK_LINE_BYTES_MAX {
            return Err(AwsChunkedError("a chunk's line is too long"));
        }
        self.line.extend_from_slice(&received[..length]);
        span.raw.start += length;
        Ok(())
    }

    /// Advances over a byte of framing.
    fn take_framing(&mut self, byte: u8) -> Result<Option<Event>, AwsChunkedError> {
        match (self.state, byte) {
            (State::Size, b'\n') => return self.end_size_line().map(Some),
            (State::DataReturn, b'\r') => self.state = State::DataLineFeed,
            (State::DataLineFeed, b'\n') => self.state = State::Size,
            (State::DataReturn | State::DataLineFeed, _) => {
                return Err(AwsChunkedError("CR LF is missing after a chunk's payload"));
            }
            (State::TrailerBareEnd, b'\r') => self.state = State::TrailerBareEndReturn,
            (State::TrailerBareEndReturn, b'\n') => self.state = State::Trailer,
            (State::TrailerBareEndReturn, _) => return Err(AwsChunkedError("a trailer holds a bare CR")),
            (State::Trailer | State::TrailerBareEnd, b'\n') => return self.end_trailer_line(),
            (State::Trailer | State::TrailerBareEnd, _) => {
                self.state = State::Trailer;
                self.trailer_bytes += 1;
                if self.trailer_bytes > TRAILER_BYTES_MAX {
                    return Err(AwsChunkedError("the trailers are too long"));
                }
                self.line.push(byte);
            }
            (State::Done, _) => return Err(AwsChunkedError("bytes follow the last chunk")),
            // `next` deals with these before it looks at a byte.
            (State::Size | State::Data { .. } | State::DataEnd { .. }, _) => {}
        }
        Ok(None)
    }

    fn end_size_line(&mut self) -> Result<Event, AwsChunkedError> {
        let line =
            self.line.strip_suffix(b"\r").ok_or(AwsChunkedError("a chunk's line must end with CR LF"))?;
        let (size, extension) = match line.iter().position(|byte| *byte == b';') {
            Some(end) => (&line[..end], Some(&line[end + 1..])),
            None => (line, None),
        };
        let bytes = chunk_size(size)?;
        let signature = match extension {
            Some(extension) => {
                let digits = extension.trim_ascii().strip_prefix(b"chunk-signature=");
                Some(signature(digits.ok_or(AwsChunkedError("a chunk's extension is not chunk-signature"))?)?)
            }
            None => None,
        };
        self.line.clear();
        self.chunk = Announced { bytes, is_signed: signature.is_some() };
        self.state = match bytes {
            0 => State::DataEnd { last: true },
            remaining => State::Data { remaining },
        };
        Ok(Event::Chunk { bytes, signature })
    }

    fn end_trailer_line(&mut self) -> Result<Option<Event>, AwsChunkedError> {
        let whole = std::mem::take(&mut self.line);
        let line = whole.strip_suffix(b"\r");
        self.state = if line.is_some() { State::Trailer } else { State::TrailerBareEnd };
        let line = line.unwrap_or(&whole);
        if line.is_empty() {
            self.state = State::Done;
            let trailers = std::mem::take(&mut self.trailers);
            return Ok(Some(Event::End { trailers, signature: self.trailer_signature.take() }));
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let colon = colon.ok_or(AwsChunkedError("a trailer has no colon"))?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty() || !name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)) {
            return Err(AwsChunkedError("a trailer's name is not a header name"));
        }
        if value.iter().any(u8::is_ascii_control) {
            return Err(AwsChunkedError("a trailer holds a control character"));
        }
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        if name == "x-amz-trailer-signature" {
            self.trailer_signature = Some(signature(value)?);
        } else if self.trailers.len() < TRAILERS_MAX {
            self.trailers.push((name, value.to_vec()));
        } else {
            return Err(AwsChunkedError("there are too many trailers"));
        }
        Ok(None)
    }
}

fn chunk_size(digits: &[u8]) -> Result<u64, AwsChunkedError> {
    // Sixteen digits fill 64 bits.
    if digits.is_empty() || digits.len() > 16 {
        return Err(AwsChunkedError("a chunk's size is not a number"));
    }
    digits.iter().try_fold(0, |size, digit| {
        let digit =
            char::from(*digit).to_digit(16).ok_or(AwsChunkedError("a chunk's size is not a number"))?;
        Ok(size << 4 | u64::from(digit))
    })
}

fn signature(digits: &[u8]) -> Result<Signature, AwsChunkedError> {
    let digits = Signature::try_from(digits).ok().filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    digits.ok_or(AwsChunkedError("a signature is not 64 hexadecimal digits"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Payload and events, runs of payload joined, of a stream received in pieces of these sizes.
    fn decode(stream: &[u8], pieces: &[usize]) -> Result<(Vec<u8>, Vec<Event>), AwsChunkedError> {
        let mut decoder = AwsChunkedDecoder::default();
        let mut events: Vec<Event> = Vec::new();
        let mut buffer: Vec<u8> = Vec::new();
        let mut rest = stream;
        let mut sizes = pieces.iter().copied().chain(std::iter::repeat(stream.len()));
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(sizes.next().unwrap().clamp(1, rest.len()));
            rest = after;
            let start = buffer.len();
            buffer.extend_from_slice(piece);
            let mut span = Span::received(start..buffer.len());
            while let Some(event) = decoder.next(&mut buffer, &mut span)? {
                match (events.last_mut(), event) {
                    (Some(Event::Payload(before)), Event::Payload(more)) => {
                        assert_eq!(before.end, more.start);
                        before.end = more.end;
                    }
                    (_, event) => events.push(event),
                }
            }
            buffer.truncate(span.payload());
        }
        assert_eq!(decoder.is_done(), matches!(events.last(), Some(Event::End { .. })));
        Ok((buffer, events))
    }

    fn end(trailers: &[(&str, &str)], signature: Option<Signature>) -> Event {
        let trailers = trailers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        Event::End { trailers: trailers.collect(), signature }
    }

    #[test]
    fn signed_chunks_are_announced_with_their_signatures() {
        let (first, last) = ("a".repeat(64), "B".repeat(64));
        let stream = format!("5;chunk-signature={first}\r\nhello\r\n0;chunk-signature={last}\r\n\r\n");
        let (payload, events) = decode(stream.as_bytes(), &[]).unwrap();
        assert_eq!(payload, b"hello");
        let expected = [
            Event::Chunk { bytes: 5, signature: Some([b'a'; 64]) },
            Event::Payload(0..5),
            Event::ChunkEnd,
            Event::Chunk { bytes: 0, signature: Some([b'B'; 64]) },
            Event::ChunkEnd,
            end(&[], None),
        ];
        assert_eq!(events, expected);
    }

    #[test]
    fn trailers_come_with_either_line_end() {
        let signature = "c".repeat(64);
        let trailers = [("x-amz-checksum-crc32c", "sOO8/Q==")];
        for (text, signed) in [
            ("X-Amz-Checksum-Crc32c: sOO8/Q== \r\n\r\n".to_owned(), None),
            ("x-amz-checksum-crc32c:sOO8/Q==\n\r\n\r\n".to_owned(), None),
            (
                format!("x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:{signature}\r\n\r\n"),
                Some(()),
            ),
            (
                format!("x-amz-checksum-crc32c:sOO8/Q==\n\r\nx-amz-trailer-signature:{signature}\r\n\r\n"),
                Some(()),
            ),
            (
                format!("x-amz-checksum-crc32c:sOO8/Q==\nx-amz-trailer-signature:{signature}\n\r\n\r\n"),
                Some(()),
            ),
        ] {
            let (_, events) = decode(format!("0\r\n{text}").as_bytes(), &[]).unwrap();
            let expected = end(&trailers, signed.map(|()| [b'c'; 64]));
            assert_eq!(events.last(), Some(&expected), "{text:?}");
        }
    }

    #[test]
    fn framing_that_is_not_aws_chunked_is_refused() {
        let long_line = format!("1;chunk-signature={}\r\n", "a".repeat(CHUNK_LINE_BYTES_MAX));
        let many = format!("0\r\n{}", "a:b\r\n".repeat(TRAILERS_MAX + 1));
        let long = format!("0\r\na:{}", "b".repeat(TRAILER_BYTES_MAX));
        for stream in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "+1\r\n",
            "1\n",
            "11111111111111111\r\n",
            "1;signature=x\r\n",
            "1;chunk-signature=abc\r\n",
            "1\r\nab",
            "1\r\na\n",
            "1\r\na\rb",
            "0\r\nabc\r\n",
            "0\r\n:b\r\n",
            "0\r\na b:c\r\n",
            "0\r\na:\0\r\n",
            "0\r\na:b\n\rx",
            "0\r\n\r\nx",
            "0\r\nx-amz-trailer-signature:abc\r\n\r\n",
            &long_line,
            &many,
            &long,
        ] {
            assert!(decode(stream.as_bytes(), &[]).is_err(), "{stream:?}");
        }
    }

    #[test]
    fn a_long_chunk_is_received_with_only_the_next_line_behind_it() {
        let mut decoder = AwsChunkedDecoder::default();
        let mut buffer = b"100000\r\n".to_vec();
        let mut span = Span::received(0..8);
        while decoder.next(&mut buffer, &mut span).unwrap().is_some() {}
        assert_eq!(decoder.want(), 0x100000 + LINE_BYTES_USUAL);
        assert_eq!(span.payload(), 0);
    }

    #[test]
    fn the_largest_size_neither_overflows_nor_ends() {
        let (payload, events) = decode(b"ffffffffffffffff\r\nabc", &[]).unwrap();
        assert_eq!((payload.as_slice(), events.len()), (&b"abc"[..], 2));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_payload_and_events(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..200), 0..6),
            pieces in proptest::collection::vec(1usize..300, 0..60),
            signed in any::<bool>(),
            bare in any::<bool>(),
        ) {
            let mark = "0123456789abcdef".repeat(4);
            let extension = if signed { format!(";chunk-signature={mark}") } else { String::new() };
            let mut stream = Vec::new();
            for chunk in &chunks {
                stream.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
                stream.extend_from_slice(chunk);
                stream.extend_from_slice(b"\r\n");
            }
            let line_end = if bare { "\n" } else { "\r\n" };
            let trailer = format!("0{extension}\r\nx-amz-checksum-crc32:AAAAAA=={line_end}");
            stream.extend_from_slice(trailer.as_bytes());
            stream.extend_from_slice(if bare { b"\r\n\r\n" } else { b"\r\n" });

            let (payload, events) = decode(&stream, &pieces).unwrap();
            prop_assert_eq!(&payload, &chunks.concat());
            let (_, whole) = decode(&stream, &[]).unwrap();
            prop_assert_eq!(&events, &whole);
            let sizes: Vec<u64> = events.iter().filter_map(|event| match event {
                Event::Chunk { bytes, .. } => Some(*bytes),
                _ => None,
            }).collect();
            let expected: Vec<u64> = chunks.iter().map(|chunk| chunk.len() as u64).chain([0]).collect();
            prop_assert_eq!(sizes, expected);
            prop_assert_eq!(events.last(), Some(&end(&[("x-amz-checksum-crc32", "AAAAAA==")], None)));
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(
            stream in proptest::collection::vec(proptest::sample::select(b"012;\r\n:ab".to_vec()), 0..60),
            pieces in proptest::collection::vec(1usize..9, 0..60),
        ) {
            prop_assert_eq!(decode(&stream, &[]), decode(&stream, &pieces));
        }
    }
}
