//! A payload on its way in: received in place, unframed, hashed, and compared with what was promised of it.

use std::ops::Range;

use super::Incoming;
use crate::auth::{ChunkSigner, PayloadPromise};
use crate::base::checksum::Checksum;
use crate::base::limits::BLOCK_BYTES;
use crate::engine::EngineError;
use crate::hash::{BatchedHasher, Batcher, DigestPlan, Digests, Hasher, base64_encode, checksum_parse};
use crate::http::aws_chunked::{AwsChunkedDecoder, Event, Span};
use crate::io::{Buffer, Host, Place, Run};
use crate::net::BodyError;
use crate::s3::claims::{ChecksumClaim, Claims, no_checksum, too_large};
use crate::s3::encryption::Sealer;
use crate::s3::error::{Code, S3Error};

/// The framing around the payload.
enum Coding {
    Plain,
    Chunked(Box<Chunked>),
}

/// The aws-chunked coding.
struct Chunked {
    decoder: AwsChunkedDecoder,
    signatures: Signatures,
}

/// What of an aws-chunked payload is signed.
enum Signatures {
    None,
    Chunks(ChunkSigner),
    ChunksAndTrailer(ChunkSigner),
}

/// A payload on its way in.
pub(super) struct PayloadStream<'a, H: Host, I> {
    body: &'a mut I,
    coding: Coding,
    /// SHA-256 that the signature promises.
    sha256: Option<[u8; 32]>,
    claims: Claims,
    bytes_max: u64,
    hasher: BatchedHasher<H>,
    /// Encrypts what was received and hashed, if the payload is to be stored so.
    pub(super) sealer: Option<Sealer<'a>>,
    /// Payload that came behind the end of a full buffer, when only that told whether more comes.
    ahead: Option<Buffer>,
    chunk_signature: Option<[u8; 64]>,
    trailers: Vec<(String, Vec<u8>)>,
    /// Payload bytes so far.
    pub(super) received: u64,
    pub(super) is_ended: bool,
}

impl<'a, H: Host, I: Incoming> PayloadStream<'a, H, I> {
    pub(super) fn new(
        batcher: &Batcher<H>,
        body: &'a mut I,
        promise: PayloadPromise,
        claims: Claims,
        plan: DigestPlan,
        bytes_max: u64,
    ) -> Self {
        let chunked = |signatures| {
            Coding::Chunked(Box::new(Chunked { decoder: AwsChunkedDecoder::default(), signatures }))
        };
        let mut sha256 = None;
        let (coding, hasher) = match promise {
            PayloadPromise::Unsigned => (Coding::Plain, Hasher::new(plan)),
            PayloadPromise::Sha256(promised) => {
                sha256 = Some(promised);
                (Coding::Plain, Hasher::new(plan))
            }
            PayloadPromise::UnsignedChunksTrailer => (chunked(Signatures::None), Hasher::new(plan)),
            PayloadPromise::SignedChunks(signer) => {
                (chunked(Signatures::Chunks(signer)), Hasher::new_chunked(plan))
            }
            PayloadPromise::SignedChunksTrailer(signer) => {
                (chunked(Signatures::ChunksAndTrailer(signer)), Hasher::new_chunked(plan))
            }
        };
        Self {
            body,
            coding,
            sha256,
            claims,
            bytes_max,
            hasher: batcher.hasher(hasher),
            sealer: None,
            ahead: None,
            chunk_signature: None,
            trailers: Vec::new(),
            received: 0,
            is_ended: false,
        }
    }

    /// Receives until `buffer` is full or the payload ends.
    pub(super) async fn fill(&mut self, mut buffer: Buffer) -> Result<Buffer, S3Error> {
        if let Some(ahead) = self.ahead.as_mut().filter(|ahead| !ahead.is_empty()) {
            buffer.append(ahead);
            ahead.clear();
            let payload = 0..buffer.len();
            buffer = self.take(buffer, payload).await?;
            self.seal_received(&mut buffer);
        }
        while !self.is_ended {
            let room = self.room(&buffer);
            if room == 0 {
                break;
            }
            if matches!(self.coding, Coding::Plain) && self.claims.bytes == Some(self.received) {
                self.is_ended = true;
                break;
            }
            if let Some(runs) = self.runs(room) {
                buffer = self.fill_runs(buffer, runs).await?;
                self.seal_received(&mut buffer);
                continue;
            }
            let limit = match &self.coding {
                Coding::Plain => room,
                Coding::Chunked(chunked) => chunked.decoder.want().min(room),
            };
            let start = buffer.len();
            let (count, filled) = self.body.read(buffer, limit).await;
            buffer = filled;
            match count? {
                0 if matches!(self.coding, Coding::Plain) => self.is_ended = true,
                0 => return Err(BodyError::Incomplete.into()),
                _ if matches!(self.coding, Coding::Plain) => {
                    let payload = start..buffer.len();
                    buffer = self.take(buffer, payload).await?;
                }
                _ => {
                    let mut span = Span::received(start..buffer.len());
                    buffer = self.unframe(buffer, &mut span).await?;
                    buffer.set_len(span.payload());
                }
            }
            self.seal_received(&mut buffer);
        }
        self.seal_buffer(&mut buffer).await?;
        Ok(buffer)
    }

    /// Chunks that can be received together, if the next ones are known well enough.
    fn runs(&self, room: usize) -> Option<Vec<Run>> {
        let Coding::Chunked(chunked) = &self.coding else { return None };
        if !self.body.can_read_runs() {
            return None;
        }
        let rest = self.claims.bytes.unwrap_or(u64::MAX).saturating_sub(self.received);
        chunked.decoder.runs(room, rest)
    }

    /// Receives chunks together, their payload where it belongs, framing beside it. What turns out to be something else
    /// than was expected is put back, to be received as it comes.
    async fn fill_runs(&mut self, buffer: Buffer, runs: Vec<Run>) -> Result<Buffer, S3Error> {
        let mut payload_end = buffer.len();
        let (scattered, mut buffer) = self.body.read_runs(buffer, runs).await;
        let mut scattered = scattered?;
        for index in 0..scattered.places.len() {
            let unexpected = match scattered.places[index].clone() {
                Place::Payload(range) if self.due() < range.len() as u64 && !self.is_ended => Some(0),
                Place::Payload(range) => {
                    payload_end = range.end;
                    buffer = self.unframe(buffer, &mut Span::received(range)).await?;
                    None
                }
                Place::Framing(range) => {
                    let length = range.len();
                    let rest = self.unframe_apart(&mut scattered.framing[range])?;
                    (rest > 0).then_some(length - rest)
                }
            };
            if let Some(offset) = unexpected {
                self.body.put_back(&scattered.rest(&buffer, index, offset));
                break;
            }
        }
        buffer.set_len(payload_end);
        Ok(buffer)
    }

    /// Payload of the current chunk that is still to come.
    fn due(&self) -> u64 {
        match &self.coding {
            Coding::Plain => 0,
            Coding::Chunked(chunked) => chunked.decoder.due(),
        }
    }

    /// Takes framing that was received apart from payload. Returns how many bytes at its end are payload.
    fn unframe_apart(&mut self, framing: &mut [u8]) -> Result<usize, S3Error> {
        let mut span = Span::received(0..framing.len());
        while self.due() == 0 {
            match self.next_event(framing, &mut span)? {
                None => break,
                Some(event) => self.accept(event)?,
            }
        }
        Ok(span.unread().len())
    }

    /// How many bytes may be received into `buffer` now.
    fn room(&self, buffer: &Buffer) -> usize {
        match &self.sealer {
            None => buffer.spare(),
            Some(sealer) => sealer.room(buffer, matches!(self.coding, Coding::Chunked(_))),
        }
    }

    /// Encrypts what of `buffer` is known not to be the payload's end.
    fn seal_received(&mut self, buffer: &mut Buffer) {
        if let Some(sealer) = &mut self.sealer {
            sealer.received(buffer);
        }
    }

    /// Encrypts the rest of `buffer`, once it is known whether it is the payload's end.
    async fn seal_buffer(&mut self, buffer: &mut Buffer) -> Result<(), S3Error> {
        if self.sealer.is_none() || buffer.is_empty() {
            return Ok(());
        }
        let is_last = match self.claims.bytes {
            Some(bytes) => self.received >= bytes,
            None => self.is_ended || !self.receive_ahead().await?,
        };
        if let Some(sealer) = &mut self.sealer {
            sealer.end_buffer(buffer, is_last);
        }
        Ok(())
    }

    /// Receives a little more of a payload of unknown length, to learn whether there is more.
    async fn receive_ahead(&mut self) -> Result<bool, S3Error> {
        // Not from the pool: who holds one of its buffers must not wait for another.
        let ahead = self.ahead.take().unwrap_or_else(|| Buffer::heap(BLOCK_BYTES));
        let limit = ahead.capacity();
        let (count, ahead) = self.body.read(ahead, limit).await;
        self.ahead = Some(ahead);
        self.is_ended = count? == 0;
        Ok(!self.is_ended)
    }

    /// Hashes the payload that `buffer` holds at `payload`.
    async fn take(&mut self, buffer: Buffer, payload: Range<usize>) -> Result<Buffer, S3Error> {
        self.received += payload.len() as u64;
        if self.received > self.claims.bytes.unwrap_or(self.bytes_max) {
            let mut error = match self.claims.bytes {
                Some(_) => S3Error::new(Code::IncompleteBody),
                None => too_large(self.received, self.bytes_max),
            };
            error.close = true;
            return Err(error);
        }
        let buffer = self.hasher.update(buffer, payload).await;
        buffer.ok_or_else(|| EngineError::Stopping.into())
    }

    /// Takes the payload out of the framed bytes in `buffer` that `span` tells of, which it moves together.
    async fn unframe(&mut self, mut buffer: Buffer, span: &mut Span) -> Result<Buffer, S3Error> {
        while let Some(event) = self.next_event(&mut buffer, span)? {
            match event {
                Event::Payload(range) => buffer = self.take(buffer, range).await?,
                event => self.accept(event)?,
            }
        }
        Ok(buffer)
    }

    /// Accepts framing.
    fn accept(&mut self, event: Event) -> Result<(), S3Error> {
        match event {
            Event::Chunk { signature, .. } => self.chunk_signature = signature,
            // Whoever hands framing on takes payload himself.
            Event::Payload(_) => {}
            Event::ChunkEnd => self.check_chunk()?,
            Event::End { trailers, signature } => {
                self.check_trailers(&trailers, signature)?;
                self.trailers = trailers;
                self.is_ended = true;
            }
        }
        Ok(())
    }

    fn next_event(&mut self, buffer: &mut [u8], span: &mut Span) -> Result<Option<Event>, S3Error> {
        let Coding::Chunked(chunked) = &mut self.coding else { return Ok(None) };
        chunked.decoder.next(buffer, span).map_err(|error| {
            let mut refusal =
                S3Error::invalid_request(format!("The aws-chunked body is malformed: {}.", error.0));
            refusal.close = true;
            refusal
        })
    }

    /// Judges the signature of the chunk that just ended.
    fn check_chunk(&mut self) -> Result<(), S3Error> {
        let Coding::Chunked(chunked) = &mut self.coding else { return Ok(()) };
        let (Signatures::Chunks(signer) | Signatures::ChunksAndTrailer(signer)) = &mut chunked.signatures
        else {
            return Ok(());
        };
        let sha256 = self.hasher.finish_chunk().ok_or(EngineError::Stopping)?;
        match self.chunk_signature.take() {
            Some(signature) if signer.verify_chunk(&sha256, &signature) => Ok(()),
            _ => Err(wrong_signature()),
        }
    }

    fn check_trailers(
        &mut self,
        trailers: &[(String, Vec<u8>)],
        signature: Option<[u8; 64]>,
    ) -> Result<(), S3Error> {
        let Coding::Chunked(chunked) = &mut self.coding else { return Ok(()) };
        let Signatures::ChunksAndTrailer(signer) = &mut chunked.signatures else { return Ok(()) };
        match signature {
            Some(signature) if signer.verify_trailer(trailers, &signature) => Ok(()),
            _ => Err(wrong_signature()),
        }
    }

    /// Compares what came with what was claimed.
    pub(super) fn finish(self) -> Result<Digests, S3Error> {
        if self.claims.bytes.is_some_and(|bytes| bytes != self.received) {
            return Err(BodyError::Incomplete.into());
        }
        let digests = self.hasher.finish().ok_or(EngineError::Stopping)?;
        if let Some(promised) = self.sha256
            && digests.sha256 != Some(promised)
        {
            let computed = digests.sha256.unwrap_or_default();
            return Err(S3Error::new(Code::XAmzContentSHA256Mismatch)
                .with_field("ClientComputedContentSHA256", hex(&promised))
                .with_field("S3ComputedContentSHA256", hex(&computed)));
        }
        if let Some(claimed) = self.claims.md5
            && digests.md5 != Some(claimed)
        {
            let computed = digests.md5.unwrap_or_default();
            return Err(S3Error::new(Code::BadDigest)
                .with_field("ExpectedDigest", base64_encode(&claimed))
                .with_field("CalculatedDigest", base64_encode(&computed)));
        }
        check_checksum(self.claims.checksum.as_ref(), &self.trailers, digests.checksum.as_ref())?;
        Ok(digests)
    }
}

fn check_checksum(
    claim: Option<&ChecksumClaim>,
    trailers: &[(String, Vec<u8>)],
    computed: Option<&Checksum>,
) -> Result<(), S3Error> {
    let mut values = trailers.iter().filter(|(name, _)| name.starts_with("x-amz-checksum-"));
    let Some(claim) = claim else {
        // A checksum that was not announced was not computed either.
        return if values.next().is_some() { Err(Code::MalformedTrailerError.into()) } else { Ok(()) };
    };
    let claimed = match &claim.value {
        Some(value) => value.clone(),
        None => match (values.next(), values.next()) {
            (Some((name, text)), None) if name == claim.algorithm.header() => {
                checksum_parse(claim.algorithm, text).ok_or_else(|| no_checksum(claim.algorithm))?
            }
            _ => return Err(Code::MalformedTrailerError.into()),
        },
    };
    if computed.is_some_and(|computed| computed.value == claimed) {
        return Ok(());
    }
    Err(no_checksum(claim.algorithm))
}

fn wrong_signature() -> S3Error {
    let mut error = S3Error::new(Code::SignatureDoesNotMatch);
    error.close = true;
    error
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
