//! Reading one checkpoint chunk by chunk, and saying what is wrong with it.

use super::catalogue::{Order, owner_of_entry};
use super::reader::Reader;
use crate::base::limits::{BLOCK_BYTES, CHECKPOINT_CHUNK_BYTES_MAX};
use crate::engine::format::FileName;
use crate::engine::format::checkpoint::{
    CHUNK_HEADER_BYTES, CheckpointEntry, CheckpointHeader, chunk_bytes, chunk_entries, decode_chunk,
    decode_entry,
};
use crate::engine::format::codec::Decoder;
use crate::io::Disk;

/// Why a checkpoint is not whole.
#[derive(Debug)]
pub enum Fault {
    Io(std::io::Error),
    Bad { offset: u64, found: String, expected: String },
}

impl std::fmt::Display for Fault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => write!(out, "it cannot be read: {error}"),
            Self::Bad { found, expected, .. } => write!(out, "{found}, expected {expected}"),
        }
    }
}

fn bad(offset: u64, found: impl Into<String>, expected: impl Into<String>) -> Fault {
    Fault::Bad { offset, found: found.into(), expected: expected.into() }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads the header of a checkpoint and holds it against the name of its file.
pub async fn read_header<D: Disk>(
    reader: &mut Reader<D>,
    name: FileName,
    node: Option<[u8; 16]>,
) -> Result<CheckpointHeader, Fault> {
    let header = CheckpointHeader::decode(reader.bytes(0, BLOCK_BYTES).await?)
        .map_err(|_| bad(0, "its header is damaged", "the header of a checkpoint"))?;
    let CheckpointHeader { generation, shard, sequence, .. } = header;
    let says = FileName::Checkpoint { generation, shard, sequence };
    if says != name {
        return Err(bad(0, format!("the header of {says}"), format!("that of {name}")));
    }
    if node.is_some_and(|node| node != header.node) {
        return Err(bad(0, "the header of another node's checkpoint", "that of this node"));
    }
    Ok(header)
}

/// Reads one chunk: its entries, verified, and the bytes of the file that it takes.
pub async fn read_chunk<'a, D: Disk>(
    reader: &'a mut Reader<D>,
    header: &CheckpointHeader,
    number: u32,
    offset: u64,
) -> Result<(&'a [u8], u64), Fault> {
    let damaged = |what: &str| bad(offset, what, format!("chunk {number} of {}", header.chunks));
    let length = reader.length;
    let head = reader.bytes(offset, CHUNK_HEADER_BYTES).await?;
    let count = chunk_entries(head).map_err(|_| damaged("no header of a chunk"))?;
    let bytes = chunk_bytes(count) as u64;
    if count > CHECKPOINT_CHUNK_BYTES_MAX || offset + bytes > length {
        return Err(damaged("a chunk that is longer than it can be"));
    }
    let chunk = reader.bytes(offset, bytes as usize).await?;
    let entries = decode_chunk(header, number, chunk)
        .map_err(|_| damaged("a chunk that does not match its checksum"))?;
    Ok((entries, bytes))
}

/// The next entry of a chunk, if it makes sense.
pub fn entry_of(from: &mut Decoder<'_>) -> Option<CheckpointEntry> {
    decode_entry(from).ok()
}

/// Reads all entries of a checkpoint: checksums, order, owners and counts are verified. `visit` is also given
/// the bytes that an entry takes.
pub async fn read_entries<D: Disk>(
    reader: &mut Reader<D>,
    header: &CheckpointHeader,
    visit: &mut dyn FnMut(CheckpointEntry, usize),
) -> Result<(), Fault> {
    let mut offset = BLOCK_BYTES as u64;
    let mut entries = 0u64;
    let mut before: Option<Order> = None;
    for number in 0..header.chunks {
        let damaged = |what: &str| bad(offset, what, format!("chunk {number} of {}", header.chunks));
        let (chunk, bytes) = read_chunk(reader, header, number, offset).await?;
        let mut from = Decoder::new(chunk);
        while !from.is_empty() {
            let left = from.remaining();
            let entry = entry_of(&mut from)
                .ok_or_else(|| damaged("an entry that makes no sense in a chunk whose checksum holds"))?;
            let order = Order::of(&entry);
            if before.as_ref().is_some_and(|before| *before >= order) {
                return Err(damaged("entries that are out of order"));
            }
            let owner = owner_of_entry(&entry, header.cores as usize);
            if owner != header.shard as usize {
                return Err(damaged(&format!("an entry that belongs to core {owner}")));
            }
            before = Some(order);
            entries += 1;
            visit(entry, left - from.remaining());
        }
        offset += bytes;
    }
    if entries != header.entries {
        return Err(bad(offset, format!("{entries} entries"), format!("{} entries", header.entries)));
    }
    let length = reader.length;
    if length != offset {
        return Err(bad(offset, format!("a file of {length} bytes"), format!("{offset} bytes")));
    }
    Ok(())
}
