//! Headers inside segments: of a segment, of a batch of log records, and the checksum block of an extent.

use super::codec::{Decoder, Encode, Malformed};
use super::record::RecordHeader;
use super::{ExtentId, SegmentId};
use crate::base::crc32c;
use crate::base::limits::{BLOCK_BYTES, CHECKSUM_CHUNK_BYTES};

const LOG_MAGIC: u32 = 0x474f_4c52; // "RLOG"
const DATA_MAGIC: u32 = 0x5441_4452; // "RDAT"
const BATCH_MAGIC: u32 = 0x4843_4252; // "RBCH"
const EXTENT_MAGIC: u32 = 0x5458_4552; // "REXT"

/// First block of every segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    pub kind: SegmentKind,
    pub id: SegmentId,
    pub node: [u8; 16],
    /// Generation and core whose log (or data) this is.
    pub generation: u32,
    pub shard: u32,
    pub epoch: u64,
    /// Random, repeated in every batch: bytes that a client stored can't pass for a batch.
    pub nonce: u64,
    /// Length of the segment's file.
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    Log,
    Data,
}

/// Bytes of a segment header before padding, its checksum included.
const SEGMENT_HEADER_BYTES: usize = 60;

impl SegmentHeader {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(BLOCK_BYTES);
        out.u32(match self.kind {
            SegmentKind::Log => LOG_MAGIC,
            SegmentKind::Data => DATA_MAGIC,
        });
        out.u32(self.id);
        out.extend_from_slice(&self.node);
        out.u32(self.generation);
        out.u32(self.shard);
        out.u64(self.epoch);
        out.u64(self.nonce);
        out.u64(self.bytes);
        let crc = crc32c::crc32c(&out);
        out.u32(crc);
        out.resize(BLOCK_BYTES, 0);
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Decoder::new(bytes);
        let kind = match from.u32()? {
            LOG_MAGIC => SegmentKind::Log,
            DATA_MAGIC => SegmentKind::Data,
            _ => return Err(Malformed),
        };
        let header = Self {
            kind,
            id: from.u32()?,
            node: from.array()?,
            generation: from.u32()?,
            shard: from.u32()?,
            epoch: from.u64()?,
            nonce: from.u64()?,
            bytes: from.u64()?,
        };
        let crc = from.u32()?;
        let fits = header.bytes >= 2 * BLOCK_BYTES as u64 && header.bytes <= u64::from(u32::MAX) + 1;
        let valid = crc32c::crc32c(&bytes[..SEGMENT_HEADER_BYTES - 4]) == crc && fits;
        if valid { Ok(header) } else { Err(Malformed) }
    }
}

/// Where the batches of a log segment of `bytes` end at the latest: its last block is a copy of its header.
pub fn log_end(bytes: u64) -> u64 {
    bytes - BLOCK_BYTES as u64
}

/// Header of a batch: the records that one write made durable. Batches start on block boundaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub segment: SegmentId,
    /// The segment's nonce.
    pub nonce: u64,
    /// Rises by one from batch to batch of a shard's log in a generation, from 1.
    pub sequence: u64,
    /// Where the previous batch of this log stands; 0, 0 for the first.
    pub previous_segment: SegmentId,
    pub previous_offset: u32,
    /// Bytes of the batch, this header included, padding excluded.
    pub bytes: u32,
    pub records: u32,
    /// See [`RecordsDigest`].
    pub digest: u32,
}

/// CRC32C of the checksums of a batch's records, in their order. It binds them to their batch: a block that
/// came from another batch may hold records that are whole in themselves.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordsDigest(u32);

impl RecordsDigest {
    pub fn add(&mut self, header: &RecordHeader) {
        for checksum in [header.meta_crc, header.payload_crc] {
            self.0 = crc32c::crc32c_append(self.0, &checksum.to_le_bytes());
        }
    }

    pub fn value(self) -> u32 {
        self.0
    }
}

/// Encoded length of a [`BatchHeader`].
pub const BATCH_HEADER_BYTES: usize = 48;

impl BatchHeader {
    pub fn encode(&self) -> [u8; BATCH_HEADER_BYTES] {
        let mut out = Vec::with_capacity(BATCH_HEADER_BYTES);
        out.u32(BATCH_MAGIC);
        out.u32(self.segment);
        out.u64(self.nonce);
        out.u64(self.sequence);
        out.u32(self.previous_segment);
        out.u32(self.previous_offset);
        out.u32(self.bytes);
        out.u32(self.records);
        out.u32(self.digest);
        let crc = crc32c::crc32c(&out);
        out.u32(crc);
        out.try_into().expect("the fields above are 48 bytes")
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Decoder::new(bytes);
        if from.u32()? != BATCH_MAGIC {
            return Err(Malformed);
        }
        let header = Self {
            segment: from.u32()?,
            nonce: from.u64()?,
            sequence: from.u64()?,
            previous_segment: from.u32()?,
            previous_offset: from.u32()?,
            bytes: from.u32()?,
            records: from.u32()?,
            digest: from.u32()?,
        };
        let crc = from.u32()?;
        let valid = crc32c::crc32c(&bytes[..BATCH_HEADER_BYTES - 4]) == crc
            && header.bytes as usize >= BATCH_HEADER_BYTES;
        if valid { Ok(header) } else { Err(Malformed) }
    }
}

/// The checksum block that ends an extent: one CRC32C for each 64 KiB of its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtentTrailer {
    pub extent: ExtentId,
    pub payload_bytes: u32,
    pub checksums: Vec<u32>,
}

/// Bytes of an extent's trailer before the checksums.
const EXTENT_TRAILER_HEAD_BYTES: usize = 64;

impl ExtentTrailer {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(BLOCK_BYTES);
        out.u32(EXTENT_MAGIC);
        out.u32(0);
        out.u32(self.extent.segment);
        out.u32(self.extent.block);
        out.u32(self.payload_bytes);
        out.u32(self.checksums.len() as u32);
        out.resize(EXTENT_TRAILER_HEAD_BYTES, 0);
        for checksum in &self.checksums {
            out.u32(*checksum);
        }
        assert!(out.len() <= BLOCK_BYTES);
        out.resize(BLOCK_BYTES, 0);
        let crc = crc32c::crc32c(&out);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the trailer of the extent that is expected there.
    pub fn decode(bytes: &[u8], extent: ExtentId, payload_bytes: u32) -> Result<Self, Malformed> {
        let trailer = Self::read(bytes)?;
        let is_it = trailer.extent == extent && trailer.payload_bytes == payload_bytes;
        if is_it { Ok(trailer) } else { Err(Malformed) }
    }

    /// Reads the trailer of whichever extent it says it belongs to.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let block: &[u8; BLOCK_BYTES] = bytes.try_into().map_err(|_| Malformed)?;
        let mut from = Decoder::new(block);
        if from.u32()? != EXTENT_MAGIC {
            return Err(Malformed);
        }
        let crc = from.u32()?;
        let extent = ExtentId { segment: from.u32()?, block: from.u32()? };
        let payload_bytes = from.u32()?;
        let count = from.u32()? as usize;
        let actual =
            crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&block[..4]), &[0; 4]), &block[8..]);
        let fits = EXTENT_TRAILER_HEAD_BYTES + 4 * count <= BLOCK_BYTES;
        if crc != actual || count != (payload_bytes as usize).div_ceil(CHECKSUM_CHUNK_BYTES) || !fits {
            return Err(Malformed);
        }
        let mut from = Decoder::new(&block[EXTENT_TRAILER_HEAD_BYTES..]);
        let checksums = (0..count).map(|_| from.u32()).collect::<Result<_, _>>()?;
        Ok(Self { extent, payload_bytes, checksums })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_read_what_they_write_and_refuse_flipped_bits() {
        let segment = SegmentHeader {
            kind: SegmentKind::Log,
            id: 5,
            node: [3; 16],
            generation: 2,
            shard: 1,
            epoch: 4,
            nonce: 77,
            bytes: 1 << 26,
        };
        let bytes = segment.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(segment));
        for bit in 0..SEGMENT_HEADER_BYTES * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&damaged), Err(Malformed), "bit {bit}");
        }
        let batch = BatchHeader {
            segment: 5,
            nonce: 77,
            sequence: 12,
            previous_segment: 4,
            previous_offset: 8192,
            bytes: 100,
            records: 2,
            digest: 3,
        };
        let bytes = batch.encode();
        assert_eq!(BatchHeader::decode(&bytes), Ok(batch));
        for bit in 0..BATCH_HEADER_BYTES * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(BatchHeader::decode(&damaged), Err(Malformed), "bit {bit}");
        }
    }

    #[test]
    fn an_extent_trailer_of_another_extent_is_refused() {
        let extent = ExtentId { segment: 1, block: 2 };
        let trailer = ExtentTrailer { extent, payload_bytes: 70_000, checksums: vec![1, 2] };
        let bytes = trailer.encode();
        assert_eq!(ExtentTrailer::decode(&bytes, extent, 70_000), Ok(trailer));
        assert_eq!(ExtentTrailer::decode(&bytes, ExtentId { segment: 1, block: 3 }, 70_000), Err(Malformed));
        assert_eq!(ExtentTrailer::decode(&bytes, extent, 60_000), Err(Malformed));
    }
}
