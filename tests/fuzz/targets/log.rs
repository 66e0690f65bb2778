//! The log: records and whole segments. Any bytes are read or refused, with little memory; what is read is
//! written the same again; and of a segment that was damaged, what is found is what was written.

use bytes::Bytes;
use ringcask::base::limits::BLOCK_BYTES;
use ringcask::engine::format::FileName;
use ringcask::engine::format::record::{RECORD_ALIGNMENT, Record, RecordHeader};
use ringcask::engine::format::segment::{
    BATCH_HEADER_BYTES, BatchHeader, RecordsDigest, SegmentHeader, SegmentKind,
};
use ringcask::engine::fuzzing::{Head, Opened, ScanError, Scanned, SegmentScanner};
use ringcask::io::sim::{SimDisk, Simulation};
use ringcask::io::{Buffer, Disk, Durability, OpenMode};

use super::Random;

const SEGMENT: u32 = 7;
const NONCE: u64 = 0x0123_4567_89ab_cdef;

/// The first byte says how the others are meant.
pub fn run(data: &[u8]) {
    let Some((how, data)) = data.split_first() else { return };
    match how % 4 {
        0 | 1 => record(data),
        2 => built(data),
        _ => raw(data),
    }
}

/// Kind, length of the meta bytes, meta bytes and payload.
fn record(data: &[u8]) {
    let _ = RecordHeader::decode(data);
    let Some((&[kind, low, high], rest)) = data.split_first_chunk() else { return };
    let (meta, payload) = rest.split_at(rest.len().min(usize::from(u16::from_le_bytes([low, high]))));
    let payload = Bytes::copy_from_slice(payload);
    let Ok(record) = Record::decode(kind, meta, payload) else { return };
    let encoded = record.encode();
    let header = RecordHeader::decode(&encoded.header.encode()).expect("what was written is read");
    assert_eq!(header, encoded.header);
    assert!(header.check_meta(&encoded.meta) && header.check_payload(&encoded.payload));
    // What is spelled in one way only is spelled the same; settings of buckets can stand in another order.
    if !matches!(record, Record::BucketPut(_)) {
        assert_eq!((kind, meta), (header.kind, encoded.meta.as_slice()));
    }
    let again =
        Record::decode(header.kind, &encoded.meta, encoded.payload).expect("what was written is read");
    assert_eq!(again, record);
    assert!(record.owner(3) < 3);
    if let Record::ObjectPut(put) = record {
        let _ = (put.version(), put.modified(), put.stored_bytes());
    }
}

/// A record as it stands in a segment: kind, meta bytes, payload.
type Written = (u8, Vec<u8>, Vec<u8>);

/// What is found in a segment.
#[derive(Default)]
struct Found {
    /// Records of whole batches from the beginning on.
    batches: Vec<Vec<Written>>,
    /// Where those end.
    end: u32,
    /// What can be told of what follows: payload only if it is whole.
    salvaged: Vec<(u8, Vec<u8>, Option<Vec<u8>>)>,
}

/// A segment of whole batches that are made of the bytes: for each record a kind and two lengths. Then some of
/// it is changed.
fn built(data: &[u8]) {
    let mut random = Random::of(data);
    let mut batches: Vec<Vec<Written>> = Vec::new();
    let mut body = Vec::new();
    let mut rest = data;
    while rest.len() > 4 && batches.len() < 16 {
        let count = 1 + usize::from(rest[0] % 4);
        rest = &rest[1..];
        let mut records = Vec::new();
        for _ in 0..count {
            let Some((&[kind, meta, payload], after)) = rest.split_first_chunk() else { break };
            let (meta, after) = after.split_at(after.len().min(meta.into()));
            let (payload, after) = after.split_at(after.len().min(payload.into()));
            records.push((kind, meta.to_vec(), payload.to_vec()));
            rest = after;
        }
        body.extend_from_slice(&batch(batches.len() as u64 + 1, &records));
        batches.push(records);
    }
    let header = header((body.len() + 3 * BLOCK_BYTES) as u64).encode();
    let image = [&header[..], &body, &[0; BLOCK_BYTES], &header].concat();
    let found = scan(&image);
    assert_eq!(found.batches, batches, "what was written is found");
    assert!(found.salvaged.is_empty());
    let mut damaged = image.clone();
    for _ in 0..random.below(3) + 1 {
        let at = random.below(damaged.len());
        let block = at / BLOCK_BYTES * BLOCK_BYTES;
        match random.below(5) {
            0 => damaged.truncate(block.max(2 * BLOCK_BYTES)),
            1 => damaged[block..block + BLOCK_BYTES].fill(0),
            // A block that was written to another place.
            2 => {
                let other = random.below(damaged.len()) / BLOCK_BYTES * BLOCK_BYTES;
                damaged.copy_within(other..other + BLOCK_BYTES, block);
            }
            _ => damaged[at] ^= 1 << random.below(8),
        }
    }
    let found = scan(&damaged);
    assert!(
        batches.starts_with(&found.batches),
        "a beginning of what was written is found, and nothing else"
    );
    for (kind, meta, payload) in &found.salvaged {
        let is_it = |written: &&Written| written.0 == *kind && written.1 == *meta;
        let mut written = batches.iter().flatten().filter(is_it).map(|(.., payload)| payload);
        assert!(written.any(|written| payload.as_ref().is_none_or(|payload| payload == written)));
    }
}

/// The bytes as a segment, whose checksums are set right.
fn raw(data: &[u8]) {
    let mut image = data.to_vec();
    image.resize(image.len().max(3 * BLOCK_BYTES).next_multiple_of(BLOCK_BYTES), 0);
    if data.first().is_some_and(|byte| byte % 4 != 0) {
        let bytes = image.len() as u64;
        image[..BLOCK_BYTES].copy_from_slice(&header(bytes).encode());
    } else {
        // A header that says what it likes, under a checksum that holds.
        image[..4].copy_from_slice(b"RLOG");
        image[4..8].copy_from_slice(&SEGMENT.to_le_bytes());
        let crc = crc32c::crc32c(&image[..56]);
        image[56..60].copy_from_slice(&crc.to_le_bytes());
    }
    let nonce: [u8; 8] = std::array::from_fn(|index| image[40 + index]);
    let mut at = BLOCK_BYTES;
    while at < image.len() {
        at += repair_batch(&mut image, at, nonce);
    }
    let found = scan(&image);
    let records = found.batches.iter().flatten();
    let bytes: usize = records.map(|(_, meta, payload)| meta.len() + payload.len()).sum();
    assert!(bytes <= image.len());
}

/// Makes the checksums of a batch hold as far as its lengths make sense. Returns what it takes.
fn repair_batch(image: &mut [u8], at: usize, nonce: [u8; 8]) -> usize {
    let field = |image: &[u8], at: usize| {
        image.get(at..at + 4).map_or(0, |field| u32::from_le_bytes(field.try_into().unwrap())) as usize
    };
    let room = image.len() - at;
    image[at..at + 4].copy_from_slice(b"RBCH");
    image[at + 4..at + 8].copy_from_slice(&SEGMENT.to_le_bytes());
    image[at + 8..at + 16].copy_from_slice(&nonce);
    let bytes = field(image, at + 32) % (room + 8);
    image[at + 32..at + 36].copy_from_slice(&(bytes as u32).to_le_bytes());
    let records = field(image, at + 36) % 64;
    image[at + 36..at + 40].copy_from_slice(&(records as u32).to_le_bytes());
    let mut digest = RecordsDigest::default();
    let mut record = at + BATCH_HEADER_BYTES;
    for _ in 0..records {
        let Some(head) = image.get(record..record + 24) else { break };
        let kind = head[16];
        let (meta_bytes, payload_bytes) = (field(image, record + 8) % 512, field(image, record + 12) % 512);
        let end = record + 24 + meta_bytes + payload_bytes;
        if end > image.len() {
            break;
        }
        let (meta, payload) = image[record + 24..end].split_at(meta_bytes);
        let header = RecordHeader::of(kind, meta, payload);
        digest.add(&header);
        image[record..record + 24].copy_from_slice(&header.encode());
        record = end.next_multiple_of(RECORD_ALIGNMENT);
    }
    image[at + 40..at + 44].copy_from_slice(&digest.value().to_le_bytes());
    let crc = crc32c::crc32c(&image[at..at + BATCH_HEADER_BYTES - 4]);
    image[at + BATCH_HEADER_BYTES - 4..at + BATCH_HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    bytes.max(1).next_multiple_of(BLOCK_BYTES)
}

fn header(bytes: u64) -> SegmentHeader {
    SegmentHeader {
        kind: SegmentKind::Log,
        id: SEGMENT,
        node: [1; 16],
        generation: 1,
        shard: 0,
        epoch: 1,
        nonce: NONCE,
        bytes,
    }
}

fn batch(sequence: u64, records: &[Written]) -> Vec<u8> {
    let mut out = vec![0; BATCH_HEADER_BYTES];
    let mut end = out.len();
    let mut digest = RecordsDigest::default();
    for (kind, meta, payload) in records {
        out.resize(out.len().next_multiple_of(RECORD_ALIGNMENT), 0);
        let header = RecordHeader::of(*kind, meta, payload);
        digest.add(&header);
        out.extend_from_slice(&header.encode());
        out.extend_from_slice(meta);
        out.extend_from_slice(payload);
        end = out.len();
    }
    let header = BatchHeader {
        segment: SEGMENT,
        nonce: NONCE,
        sequence,
        previous_segment: 0,
        previous_offset: 0,
        bytes: end as u32,
        records: records.len() as u32,
        digest: digest.value(),
    };
    out[..BATCH_HEADER_BYTES].copy_from_slice(&header.encode());
    out.resize(out.len().next_multiple_of(BLOCK_BYTES), 0);
    out
}

/// Reads a segment as recovery does: batches one after the other, and of what follows what can be told.
fn scan(image: &[u8]) -> Found {
    let simulation = Simulation::new(1);
    let disk = simulation.disk(0);
    simulation.block_on(async {
        let file = store(&disk, &FileName::Log(SEGMENT).to_string(), image).await;
        let opened = SegmentScanner::open(&disk, file, SEGMENT).await.expect("a drive that reads");
        let Opened::Segment(mut scanner) = opened else { return Found::default() };
        let mut found = Found { end: BLOCK_BYTES as u32, ..Found::default() };
        while step(&mut scanner, &mut found).await {}
        let mut at = found.end;
        for _ in 0..8 {
            let next =
                scanner.later(at.saturating_add(BLOCK_BYTES as u32), 0).await.expect("a drive that reads");
            let until = next.map_or(scanner.end(), |(until, _)| until);
            if at >= until {
                break;
            }
            salvage(&mut scanner, &mut found, at, until).await;
            at = until;
        }
        found
    })
}

/// Reads the next batch, if it is whole.
async fn step(scanner: &mut SegmentScanner<SimDisk>, found: &mut Found) -> bool {
    let batch = scanner.batch(found.end).await.expect("a drive that reads");
    let Some(batch) = batch.filter(|batch| batch.sequence == found.batches.len() as u64 + 1) else {
        return false;
    };
    let mut records = Vec::new();
    let mut visit = |record: Scanned<'_>| {
        assert!(record.location.offset >= BLOCK_BYTES as u32 && record.location.segment == SEGMENT);
        let _ = record.decode();
        records.push((record.kind, record.meta.to_vec(), record.payload.to_vec()));
        Ok(())
    };
    match scanner.visit(found.end, &batch, &mut visit).await {
        Ok(true) => {}
        Ok(false) => return false,
        Err(ScanError::Io(error)) => panic!("{error}"),
        Err(ScanError::Malformed(_)) => unreachable!("nobody says so here"),
    }
    found.batches.push(records);
    found.end += (batch.bytes as usize).next_multiple_of(BLOCK_BYTES) as u32;
    true
}

/// Reads what is left of a damaged batch.
async fn salvage(scanner: &mut SegmentScanner<SimDisk>, found: &mut Found, at: u32, until: u32) {
    let batch = scanner.batch(at).await.expect("a drive that reads");
    let mut visit = |record: Scanned<'_>| {
        let payload = record.is_whole.then(|| record.payload.to_vec());
        found.salvaged.push((record.kind, record.meta.to_vec(), payload));
        Ok(())
    };
    let head = batch.as_ref().map_or(Head::Unknown, Head::Whole);
    let salvaged = scanner.salvage(at, head, until, true, &mut visit).await;
    assert!(salvaged.is_ok());
}

/// Makes a file.
pub async fn store(disk: &SimDisk, name: &str, content: &[u8]) -> <SimDisk as Disk>::File {
    let file = disk.open(name, OpenMode::Create).await.expect("a new file");
    let mut buffer = Buffer::heap(content.len());
    buffer.append(content);
    let bytes = content.len();
    disk.write(&file, 0, buffer, 0..bytes, Durability::Buffered).await.0.expect("a drive that writes");
    file
}
