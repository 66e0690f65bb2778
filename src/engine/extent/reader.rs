//! Reading ranges of objects, verified against the stored checksums.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;

use crate::base::limits::{BLOCK_BYTES, BUFFER_BYTES, CHECKSUM_CHUNK_BYTES, READ_AHEAD_BUFFERS};
use crate::base::local::{Receiver, oneshot};
use crate::engine::Engine;
use crate::engine::format::segment::ExtentTrailer;
use crate::engine::format::{FileName, Slice};
use crate::engine::shared::ReadPin;
use crate::engine::types::EngineError;
use crate::io::{Buffer, Chunk, Disk, Host};

/// Reads a range of an object, verified against the stored checksums. It keeps the object's payload alive.
pub struct PayloadReader<H: Host> {
    engine: Engine<H>,
    _pin: Rc<ReadPin>,
    inline: Option<Bytes>,
    /// Reads still to be started.
    plan: VecDeque<Piece>,
    /// Reads under way, in order.
    ahead: VecDeque<Receiver<Result<Chunk, EngineError>>>,
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
    pub(in crate::engine) fn inline(engine: Engine<H>, pin: Rc<ReadPin>, bytes: Bytes) -> Self {
        let inline = Some(bytes).filter(|bytes| !bytes.is_empty());
        Self { engine, _pin: pin, inline, plan: VecDeque::new(), ahead: VecDeque::new(), failed: false }
    }

    pub(in crate::engine) fn sliced(
        engine: Engine<H>,
        pin: Rc<ReadPin>,
        slices: &[Slice],
        range: Range<u64>,
    ) -> Self {
        let plan = plan(slices, range);
        Self { engine, _pin: pin, inline: None, plan, ahead: VecDeque::new(), failed: false }
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
        if !self.failed {
            self.read_ahead();
        }
        Some(chunk)
    }

    /// Starts the reads that may be under way now: one always, more while buffers are plenty.
    fn read_ahead(&mut self) {
        while self.ahead.len() < READ_AHEAD_BUFFERS {
            let plenty = self.engine.host().pool().large_available() > 4 * READ_AHEAD_BUFFERS;
            if !self.ahead.is_empty() && !plenty {
                return;
            }
            let Some(piece) = self.plan.pop_front() else { return };
            let (done, chunk) = oneshot();
            let engine = self.engine.clone();
            self.engine.host().spawn(async move { done.send(read_piece(&engine, piece).await) });
            self.ahead.push_back(chunk);
        }
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

async fn read_piece<H: Host>(engine: &Engine<H>, piece: Piece) -> Result<Chunk, EngineError> {
    let extent_bytes = piece.slice.extent_bytes as usize;
    let payload_bytes = extent_bytes.next_multiple_of(BLOCK_BYTES);
    let first = piece.start as usize - piece.start as usize % CHECKSUM_CHUNK_BYTES;
    let end = (piece.start + piece.length) as usize;
    let end = end.next_multiple_of(CHECKSUM_CHUNK_BYTES).min(payload_bytes);
    let known = engine.trailer(piece.slice.extent);
    // The checksum block is read along if it follows at once and there is room, else on its own.
    let along = known.is_none() && end == payload_bytes && end - first + BLOCK_BYTES <= BUFFER_BYTES;
    let trailer = match known {
        Some(trailer) => Some(trailer),
        None if along => None,
        None => Some(read_trailer(engine, piece.slice).await?),
    };
    let wanted = end - first + if along { BLOCK_BYTES } else { 0 };
    let buffer = read_blocks(engine, piece.slice, first, wanted).await?;
    let trailer = match trailer {
        Some(trailer) => trailer,
        None => keep_trailer(engine, piece.slice, &buffer[end - first..])?,
    };
    let payload_end = end.min(extent_bytes);
    for (index, chunk) in buffer[..payload_end - first].chunks(CHECKSUM_CHUNK_BYTES).enumerate() {
        let number = first / CHECKSUM_CHUNK_BYTES + index;
        if trailer.checksums.get(number) != Some(&crc32c::crc32c(chunk)) {
            return Err(damaged(
                piece.slice,
                first + index * CHECKSUM_CHUNK_BYTES,
                "does not match its checksum",
            ));
        }
    }
    let start = piece.start as usize - first;
    Ok(Chunk::Buffer(buffer, start..start + piece.length as usize))
}

async fn read_trailer<H: Host>(engine: &Engine<H>, slice: Slice) -> Result<Rc<ExtentTrailer>, EngineError> {
    let offset = (slice.extent_bytes as usize).next_multiple_of(BLOCK_BYTES);
    let buffer = read_blocks(engine, slice, offset, BLOCK_BYTES).await?;
    keep_trailer(engine, slice, &buffer)
}

fn keep_trailer<H: Host>(
    engine: &Engine<H>,
    slice: Slice,
    block: &[u8],
) -> Result<Rc<ExtentTrailer>, EngineError> {
    let trailer = ExtentTrailer::decode(block, slice.extent, slice.extent_bytes)
        .map_err(|_| damaged(slice, slice.extent_bytes as usize, "is no checksum block of its extent"))?;
    let trailer = Rc::new(trailer);
    engine.keep_trailer(trailer.clone());
    Ok(trailer)
}

/// Reads `length` bytes (whole blocks) that begin `offset` bytes into the extent.
async fn read_blocks<H: Host>(
    engine: &Engine<H>,
    slice: Slice,
    offset: usize,
    length: usize,
) -> Result<Buffer, EngineError> {
    let name = FileName::Data(slice.extent.segment);
    let (disk, file) = engine.file(name).await?;
    let buffer = engine.host().pool().acquire(length).await;
    let position = u64::from(slice.extent.block) * BLOCK_BYTES as u64 + offset as u64;
    let (result, mut buffer) = disk.read(&file, position, buffer, 0..length).await;
    match result {
        Ok(count) if count == length => {
            buffer.set_len(length);
            Ok(buffer)
        }
        Ok(_) => Err(damaged(slice, offset, "lies beyond the end of its file")),
        Err(error) => Err(EngineError::Failed(format!("reading {name} at offset {position}: {error}"))),
    }
}

fn damaged(slice: Slice, offset: usize, what: &str) -> EngineError {
    let position = u64::from(slice.extent.block) * BLOCK_BYTES as u64 + offset as u64;
    EngineError::Corrupt(format!(
        "{} at offset {position}: payload {what}",
        FileName::Data(slice.extent.segment)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::format::ExtentId;
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
