//! The logs: every segment read to its end, batches held against the order in which they were written, and
//! what is missing told from what was torn by a crash.

use std::collections::{BTreeMap, BTreeSet};

use super::catalogue::{Catalogue, object_of};
use super::inventory::{Identity, Inventory, Placed};
use super::reader::Reader;
use super::report::{Area, FindingId, Findings, ObjectName, Severity, Spot, Summary};
use super::walk::{Gap, GapKind, PAYLOAD_DAMAGED, Step, Walk, is_zero, walk};
use super::{Options, Progress, Stage};
use crate::base::limits::BLOCK_BYTES;
use crate::engine::format::segment::{SegmentHeader, SegmentKind};
use crate::engine::format::{FileName, Location, SegmentId};
use crate::engine::log::LogPosition;
use crate::io::Disk;

/// Generation and core of a log.
pub type ChainId = (u32, u32);

/// A log segment with a valid header.
#[derive(Clone, Debug)]
pub struct Segment {
    pub drive: usize,
    pub bytes: u64,
    pub header: SegmentHeader,
}

/// A stretch of the log that cannot be read.
#[derive(Clone, Copy, Debug)]
pub struct Hole {
    pub segment: SegmentId,
    pub from: u32,
    pub to: u32,
    pub finding: FindingId,
}

/// What the logs are, and what is wrong with them.
#[derive(Default)]
pub struct Logs {
    pub segments: BTreeMap<SegmentId, Segment>,
    pub chains: BTreeMap<ChainId, Vec<SegmentId>>,
    pub holes: Vec<Hole>,
    /// Logs that something is missing from: what they say in sum cannot be relied on.
    pub damaged: BTreeSet<ChainId>,
    /// Where each log ends.
    pub ends: BTreeMap<ChainId, LogPosition>,
    /// Sequences of the batches that checkpoints name, by their places, as far as they are there.
    pub named: BTreeMap<(SegmentId, u32), Option<u64>>,
}

impl Logs {
    /// The hole that a place of the log lies in.
    pub fn hole_at(&self, location: Location) -> Option<&Hole> {
        self.holes.iter().find(|hole| {
            hole.segment == location.segment
                && location.offset < hole.to
                && location.offset.saturating_add(location.length) > hole.from
        })
    }

    pub fn is_damaged(&self) -> bool {
        !self.damaged.is_empty()
    }

    /// The segments of a log from a position on.
    pub fn chain_from(&self, chain: ChainId, from: SegmentId) -> Vec<SegmentId> {
        let ids = self.chains.get(&chain).map_or(&[][..], Vec::as_slice);
        ids.iter().copied().filter(|id| *id >= from).collect()
    }
}

/// What reading the logs needs and fills.
pub struct Context<'a, D: Disk> {
    pub disks: &'a [D],
    pub options: &'a Options<'a>,
    pub inventory: &'a Inventory,
    pub identity: Option<Identity>,
    pub findings: &'a mut Findings,
    pub summary: &'a mut Summary,
    pub progress: &'a mut dyn FnMut(Progress),
    /// Cores whose keys are given up with a drive: what other drives have of them does not count.
    pub cores_lost: BTreeSet<usize>,
}

/// Reads the headers of all log segments and sorts them by whose they are.
pub async fn open<D: Disk>(context: &mut Context<'_, D>) -> Logs {
    let mut logs = Logs::default();
    for (id, placed) in &context.inventory.logs {
        context.summary.log_segments += 1;
        let Some(header) = open_one(context, &mut logs, *id, placed).await else { continue };
        let chain = (header.generation, header.shard);
        logs.chains.entry(chain).or_default().push(*id);
        logs.segments.insert(*id, Segment { drive: placed.drive, bytes: placed.file.bytes, header });
    }
    logs
}

/// Reads the header of a segment, and its copy in the last block.
async fn open_one<D: Disk>(
    context: &mut Context<'_, D>,
    logs: &mut Logs,
    id: SegmentId,
    placed: &Placed,
) -> Option<SegmentHeader> {
    let name = FileName::Log(id);
    let spot = Spot::at(placed.drive, name, 0);
    let length = placed.file.bytes;
    let copy_at = (length - length % BLOCK_BYTES as u64).saturating_sub(BLOCK_BYTES as u64);
    let read = async {
        let mut reader = Reader::open(&context.disks[placed.drive], &placed.file.name, length).await?;
        let node = context.identity.map(|identity| identity.node);
        let mut headers = [Err(String::new()), Err(String::new())];
        for (header, offset) in headers.iter_mut().zip([0, copy_at]) {
            *header = match reader.bytes(offset, BLOCK_BYTES).await {
                Ok(block) => header_of(block, id, node),
                Err(error) => Err(format!("it cannot be read: {error}")),
            };
        }
        let is_used = !is_zero(reader.bytes(BLOCK_BYTES as u64, BLOCK_BYTES).await?);
        Ok::<_, std::io::Error>((headers, is_used))
    };
    let ([header, copy], is_used) = match read.await {
        Ok(read) => read,
        Err(error) => {
            let finding = context.findings.unreadable(Area::Log, spot, &error);
            logs.holes.push(Hole { segment: id, from: 0, to: u32::MAX, finding });
            return None;
        }
    };
    if header.is_err() && !is_used {
        let found = "no header, and nothing behind it: it was being made when the node ended";
        let meaning = "nothing; the next start removes it";
        context.findings.add(Severity::Note, Area::Log, spot, found, meaning);
        return None;
    }
    let expected = format!("the header of log segment {id:08x}");
    match (header, copy) {
        (Ok(header), copy) => {
            let copy =
                copy.and_then(|copy| if copy == header { Ok(()) } else { Err("another one".to_owned()) });
            // A file that is cut has lost it, which is told of the file.
            if let Err(why) = copy
                && header.bytes == length
            {
                let expected = "the copy of the segment's header";
                context.findings.damage(Area::Log, Spot::at(placed.drive, name, copy_at), why, expected);
            }
            check_header(context, &header, spot);
            Some(header)
        }
        (Err(why), Ok(copy)) => {
            context.findings.damage(Area::Log, spot.clone(), why, format!("{expected}; its copy is whole"));
            check_header(context, &copy, spot);
            Some(copy)
        }
        (Err(why), Err(_)) => {
            let finding = context.findings.damage(Area::Log, spot, why, expected);
            logs.holes.push(Hole { segment: id, from: 0, to: u32::MAX, finding });
            None
        }
    }
}

/// The header of segment `id`, or what a block is instead.
fn header_of(block: &[u8], id: SegmentId, node: Option<[u8; 16]>) -> Result<SegmentHeader, String> {
    let header = SegmentHeader::decode(block).map_err(|_| match is_zero(block) {
        true => "zeros".to_owned(),
        false => "no valid header".to_owned(),
    })?;
    if header.kind != SegmentKind::Log {
        Err("the header of a data segment".to_owned())
    } else if header.id != id {
        Err(format!("the header of log segment {:08x}", header.id))
    } else if node.is_some_and(|node| node != header.node) {
        Err("the header of another node's segment".to_owned())
    } else {
        Ok(header)
    }
}

/// Whether a header agrees with the newest superblock.
fn check_header<D: Disk>(context: &mut Context<'_, D>, header: &SegmentHeader, spot: Spot) {
    let Some(identity) = context.identity else { return };
    if header.epoch > identity.epoch || header.generation > identity.generation {
        context.findings.damage(
            Area::Log,
            spot,
            format!("it is of start {} and generation {}", header.epoch, header.generation),
            format!("at most start {} and generation {}", identity.epoch, identity.generation),
        );
    } else if header.generation == identity.generation && header.id % identity.cores != header.shard {
        context.findings.damage(
            Area::Log,
            spot,
            format!("it is of core {}", header.shard),
            format!("core {} makes segments of this number", header.id % identity.cores),
        );
    }
}

/// Reads all logs in the order in which they were written and applies them to `catalogue`.
pub async fn read_all<D: Disk>(context: &mut Context<'_, D>, logs: &mut Logs, catalogue: &mut Catalogue) {
    let chains: Vec<ChainId> = logs.chains.keys().copied().collect();
    let total = logs.segments.values().map(|segment| segment.bytes).sum();
    let mut done = 0;
    for chain in chains {
        read_chain(context, logs, catalogue, chain, &mut done, total).await;
    }
}

async fn read_chain<D: Disk>(
    context: &mut Context<'_, D>,
    logs: &mut Logs,
    catalogue: &mut Catalogue,
    chain: ChainId,
    done: &mut u64,
    total: u64,
) {
    let ids = logs.chains[&chain].clone();
    let mut end = LogPosition { sequence: 1, ..LogPosition::default() };
    // What stands behind the last batch so far: torn, unless a later segment says otherwise.
    let mut tails: Vec<(SegmentId, Gap)> = Vec::new();
    for id in ids {
        let segment = logs.segments[&id].clone();
        (context.progress)(Progress { stage: Stage::Logs, done: *done, total });
        *done += segment.bytes;
        let Some(walked) = read_segment(context, logs, catalogue, id, &segment).await else {
            logs.damaged.insert(chain);
            continue;
        };
        let Walk { first, last, end: segment_end, tail, .. } = walked;
        if let Some((batch, offset)) = first {
            let link = (batch.previous_segment, batch.previous_offset, batch.sequence);
            if link != (end.previous_segment, end.previous_offset, end.sequence) {
                broken_link(context, logs, chain, &end, (id, offset), link, &mut tails);
            }
        }
        if let Some((batch, offset)) = last {
            report_tails(context, &mut tails);
            end = LogPosition {
                segment: id,
                offset: segment_end,
                sequence: batch.sequence.saturating_add(1),
                previous_segment: id,
                previous_offset: offset,
            };
            context.summary.log_bytes += u64::from(segment_end);
        }
        tails.extend(tail.map(|tail| (id, tail)));
        let is_cut = segment.bytes < segment.header.bytes;
        // Also of one that seems unused: what stood behind the cut is gone.
        if is_cut {
            let spot = Spot::at(segment.drive, FileName::Log(id), segment.bytes);
            let found = format!("the file ends after {} bytes", segment.bytes);
            context.findings.damage(Area::Log, spot, found, format!("{} bytes", segment.header.bytes));
            let finding = None;
            logs.holes.push(Hole { segment: id, from: segment.bytes as u32, to: u32::MAX, finding });
        }
    }
    report_tails(context, &mut tails);
    logs.ends.insert(chain, end);
}

/// Reads one segment; `None` if it could not be read to its end.
async fn read_segment<D: Disk>(
    context: &mut Context<'_, D>,
    logs: &mut Logs,
    catalogue: &mut Catalogue,
    id: SegmentId,
    segment: &Segment,
) -> Option<Walk> {
    let name = FileName::Log(id);
    let mut broken: Vec<(Location, String, Option<ObjectName>)> = Vec::new();
    let mut unreadable: Vec<(u8, Location)> = Vec::new();
    let mut senseless: Vec<(String, Location, Option<ObjectName>)> = Vec::new();
    let examine = context.options.examine;
    let named = &mut logs.named;
    let mut visit = |step: Step<'_>| match step {
        Step::Batch { header, offset } => {
            if let Some(slot) = named.get_mut(&(id, offset)) {
                *slot = Some(header.sequence);
            }
        }
        Step::Record { record, location } => {
            if let Some(why) = examine(&record) {
                senseless.push((why, location, object_of(&record)));
            }
            catalogue.apply(record, location);
        }
        Step::Unreadable { kind, location } => unreadable.push((kind, location)),
        Step::Broken { location, what, perhaps } => {
            let object = perhaps.as_ref().and_then(object_of);
            // The description is whole if only the payload is damaged; else what it says is a guess.
            broken.push(match object {
                Some(object) if what != PAYLOAD_DAMAGED => {
                    let key = String::from_utf8_lossy(&object.key).escape_debug().to_string();
                    (location, format!("{what} (perhaps of the key \"{key}\")"), None)
                }
                object => (location, what.to_owned(), object),
            });
        }
    };
    let disk = &context.disks[segment.drive];
    let walked = async {
        let mut reader = Reader::open(disk, &name.to_string(), segment.bytes).await?;
        walk(&mut reader, &segment.header, BLOCK_BYTES as u32, None, &mut visit).await
    };
    let walked = walked.await;
    for (kind, location) in unreadable {
        context.findings.damage(
            Area::Log,
            Spot::at(segment.drive, name, location.offset.into()),
            format!("a record of kind {kind} whose checksums hold, and which makes no sense"),
            "a record as docs/FORMAT.md has it; the node does not start on it",
        );
    }
    for (why, location, object) in senseless {
        let spot = Spot::at(segment.drive, name, location.offset.into());
        let finding = context.findings.damage(Area::Index, spot, why, "what the object's own record says");
        object.into_iter().for_each(|object| context.findings.touch(finding, object));
    }
    match walked {
        Ok(walked) => {
            context.summary.log_batches += walked.batches;
            context.summary.log_records += walked.records;
            for gap in &walked.gaps {
                let finding = report_gap(context, segment, id, gap, &broken);
                logs.holes.push(Hole { segment: id, from: gap.from, to: gap.to.max(gap.from + 1), finding });
                logs.damaged.insert((segment.header.generation, segment.header.shard));
            }
            Some(walked)
        }
        Err(error) => {
            let finding = context.findings.unreadable(Area::Log, Spot::file(segment.drive, name), &error);
            logs.holes.push(Hole { segment: id, from: 0, to: u32::MAX, finding });
            None
        }
    }
}

/// Says what is wrong in the midst of a segment.
fn report_gap<D: Disk>(
    context: &mut Context<'_, D>,
    segment: &Segment,
    id: SegmentId,
    gap: &Gap,
    broken: &[(Location, String, Option<ObjectName>)],
) -> FindingId {
    let here = broken.iter().filter(|(at, _, _)| (gap.from..gap.to).contains(&at.offset));
    let records: Vec<_> = here.collect();
    let found = match (gap.what, records.first()) {
        (GapKind::Records { sequence }, Some((at, what, _))) => {
            let more = if records.len() > 1 { ", and others" } else { "" };
            format!("batch {sequence} is damaged: of the record at offset {} {what}{more}", at.offset)
        }
        (GapKind::Records { sequence }, None) => {
            format!("batch {sequence} has records that are not its own")
        }
        (GapKind::Header, _) => "no valid header of a batch".to_owned(),
        (GapKind::Sequence { found, .. }, _) => format!("batch {found}"),
    };
    let expected = match gap.what {
        GapKind::Sequence { expected, found } if found < expected => {
            format!("batch {expected} or the end of the log: an earlier batch was written here by mistake")
        }
        GapKind::Sequence { expected, .. } => format!("batch {expected}: batches are missing"),
        _ => format!("a whole batch: the log goes on at offset {}", gap.to),
    };
    let spot = Spot::at(segment.drive, FileName::Log(id), gap.from.into());
    let finding = context.findings.damage(Area::Log, spot, found, expected);
    for (_, _, object) in records {
        object.iter().for_each(|object| context.findings.touch(finding, object.clone()));
    }
    finding
}

/// The first batch of a segment does not name the batch at which the log before it ended.
fn broken_link<D: Disk>(
    context: &mut Context<'_, D>,
    logs: &mut Logs,
    chain: ChainId,
    end: &LogPosition,
    (id, offset): (SegmentId, u32),
    (named, named_offset, sequence): (SegmentId, u32, u64),
    tails: &mut Vec<(SegmentId, Gap)>,
) {
    let is_current = context.identity.is_none_or(|identity| identity.generation == chain.0);
    let is_begin = end.previous_segment == 0;
    let is_gone = !context.inventory.logs.contains_key(&named);
    // The cleaner removes the oldest segments; of earlier generations each core those that it cares for.
    if is_gone && (is_begin || !is_current) && sequence >= end.sequence && named != 0 {
        return;
    }
    logs.damaged.insert(chain);
    if logs.holes.iter().any(|hole| hole.segment == named && (hole.from..hole.to).contains(&named_offset)) {
        return;
    }
    let drive = logs.segments[&id].drive;
    if is_gone && named != 0 {
        missing_segment(context, logs, drive, named);
        return;
    }
    // What looked torn is what the log went on behind.
    let torn = tails.iter().position(|(segment, gap)| *segment == named && gap.from <= named_offset);
    let torn = torn.map(|at| tails.swap_remove(at).1);
    let (at, drive) = match logs.segments.get(&named) {
        Some(segment) => (named_offset.min(end_in(end, named)), segment.drive),
        None => (named_offset, drive),
    };
    let found = match torn.map(|gap| gap.what) {
        Some(GapKind::Records { sequence }) => format!("batch {sequence} is damaged"),
        _ => "no whole batch".to_owned(),
    };
    let finding = context.findings.damage(
        Area::Log,
        Spot::at(drive, FileName::Log(named), at.into()),
        found,
        format!(
            "batch {}, behind which the log goes on in {} at offset {offset}",
            sequence.saturating_sub(1),
            FileName::Log(id)
        ),
    );
    logs.holes.push(Hole { segment: named, from: at, to: u32::MAX, finding });
}

/// Where the log is known to end in a segment.
fn end_in(end: &LogPosition, segment: SegmentId) -> u32 {
    if end.segment == segment { end.offset } else { u32::MAX }
}

/// Notes that a segment is gone that something refers to. Once for each.
pub fn missing_segment<D: Disk>(
    context: &mut Context<'_, D>,
    logs: &mut Logs,
    drive: usize,
    id: SegmentId,
) -> FindingId {
    if let Some(hole) = logs.holes.iter().find(|hole| hole.segment == id && hole.from == 0) {
        return hole.finding;
    }
    let spot = Spot::file(drive, FileName::Log(id));
    let expected = "a segment of the log that what follows refers to";
    let finding = context.findings.damage(Area::Log, spot, "there is no such file", expected);
    logs.holes.push(Hole { segment: id, from: 0, to: u32::MAX, finding });
    finding
}

/// Says what stands behind the last batches: writes that a crash tore.
fn report_tails<D: Disk>(context: &mut Context<'_, D>, tails: &mut Vec<(SegmentId, Gap)>) {
    for (id, gap) in tails.drain(..) {
        let drive = context.inventory.logs.get(&id).map_or(0, |placed| placed.drive);
        let found = match gap.what {
            GapKind::Records { sequence } => format!("batch {sequence} is not whole, and nothing follows it"),
            _ => "bytes that are no batch, and nothing follows them".to_owned(),
        };
        context.findings.add(
            Severity::Note,
            Area::Log,
            Spot::at(drive, FileName::Log(id), gap.from.into()),
            found,
            "the end of the log: a write that a crash tore was never acknowledged; after an orderly end of \
             the node it would be damage",
        );
    }
}

/// Applies the part of a log from a position on, without saying again what is wrong with it.
pub async fn replay<D: Disk>(
    context: &mut Context<'_, D>,
    logs: &Logs,
    chain: ChainId,
    from: LogPosition,
    apply: &mut dyn FnMut(crate::engine::format::record::Record, Location),
) {
    for id in logs.chain_from(chain, from.segment) {
        let Some(segment) = logs.segments.get(&id) else { continue };
        let offset = if id == from.segment { from.offset } else { BLOCK_BYTES as u32 };
        let name = FileName::Log(id).to_string();
        let mut visit = |step: Step<'_>| {
            if let Step::Record { record, location } = step {
                apply(record, location);
            }
        };
        // What cannot be read was reported when it was read first.
        if let Ok(mut reader) = Reader::open(&context.disks[segment.drive], &name, segment.bytes).await {
            let before = (id == from.segment).then(|| from.sequence.saturating_sub(1));
            let _ = walk(&mut reader, &segment.header, offset, before, &mut visit).await;
        }
    }
}
