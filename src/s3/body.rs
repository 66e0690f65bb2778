//! Receiving payload: straight from the socket into the buffers it is written from, unframed and hashed in
//! place. Whoever receives gets a payload that kept every promise, or an error and nothing stored.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use crate::auth::PayloadPromise;
use crate::base::checksum::{Checksum, ChecksumAlgorithm};
use crate::base::limits::{
    BUFFER_BYTES, BUFFER_WAIT_MS_MAX, CHUNK_OVERREAD_BYTES, INLINE_BYTES_MAX, PART_BYTES_MAX,
    SMALL_BUFFER_BYTES, XML_BODY_BYTES_MAX,
};
use crate::base::local::within;
use crate::base::stages::{self, Stage};
use crate::crypt::Layout;
use crate::engine::{BucketId, Engine, Payload, UploadId};
use crate::hash::{Batcher, DigestPlan};
use crate::io::{Buffer, Host, Run, Scattered};
use crate::net::{Body, BodyError};
use crate::s3::access::Authorized;
use crate::s3::claims::Claims;
use crate::s3::encryption::{RunKey, Sealer};
use crate::s3::error::{Code, S3Error};
use crate::s3::service::S3Service;

mod stream;

use stream::PayloadStream;

/// Where the bytes of a request's body come from: a connection, or in tests a list of pieces.
pub trait Incoming {
    /// As [`Body::read`].
    fn read(
        &mut self,
        buffer: Buffer,
        limit: usize,
    ) -> impl Future<Output = (Result<usize, BodyError>, Buffer)>;

    /// As [`Body::can_read_runs`].
    fn can_read_runs(&self) -> bool {
        false
    }

    /// As [`Body::read_runs`].
    fn read_runs(
        &mut self,
        buffer: Buffer,
        _: Vec<Run>,
    ) -> impl Future<Output = (Result<Scattered, BodyError>, Buffer)> {
        std::future::ready((Err(BodyError::Malformed), buffer))
    }

    /// As [`Body::put_back`].
    fn put_back(&mut self, _: &[u8]) {}

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

    fn can_read_runs(&self) -> bool {
        Body::can_read_runs(self)
    }

    fn read_runs(
        &mut self,
        buffer: Buffer,
        runs: Vec<Run>,
    ) -> impl Future<Output = (Result<Scattered, BodyError>, Buffer)> {
        Body::read_runs(self, buffer, runs)
    }

    fn put_back(&mut self, bytes: &[u8]) {
        Body::put_back(self, bytes);
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

#[cfg(test)]
mod tests;
