//! On-disk structures, drawn byte by byte in `docs/FORMAT.md`. Everything is little-endian and covered by a
//! CRC32C; `drawing.rs` asserts every offset of the drawing.

pub mod checkpoint;
pub mod codec;
#[cfg(test)]
mod drawing;
mod owed;
mod parts;
pub mod record;
pub mod segment;
pub mod superblock;

use crate::base::limits::EXTENT_BYTES_MAX;

/// Number of a log or data segment, unique over the life of a node. Its owner is `id % cores`.
pub type SegmentId = u32;

/// Where a record stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    pub segment: SegmentId,
    /// Byte offset of the record's header in the segment.
    pub offset: u32,
    /// Bytes of the record without padding.
    pub length: u32,
}

/// Identifies an extent: a run of payload with its checksum block, written once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExtentId {
    pub segment: SegmentId,
    /// First block of the extent in the segment, in units of 4 KiB.
    pub block: u32,
}

/// A run of an extent's payload. Objects are lists of slices; a copy shares them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    pub extent: ExtentId,
    /// Payload bytes of the whole extent.
    pub extent_bytes: u32,
    /// First byte of the slice in the extent's payload.
    pub start: u32,
    pub length: u32,
}

/// Encoded length of a [`Slice`].
pub const SLICE_BYTES: usize = 20;

impl Slice {
    pub fn encode(&self, out: &mut Vec<u8>) {
        use codec::Encode;
        out.u32(self.extent.segment);
        out.u32(self.extent.block);
        out.u32(self.extent_bytes);
        out.u32(self.start);
        out.u32(self.length);
    }

    /// Reads a slice and checks that it lies within its extent.
    pub fn decode(from: &mut codec::Decoder<'_>) -> Result<Self, codec::Malformed> {
        let extent = ExtentId { segment: from.u32()?, block: from.u32()? };
        let slice = Self { extent, extent_bytes: from.u32()?, start: from.u32()?, length: from.u32()? };
        let within = slice.start.checked_add(slice.length).is_some_and(|end| end <= slice.extent_bytes);
        let fits = u64::from(slice.extent_bytes) <= EXTENT_BYTES_MAX && slice.extent.block <= u32::MAX / 2;
        if within && fits && slice.length > 0 { Ok(slice) } else { Err(codec::Malformed) }
    }
}

/// What a file of a drive is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileName {
    Log(SegmentId),
    Data(SegmentId),
    /// Checkpoint of a shard in a generation, by rising sequence number.
    Checkpoint {
        generation: u32,
        shard: u32,
        sequence: u32,
    },
    /// A checkpoint that was being written.
    CheckpointDraft {
        generation: u32,
        shard: u32,
        sequence: u32,
    },
}

impl FileName {
    /// Reads a name; `None` for files that are none of these (the superblock, the lock, …).
    pub fn parse(name: &str) -> Option<Self> {
        let hex = |text: &str| u32::from_str_radix(text, 16).ok().filter(|_| text.len() == 8);
        if let Some(id) = name.strip_prefix("log-") {
            return Some(Self::Log(hex(id)?));
        }
        if let Some(id) = name.strip_prefix("data-") {
            return Some(Self::Data(hex(id)?));
        }
        let (name, draft) = match name.strip_suffix(".draft") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let mut fields = name.strip_prefix("checkpoint-")?.split('-').map(hex);
        let (generation, shard, sequence) = (fields.next()??, fields.next()??, fields.next()??);
        if fields.next().is_some() {
            return None;
        }
        Some(if draft {
            Self::CheckpointDraft { generation, shard, sequence }
        } else {
            Self::Checkpoint { generation, shard, sequence }
        })
    }
}

impl std::fmt::Display for FileName {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Log(id) => write!(out, "log-{id:08x}"),
            Self::Data(id) => write!(out, "data-{id:08x}"),
            Self::Checkpoint { generation, shard, sequence } => {
                write!(out, "checkpoint-{generation:08x}-{shard:08x}-{sequence:08x}")
            }
            Self::CheckpointDraft { generation, shard, sequence } => {
                write!(out, "checkpoint-{generation:08x}-{shard:08x}-{sequence:08x}.draft")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_reads_what_it_writes() {
        for name in [
            FileName::Log(7),
            FileName::Data(u32::MAX),
            FileName::Checkpoint { generation: 1, shard: 2, sequence: 3 },
            FileName::CheckpointDraft { generation: 1, shard: 2, sequence: 3 },
        ] {
            assert_eq!(FileName::parse(&name.to_string()), Some(name));
        }
        for name in
            ["log-", "log-1", "data-0000000g", "checkpoint-00000001", "ringcask.superblock", "lost+found"]
        {
            assert_eq!(FileName::parse(name), None, "{name}");
        }
    }
}
