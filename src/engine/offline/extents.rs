//! Data segments: every extent that something refers to is there, within bounds, whole and its own; and what
//! nothing refers to is told.

use std::collections::BTreeMap;
use std::ops::Range;

use super::catalogue::Catalogue;
use super::logs::Context;
use super::reader::Reader;
use super::report::{Area, FindingId, Severity, Spot};
use super::walk::is_zero;
use super::{Progress, Stage};
use crate::base::crc32c;
use crate::base::limits::{BLOCK_BYTES, CHECKSUM_CHUNK_BYTES, OFFLINE_FINDINGS_MAX};
use crate::engine::extent::extent_blocks;
use crate::engine::format::segment::{ExtentTrailer, SegmentHeader, SegmentKind};
use crate::engine::format::{ExtentId, FileName, SegmentId};
use crate::io::Disk;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// An extent that something refers to.
#[derive(Clone, Copy, Debug)]
struct Extent {
    payload_bytes: u32,
    references: u64,
}

/// A run of an extent's payload that is damaged, until the objects are known that it is a part of.
type Damages = BTreeMap<ExtentId, Vec<(Range<u32>, FindingId)>>;

/// Counts references and checks every extent and data segment.
pub async fn check<D: Disk>(context: &mut Context<'_, D>, catalogue: &Catalogue) {
    let mut damages = Damages::new();
    let extents = count_references(context, catalogue, &mut damages);
    context.summary.extents = extents.len() as u64;
    let mut by_segment: BTreeMap<SegmentId, Vec<(ExtentId, Extent)>> = BTreeMap::new();
    for (id, extent) in extents {
        by_segment.entry(id.segment).or_default().push((id, extent));
    }
    let total = context.inventory.data.values().map(|placed| placed.file.bytes).sum();
    let mut done = 0;
    let inventory = context.inventory;
    for (id, placed) in &inventory.data {
        context.summary.data_segments += 1;
        context.summary.data_bytes_allocated += placed.file.bytes_allocated;
        let extents = by_segment.remove(id).unwrap_or_default();
        let mut segment = Segment { id: *id, drive: placed.drive, bytes: placed.file.bytes, done, total };
        let mut reader =
            match Reader::open(&context.disks[placed.drive], &placed.file.name, segment.bytes).await {
                Ok(reader) => reader,
                Err(error) => {
                    let finding = context.findings.unreadable(
                        Area::Data,
                        Spot::file(placed.drive, FileName::Data(*id)),
                        &error,
                    );
                    extents.iter().for_each(|(extent, _)| note(&mut damages, *extent, 0..u32::MAX, finding));
                    continue;
                }
            };
        check_header(context, &mut reader, &segment, !extents.is_empty()).await;
        check_segment(context, &mut reader, &mut segment, &extents, &mut damages).await;
        done += placed.file.bytes;
    }
    for (id, extents) in by_segment {
        let spot = Spot::file(0, FileName::Data(id));
        let expected = format!("a data segment in which {} extents are referred to", extents.len());
        let finding = context.findings.damage(Area::Data, spot, "there is no such file", expected);
        extents.iter().for_each(|(extent, _)| note(&mut damages, *extent, 0..u32::MAX, finding));
    }
    name_objects(context, catalogue, &damages);
}

/// A data segment being checked.
struct Segment {
    id: SegmentId,
    drive: usize,
    bytes: u64,
    done: u64,
    total: u64,
}

impl Segment {
    fn at(&self, offset: u64) -> Spot {
        Spot::at(self.drive, FileName::Data(self.id), offset)
    }
}

/// Remembers damage up to a limit: what it touches is found out at the end.
fn note(damages: &mut Damages, extent: ExtentId, range: Range<u32>, finding: FindingId) {
    if finding.is_some() && damages.len() < OFFLINE_FINDINGS_MAX * 16 {
        damages.entry(extent).or_default().push((range, finding));
    }
}

fn count_references<D: Disk>(
    context: &mut Context<'_, D>,
    catalogue: &Catalogue,
    damages: &mut Damages,
) -> BTreeMap<ExtentId, Extent> {
    let mut extents: BTreeMap<ExtentId, Extent> = BTreeMap::new();
    let mut references = 0;
    catalogue.for_each_slice(|slice, _| {
        references += 1;
        let known = extents
            .entry(slice.extent)
            .or_insert(Extent { payload_bytes: slice.extent_bytes, references: 0 });
        known.references += 1;
        if known.payload_bytes != slice.extent_bytes && !damages.contains_key(&slice.extent) {
            let drive = context.inventory.data.get(&slice.extent.segment).map_or(0, |it| it.drive);
            let offset = u64::from(slice.extent.block) * BLOCK;
            let finding = context.findings.damage(
                Area::Index,
                Spot::at(drive, FileName::Data(slice.extent.segment), offset),
                format!(
                    "an extent that is {} bytes long for one object and {} for another",
                    known.payload_bytes, slice.extent_bytes
                ),
                "all that share an extent agree on its length",
            );
            note(damages, slice.extent, 0..u32::MAX, finding);
        }
    });
    context.summary.references = references;
    extents
}

async fn check_header<D: Disk>(
    context: &mut Context<'_, D>,
    reader: &mut Reader<D>,
    segment: &Segment,
    is_used: bool,
) {
    let spot = segment.at(0);
    let block = match reader.bytes(0, BLOCK_BYTES).await {
        Ok(block) => block,
        Err(error) => {
            context.findings.unreadable(Area::Data, spot, &error);
            return;
        }
    };
    let expected = format!("the header of data segment {:08x}", segment.id);
    let header = SegmentHeader::decode(block);
    let found = match &header {
        Err(_) if !is_used && is_zero(block) => {
            let found = "no header, and nothing refers to it: it was being made when the node ended";
            let meaning = "nothing; the next start removes it";
            context.findings.add(Severity::Note, Area::Data, spot, found, meaning);
            return;
        }
        Err(_) => "the header is damaged".to_owned(),
        Ok(header) if header.kind != SegmentKind::Data => "the header of a log segment".to_owned(),
        Ok(header) if header.id != segment.id => format!("the header of data segment {:08x}", header.id),
        Ok(header) if context.identity.is_some_and(|it| it.node != header.node) => {
            "the header of another node's segment".to_owned()
        }
        Ok(header) if header.bytes != segment.bytes && is_used => {
            let found = format!("a file of {} bytes", segment.bytes);
            context.findings.damage(Area::Data, spot, found, format!("{} bytes", header.bytes));
            return;
        }
        Ok(_) => return,
    };
    context.findings.damage(Area::Data, spot, found, expected);
}

async fn check_segment<D: Disk>(
    context: &mut Context<'_, D>,
    reader: &mut Reader<D>,
    segment: &mut Segment,
    extents: &[(ExtentId, Extent)],
    damages: &mut Damages,
) {
    let mut next = 1;
    let mut leak = Leak::default();
    for (id, extent) in extents {
        let (block, blocks) = (u64::from(id.block), u64::from(extent_blocks(extent.payload_bytes)));
        context.summary.data_bytes_live += blocks * BLOCK;
        (context.progress)(Progress {
            stage: Stage::Data,
            done: segment.done + (block * BLOCK).min(segment.bytes),
            total: segment.total,
        });
        let spot = segment.at(block * BLOCK);
        if block < next {
            let found = "an extent that begins within another, or within the header";
            let finding = context.findings.damage(Area::Index, spot, found, "extents that lie apart");
            note(damages, *id, 0..u32::MAX, finding);
        } else if (block + blocks) * BLOCK > segment.bytes {
            let found = format!("the file ends at {}", segment.bytes);
            let expected = format!("an extent that ends at {}", (block + blocks) * BLOCK);
            let finding = context.findings.damage(Area::Data, spot, found, expected);
            note(damages, *id, 0..u32::MAX, finding);
        } else {
            look_for_leaks(context, reader, segment, next..block, &mut leak).await;
            check_extent(context, reader, segment, *id, extent, damages).await;
        }
        next = next.max(block + blocks);
    }
    look_for_leaks(context, reader, segment, next..segment.bytes / BLOCK, &mut leak).await;
    if leak.extents > 0 {
        context.findings.add(
            Severity::Warning,
            Area::Data,
            segment.at(leak.first),
            format!("{} extents of {} bytes that nothing refers to", leak.extents, leak.bytes),
            "space that is free: uploads that were cut off leave them, and the next start frees them",
        );
    }
}

/// Reads an extent's checksum block and, unless the check is a quick one, everything that it covers.
async fn check_extent<D: Disk>(
    context: &mut Context<'_, D>,
    reader: &mut Reader<D>,
    segment: &Segment,
    id: ExtentId,
    extent: &Extent,
    damages: &mut Damages,
) {
    let start = u64::from(id.block) * BLOCK;
    let payload = u64::from(extent.payload_bytes);
    let trailer_at = start + payload.next_multiple_of(BLOCK);
    let times = match extent.references {
        1 => "an extent that is referred to".to_owned(),
        count => format!("an extent that is referred to {count} times"),
    };
    let trailer = match reader.bytes(trailer_at, BLOCK_BYTES).await {
        Ok(block) => {
            let found = describe_trailer(block);
            ExtentTrailer::decode(block, id, extent.payload_bytes).map_err(|_| {
                let spot = segment.at(trailer_at);
                let expected =
                    format!("the checksum block of {times}, {payload} bytes long, at offset {start}");
                context.findings.damage(Area::Data, spot, found, expected)
            })
        }
        Err(error) => Err(context.findings.unreadable(Area::Data, segment.at(trailer_at), &error)),
    };
    let trailer = match trailer {
        Ok(trailer) => trailer,
        Err(finding) => return note(damages, id, 0..u32::MAX, finding),
    };
    if context.options.quick {
        return;
    }
    for (number, checksum) in trailer.checksums.iter().enumerate() {
        let at = number as u64 * CHECKSUM_CHUNK_BYTES as u64;
        let count = (payload - at).min(CHECKSUM_CHUNK_BYTES as u64);
        let range = at as u32..(at + count) as u32;
        let finding = match reader.bytes(start + at, count as usize).await {
            Ok(bytes) => {
                context.summary.data_bytes_verified += count;
                let actual = crc32c::crc32c(bytes);
                if actual == *checksum && bytes.len() as u64 == count {
                    continue;
                }
                let zeros = if is_zero(bytes) { ", all zeros" } else { "" };
                let found = format!("{count} bytes of payload with checksum {actual:08x}{zeros}");
                let expected = format!("checksum {checksum:08x}, as the extent's checksum block says");
                context.findings.damage(Area::Data, segment.at(start + at), found, expected)
            }
            Err(error) => context.findings.unreadable(Area::Data, segment.at(start + at), &error),
        };
        note(damages, id, range, finding);
    }
}

/// What stands where a checksum block should.
fn describe_trailer(block: &[u8]) -> String {
    if is_zero(block) {
        return "zeros: the space was freed, or never written".to_owned();
    }
    match ExtentTrailer::read(block) {
        Ok(other) => format!(
            "the checksum block of the extent at block {} of data segment {:08x}, {} bytes long",
            other.extent.block, other.extent.segment, other.payload_bytes
        ),
        Err(_) => "no valid checksum block".to_owned(),
    }
}

/// Extents of a segment that nothing refers to.
#[derive(Default)]
struct Leak {
    extents: u64,
    bytes: u64,
    first: u64,
}

/// Looks for extents in space that nothing refers to.
async fn look_for_leaks<D: Disk>(
    context: &mut Context<'_, D>,
    reader: &mut Reader<D>,
    segment: &Segment,
    gap: Range<u64>,
    leak: &mut Leak,
) {
    if context.options.quick {
        return;
    }
    for block in gap {
        let Ok(bytes) = reader.bytes(block * BLOCK, BLOCK_BYTES).await else { continue };
        let Ok(trailer) = ExtentTrailer::read(bytes) else { continue };
        let begin = block.checked_sub(u64::from(extent_blocks(trailer.payload_bytes)) - 1);
        if trailer.extent.segment != segment.id || begin != Some(trailer.extent.block.into()) {
            continue;
        }
        if leak.extents == 0 {
            leak.first = u64::from(trailer.extent.block) * BLOCK;
        }
        leak.extents += 1;
        leak.bytes += u64::from(trailer.payload_bytes);
    }
}

/// Tells findings which objects they touch, in one walk over everything.
fn name_objects<D: Disk>(context: &mut Context<'_, D>, catalogue: &Catalogue, damages: &Damages) {
    if damages.is_empty() {
        return;
    }
    catalogue.for_each_slice(|slice, name| {
        for (range, finding) in damages.get(&slice.extent).into_iter().flatten() {
            if slice.start < range.end && slice.start.saturating_add(slice.length) > range.start {
                context.findings.touch(*finding, name());
            }
        }
    });
}
