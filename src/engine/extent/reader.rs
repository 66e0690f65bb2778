//! Reading ranges of objects, verified against the stored checksums.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::crc32c;
use crate::base::limits::{BLOCK_BYTES, BUFFER_BYTES, CHECKSUM_CHUNK_BYTES, READ_AHEAD_BUFFERS};
use crate::base::local::{Receiver, oneshot};
use crate::base::stages::{self, Stage};
use crate::engine::Engine;
use crate::engine::damage::{Flaw, is_unreadable};
use crate::engine::format::record::{ObjectPut, StoredPayload};
use crate::engine::format::segment::ExtentTrailer;
use crate::engine::format::{ExtentId, FileName, Slice};
use crate::engine::hold::Hold;
use crate::engine::types::EngineError;
use crate::io::{Buffer, Chunk, Disk, Host};

/// Reads a range of an object, verified against the stored checksums. It keeps the object's payload alive.
pub struct PayloadReader<H: Host> {
    engine: Engine<H>,
    hold: Option<Rc<Hold<H>>>,
    /// Whose payload it is, for what is told of damage.
    object: Option<Arc<ObjectPut>>,
    inline: Option<Bytes>,
    /// Reads still to be started.
    plan: VecDeque<Piece>,
    /// Reads under way, in order.
    ahead: VecDeque<Receiver<Result<Chunk, EngineError>>>,
    /// Whether the first of them waits, or had to wait, for a buffer.
    is_starved: bool,
    failed: bool,
}

/// A run of an extent's payload that one buffer holds with the chunks it lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    slice: Slice,
    /// First byte of the run in the extent's payload.
    start: u32,
    length: u32,
}

impl<H: Host> PayloadReader<H> {
    pub(in crate::engine) fn inline(engine: Engine<H>, bytes: Bytes) -> Self {
        let inline = Some(bytes).filter(|bytes| !bytes.is_empty());
        Self {
            engine,
            hold: None,
            object: None,
            inline,
            plan: VecDeque::new(),
            ahead: VecDeque::new(),
            is_starved: false,
            failed: false,
        }
    }

    pub(in crate::engine) fn sliced(
        engine: Engine<H>,
        hold: Option<Rc<Hold<H>>>,
        object: Arc<ObjectPut>,
        range: Range<u64>,
    ) -> Self {
        let plan = match &object.payload {
            StoredPayload::Slices(slices) => plan(slices, range),
            StoredPayload::Inline(_) => VecDeque::new(),
        };
        let (ahead, object) = (VecDeque::new(), Some(object));
        Self { engine, hold, object, inline: None, plan, ahead, is_starved: false, failed: false }
    }

    /// The next run of bytes, or `None` at the end. Reads ahead a bounded number of buffers.
    pub async fn next(&mut self) -> Option<Result<Chunk, EngineError>> {
        if let Some(bytes) = self.inline.take() {
            return Some(Ok(Chunk::Bytes(bytes)));
        }
        if self.failed {
            return None;
        }
        self.read_ahead();
        let chunk = self.ahead.pop_front()?.await.unwrap_or(Err(EngineError::Stopping));
        self.failed = chunk.is_err();
        if !self.failed && self.are_buffers_plenty() {
            self.read_ahead();
        }
        Some(chunk)
    }

    /// While they are not, a download holds no more than what its client is being sent and what comes next.
    fn are_buffers_plenty(&self) -> bool {
        self.engine.host().pool().large_available() > 4 * READ_AHEAD_BUFFERS
    }

    /// Starts the reads that may be under way now: one always, more while buffers are plenty.
    ///
    /// Only the first may wait for its buffer, and nothing is read ahead while it does. Downloads that held what
    /// comes later would wait for each other.
    fn read_ahead(&mut self) {
        while self.ahead.len() < READ_AHEAD_BUFFERS {
            let is_first = self.ahead.is_empty();
            if !is_first && (self.is_starved || !self.are_buffers_plenty()) {
                return;
            }
            let Some(piece) = self.plan.front().copied() else { return };
            let buffer = self.engine.host().pool().try_acquire(piece.buffer_bytes());
            if !is_first && buffer.is_none() {
                return;
            }
            self.is_starved = buffer.is_none();
            self.plan.pop_front();
            let (done, chunk) = oneshot();
            let (engine, object) = (self.engine.clone(), self.object.clone());
            // The read goes on if the reader is dropped: nothing may be freed under it.
            let hold = self.hold.clone();
            self.engine.host().spawn(stages::keep(async move {
                let buffer = match buffer {
                    Some(buffer) => buffer,
                    None => {
                        let began = engine.host().monotonic();
                        let buffer = engine.host().pool().acquire(piece.buffer_bytes()).await;
                        stages::add(Stage::Buffer, engine.host().monotonic().saturating_sub(began));
                        buffer
                    }
                };
                done.send(read_told(&engine, piece, buffer, object).await);
                drop(hold);
            }));
            self.ahead.push_back(chunk);
        }
    }
}

impl Piece {
    /// Its chunks, from the first byte of the first to the end of the last, in the extent's payload.
    fn covered(&self) -> Range<usize> {
        let first = self.start as usize - self.start as usize % CHECKSUM_CHUNK_BYTES;
        let payload_bytes = (self.slice.extent_bytes as usize).next_multiple_of(BLOCK_BYTES);
        let end = (self.start + self.length) as usize;
        first..end.next_multiple_of(CHECKSUM_CHUNK_BYTES).min(payload_bytes)
    }

    /// Whether the checksum block follows at once, and there is room for it in the buffer.
    fn may_read_checksums_along(&self) -> bool {
        let covered = self.covered();
        covered.end == (self.slice.extent_bytes as usize).next_multiple_of(BLOCK_BYTES)
            && covered.len() + BLOCK_BYTES <= BUFFER_BYTES
    }

    /// What its buffer must hold.
    fn buffer_bytes(&self) -> usize {
        self.covered().len() + if self.may_read_checksums_along() { BLOCK_BYTES } else { 0 }
    }
}

/// Cuts the range into pieces whose chunks fit a buffer.
fn plan(slices: &[Slice], range: Range<u64>) -> VecDeque<Piece> {
    let mut pieces = VecDeque::new();
    let mut position = 0;
    for slice in slices {
        let here = position..position + u64::from(slice.length);
        position = here.end;
        let (from, to) = (here.start.max(range.start), here.end.min(range.end));
        if from >= to {
            continue;
        }
        let mut start = slice.start + (from - here.start) as u32;
        let end = slice.start + (to - here.start) as u32;
        while start < end {
            let first_chunk = start - start % CHECKSUM_CHUNK_BYTES as u32;
            let limit = first_chunk + BUFFER_BYTES as u32;
            let length = end.min(limit) - start;
            pieces.push_back(Piece { slice: *slice, start, length });
            start += length;
        }
    }
    pieces
}

/// Reads a piece, and tells of damage to it.
async fn read_told<H: Host>(
    engine: &Engine<H>,
    piece: Piece,
    buffer: Buffer,
    object: Option<Arc<ObjectPut>>,
) -> Result<Chunk, EngineError> {
    let began = engine.host().monotonic();
    let read = read_piece(engine, piece, buffer).await;
    engine.note_reading(began);
    match read {
        Ok(chunk) => Ok(chunk),
        Err(Broken::Error(error)) => Err(error),
        Err(Broken::Flaw(flaw)) => {
            let segment = piece.slice.extent.segment;
            let error = EngineError::Corrupt(format!(
                "{} at offset {}: {}",
                FileName::Data(segment),
                flaw.offset,
                flaw.what
            ));
            if let Some(object) = object {
                engine.tell_payload_damage(segment, flaw, &object);
            }
            Err(error)
        }
    }
}

async fn read_piece<H: Host>(engine: &Engine<H>, piece: Piece, buffer: Buffer) -> Result<Chunk, Broken> {
    let extent = Stored { extent: piece.slice.extent, bytes: piece.slice.extent_bytes };
    let extent_bytes = extent.bytes as usize;
    let Range { start: first, end } = piece.covered();
    let known = engine.trailer(extent.extent);
    // Else the checksum block is read on its own.
    let along = known.is_none() && piece.may_read_checksums_along();
    let trailer = match known {
        Some(trailer) => Some(trailer),
        None if along => None,
        None => Some(read_trailer(engine, extent).await?),
    };
    let wanted = end - first + if along { BLOCK_BYTES } else { 0 };
    let buffer = read_run(engine, extent, first, wanted, buffer).await?;
    let trailer = match trailer {
        Some(trailer) => trailer,
        None => keep_trailer(engine, extent, &buffer[end - first..])?,
    };
    let payload_end = end.min(extent_bytes);
    for (index, chunk) in buffer[..payload_end - first].chunks(CHECKSUM_CHUNK_BYTES).enumerate() {
        let number = first / CHECKSUM_CHUNK_BYTES + index;
        if trailer.checksums.get(number) != Some(&crc32c::crc32c(chunk)) {
            let offset = first + index * CHECKSUM_CHUNK_BYTES;
            return Err(extent.flaw(offset, chunk.len(), NO_MATCH));
        }
    }
    let start = piece.start as usize - first;
    Ok(Chunk::Buffer(buffer, start..start + piece.length as usize))
}

/// What is said of payload that is not what was written.
pub(in crate::engine) const NO_MATCH: &str = "payload does not match its checksum";

/// An extent as slices name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Stored {
    pub extent: ExtentId,
    /// Payload bytes.
    pub bytes: u32,
}

impl Stored {
    /// The checksums, from their block.
    pub fn trailer(self, block: &[u8]) -> Result<ExtentTrailer, Broken> {
        ExtentTrailer::decode(block, self.extent, self.bytes).map_err(|_| {
            let offset = (self.bytes as usize).next_multiple_of(BLOCK_BYTES);
            self.flaw(offset, BLOCK_BYTES, "the checksums of payload are damaged")
        })
    }

    /// Damage `offset` bytes into the extent.
    pub fn flaw(self, offset: usize, bytes: usize, what: &str) -> Broken {
        let offset = u64::from(self.extent.block) * BLOCK_BYTES as u64 + offset as u64;
        Broken::Flaw(Flaw { offset, bytes: bytes as u64, what: what.to_string() })
    }
}

/// Why something can't be read.
#[derive(Debug)]
pub(in crate::engine) enum Broken {
    Flaw(Flaw),
    Error(EngineError),
}

/// The checksum block of an extent, verified.
async fn read_trailer<H: Host>(engine: &Engine<H>, extent: Stored) -> Result<Rc<ExtentTrailer>, Broken> {
    let offset = (extent.bytes as usize).next_multiple_of(BLOCK_BYTES);
    // A download that reads it holds a buffer already.
    let buffer = engine.host().pool().acquire_now(BLOCK_BYTES);
    let buffer = read_blocks(engine, extent, offset, BLOCK_BYTES, buffer).await?;
    keep_trailer(engine, extent, &buffer)
}

fn keep_trailer<H: Host>(
    engine: &Engine<H>,
    extent: Stored,
    block: &[u8],
) -> Result<Rc<ExtentTrailer>, Broken> {
    let trailer = Rc::new(extent.trailer(block)?);
    engine.keep_trailer(trailer.clone());
    Ok(trailer)
}

/// Reads as [`read_blocks`] does. If some of it can't be read, it is tried in pieces, to tell which; what can
/// be read after all is used.
async fn read_run<H: Host>(
    engine: &Engine<H>,
    extent: Stored,
    first: usize,
    length: usize,
    buffer: Buffer,
) -> Result<Buffer, Broken> {
    let failed = match read_blocks(engine, extent, first, length, buffer).await {
        Err(Broken::Flaw(flaw)) if length > CHECKSUM_CHUNK_BYTES => flaw,
        other => return other,
    };
    let mut whole = Buffer::heap(length);
    let payload_bytes = (extent.bytes as usize).next_multiple_of(BLOCK_BYTES);
    let mut at = first;
    while at < first + length {
        // The checksum block is a piece of its own.
        let end = if at < payload_bytes { payload_bytes } else { usize::MAX };
        let count = CHECKSUM_CHUNK_BYTES.min(first + length - at).min(end - at);
        whole.append(&read_blocks(engine, extent, at, count, Buffer::heap(count)).await?);
        at += count;
    }
    tracing::warn!(
        "{} was read at the second attempt: {}",
        FileName::Data(extent.extent.segment),
        failed.what
    );
    Ok(whole)
}

/// Reads `length` bytes (whole blocks) that begin `offset` bytes into the extent, into a buffer that holds them.
pub(in crate::engine) async fn read_blocks<H: Host>(
    engine: &Engine<H>,
    extent: Stored,
    offset: usize,
    length: usize,
    buffer: Buffer,
) -> Result<Buffer, Broken> {
    let name = FileName::Data(extent.extent.segment);
    let (disk, file) = match engine.file(name).await {
        Err(EngineError::Corrupt(what)) => return Err(extent.flaw(offset, length, &what)),
        opened => opened.map_err(Broken::Error)?,
    };
    let position = u64::from(extent.extent.block) * BLOCK_BYTES as u64 + offset as u64;
    let (result, mut buffer) = disk.read(&file, position, buffer, 0..length).await;
    match result {
        Ok(count) if count == length => {
            buffer.set_len(length);
            Ok(buffer)
        }
        Ok(_) => Err(extent.flaw(offset, length, "payload lies beyond the end of the file")),
        Err(error) if is_unreadable(&error) => {
            Err(extent.flaw(offset, length, &format!("payload cannot be read ({error})")))
        }
        Err(error) => {
            Err(Broken::Error(EngineError::Failed(format!("reading {name} at offset {position}: {error}"))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_plan_covers_the_range_in_order_and_every_piece_fits_a_buffer(
            shape in proptest::collection::vec((0..300_000u32, 1..900_000u32), 1..5),
            cut in (0..1_000_000u64, 0..1_000_000u64),
        ) {
            let slices: Vec<Slice> = shape.iter().enumerate().map(|(index, (start, length))| Slice {
                extent: ExtentId { segment: 1, block: index as u32 },
                extent_bytes: start + length, start: *start, length: *length,
            }).collect();
            let total: u64 = slices.iter().map(|slice| u64::from(slice.length)).sum();
            let range = cut.0.min(cut.1).min(total)..cut.0.max(cut.1).min(total);
            let pieces = plan(&slices, range.clone());
            prop_assert_eq!(pieces.iter().map(|piece| u64::from(piece.length)).sum::<u64>(), range.end - range.start);
            let mut position = range.start;
            for piece in pieces {
                let earlier = slices.iter().take(piece.slice.extent.block as usize);
                let before: u64 = earlier.map(|slice| u64::from(slice.length)).sum();
                prop_assert_eq!(before + u64::from(piece.start - piece.slice.start), position);
                let chunk = CHECKSUM_CHUNK_BYTES as u32;
                let covered = (piece.start + piece.length).next_multiple_of(chunk) - piece.start / chunk * chunk;
                prop_assert!(covered as usize <= BUFFER_BYTES);
                position += u64::from(piece.length);
            }
        }
    }
}
