//! Checkpoints: a sorted image of a shard's index, in a header block and checked chunks.

use std::sync::Arc;

use super::Location;
use super::codec::{Decoder, Encode, Malformed};
use super::owed::*;
use super::parts::*;
use crate::base::crc32c;
use crate::base::limits::BLOCK_BYTES;
use crate::engine::events::EventId;
use crate::engine::index::{
    ChecksumCode, Entry, EntryFlags, EntryPayload, EventEntry, PartEntry, UploadEntry,
};
use crate::engine::log::LogPosition;
use crate::engine::rename::Rename;
use crate::engine::types::{Bucket, BucketId};

const HEADER_MAGIC: u32 = 0x504b_4352; // "RCKP"
const CHUNK_MAGIC: u32 = 0x4b48_4352; // "RCHK"

/// First block of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointHeader {
    pub node: [u8; 16],
    pub generation: u32,
    pub shard: u32,
    /// Cores of the generation: a set of checkpoints is whole if it has one of each.
    pub cores: u32,
    pub sequence: u32,
    /// Every record before it is in the image; the replay goes on from here.
    pub position: LogPosition,
    pub chunks: u32,
    pub entries: u64,
}

/// Encoded length of a [`CheckpointHeader`].
const HEADER_BYTES: usize = 80;

impl CheckpointHeader {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(BLOCK_BYTES);
        out.u32(HEADER_MAGIC);
        out.extend_from_slice(&self.node);
        out.u32(self.generation);
        out.u32(self.shard);
        out.u32(self.cores);
        out.u32(self.sequence);
        out.u32(self.position.segment);
        out.u32(self.position.offset);
        out.u64(self.position.sequence);
        out.u32(self.position.previous_segment);
        out.u32(self.position.previous_offset);
        out.u32(self.chunks);
        out.u64(self.entries);
        out.resize(HEADER_BYTES - 4, 0);
        let crc = crc32c::crc32c(&out);
        out.u32(crc);
        out.resize(BLOCK_BYTES, 0);
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let covered = bytes.get(..HEADER_BYTES).ok_or(Malformed)?;
        let mut from = Decoder::new(covered);
        if from.u32()? != HEADER_MAGIC {
            return Err(Malformed);
        }
        let header = Self {
            node: from.array()?,
            generation: from.u32()?,
            shard: from.u32()?,
            cores: from.u32()?,
            sequence: from.u32()?,
            position: LogPosition {
                segment: from.u32()?,
                offset: from.u32()?,
                sequence: from.u64()?,
                previous_segment: from.u32()?,
                previous_offset: from.u32()?,
            },
            chunks: from.u32()?,
            entries: from.u64()?,
        };
        let crc = Decoder::new(&covered[HEADER_BYTES - 4..]).u32()?;
        let valid = crc32c::crc32c(&covered[..HEADER_BYTES - 4]) == crc && header.cores > 0;
        if valid { Ok(header) } else { Err(Malformed) }
    }
}

/// Bytes before the entries of a chunk.
pub const CHUNK_HEADER_BYTES: usize = 16;

/// Puts the header in front of encoded entries; the chunk is padded to blocks. Its checksum covers whose
/// checkpoint it belongs to and its number there, so that no other chunk can stand in for it.
pub fn encode_chunk(header: &CheckpointHeader, number: u32, entries: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(chunk_bytes(entries.len()));
    out.u32(CHUNK_MAGIC);
    out.u32(chunk_crc(header, number, entries));
    out.u32(entries.len() as u32);
    out.u32(number);
    out.extend_from_slice(entries);
    out.resize(out.len().next_multiple_of(BLOCK_BYTES), 0);
    out
}

/// Bytes of the file that a chunk with entries of this length takes.
pub fn chunk_bytes(entries: usize) -> usize {
    (CHUNK_HEADER_BYTES + entries).next_multiple_of(BLOCK_BYTES)
}

/// Length of the entries of the chunk that begins with `bytes`; nothing is verified.
pub fn chunk_entries(bytes: &[u8]) -> Result<usize, Malformed> {
    let mut from = Decoder::new(bytes);
    let magic = from.u32()?;
    from.u32()?;
    let count = from.u32()? as usize;
    if magic == CHUNK_MAGIC { Ok(count) } else { Err(Malformed) }
}

/// The entries of chunk `number`, which begins with `bytes`.
pub fn decode_chunk<'a>(
    header: &CheckpointHeader,
    number: u32,
    bytes: &'a [u8],
) -> Result<&'a [u8], Malformed> {
    let mut from = Decoder::new(bytes);
    let (magic, crc) = (from.u32()?, from.u32()?);
    let count = from.u32()? as usize;
    let found = from.u32()?;
    let entries = from.bytes(count)?;
    let valid = magic == CHUNK_MAGIC && found == number && chunk_crc(header, number, entries) == crc;
    if valid { Ok(entries) } else { Err(Malformed) }
}

fn chunk_crc(header: &CheckpointHeader, number: u32, entries: &[u8]) -> u32 {
    let mut place = Vec::with_capacity(32);
    place.extend_from_slice(&header.node);
    for word in [header.generation, header.shard, header.sequence, number] {
        place.u32(word);
    }
    crc32c::crc32c_append(crc32c::crc32c(&place), entries)
}

/// One entry of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckpointEntry {
    Bucket { bucket: Bucket, location: Location },
    Event { id: EventId, entry: EventEntry },
    Rename { rename: Rename, location: Location },
    Config { name: String, value: Arc<[u8]>, location: Location },
    Object { bucket: BucketId, key: Box<[u8]>, entry: Entry },
    Upload { bucket: BucketId, entry: UploadEntry },
}

const TAG_BUCKET: u8 = 1;
const TAG_OBJECT: u8 = 2;
const TAG_UPLOAD: u8 = 3;
const TAG_CONFIG: u8 = 4;
const TAG_EVENT: u8 = 5;
const TAG_RENAME: u8 = 6;

pub fn encode_bucket_entry(bucket: &Bucket, location: Location, out: &mut Vec<u8>) {
    out.u8(TAG_BUCKET);
    encode_location(location, out);
    encode_bucket(bucket, out);
}

pub fn encode_config_entry(name: &str, value: &[u8], location: Location, out: &mut Vec<u8>) {
    out.u8(TAG_CONFIG);
    encode_location(location, out);
    encode_config(name, value, out);
}

pub fn encode_event_entry(id: EventId, entry: EventEntry, out: &mut Vec<u8>) {
    out.u8(TAG_EVENT);
    encode_location(entry.location, out);
    encode_event_id(id, out);
    out.u64(entry.route);
}

pub fn encode_rename_entry(rename: &Rename, location: Location, out: &mut Vec<u8>) {
    out.u8(TAG_RENAME);
    encode_location(location, out);
    encode_rename(rename, out);
}

pub fn encode_object_entry(bucket: BucketId, key: &[u8], entry: &Entry, out: &mut Vec<u8>) {
    out.u8(TAG_OBJECT);
    out.u64(bucket);
    out.short_bytes(key);
    out.u64(entry.bytes);
    out.u64(entry.sequence);
    out.u8(entry.flags.code());
    encode_etag(&entry.etag, out);
    out.u8(entry.checksum.0);
    encode_location(entry.location, out);
    match &entry.payload {
        EntryPayload::Inline => out.u8(0),
        payload => {
            out.u8(1);
            encode_slices(payload.slices(), out);
        }
    }
}

pub fn encode_upload_entry(bucket: BucketId, entry: &UploadEntry, out: &mut Vec<u8>) {
    out.u8(TAG_UPLOAD);
    out.u64(bucket);
    encode_location(entry.location, out);
    encode_upload(&entry.upload, out);
    out.u32(entry.parts.len() as u32);
    for part in entry.parts.values() {
        encode_location(part.location, out);
        encode_part(&part.part, out);
        encode_slices(&part.slices, out);
    }
}

/// Reads the next entry of a chunk.
pub fn decode_entry(from: &mut Decoder<'_>) -> Result<CheckpointEntry, Malformed> {
    match from.u8()? {
        TAG_BUCKET => {
            let location = decode_location(from)?;
            Ok(CheckpointEntry::Bucket { bucket: decode_bucket(from)?, location })
        }
        TAG_CONFIG => {
            let location = decode_location(from)?;
            let (name, value) = decode_config(from)?;
            Ok(CheckpointEntry::Config { name, value, location })
        }
        TAG_EVENT => {
            let location = decode_location(from)?;
            let id = decode_event_id(from)?;
            Ok(CheckpointEntry::Event { id, entry: EventEntry { route: from.u64()?, location } })
        }
        TAG_RENAME => {
            let location = decode_location(from)?;
            Ok(CheckpointEntry::Rename { rename: decode_rename(from)?, location })
        }
        TAG_OBJECT => decode_object(from),
        TAG_UPLOAD => {
            let (bucket, location) = (from.u64()?, decode_location(from)?);
            let upload = decode_upload(from)?;
            let mut entry = UploadEntry { upload, location, parts: Default::default() };
            for _ in 0..from.count(20)? {
                let location = decode_location(from)?;
                let part = PartEntry { part: decode_part(from)?, slices: decode_slices(from)?, location };
                entry.parts.insert(part.part.number, part);
            }
            Ok(CheckpointEntry::Upload { bucket, entry })
        }
        _ => Err(Malformed),
    }
}

fn decode_object(from: &mut Decoder<'_>) -> Result<CheckpointEntry, Malformed> {
    let bucket = from.u64()?;
    let key = decode_key(from)?.into_boxed_slice();
    let entry = Entry {
        bytes: from.u64()?,
        sequence: from.u64()?,
        flags: EntryFlags::from_code(from.u8()?).ok_or(Malformed)?,
        etag: decode_etag(from)?,
        checksum: ChecksumCode(from.u8()?),
        location: decode_location(from)?,
        payload: match from.u8()? {
            0 => EntryPayload::Inline,
            1 => EntryPayload::of_slices(decode_slices(from)?),
            _ => return Err(Malformed),
        },
    };
    Ok(CheckpointEntry::Object { bucket, key, entry })
}

fn encode_location(location: Location, out: &mut Vec<u8>) {
    out.u32(location.segment);
    out.u32(location.offset);
    out.u32(location.length);
}

fn decode_location(from: &mut Decoder<'_>) -> Result<Location, Malformed> {
    Ok(Location { segment: from.u32()?, offset: from.u32()?, length: from.u32()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_and_a_chunk_refuse_flipped_bits_and_foreign_places() {
        let position =
            LogPosition { segment: 1, offset: 4096, sequence: 3, previous_segment: 1, previous_offset: 0 };
        let header = CheckpointHeader {
            node: [1; 16],
            generation: 1,
            shard: 0,
            cores: 2,
            sequence: 7,
            position,
            chunks: 1,
            entries: 4,
        };
        let bytes = header.encode();
        assert_eq!(CheckpointHeader::decode(&bytes), Ok(header.clone()));
        for bit in 0..HEADER_BYTES * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(CheckpointHeader::decode(&damaged).is_err(), "bit {bit}");
        }
        let chunk = encode_chunk(&header, 0, b"entries");
        assert_eq!(decode_chunk(&header, 0, &chunk), Ok(&b"entries"[..]));
        assert_eq!((chunk_entries(&chunk), chunk_bytes(7)), (Ok(7), chunk.len()));
        assert!(decode_chunk(&header, 1, &chunk).is_err());
        for other in [
            CheckpointHeader { node: [2; 16], ..header.clone() },
            CheckpointHeader { generation: 2, ..header.clone() },
            CheckpointHeader { shard: 1, ..header.clone() },
            CheckpointHeader { sequence: 8, ..header.clone() },
        ] {
            assert!(decode_chunk(&other, 0, &chunk).is_err());
        }
    }
}
