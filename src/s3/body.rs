//! Receiving payload: straight from the socket into the buffers it is written from, unframed and hashed in
//! place. Whoever receives gets a payload that kept every promise, or an error and nothing stored.

use std::future::Future;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use crate::auth::{ChunkSigner, PayloadPromise};
use crate::base::checksum::{Checksum, ChecksumAlgorithm};
use crate::base::limits::{
    BLOCK_BYTES, BUFFER_BYTES, BUFFER_WAIT_MS_MAX, CHUNK_OVERREAD_BYTES, INLINE_BYTES_MAX, PART_BYTES_MAX,
    SMALL_BUFFER_BYTES, XML_BODY_BYTES_MAX,
};
use crate::base::local::within;
use crate::base::stages::{self, Stage};
use crate::crypt::Layout;
use crate::engine::{BucketId, Engine, EngineError, Payload, UploadId};
use crate::hash::{BatchedHasher, Batcher, DigestPlan, Digests, Hasher, base64_encode, checksum_parse};
use crate::http::aws_chunked::{AwsChunkedDecoder, Event, Span};
use crate::io::{Buffer, Host};
use crate::net::{Body, BodyError};
use crate::s3::access::Authorized;
use crate::s3::claims::{ChecksumClaim, Claims, no_checksum, too_large};
use crate::s3::encryption::{RunKey, Sealer};
use crate::s3::error::{Code, S3Error};
use crate::s3::service::S3Service;

/// Where the bytes of a request's body come from: a connection, or in tests a list of pieces.
pub trait Incoming {
    /// As [`Body::read`].
    fn read(
        &mut self,
        buffer: Buffer,
        limit: usize,
    ) -> impl Future<Output = (Result<usize, BodyError>, Buffer)>;

    /// As [`Body::head_took`].
    fn head_took(&self) -> Duration {
        Duration::ZERO
    }
}

impl Incoming for Body {
    fn read(
        &mut self,
        buffer: Buffer,
        limit: usize,
    ) -> impl Future<Output = (Result<usize, BodyError>, Buffer)> {
        Body::read(self, buffer, limit)
    }

    fn head_took(&self) -> Duration {
        Body::head_took(self)
    }
}

/// A payload that was received and checked; durable, and part of no object yet.
pub struct Received<H: Host> {
    pub payload: Payload<H>,
    pub bytes: u64,
    pub md5: [u8; 16],
    /// Of the algorithm that the client chose, else of the default.
    pub checksum: Option<Checksum>,
    /// Whether the client sent a checksum.
    pub is_checksum_claimed: bool,
}

/// What a payload will become, under the request's key.
#[derive(Clone, Copy, Debug)]
pub struct Destination {
    pub bucket: BucketId,
    /// The part of an upload, unless it is an object.
    pub part: Option<(UploadId, u16)>,
    /// Length of the object that it is appended to.
    pub bytes_before: u64,
}

impl Destination {
    pub fn object(bucket: BucketId) -> Self {
        Self { bucket, part: None, bytes_before: 0 }
    }
}

/// Receives the payload of PutObject or UploadPart. Without a checksum from the client, one of
/// `checksum_default` is computed. With a key it is stored encrypted; digests are of what the client sent.
pub async fn receive<H: Host, I: Incoming>(
    service: &S3Service<H>,
    request: &mut Authorized,
    body: &mut I,
    destination: Destination,
    checksum_default: Option<ChecksumAlgorithm>,
    run: Option<&RunKey>,
) -> Result<Received<H>, S3Error> {
    let engine = service.engine();
    let promise = request.take_payload_promise();
    let claims = Claims::of(request, &promise, PART_BYTES_MAX)?;
    if let Some(bytes) = claims.bytes {
        let Destination { bucket, part, bytes_before } = destination;
        engine.check_quota(bucket, request.key.as_bytes(), part, bytes_before + bytes).await?;
    }
    let is_checksum_claimed = claims.checksum.is_some();
    let checksum = claims.checksum.as_ref().map(|claim| claim.algorithm).or(checksum_default);
    let plan = DigestPlan { md5: true, sha256: matches!(promise, PayloadPromise::Sha256(_)), checksum };
    let bytes = claims.bytes;
    let stored_bytes = match run {
        Some(_) => bytes.map(|bytes| Layout::of_plain(bytes).stored_bytes()),
        None => bytes,
    };
    let mut stream = PayloadStream::new(service.batcher(), body, promise, claims, plan, PART_BYTES_MAX);
    stream.sealer = run.map(Sealer::new);
    let payload = match stored_bytes {
        Some(bytes) if bytes <= INLINE_BYTES_MAX as u64 => {
            // Framing needs room of its own, so that the buffer is never full before the payload ends.
            let buffer = first_buffer(engine.host(), bytes as usize + CHUNK_OVERREAD_BYTES).await?;
            let buffer = stream.fill(buffer).await?;
            engine.inline_payload(Bytes::copy_from_slice(&buffer))
        }
        Some(_) => stream_to_drive(engine, &mut stream, stored_bytes, None).await?,
        None => {
            let buffer = first_buffer(engine.host(), BUFFER_BYTES).await?;
            let buffer = stream.fill(buffer).await?;
            if stream.is_ended && buffer.len() <= INLINE_BYTES_MAX {
                engine.inline_payload(Bytes::copy_from_slice(&buffer))
            } else {
                stream_to_drive(engine, &mut stream, None, Some(buffer)).await?
            }
        }
    };
    let bytes = stream.received;
    let payload = match run {
        Some(run) => payload.with_plain_bytes(bytes).with_note(run.salt.to_vec()),
        None => payload,
    };
    let digests = stream.finish()?;
    let md5 = digests.md5.ok_or(Code::InternalError)?;
    Ok(Received { payload, bytes, md5, checksum: digests.checksum, is_checksum_claimed })
}

/// The buffer that a payload begins with. A core whose buffers stay taken tells its client to slow down.
async fn first_buffer<H: Host>(host: &H, capacity: usize) -> Result<Buffer, S3Error> {
    if let Some(buffer) = host.pool().try_acquire(capacity) {
        return Ok(buffer);
    }
    let pause = host.sleep(Duration::from_millis(BUFFER_WAIT_MS_MAX));
    let began = host.monotonic();
    let buffer = within(host.pool().acquire(capacity), pause).await;
    stages::add(Stage::Buffer, host.monotonic().saturating_sub(began));
    buffer.ok_or_else(|| {
        let mut error = S3Error::new(Code::SlowDown);
        error.close = true;
        error
    })
}

/// Writes what `filled` holds already and what is still to come.
async fn stream_to_drive<H: Host, I: Incoming>(
    engine: &Engine<H>,
    stream: &mut PayloadStream<'_, H, I>,
    bytes: Option<u64>,
    filled: Option<Buffer>,
) -> Result<Payload<H>, S3Error> {
    let mut writer = engine.payload_writer(bytes).await?;
    let first = match filled {
        Some(buffer) => buffer,
        None => stream.fill(first_buffer(engine.host(), BUFFER_BYTES).await?).await?,
    };
    if !first.is_empty() {
        writer.write(first).await?;
    }
    while !stream.is_ended {
        let buffer = writer.buffer().await;
        let buffer = stream.fill(buffer).await?;
        if !buffer.is_empty() {
            writer.write(buffer).await?;
        }
    }
    Ok(writer.finish().await?)
}

/// Whether a document must come with a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentDigest {
    Optional,
    /// `Content-MD5` or a checksum, as DeleteObjects asks for.
    Required,
    /// The checksum headers are about the object that the document describes: CompleteMultipartUpload.
    OfObject,
}

/// Receives a request document (XML) into memory, checked like any payload.
pub async fn receive_document<H: Host, I: Incoming>(
    host: &H,
    request: &mut Authorized,
    body: &mut I,
    digest: DocumentDigest,
) -> Result<Vec<u8>, S3Error> {
    if let Some(document) = request.take_document() {
        return Ok(document);
    }
    let promise = request.take_payload_promise();
    let bytes_max = XML_BODY_BYTES_MAX as u64;
    let is_framed =
        ["content-length", "transfer-encoding"].iter().any(|name| request.head.header(name).is_some());
    // Nobody may take a document away that was promised: what is not there is checked like what is.
    let claims = match digest {
        _ if !is_framed => Claims::of_nothing(request)?,
        DocumentDigest::OfObject => Claims::beside_checksum(request, &promise, bytes_max)?,
        DocumentDigest::Optional | DocumentDigest::Required => Claims::of(request, &promise, bytes_max)?,
    };
    let has_digest = claims.md5.is_some() || claims.checksum.is_some();
    if digest == DocumentDigest::Required && is_framed && !has_digest {
        return Err(S3Error::invalid_request("Missing required header for this request: Content-MD5"));
    }
    let plan = DigestPlan {
        md5: claims.md5.is_some(),
        sha256: matches!(promise, PayloadPromise::Sha256(_)),
        checksum: claims.checksum.as_ref().map(|claim| claim.algorithm),
    };
    // Documents are short and few: each is hashed for itself.
    let batcher = Batcher::new(host.clone());
    let mut stream = PayloadStream::new(&batcher, body, promise, claims, plan, bytes_max);
    let mut document = Vec::new();
    let mut buffer = first_buffer(host, SMALL_BUFFER_BYTES).await?;
    while !stream.is_ended {
        buffer.clear();
        buffer = stream.fill(buffer).await?;
        document.extend_from_slice(&buffer);
    }
    stream.finish()?;
    Ok(document)
}

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
struct PayloadStream<'a, H: Host, I> {
    body: &'a mut I,
    coding: Coding,
    /// SHA-256 that the signature promises.
    sha256: Option<[u8; 32]>,
    claims: Claims,
    bytes_max: u64,
    hasher: BatchedHasher<H>,
    /// Encrypts what was received and hashed, if the payload is to be stored so.
    sealer: Option<Sealer<'a>>,
    /// Payload that came behind the end of a full buffer, when only that told whether more comes.
    ahead: Option<Buffer>,
    chunk_signature: Option<[u8; 64]>,
    trailers: Vec<(String, Vec<u8>)>,
    /// Payload bytes so far.
    received: u64,
    is_ended: bool,
}

impl<'a, H: Host, I: Incoming> PayloadStream<'a, H, I> {
    fn new(
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
    async fn fill(&mut self, mut buffer: Buffer) -> Result<Buffer, S3Error> {
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
                _ => buffer = self.unframe(buffer, start).await?,
            }
            self.seal_received(&mut buffer);
        }
        self.seal_buffer(&mut buffer).await?;
        Ok(buffer)
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

    /// Takes the payload out of the framed bytes at `buffer[start..]`, which it moves together.
    async fn unframe(&mut self, mut buffer: Buffer, start: usize) -> Result<Buffer, S3Error> {
        let mut span = Span::received(start..buffer.len());
        while let Some(event) = self.next_event(&mut buffer, &mut span)? {
            match event {
                Event::Chunk { signature, .. } => self.chunk_signature = signature,
                Event::Payload(range) => buffer = self.take(buffer, range).await?,
                Event::ChunkEnd => self.check_chunk()?,
                Event::End { trailers, signature } => {
                    self.check_trailers(&trailers, signature)?;
                    self.trailers = trailers;
                    self.is_ended = true;
                }
            }
        }
        buffer.set_len(span.payload());
        Ok(buffer)
    }

    fn next_event(&mut self, buffer: &mut Buffer, span: &mut Span) -> Result<Option<Event>, S3Error> {
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
    fn finish(self) -> Result<Digests, S3Error> {
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
