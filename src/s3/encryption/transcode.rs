//! Copies whose source is encrypted under another key than the copy, or only one of them at all: read,
//! decrypted, encrypted and written again, a few buffers at a time.

use std::ops::Range;

use bytes::Bytes;

use super::data_key::RunKey;
use super::reader::Opened;
use super::sealer::Sealer;
use crate::base::limits::{BUFFER_BYTES, HASH_SLICE_BYTES, INLINE_BYTES_MAX};
use crate::crypt::Layout;
use crate::engine::{Engine, Object, Payload, PayloadWriter};
use crate::hash::{DigestPlan, Digests, Hasher};
use crate::io::{Buffer, Host};
use crate::s3::error::S3Error;

/// Writes `range` of an object again, under the key of `run` or plain; digests are of what clients see.
pub async fn transcode<H: Host>(
    engine: &Engine<H>,
    object: &Object<H>,
    opened: &Opened,
    range: Range<u64>,
    run: Option<&RunKey>,
    plan: DigestPlan,
) -> Result<(Payload<H>, Digests), S3Error> {
    let bytes = range.end - range.start;
    let mut outlet = Outlet::new(engine, bytes, run).await?;
    let mut hasher = Hasher::new(plan);
    let mut reader = opened.reader(object, range);
    while let Some(chunk) = reader.next().await {
        for slice in chunk?.chunks(HASH_SLICE_BYTES) {
            hasher.update(slice);
            outlet.write(slice).await?;
            engine.host().yield_now().await;
        }
    }
    let payload = outlet.finish().await?.with_plain_bytes(bytes);
    let payload = match run {
        Some(run) => payload.with_note(run.salt.to_vec()),
        None => payload,
    };
    Ok((payload, hasher.finish()))
}

/// Where the copy goes.
struct Outlet<'a, H: Host> {
    engine: &'a Engine<H>,
    /// `None` for what is small enough to stay in memory.
    writer: Option<PayloadWriter<H>>,
    sealer: Option<Sealer<'a>>,
    buffer: Buffer,
}

impl<'a, H: Host> Outlet<'a, H> {
    async fn new(engine: &'a Engine<H>, bytes: u64, run: Option<&'a RunKey>) -> Result<Self, S3Error> {
        let stored = run.map_or(bytes, |_| Layout::of_plain(bytes).stored_bytes());
        let writer = match stored <= INLINE_BYTES_MAX as u64 {
            true => None,
            false => Some(engine.payload_writer(Some(stored)).await?),
        };
        Ok(Self { engine, writer, sealer: run.map(Sealer::new), buffer: buffer() })
    }

    async fn write(&mut self, mut payload: &[u8]) -> Result<(), S3Error> {
        while !payload.is_empty() {
            let room = match &self.sealer {
                Some(sealer) => sealer.room(&self.buffer, false),
                None => self.buffer.spare(),
            };
            if room == 0 {
                self.flush(false).await?;
                continue;
            }
            let (now, later) = payload.split_at(room.min(payload.len()));
            self.buffer.append(now);
            payload = later;
            if let Some(sealer) = &mut self.sealer {
                sealer.received(&mut self.buffer);
            }
        }
        Ok(())
    }

    async fn flush(&mut self, is_last: bool) -> Result<(), S3Error> {
        if let Some(sealer) = &mut self.sealer {
            sealer.end_buffer(&mut self.buffer, is_last);
        }
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.write(std::mem::replace(&mut self.buffer, buffer())).await?;
        Ok(())
    }

    async fn finish(mut self) -> Result<Payload<H>, S3Error> {
        self.flush(true).await?;
        match self.writer {
            Some(writer) => Ok(writer.finish().await?),
            None => Ok(self.engine.inline_payload(Bytes::copy_from_slice(&self.buffer))),
        }
    }
}

/// A buffer beside the one that is read into. Who holds one of the pool's must not wait for another: copies
/// that all did would wait for each other.
fn buffer() -> Buffer {
    Buffer::heap(BUFFER_BYTES)
}
