//! Reading checkpoints back: through the disk, some chunks at a time, each verified before it is used. A
//! sector that cannot be read is an error like any other (docs/decisions/0012-checkpoints-are-read.md).

use std::fmt;

use crate::base::limits::{BLOCK_BYTES, CHECKPOINT_CHUNK_BYTES_MAX, CHECKPOINT_WINDOW_BYTES};
use crate::engine::format::FileName;
use crate::engine::format::checkpoint::*;
use crate::engine::format::codec::Decoder;
use crate::io::{Buffer, Disk, OpenMode};

/// Why a checkpoint can't be used, and where that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    pub name: FileName,
    pub offset: u64,
    /// Bytes that are lost with it.
    pub bytes: u64,
    pub why: String,
}

impl fmt::Display for Unusable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} at offset {}: {}", self.name, self.offset, self.why)
    }
}

/// Reads the header of a checkpoint of `node`.
pub async fn read_header<D: Disk>(
    disk: &D,
    name: FileName,
    node: [u8; 16],
) -> Result<CheckpointHeader, Unusable> {
    Reader::open(disk, name).await?.header(node).await
}

/// Reads a checkpoint and visits its entries. Nothing is visited of a chunk that is damaged, but what was
/// visited before the error may be only a part: the caller must then forget it.
pub async fn load<D: Disk>(
    disk: &D,
    name: FileName,
    node: [u8; 16],
    mut visit: impl FnMut(CheckpointEntry),
) -> Result<CheckpointHeader, Unusable> {
    let mut reader = Reader::open(disk, name).await?;
    let header = reader.header(node).await?;
    let mut entries = 0;
    for number in 0..header.chunks {
        let (offset, chunk) = reader.chunk(&header, number).await?;
        let mut from = Decoder::new(chunk);
        while !from.is_empty() {
            let entry = decode_entry(&mut from);
            let entry = entry.map_err(|_| Unusable {
                name,
                offset,
                bytes: chunk_bytes(chunk.len()) as u64,
                why: format!("chunk {number} can't be understood"),
            })?;
            visit(entry);
            entries += 1;
        }
    }
    if entries != header.entries {
        return Err(reader.unusable(0, BLOCK_BYTES, "entries are missing"));
    }
    Ok(header)
}

/// Reads a checkpoint and uses nothing of it; `pace` is told of the bytes of each chunk.
pub async fn verify<D: Disk>(
    disk: &D,
    name: FileName,
    node: [u8; 16],
    mut pace: impl AsyncFnMut(u64),
) -> Result<(), Unusable> {
    let mut reader = Reader::open(disk, name).await?;
    let header = reader.header(node).await?;
    for number in 0..header.chunks {
        let (_, chunk) = reader.chunk(&header, number).await?;
        let bytes = chunk_bytes(chunk.len());
        pace(bytes as u64).await;
    }
    Ok(())
}

/// A checkpoint that is being read from its beginning to its end.
struct Reader<D: Disk> {
    disk: D,
    file: D::File,
    name: FileName,
    /// What was read last, and where it stands in the file.
    window: Buffer,
    window_start: u64,
    /// Where the next chunk begins.
    offset: u64,
}

impl<D: Disk> Reader<D> {
    async fn open(disk: &D, name: FileName) -> Result<Self, Unusable> {
        let file = disk.open(&name.to_string(), OpenMode::Read).await;
        let file = file.map_err(|error| Unusable { name, offset: 0, bytes: 0, why: error.to_string() })?;
        let window = Buffer::heap(CHECKPOINT_WINDOW_BYTES);
        Ok(Self { disk: disk.clone(), file, name, window, window_start: 0, offset: BLOCK_BYTES as u64 })
    }

    fn unusable(&self, offset: u64, bytes: usize, why: impl Into<String>) -> Unusable {
        Unusable { name: self.name, offset, bytes: bytes as u64, why: why.into() }
    }

    async fn header(&mut self, node: [u8; 16]) -> Result<CheckpointHeader, Unusable> {
        let decoded = CheckpointHeader::decode(self.bytes(0, BLOCK_BYTES).await?);
        let header = decoded.map_err(|_| self.unusable(0, BLOCK_BYTES, "its header is damaged"))?;
        let CheckpointHeader { generation, shard, sequence, .. } = header;
        if header.node != node || self.name != (FileName::Checkpoint { generation, shard, sequence }) {
            return Err(self.unusable(0, BLOCK_BYTES, "it is the checkpoint of something else"));
        }
        Ok(header)
    }

    /// The entries of the next chunk, verified, and where the chunk begins.
    async fn chunk(&mut self, header: &CheckpointHeader, number: u32) -> Result<(u64, &[u8]), Unusable> {
        let offset = self.offset;
        let damaged = |this: &Self| this.unusable(offset, BLOCK_BYTES, format!("chunk {number} is damaged"));
        let entries = match chunk_entries(self.bytes(offset, BLOCK_BYTES).await?) {
            Ok(entries) if entries <= CHECKPOINT_CHUNK_BYTES_MAX => entries,
            _ => return Err(damaged(self)),
        };
        let bytes = chunk_bytes(entries);
        self.offset += bytes as u64;
        self.bytes(offset, bytes).await?;
        if decode_chunk(header, number, self.held(offset, bytes)).is_err() {
            return Err(Unusable { bytes: bytes as u64, ..damaged(self) });
        }
        Ok((offset, &self.held(offset, bytes)[CHUNK_HEADER_BYTES..CHUNK_HEADER_BYTES + entries]))
    }

    /// `count` bytes (whole blocks) from `offset` on; what is missing at the end of the file reads as zeros.
    async fn bytes(&mut self, offset: u64, count: usize) -> Result<&[u8], Unusable> {
        let held = self.window_start..self.window_start + self.window.len() as u64;
        if !(held.contains(&offset) && offset + count as u64 <= held.end) {
            let wanted = count.max(CHECKPOINT_WINDOW_BYTES);
            let mut window = std::mem::replace(&mut self.window, Buffer::heap(BLOCK_BYTES));
            if window.capacity() < wanted {
                window = Buffer::heap(wanted);
            }
            let (result, mut window) = self.disk.read(&self.file, offset, window, 0..wanted).await;
            let got = result.map_err(|error| self.unusable(offset, count, error.to_string()))?;
            window.whole_mut()[got..wanted].fill(0);
            window.set_len(wanted);
            self.window = window;
            self.window_start = offset;
        }
        Ok(self.held(offset, count))
    }

    /// What [`Reader::bytes`] has just read.
    fn held(&self, offset: u64, count: usize) -> &[u8] {
        let start = (offset - self.window_start) as usize;
        &self.window[start..start + count]
    }
}
