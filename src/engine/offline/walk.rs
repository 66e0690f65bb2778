//! Walking a log segment to its very end, past whatever is damaged.
//!
//! Recovery stops at the first batch that is not whole; this goes on with the next one that can be found, and
//! takes what can be saved of those that are not, so that it can be said what they held.

use std::io;

use bytes::Bytes;

use super::reader::Reader;
use crate::base::limits::{BLOCK_BYTES, LOG_SEGMENT_BYTES_MAX};
use crate::engine::format::Location;
use crate::engine::format::record::{RECORD_ALIGNMENT, RECORD_HEADER_BYTES, Record, RecordHeader};
use crate::engine::format::segment::{
    BATCH_HEADER_BYTES, BatchHeader, RecordsDigest, SegmentHeader, log_end,
};
use crate::io::Disk;

/// What is wrong with a record whose description is whole.
pub const PAYLOAD_DAMAGED: &str = "its payload does not match its checksum";

/// What a walk meets, in the order in which it stands there.
pub enum Step<'a> {
    /// A batch whose records are all whole. They come next.
    Batch { header: &'a BatchHeader, offset: u32 },
    /// A record with valid checksums.
    Record { record: Record, location: Location },
    /// A record whose checksums hold and which makes no sense: of another version, or a bug.
    Unreadable { kind: u8, location: Location },
    /// A record that is damaged; `perhaps` is what it says all the same.
    Broken { location: Location, what: &'static str, perhaps: Option<Record> },
}

/// A stretch of a segment that should hold batches and does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    pub from: u32,
    /// Where the next batch stands, or the file ends.
    pub to: u32,
    pub what: GapKind,
}

/// What is wrong with a stretch of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapKind {
    /// There is no header of a batch.
    Header,
    /// A batch's header is valid, but not all of its records are.
    Records { sequence: u64 },
    /// A valid batch of another place in the order.
    Sequence { expected: u64, found: u64 },
}

/// What a walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// First whole batch, and its offset.
    pub first: Option<(BatchHeader, u32)>,
    /// Last whole batch, and its offset.
    pub last: Option<(BatchHeader, u32)>,
    /// Where the next batch after the last whole one would stand.
    pub end: u32,
    pub batches: u64,
    pub records: u64,
    /// What is damaged for certain: valid batches follow.
    pub gaps: Vec<Gap>,
    /// What stands behind the last whole batch, unless that is zeros: a torn write, or damage.
    pub tail: Option<Gap>,
}

/// Gaps of one segment that are kept apart; those beyond count as one with the last.
const GAPS_MAX: usize = 256;

/// Walks a segment from `offset` on. `before` is the sequence of the batch before, if that is known.
pub async fn walk<D: Disk>(
    reader: &mut Reader<D>,
    segment: &SegmentHeader,
    offset: u32,
    before: Option<u64>,
    visit: &mut dyn FnMut(Step<'_>),
) -> io::Result<Walk> {
    let start = offset.max(BLOCK_BYTES as u32);
    let mut walk = Walk { end: start, ..Walk::default() };
    let mut at = u64::from(start);
    let mut sequence = before;
    // Where what is not whole began, until it is known whether something follows.
    let mut open: Option<Gap> = None;
    let end = end_of(reader, segment);
    while at + BATCH_HEADER_BYTES as u64 <= end {
        let here = at as u32;
        let Some(batch) = batch_at(reader, segment, at, end).await? else {
            let is_zero = is_zero(reader.bytes(at, BLOCK_BYTES).await?);
            // Zeros may be the end of the log, or a batch that never arrived.
            let gap = open.get_or_insert(Gap { from: here, to: here, what: GapKind::Header });
            if !is_zero {
                gap.to = here + 1;
            }
            at += BLOCK_BYTES as u64;
            continue;
        };
        let expected = sequence.map_or(batch.sequence, |sequence| sequence.saturating_add(1));
        if let Some(gap) = open.take() {
            salvage(reader, segment, gap, &mut walk.records, visit).await?;
            push(&mut walk.gaps, gap, here);
        } else if batch.sequence > expected {
            let what = GapKind::Sequence { expected, found: batch.sequence };
            push(&mut walk.gaps, Gap { from: here, to: here, what }, here);
        }
        if batch.sequence < expected {
            // Written before what was found already: it does not belong here.
            let what = GapKind::Sequence { expected, found: batch.sequence };
            at += BLOCK_BYTES as u64;
            push(&mut walk.gaps, Gap { from: here, to: here, what }, at as u32);
            continue;
        }
        sequence = Some(batch.sequence);
        let bytes = reader.bytes(at, batch.bytes as usize).await?;
        at += u64::from(batch.bytes).next_multiple_of(BLOCK_BYTES as u64);
        if is_whole(bytes, &batch) {
            visit(Step::Batch { header: &batch, offset: here });
            walk.records += visit_records(bytes, &batch, here, visit);
            walk.first.get_or_insert((batch, here));
            walk.last = Some((batch, here));
            walk.end = at.min(end) as u32;
            walk.batches += 1;
        } else {
            let what = GapKind::Records { sequence: batch.sequence };
            open = Some(Gap { from: here, to: here + 1, what });
        }
    }
    // Of what is left, only bytes that are not zero are worth a word.
    walk.tail = open.filter(|gap| gap.to > gap.from).map(|gap| Gap { to: end as u32, ..gap });
    Ok(walk)
}

/// Where the last batch ends at the latest: the copy of the header follows, unless the file is cut.
fn end_of<D: Disk>(reader: &Reader<D>, segment: &SegmentHeader) -> u64 {
    reader.length.min(log_end(segment.bytes)).min(u64::from(u32::MAX))
}

/// The header of a batch of this segment, if one stands at `at`.
async fn batch_at<D: Disk>(
    reader: &mut Reader<D>,
    segment: &SegmentHeader,
    at: u64,
    end: u64,
) -> io::Result<Option<BatchHeader>> {
    let Ok(batch) = BatchHeader::decode(reader.bytes(at, BATCH_HEADER_BYTES).await?) else { return Ok(None) };
    let is_ours = batch.segment == segment.id && batch.nonce == segment.nonce;
    let fits = at + u64::from(batch.bytes) <= end && u64::from(batch.bytes) <= LOG_SEGMENT_BYTES_MAX;
    Ok(Some(batch).filter(|_| is_ours && fits))
}

/// Visits what can be saved of a batch that is not whole.
pub async fn salvage<D: Disk>(
    reader: &mut Reader<D>,
    segment: &SegmentHeader,
    gap: Gap,
    records: &mut u64,
    visit: &mut dyn FnMut(Step<'_>),
) -> io::Result<()> {
    if !matches!(gap.what, GapKind::Records { .. }) {
        return Ok(());
    }
    let end = end_of(reader, segment);
    if let Some(batch) = batch_at(reader, segment, gap.from.into(), end).await? {
        let bytes = reader.bytes(gap.from.into(), batch.bytes as usize).await?;
        *records += visit_records(bytes, &batch, gap.from, visit);
    }
    Ok(())
}

/// Keeps a gap that ends at `to`.
fn push(gaps: &mut Vec<Gap>, gap: Gap, to: u32) {
    let is_full = gaps.len() >= GAPS_MAX;
    match gaps.last_mut() {
        Some(last) if is_full => last.to = to,
        _ => gaps.push(Gap { to, ..gap }),
    }
}

/// Whether bytes are zeros, as of a block that was never written or was freed.
pub fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
    bytes.chunks(BLOCK_BYTES).all(|chunk| chunk == &ZEROS[..chunk.len()])
}

/// The records of a batch as its bytes say, whole or not.
struct Records<'a> {
    bytes: &'a [u8],
    batch: &'a BatchHeader,
    offset: u32,
    at: usize,
    left: u32,
}

enum Found<'a> {
    Whole { header: RecordHeader, meta: &'a [u8], payload: &'a [u8] },
    Broken { header: Option<RecordHeader>, meta: &'a [u8], what: &'static str },
}

impl<'a> Records<'a> {
    fn new(bytes: &'a [u8], batch: &'a BatchHeader, offset: u32) -> Self {
        Self { bytes, batch, offset, at: BATCH_HEADER_BYTES, left: batch.records }
    }

    /// The next record. After one whose lengths cannot be believed there is none.
    fn next(&mut self) -> Option<(Found<'a>, Location)> {
        self.left = self.left.checked_sub(1)?;
        let (start, bytes) = (self.at, self.bytes);
        let location = |length: usize| Location {
            segment: self.batch.segment,
            offset: self.offset + start as u32,
            length: length as u32,
        };
        let mut broken = |header, meta, what| {
            self.left = 0;
            Some((Found::Broken { header, meta, what }, location(RECORD_HEADER_BYTES)))
        };
        let header = bytes.get(start..).and_then(|rest| RecordHeader::decode(rest).ok());
        let Some(header) = header else { return broken(None, &[], "its header makes no sense") };
        let meta_at = start + RECORD_HEADER_BYTES;
        let payload_at = meta_at + header.meta_bytes as usize;
        let end = payload_at + header.payload_bytes as usize;
        let (Some(meta), Some(payload)) = (bytes.get(meta_at..payload_at), bytes.get(payload_at..end)) else {
            return broken(Some(header), &[], "it is longer than its batch");
        };
        let location = location(header.record_bytes());
        self.at = start + header.record_bytes().next_multiple_of(RECORD_ALIGNMENT);
        if !header.check_meta(meta) {
            let what = "its description does not match its checksum";
            return Some((Found::Broken { header: Some(header), meta, what }, location));
        }
        if !header.check_payload(payload) {
            let what = PAYLOAD_DAMAGED;
            return Some((Found::Broken { header: Some(header), meta, what }, location));
        }
        Some((Found::Whole { header, meta, payload }, location))
    }
}

/// Whether all records of a batch are there, have valid checksums and are those that its header counts on.
fn is_whole(bytes: &[u8], batch: &BatchHeader) -> bool {
    let mut records = Records::new(bytes, batch, 0);
    let mut digest = RecordsDigest::default();
    let mut whole = 0;
    while let Some((Found::Whole { header, .. }, _)) = records.next() {
        digest.add(&header);
        whole += 1;
    }
    bytes.len() == batch.bytes as usize && whole == batch.records && digest.value() == batch.digest
}

/// Visits the records of a batch; returns how many are whole.
fn visit_records(bytes: &[u8], batch: &BatchHeader, offset: u32, visit: &mut dyn FnMut(Step<'_>)) -> u64 {
    let mut records = Records::new(bytes, batch, offset);
    let mut whole = 0;
    while let Some((found, location)) = records.next() {
        match found {
            Found::Whole { header, meta, payload } => {
                whole += 1;
                visit(match Record::decode(header.kind, meta, Bytes::copy_from_slice(payload)) {
                    Ok(record) => Step::Record { record, location },
                    Err(_) => Step::Unreadable { kind: header.kind, location },
                });
            }
            Found::Broken { header, meta, what } => {
                let perhaps = header.and_then(|it| Record::decode(it.kind, meta, Bytes::new()).ok());
                visit(Step::Broken { location, what, perhaps });
            }
        }
    }
    whole
}
