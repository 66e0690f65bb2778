//! What lies in the files of a node, for a person to look at: nothing is judged but what must be to read on.

use std::collections::BTreeMap;

use super::describe::{Described, describe};
use super::image::{Fault, read_chunk, read_entries, read_header};
use super::reader::Reader;
use super::walk::{Gap, Step, Walk, is_zero, walk};
use crate::base::limits::BLOCK_BYTES;
use crate::engine::SUPERBLOCK_NAMES;
use crate::engine::format::checkpoint::{CHUNK_HEADER_BYTES, CheckpointEntry, CheckpointHeader};
use crate::engine::format::codec::Decoder;
use crate::engine::format::record::{RECORD_HEADER_BYTES, Record};
use crate::engine::format::segment::{
    BATCH_HEADER_BYTES, BatchHeader, ExtentTrailer, SegmentHeader, log_end,
};
use crate::engine::format::superblock::Superblock;
use crate::engine::format::{FileName, Location};
use crate::engine::types::BucketId;
use crate::io::{Disk, FileEntry};

/// Why something cannot be shown, in a sentence.
type Why = String;

/// A file on one of the drives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub drive: usize,
    pub name: FileName,
    pub bytes: u64,
    pub bytes_allocated: u64,
}

/// The engine's files on all drives, in order of name.
pub fn files<D: Disk>(disks: &[D]) -> Result<Vec<File>, Why> {
    let mut found = Vec::new();
    for (drive, disk) in disks.iter().enumerate() {
        let files = disk.list().map_err(|error| format!("drive {drive} cannot be listed: {error}"))?;
        for FileEntry { name, bytes, bytes_allocated } in files {
            if let Some(name) = FileName::parse(&name) {
                found.push(File { drive, name, bytes, bytes_allocated });
            }
        }
    }
    found.sort_by_key(|file| (file.name, file.drive));
    Ok(found)
}

/// The superblocks of all drives, or what is wrong with them.
pub async fn superblocks<D: Disk>(disks: &[D]) -> Vec<(usize, &'static str, Result<Superblock, Why>)> {
    let mut found = Vec::new();
    for (drive, disk) in disks.iter().enumerate() {
        for name in SUPERBLOCK_NAMES {
            let read = async {
                let mut reader = Reader::open(disk, name, BLOCK_BYTES as u64).await.map_err(text)?;
                Superblock::decode(reader.bytes(0, BLOCK_BYTES).await.map_err(text)?)
            };
            found.push((drive, name, read.await));
        }
    }
    found
}

fn text(error: std::io::Error) -> Why {
    error.to_string()
}

async fn open<D: Disk>(disks: &[D], file: &File) -> Result<Reader<D>, Why> {
    Reader::open(&disks[file.drive], &file.name.to_string(), file.bytes).await.map_err(text)
}

/// The header of a segment, or its copy where a log segment has one.
pub async fn segment_header<D: Disk>(disks: &[D], file: &File) -> Result<SegmentHeader, Why> {
    let mut reader = open(disks, file).await?;
    header_of(&mut reader, file).await
}

async fn header_of<D: Disk>(reader: &mut Reader<D>, file: &File) -> Result<SegmentHeader, Why> {
    let block = reader.bytes(0, BLOCK_BYTES).await.map_err(text)?;
    if let Ok(header) = SegmentHeader::decode(block) {
        return Ok(header);
    }
    let zeros = is_zero(block);
    if matches!(file.name, FileName::Log(_)) && file.bytes >= 2 * BLOCK_BYTES as u64 {
        let copy = reader.bytes(log_end(file.bytes), BLOCK_BYTES).await.map_err(text)?;
        if let Ok(header) = SegmentHeader::decode(copy) {
            return Ok(header);
        }
    }
    Err(if zeros { "no header: zeros" } else { "its header is damaged" }.to_owned())
}

/// What stands in a log segment, line by line.
pub enum Line {
    Batch {
        header: BatchHeader,
        offset: u32,
    },
    Record(Described),
    /// A record that is damaged or makes no sense, and what it says all the same.
    Broken {
        location: Location,
        what: String,
        perhaps: Option<Described>,
    },
    /// A stretch that holds nothing that can be read; at the end of the log, what a crash may have torn.
    Gap {
        gap: Gap,
        is_tail: bool,
    },
}

/// Visits everything in a log segment, in its order; gaps come last.
pub async fn log<D: Disk>(disks: &[D], file: &File, visit: &mut dyn FnMut(Line)) -> Result<Walk, Why> {
    let mut reader = open(disks, file).await?;
    let header = header_of(&mut reader, file).await?;
    let mut show = |step: Step<'_>| {
        visit(match step {
            Step::Batch { header, offset } => Line::Batch { header: *header, offset },
            Step::Record { record, location } => Line::Record(describe(&record, location)),
            Step::Unreadable { kind, location } => {
                let what = format!("a record of kind {kind} that makes no sense");
                Line::Broken { location, what, perhaps: None }
            }
            Step::Broken { location, what, perhaps } => Line::Broken {
                location,
                what: what.to_owned(),
                perhaps: perhaps.map(|record| describe(&record, location)),
            },
        });
    };
    let walked = walk(&mut reader, &header, BLOCK_BYTES as u32, None, &mut show).await.map_err(text)?;
    walked.gaps.iter().for_each(|gap| visit(Line::Gap { gap: *gap, is_tail: false }));
    walked.tail.iter().for_each(|gap| visit(Line::Gap { gap: *gap, is_tail: true }));
    Ok(walked)
}

/// Visits the checksum blocks of a data segment that are whole, with their offsets: those of extents that
/// are in use, and of some that are not any more.
pub async fn data<D: Disk>(
    disks: &[D],
    file: &File,
    visit: &mut dyn FnMut(u64, ExtentTrailer),
) -> Result<(), Why> {
    let mut reader = open(disks, file).await?;
    for block in 1..file.bytes / BLOCK_BYTES as u64 {
        let offset = block * BLOCK_BYTES as u64;
        // A sector that cannot be read hides its own block only.
        if let Ok(bytes) = reader.bytes(offset, BLOCK_BYTES).await
            && let Ok(trailer) = ExtentTrailer::read(bytes)
        {
            visit(offset, trailer);
        }
    }
    Ok(())
}

/// How much of each kind a checkpoint holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// Entries and their bytes, by kind.
    pub kinds: BTreeMap<&'static str, (u64, u64)>,
    /// Versions and uploads, by bucket.
    pub buckets: BTreeMap<BucketId, (u64, u64)>,
    /// Why it cannot be read to its end.
    pub fault: Option<(u64, String)>,
}

/// Reads a checkpoint as far as it goes.
pub async fn checkpoint<D: Disk>(disks: &[D], file: &File) -> Result<(CheckpointHeader, Tables), Why> {
    let mut reader = open(disks, file).await?;
    let header = read_header(&mut reader, file.name, None).await.map_err(|fault| fault.to_string())?;
    let mut tables = Tables::default();
    let mut count = |entry: CheckpointEntry, bytes: usize| {
        let kind = match &entry {
            CheckpointEntry::Bucket { .. } => "buckets",
            CheckpointEntry::Config { .. } => "configuration",
            CheckpointEntry::Event { .. } => "events",
            CheckpointEntry::Rename { .. } => "renames",
            CheckpointEntry::Object { bucket, .. } => {
                tables.buckets.entry(*bucket).or_default().0 += 1;
                "versions"
            }
            CheckpointEntry::Upload { bucket, .. } => {
                tables.buckets.entry(*bucket).or_default().1 += 1;
                "uploads"
            }
        };
        let sum = tables.kinds.entry(kind).or_default();
        (sum.0, sum.1) = (sum.0 + 1, sum.1 + bytes as u64);
    };
    let read = read_entries(&mut reader, &header, &mut count).await;
    if let Err(fault) = read {
        let offset = if let Fault::Bad { offset, .. } = &fault { *offset } else { 0 };
        tables.fault = Some((offset, fault.to_string()));
    }
    Ok((header, tables))
}

/// Names of buckets, as far as they can be had: from the newest checkpoints of core 0, and from its log.
/// With `all` from the whole log, so that buckets are known that were deleted since.
pub async fn bucket_names<D: Disk>(disks: &[D], all: bool) -> Result<BTreeMap<BucketId, String>, Why> {
    let files = files(disks)?;
    let mut names = BTreeMap::new();
    let mut from = 0;
    for file in files.iter().filter(|it| matches!(it.name, FileName::Checkpoint { shard: 0, .. })) {
        if let Ok(position) = names_of_checkpoint(disks, file, &mut names).await {
            from = position;
        }
    }
    for file in &files {
        let FileName::Log(id) = file.name else { continue };
        let Ok(header) = segment_header(disks, file).await else { continue };
        if all || (header.shard == 0 && id >= from) {
            let mut take = |step: Step<'_>| {
                if let Step::Record { record: Record::BucketPut(bucket), .. } = step {
                    names.insert(bucket.id, bucket.name);
                }
            };
            if let Ok(mut reader) = open(disks, file).await {
                let _ = walk(&mut reader, &header, BLOCK_BYTES as u32, None, &mut take).await;
            }
        }
    }
    Ok(names)
}

/// Takes the names of buckets, which come first, out of a checkpoint; returns the segment it continues from.
async fn names_of_checkpoint<D: Disk>(
    disks: &[D],
    file: &File,
    names: &mut BTreeMap<BucketId, String>,
) -> Result<u32, Why> {
    let say = |fault: Fault| fault.to_string();
    let mut reader = open(disks, file).await?;
    let header = read_header(&mut reader, file.name, None).await.map_err(say)?;
    let mut offset = BLOCK_BYTES as u64;
    for number in 0..header.chunks {
        let (chunk, bytes) = read_chunk(&mut reader, &header, number, offset).await.map_err(say)?;
        let mut from = Decoder::new(chunk);
        while !from.is_empty() {
            match super::image::entry_of(&mut from) {
                Some(CheckpointEntry::Bucket { bucket, .. }) => drop(names.insert(bucket.id, bucket.name)),
                _ => return Ok(header.position.segment),
            }
        }
        offset += bytes;
    }
    Ok(header.position.segment)
}

/// A byte of a file, shown or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Byte {
    /// Part of a structure.
    Shown(u8),
    /// Zero, wherever it stands.
    Zero,
    /// Part of what clients or administrators stored.
    Hidden,
}

/// Bytes before and behind the place that was asked for.
const DUMP_BEFORE: u64 = 128;
const DUMP_BEHIND: u64 = 384;

/// The bytes around `offset`: of headers and checksum blocks as they are. Of everything else only whether it is
/// zero, so that no secret is shown.
pub async fn dump<D: Disk>(disks: &[D], file: &File, offset: u64) -> Result<(u64, Vec<Byte>), Why> {
    let start = (offset - offset % 16).saturating_sub(DUMP_BEFORE);
    let mut spans = vec![(0, 80)];
    match file.name {
        FileName::Log(_) => {
            let mut add = |at: u32, length: usize| spans.push((u64::from(at), length as u64));
            let mut visit = |line: Line| match line {
                Line::Batch { offset, .. } => add(offset, BATCH_HEADER_BYTES),
                Line::Record(record) => add(record.location.offset, RECORD_HEADER_BYTES),
                Line::Broken { location, .. } => add(location.offset, RECORD_HEADER_BYTES),
                Line::Gap { gap, .. } => add(gap.from, BATCH_HEADER_BYTES),
            };
            let _ = log(disks, file, &mut visit).await;
        }
        FileName::Data(_) => {
            data(disks, file, &mut |at, trailer| spans.push((at, 64 + 4 * trailer.checksums.len() as u64)))
                .await?;
        }
        _ => {
            let mut reader = open(disks, file).await?;
            if let Ok(header) = read_header(&mut reader, file.name, None).await {
                let mut at = BLOCK_BYTES as u64;
                for number in 0..header.chunks {
                    spans.push((at, CHUNK_HEADER_BYTES as u64));
                    let Ok((_, bytes)) = read_chunk(&mut reader, &header, number, at).await else { break };
                    at += bytes;
                }
            }
        }
    }
    let end = offset.saturating_add(DUMP_BEHIND);
    spans.retain(|(at, length)| *at < end && at + length > start);
    let mut reader = open(disks, file).await?;
    let bytes = reader.bytes(start, (end - start) as usize).await.map_err(text)?;
    let show = |(at, byte): (u64, &u8)| match byte {
        byte if spans.iter().any(|(from, length)| (*from..from + length).contains(&at)) => Byte::Shown(*byte),
        0 => Byte::Zero,
        _ => Byte::Hidden,
    };
    Ok((start, (start..).zip(bytes).map(show).collect()))
}
