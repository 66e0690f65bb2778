//! Structures on disk beside the log: superblocks, headers of segments and batches, trailers of extents,
//! checkpoints, names of files. Any bytes are read or refused, and what is read is written the same again.

use ringcask::base::limits::BLOCK_BYTES;
use ringcask::engine::format::checkpoint::{
    CheckpointEntry, CheckpointHeader, decode_chunk, decode_entry, encode_bucket_entry, encode_chunk,
    encode_config_entry, encode_event_entry, encode_object_entry, encode_rename_entry, encode_upload_entry,
};
use ringcask::engine::format::codec::{Decoder, Encode};
use ringcask::engine::format::segment::{BATCH_HEADER_BYTES, BatchHeader, ExtentTrailer, SegmentHeader};
use ringcask::engine::format::superblock::Superblock;
use ringcask::engine::format::{ExtentId, FileName, Slice};
use ringcask::engine::fuzzing::{LogPosition, load_checkpoint};
use ringcask::io::sim::Simulation;

use super::Random;
use super::log::store;

/// The first byte says what the others are, and whether their checksum is set right.
pub fn run(data: &[u8]) {
    let Some((what, data)) = data.split_first() else { return };
    let is_repaired = what & 0x80 != 0;
    match what % 8 {
        0 => superblock(data, is_repaired),
        1 => segment_header(data, is_repaired),
        2 => batch_header(data, is_repaired),
        3 => extent_trailer(data, is_repaired),
        4 => checkpoint_header(data, is_repaired),
        5 => entries(data),
        6 => checkpoint(data),
        _ => small(data),
    }
}

/// The bytes with a CRC32C of what stands before it at `at`.
fn repaired(data: &[u8], at: usize, is_repaired: bool) -> Vec<u8> {
    let mut bytes = data.to_vec();
    if is_repaired && bytes.len() >= at + 4 {
        let crc = crc32c::crc32c(&bytes[..at]);
        bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
    }
    bytes
}

fn superblock(data: &[u8], is_repaired: bool) {
    let bytes = repaired(data, 52, is_repaired);
    if let Ok(read) = Superblock::decode(&bytes) {
        let written = read.encode();
        assert_eq!(Superblock::decode(&written), Ok(read));
        assert_eq!(written[..56], bytes[..56]);
    }
}

fn segment_header(data: &[u8], is_repaired: bool) {
    let bytes = repaired(data, 56, is_repaired);
    if let Ok(read) = SegmentHeader::decode(&bytes) {
        let written = read.encode();
        assert_eq!(SegmentHeader::decode(&written), Ok(read));
        assert_eq!(written[..60], bytes[..60]);
    }
}

fn batch_header(data: &[u8], is_repaired: bool) {
    let bytes = repaired(data, BATCH_HEADER_BYTES - 4, is_repaired);
    if let Ok(read) = BatchHeader::decode(&bytes) {
        assert_eq!(BatchHeader::decode(&read.encode()), Ok(read));
    }
}

fn extent_trailer(data: &[u8], is_repaired: bool) {
    let mut block = data.to_vec();
    block.resize(BLOCK_BYTES, 0);
    let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|index| block[at + index]));
    let (extent, payload_bytes) = (ExtentId { segment: word(8), block: word(12) }, word(16));
    if is_repaired {
        block[4..8].fill(0);
        let crc = crc32c::crc32c(&block);
        block[4..8].copy_from_slice(&crc.to_le_bytes());
    }
    if let Ok(read) = ExtentTrailer::decode(&block, extent, payload_bytes) {
        assert_eq!(ExtentTrailer::decode(&read.encode(), extent, payload_bytes), Ok(read));
        let other = ExtentId { segment: extent.segment ^ 1, ..extent };
        assert!(ExtentTrailer::decode(&block, other, payload_bytes).is_err());
    }
}

fn checkpoint_header(data: &[u8], is_repaired: bool) {
    let bytes = repaired(data, 76, is_repaired);
    if let Ok(read) = CheckpointHeader::decode(&bytes) {
        assert_eq!(CheckpointHeader::decode(&read.encode()), Ok(read));
    }
}

/// Entries of a checkpoint.
fn entries(data: &[u8]) {
    let mut from = Decoder::new(data);
    let mut count = 0;
    while !from.is_empty() {
        let Ok(entry) = decode_entry(&mut from) else { break };
        count += 1;
        let written = encode_entry(&entry);
        let mut again = Decoder::new(&written);
        assert_eq!(decode_entry(&mut again).as_ref(), Ok(&entry));
        assert!(again.is_empty());
    }
    assert!(count <= data.len(), "no entry is made of nothing");
}

fn encode_entry(entry: &CheckpointEntry) -> Vec<u8> {
    let mut out = Vec::new();
    match entry {
        CheckpointEntry::Bucket { bucket, location } => encode_bucket_entry(bucket, *location, &mut out),
        CheckpointEntry::Event { id, entry } => encode_event_entry(*id, *entry, &mut out),
        CheckpointEntry::Rename { rename, location } => encode_rename_entry(rename, *location, &mut out),
        CheckpointEntry::Config { name, value, location } => {
            encode_config_entry(name, value, *location, &mut out);
        }
        CheckpointEntry::Object { bucket, key, entry } => encode_object_entry(*bucket, key, entry, &mut out),
        CheckpointEntry::Upload { bucket, entry } => encode_upload_entry(*bucket, entry, &mut out),
    }
    out
}

/// A whole checkpoint of chunks that hold the bytes: read as they are, and then with something changed.
fn checkpoint(data: &[u8]) {
    let mut random = Random::of(data);
    let name = FileName::Checkpoint { generation: 1, shard: 0, sequence: 9 };
    let pieces: Vec<&[u8]> = data.chunks(data.len().div_ceil(1 + random.below(3)).max(1)).collect();
    let (mut entries, mut is_whole) = (0, true);
    for piece in &pieces {
        let mut from = Decoder::new(piece);
        while is_whole && !from.is_empty() {
            is_whole = decode_entry(&mut from).is_ok();
            entries += u64::from(is_whole);
        }
    }
    let position =
        LogPosition { segment: 1, offset: 4096, sequence: 3, previous_segment: 1, previous_offset: 0 };
    let mut header = CheckpointHeader {
        node: [1; 16],
        generation: 1,
        shard: 0,
        cores: 1,
        sequence: 9,
        position,
        chunks: pieces.len() as u32,
        entries,
    };
    let chunks: Vec<Vec<u8>> =
        pieces.iter().zip(0..).map(|(piece, number)| encode_chunk(&header, number, piece)).collect();
    let other = CheckpointHeader { sequence: 8, ..header.clone() };
    for ((chunk, piece), number) in chunks.iter().zip(&pieces).zip(0..) {
        assert_eq!(decode_chunk(&header, number, chunk), Ok(*piece));
        assert!(
            decode_chunk(&header, number + 1, chunk).is_err() && decode_chunk(&other, number, chunk).is_err()
        );
    }
    let read = |header: &CheckpointHeader, damage: &dyn Fn(&mut Vec<u8>)| {
        let mut image = [header.encode(), chunks.concat()].concat();
        damage(&mut image);
        image.resize(image.len().next_multiple_of(BLOCK_BYTES), 0);
        let simulation = Simulation::new(1);
        let disk = simulation.disk(0);
        let mut entries = 0;
        let read = simulation.block_on(async {
            store(&disk, &name.to_string(), &image).await;
            load_checkpoint(&disk, name, [1; 16], |_| entries += 1).await
        });
        read.map(|read| assert_eq!((read.entries, &read), (entries, header), "all entries or none"))
    };
    assert_eq!(read(&header, &|_| {}).is_ok(), is_whole);
    header.entries += 1;
    assert!(read(&header, &|_| {}).is_err(), "an entry is missing");
    header.entries -= 1;
    let at = random.next() as usize;
    let bit = random.below(8);
    let _ = read(&header, &|image| {
        let at = at % image.len();
        image[at] ^= 1 << bit;
    });
    let _ = read(&header, &|image| image.truncate(at % image.len()));
    header.chunks = random.next() as u32;
    let _ = read(&header, &|_| {});
}

/// A name of a file, and a slice.
fn small(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(name) = FileName::parse(text)
    {
        assert_eq!(FileName::parse(&name.to_string()), Some(name));
    }
    if let Ok(slice) = Slice::decode(&mut Decoder::new(data)) {
        let mut out = Vec::new();
        slice.encode(&mut out);
        assert_eq!(out, data[..out.len()]);
    }
    let mut from = Decoder::new(data);
    if let Ok(bytes) = from.short_bytes() {
        let mut out = Vec::new();
        out.short_bytes(bytes);
        assert_eq!(out, data[..out.len()]);
    }
}
