//! Reading a log segment from a place to its end: for recovery and cleaning.

use std::io;

use bytes::Bytes;

use crate::base::limits::BLOCK_BYTES;
use crate::engine::format::record::{RECORD_ALIGNMENT, RECORD_HEADER_BYTES, RecordHeader};
use crate::engine::format::segment::{
    BATCH_HEADER_BYTES, BatchHeader, RecordsDigest, SegmentHeader, SegmentKind, log_end,
};
use crate::engine::format::{Location, SegmentId};
use crate::io::{Buffer, Disk};

/// Bytes read at once, unless a batch is longer or the segment ends before.
const WINDOW_BYTES: usize = 1024 * 1024;

/// A record found in the log, checksums verified.
pub struct Scanned<'a> {
    pub kind: u8,
    pub meta: &'a [u8],
    pub payload: &'a [u8],
    pub location: Location,
}

impl Scanned<'_> {
    /// The record with its payload copied out.
    pub fn decode(&self) -> Result<crate::engine::format::record::Record, ScanError> {
        crate::engine::format::record::Record::decode(
            self.kind,
            self.meta,
            Bytes::copy_from_slice(self.payload),
        )
        .map_err(|_| ScanError::Malformed(self.location))
    }
}

/// Why a scan stopped before the end.
#[derive(Debug)]
pub enum ScanError {
    Io(io::Error),
    /// A record whose checksums hold can't be understood: written by another version, or a bug.
    Malformed(Location),
}

/// A run of batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scan {
    /// First and last batch found, with their offsets; `None` if there was none.
    pub first: Option<BatchHeader>,
    pub last: Option<(BatchHeader, u32)>,
    /// Where the next batch would stand.
    pub end: u32,
}

/// A segment file as its first blocks show it.
pub enum Opened<D: Disk> {
    Segment(SegmentScanner<D>),
    /// It was being made at a crash: no header, and no batch where the first one would stand.
    Unused,
    /// Its header is damaged: batches follow it.
    Damaged,
}

/// A segment file opened for scanning.
pub struct SegmentScanner<D: Disk> {
    disk: D,
    file: D::File,
    pub header: SegmentHeader,
    window: Buffer,
    window_start: u64,
}

impl<D: Disk> SegmentScanner<D> {
    /// Opens a segment by its header.
    pub async fn open(disk: &D, file: D::File, id: SegmentId) -> io::Result<Opened<D>> {
        const FIRST_BYTES: usize = 2 * BLOCK_BYTES;
        let (result, buffer) = disk.read(&file, 0, Buffer::heap(FIRST_BYTES), 0..FIRST_BYTES).await;
        let count = result?;
        let (header, batch) = buffer.whole()[..count].split_at(count.min(BLOCK_BYTES));
        let header = match SegmentHeader::decode(header) {
            Ok(header) if header.kind == SegmentKind::Log && header.id == id => header,
            _ if batch.iter().all(|byte| *byte == 0) => return Ok(Opened::Unused),
            _ => return Ok(Opened::Damaged),
        };
        // Grows with the first read.
        let window = Buffer::heap(BLOCK_BYTES);
        Ok(Opened::Segment(Self { disk: disk.clone(), file, header, window, window_start: 0 }))
    }

    /// Visits the records of every batch from `offset` on, up to the first that is not whole.
    pub async fn scan<F>(&mut self, offset: u32, mut visit: F) -> Result<Scan, ScanError>
    where
        F: FnMut(Scanned<'_>) -> Result<(), ScanError>,
    {
        let mut scan = Scan { first: None, last: None, end: offset };
        while self.step(&mut scan, &mut visit).await? {}
        Ok(scan)
    }

    /// Visits the records of the next batch and moves `scan` past it; `false` if there is no whole one.
    pub async fn step<F>(&mut self, scan: &mut Scan, visit: &mut F) -> Result<bool, ScanError>
    where
        F: FnMut(Scanned<'_>) -> Result<(), ScanError>,
    {
        let Some(batch) = self.batch(scan.end).await.map_err(ScanError::Io)? else { return Ok(false) };
        let expected = scan.last.map(|(last, _)| last.sequence + 1);
        if expected.is_some_and(|expected| expected != batch.sequence) {
            return Ok(false);
        }
        let bytes = self.bytes(scan.end.into(), batch.bytes as usize).await.map_err(ScanError::Io)?;
        let Some(records) = split_batch(bytes, &batch, scan.end) else { return Ok(false) };
        for record in records {
            visit(record)?;
        }
        scan.first.get_or_insert(batch);
        scan.last = Some((batch, scan.end));
        scan.end += (batch.bytes as usize).next_multiple_of(BLOCK_BYTES) as u32;
        Ok(true)
    }

    /// Looks beyond `scan.end` for a whole batch that was written after what the scan found: then the scan
    /// did not end at a torn tail but at damage. Returns its offset.
    pub async fn later_batch(&mut self, scan: &Scan) -> io::Result<Option<u32>> {
        let sequence_min = scan.last.map_or(2, |(last, _)| last.sequence + 2);
        let mut offset = u64::from(scan.end) + BLOCK_BYTES as u64;
        while offset + BLOCK_BYTES as u64 <= self.end() {
            if let Some(batch) = self.batch(offset as u32).await?
                && batch.sequence >= sequence_min
            {
                return Ok(Some(offset as u32));
            }
            offset += BLOCK_BYTES as u64;
        }
        Ok(None)
    }

    /// Where the last batch ends at the latest.
    fn end(&self) -> u64 {
        log_end(self.header.bytes)
    }

    /// The header of a batch of this segment at `offset`, if there is one.
    async fn batch(&mut self, offset: u32) -> io::Result<Option<BatchHeader>> {
        if u64::from(offset) + BLOCK_BYTES as u64 > self.end() {
            return Ok(None);
        }
        let (id, nonce, end) = (self.header.id, self.header.nonce, self.end());
        let bytes = self.bytes(offset.into(), BATCH_HEADER_BYTES).await?;
        let batch = BatchHeader::decode(bytes).ok().filter(|batch| {
            batch.segment == id && batch.nonce == nonce && u64::from(offset) + u64::from(batch.bytes) <= end
        });
        Ok(batch)
    }

    /// Bytes of the file from `offset` (a block boundary), zeros beyond its end.
    async fn bytes(&mut self, offset: u64, count: usize) -> io::Result<&[u8]> {
        let have = self.window_start..self.window_start + self.window.len() as u64;
        if !(have.contains(&offset) && offset + count as u64 <= have.end) {
            let rest = self.header.bytes.saturating_sub(offset).min(WINDOW_BYTES as u64) as usize;
            let wanted = count.max(rest).next_multiple_of(BLOCK_BYTES);
            let mut window = std::mem::replace(&mut self.window, Buffer::heap(BLOCK_BYTES));
            if window.capacity() < wanted {
                window = Buffer::heap(wanted);
            }
            let (result, mut window) = self.disk.read(&self.file, offset, window, 0..wanted).await;
            let got = result?;
            window.whole_mut()[got..wanted].fill(0);
            window.set_len(wanted);
            self.window = window;
            self.window_start = offset;
        }
        let start = (offset - self.window_start) as usize;
        Ok(&self.window[start..start + count])
    }
}

/// The records of a batch, or `None` unless every one is whole and of this batch.
fn split_batch<'a>(bytes: &'a [u8], batch: &BatchHeader, offset: u32) -> Option<Vec<Scanned<'a>>> {
    let mut records = Vec::new();
    let mut at = BATCH_HEADER_BYTES;
    let mut digest = RecordsDigest::default();
    for _ in 0..batch.records {
        let header = RecordHeader::decode(bytes.get(at..)?).ok()?;
        let meta_at = at + RECORD_HEADER_BYTES;
        let payload_at = meta_at + header.meta_bytes as usize;
        let meta = bytes.get(meta_at..payload_at)?;
        let payload = bytes.get(payload_at..payload_at + header.payload_bytes as usize)?;
        if !header.check_meta(meta) || !header.check_payload(payload) {
            return None;
        }
        let location = Location {
            segment: batch.segment,
            offset: offset + at as u32,
            length: header.record_bytes() as u32,
        };
        digest.add(&header);
        records.push(Scanned { kind: header.kind, meta, payload, location });
        at += header.record_bytes().next_multiple_of(RECORD_ALIGNMENT);
    }
    (digest.value() == batch.digest).then_some(records)
}
