//! Reading a log segment from a place to its end: for recovery, cleaning and scrub.
//!
//! Where no whole batch stands, either nothing was written or something is damaged: that is for the caller to
//! tell, by what [`SegmentScanner::later`] finds behind. [`SegmentScanner::salvage`] reads what is left of a
//! damaged batch.

use std::collections::BTreeSet;
use std::io;

use bytes::Bytes;

use crate::base::limits::{BLOCK_BYTES, UNREADABLE_BLOCKS_MAX};
use crate::engine::damage::is_unreadable;
use crate::engine::format::record::{RECORD_ALIGNMENT, RECORD_HEADER_BYTES, RecordHeader};
use crate::engine::format::segment::{
    BATCH_HEADER_BYTES, BatchHeader, RecordsDigest, SegmentHeader, SegmentKind, log_end,
};
use crate::engine::format::{FileName, Location, SegmentId};
use crate::io::{Buffer, Disk};

/// Bytes read at once, unless a batch is longer or the segment ends before.
const WINDOW_BYTES: usize = 1024 * 1024;

/// A record found in the log. Its header and meta are as they were written.
pub struct Scanned<'a> {
    pub kind: u8,
    pub meta: &'a [u8],
    pub payload: &'a [u8],
    pub location: Location,
    /// Whether the payload is as it was written, too.
    pub is_whole: bool,
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

impl From<io::Error> for ScanError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A segment file as its first blocks show it.
pub enum Opened<D: Disk> {
    Segment(SegmentScanner<D>),
    /// It was being made at a crash: no header, and no batch where the first one would stand.
    Unused,
    /// Its header and the copy of it are damaged.
    Damaged,
}

/// What is known of the header of a damaged batch.
#[derive(Clone, Copy)]
pub enum Head<'a> {
    Whole(&'a BatchHeader),
    /// It is damaged, and would say this of its place; what it says of its records is not known.
    Lost(&'a BatchHeader),
    Unknown,
}

/// A segment file opened for scanning.
pub struct SegmentScanner<D: Disk> {
    disk: D,
    file: D::File,
    pub header: SegmentHeader,
    /// Whether the header at the front is damaged: it was read from its copy.
    pub is_header_damaged: bool,
    window: Buffer,
    window_start: u64,
    /// Blocks that cannot be read, by offset; they are taken for zeros.
    pub unreadable: BTreeSet<u64>,
    /// Length of the file, if it is less than the header says.
    file_bytes: u64,
}

impl<D: Disk> SegmentScanner<D> {
    /// Opens a segment by its header.
    pub async fn open(disk: &D, file: D::File, id: SegmentId) -> io::Result<Opened<D>> {
        const FIRST_BYTES: usize = 2 * BLOCK_BYTES;
        let of_it = |block: &[u8]| {
            SegmentHeader::decode(block).ok().filter(|it| it.kind == SegmentKind::Log && it.id == id)
        };
        let mut unreadable = BTreeSet::new();
        let first = read_readable(disk, &file, 0, Buffer::heap(FIRST_BYTES), FIRST_BYTES, &mut unreadable);
        let (count, first) = first.await?;
        let (front, batch) = first.whole()[..count].split_at(count.min(BLOCK_BYTES));
        let front = of_it(front);
        let is_header_damaged = front.is_none();
        let is_blank = unreadable.is_empty() && first.whole()[..count].iter().all(|byte| *byte == 0);
        let header = match front {
            Some(header) => Some(header),
            None => {
                let name = FileName::Log(id).to_string();
                let bytes = disk.list()?.into_iter().find(|file| file.name == name).map_or(0, |it| it.bytes);
                let place = bytes.saturating_sub(BLOCK_BYTES as u64);
                let mut ignored = BTreeSet::new();
                let copy =
                    read_readable(disk, &file, place, Buffer::heap(BLOCK_BYTES), BLOCK_BYTES, &mut ignored);
                let (count, copy) = copy.await?;
                of_it(&copy.whole()[..count]).filter(|header| header.bytes == bytes)
            }
        };
        let Some(header) = header else {
            let is_unused = unreadable.is_empty() && batch.iter().all(|byte| *byte == 0);
            return Ok(if is_unused { Opened::Unused } else { Opened::Damaged });
        };
        // Grows with the first read.
        let window = Buffer::heap(BLOCK_BYTES);
        let file_bytes = file_bytes(disk, &file, &header).await?;
        let (disk, unreadable) = (disk.clone(), BTreeSet::new());
        let window_start = 0;
        let mut scanner =
            Self { disk, file, header, is_header_damaged, window, window_start, unreadable, file_bytes };
        // The copy reached the drive before the header: it was being made at a crash, unless a batch stands
        // behind.
        if is_blank && scanner.later(BLOCK_BYTES as u32, 0).await?.is_none() {
            return Ok(Opened::Unused);
        }
        Ok(Opened::Segment(scanner))
    }

    /// Where the last batch ends at the latest.
    pub fn end(&self) -> u32 {
        log_end(self.header.bytes).min(u64::from(u32::MAX)) as u32
    }

    /// The header of a batch of this segment at `offset`, if there is one.
    pub async fn batch(&mut self, offset: u32) -> io::Result<Option<BatchHeader>> {
        let end = self.end();
        if u64::from(offset) + BLOCK_BYTES as u64 > u64::from(end) {
            return Ok(None);
        }
        let (id, nonce) = (self.header.id, self.header.nonce);
        let bytes = self.bytes(offset.into(), BATCH_HEADER_BYTES).await?;
        let batch = BatchHeader::decode(bytes).ok().filter(|batch| {
            let fits = u64::from(offset) + u64::from(batch.bytes) <= u64::from(end);
            batch.segment == id && batch.nonce == nonce && fits
        });
        Ok(batch)
    }

    /// Visits the records of a batch whose header was read at `offset`, if all of them are whole; else says
    /// `false`.
    pub async fn visit<F>(
        &mut self,
        offset: u32,
        batch: &BatchHeader,
        visit: &mut F,
    ) -> Result<bool, ScanError>
    where
        F: FnMut(Scanned<'_>) -> Result<(), ScanError>,
    {
        if u64::from(offset) + u64::from(batch.bytes) > self.file_bytes {
            return Ok(false);
        }
        let bytes = self.bytes(offset.into(), batch.bytes as usize).await.map_err(ScanError::Io)?;
        let Some(records) = split_batch(bytes, batch, offset) else { return Ok(false) };
        for record in records {
            visit(record)?;
        }
        Ok(true)
    }

    /// The first batch from `offset` on that is no earlier than `sequence_min`, with where it stands.
    pub async fn later(&mut self, offset: u32, sequence_min: u64) -> io::Result<Option<(u32, BatchHeader)>> {
        let mut offset = u64::from(offset);
        while offset < u64::from(self.end()).min(self.file_bytes) {
            if let Some(batch) = self.batch(offset as u32).await?
                && batch.sequence >= sequence_min
            {
                return Ok(Some((offset as u32, batch)));
            }
            offset += BLOCK_BYTES as u64;
        }
        Ok(None)
    }

    /// Visits what can be told of a damaged batch at `offset`: records whose meta is whole, whatever happened
    /// to their payload. With its header lost, the batch is what stands before `until`, if what is left of the
    /// header fits that.
    ///
    /// Returns whether nothing but payload was lost. If more was, records are only visited `if_partial`.
    pub async fn salvage<F>(
        &mut self,
        offset: u32,
        head: Head<'_>,
        until: u32,
        if_partial: bool,
        visit: &mut F,
    ) -> Result<bool, ScanError>
    where
        F: FnMut(Scanned<'_>) -> Result<(), ScanError>,
    {
        let there = self.file_bytes.saturating_sub(offset.into());
        let length = match head {
            Head::Whole(batch) => batch.bytes,
            Head::Lost(_) => until - offset,
            Head::Unknown => return Ok(false),
        };
        let length = u64::from(length).min(there) as usize;
        let id = self.header.id;
        let bytes = self.bytes(offset.into(), length).await.map_err(ScanError::Io)?;
        let (records, is_understood) = split_damaged(bytes, head, id, offset);
        if is_understood || if_partial {
            for record in records {
                visit(record)?;
            }
        }
        Ok(is_understood)
    }

    /// Has everything read again from the drive that is asked for from now on. The log may have grown, and who
    /// waits long between batches wants what is there now.
    pub fn forget_window(&mut self) {
        self.window.clear();
    }

    /// Bytes of the file from `offset` (a block boundary), zeros beyond its end and where it can't be read.
    async fn bytes(&mut self, offset: u64, count: usize) -> io::Result<&[u8]> {
        let have = self.window_start..self.window_start + self.window.len() as u64;
        if !(have.contains(&offset) && offset + count as u64 <= have.end) {
            let rest = self.header.bytes.saturating_sub(offset).min(WINDOW_BYTES as u64) as usize;
            let wanted = count.max(rest).next_multiple_of(BLOCK_BYTES);
            let mut window = std::mem::replace(&mut self.window, Buffer::heap(BLOCK_BYTES));
            if window.capacity() < wanted {
                window = Buffer::heap(wanted);
            }
            let read =
                read_readable(&self.disk, &self.file, offset, window, wanted, &mut self.unreadable).await;
            let (got, mut window) = read?;
            window.whole_mut()[got..wanted].fill(0);
            window.set_len(wanted);
            self.window = window;
            self.window_start = offset;
        }
        let start = (offset - self.window_start) as usize;
        Ok(&self.window[start..start + count])
    }
}

/// Length of a segment's file, as far as its header says. A file may be shorter than that: what is looked for must
/// end with it, or a few bytes would have gigabytes of nothing read.
async fn file_bytes<D: Disk>(disk: &D, file: &D::File, header: &SegmentHeader) -> io::Result<u64> {
    let last = log_end(header.bytes) / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
    match disk.read(file, last, Buffer::heap(BLOCK_BYTES), 0..BLOCK_BYTES).await.0 {
        Ok(0) => {
            let name = FileName::Log(header.id).to_string();
            Ok(disk.list()?.into_iter().find(|file| file.name == name).map_or(0, |file| file.bytes))
        }
        // What cannot be read is there.
        Ok(_) | Err(_) => Ok(header.bytes),
    }
}

/// Reads `wanted` bytes at `offset`. If that fails for the sectors' sake, block by block: unreadable ones are
/// zeros then, and noted. Too many of them are an error.
async fn read_readable<D: Disk>(
    disk: &D,
    file: &D::File,
    offset: u64,
    window: Buffer,
    wanted: usize,
    unreadable: &mut BTreeSet<u64>,
) -> io::Result<(usize, Buffer)> {
    let (result, mut window) = disk.read(file, offset, window, 0..wanted).await;
    match result {
        Ok(count) => return Ok((count, window)),
        Err(error) if is_unreadable(&error) => {}
        Err(error) => return Err(error),
    }
    let mut got = 0;
    let mut block = Buffer::heap(BLOCK_BYTES);
    while got < wanted {
        let place = offset + got as u64;
        let (result, back) = disk.read(file, place, block, 0..BLOCK_BYTES).await;
        block = back;
        let out = &mut window.whole_mut()[got..got + BLOCK_BYTES];
        match result {
            Ok(BLOCK_BYTES) => out.copy_from_slice(&block.whole()[..BLOCK_BYTES]),
            Ok(_) => break,
            Err(error) if is_unreadable(&error) && unreadable.len() < UNREADABLE_BLOCKS_MAX => {
                unreadable.insert(place);
                out.fill(0);
            }
            Err(error) => return Err(error),
        }
        got += BLOCK_BYTES;
    }
    Ok((got, window))
}

/// The records of a batch, or `None` unless every one is whole and of this batch.
fn split_batch<'a>(bytes: &'a [u8], batch: &BatchHeader, offset: u32) -> Option<Vec<Scanned<'a>>> {
    let mut records = Vec::new();
    let mut at = BATCH_HEADER_BYTES;
    let mut digest = RecordsDigest::default();
    for _ in 0..batch.records {
        let (header, record) = split_record(bytes, at, batch.segment, offset)?;
        if !header.check_meta(record.meta) || !record.is_whole {
            return None;
        }
        digest.add(&header);
        records.push(record);
        at += header.record_bytes().next_multiple_of(RECORD_ALIGNMENT);
    }
    (digest.value() == batch.digest).then_some(records)
}

/// The record at `at` in the bytes of a batch that stands at `offset`; its meta is not verified.
fn split_record(
    bytes: &[u8],
    at: usize,
    segment: SegmentId,
    offset: u32,
) -> Option<(RecordHeader, Scanned<'_>)> {
    let header = RecordHeader::decode(bytes.get(at..)?).ok()?;
    let meta_at = at + RECORD_HEADER_BYTES;
    let payload_at = meta_at + header.meta_bytes as usize;
    let meta = bytes.get(meta_at..payload_at)?;
    let payload = bytes.get(payload_at..payload_at + header.payload_bytes as usize)?;
    let location = Location { segment, offset: offset + at as u32, length: header.record_bytes() as u32 };
    let is_whole = header.check_payload(payload);
    Some((header, Scanned { kind: header.kind, meta, payload, location, is_whole }))
}

/// Whether `bytes` begin with a header of which no more than a few bits were flipped. A block that belongs
/// elsewhere differs in its checksums alone by more.
fn differs_little(header: &[u8], bytes: &[u8]) -> bool {
    const BITS_MAX: u32 = 6;
    let flipped = header.iter().zip(bytes).map(|(one, other)| (one ^ other).count_ones());
    bytes.len() >= header.len() && flipped.sum::<u32>() <= BITS_MAX
}

/// Records of a damaged batch whose meta is whole, and whether those are all that there were.
///
/// Behind a record with damaged meta the next one is found by lengths that may be damaged too. Bytes that a
/// client stored could then pass for a record, so such ones only count if the whole batch adds up.
fn split_damaged<'a>(
    bytes: &'a [u8],
    head: Head<'_>,
    segment: SegmentId,
    offset: u32,
) -> (Vec<Scanned<'a>>, bool) {
    let batch = match head {
        Head::Whole(batch) => Some(batch),
        Head::Lost(_) | Head::Unknown => None,
    };
    let mut records = Vec::new();
    let mut at = BATCH_HEADER_BYTES;
    let mut digest = RecordsDigest::default();
    let mut count = 0;
    // Records before the first that is damaged.
    let mut certain = None;
    loop {
        let is_end = match batch {
            Some(batch) => count == batch.records,
            None => bytes.get(at..at + RECORD_HEADER_BYTES).is_none_or(|it| it.iter().all(|byte| *byte == 0)),
        };
        if is_end {
            break;
        }
        let Some((header, record)) = split_record(bytes, at, segment, offset) else {
            certain.get_or_insert(records.len());
            break;
        };
        digest.add(&header);
        if header.check_meta(record.meta) {
            records.push(record);
        } else {
            certain.get_or_insert(records.len());
        }
        count += 1;
        at += header.record_bytes().next_multiple_of(RECORD_ALIGNMENT);
    }
    let adds_up = match batch {
        Some(batch) => count == batch.records && at == batch.bytes as usize,
        None => count > 0 && at <= bytes.len() && bytes.len() - at < BLOCK_BYTES,
    };
    // One that came from another batch may be among them.
    let is_bound = match head {
        Head::Whole(batch) => batch.digest == digest.value(),
        Head::Lost(place) => {
            let whole = BatchHeader { bytes: at as u32, records: count, digest: digest.value(), ..*place };
            differs_little(&whole.encode(), bytes)
        }
        Head::Unknown => false,
    };
    if !(adds_up && is_bound) {
        records.truncate(certain.unwrap_or(0));
    }
    (records, adds_up && is_bound && certain.is_none())
}
