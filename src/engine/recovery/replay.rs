//! Replaying logs onto the index: torn tails are cut, a hole in the middle is an error.

use std::collections::BTreeMap;

use super::{Inventory, OpenError, bytes_on_drive};
use crate::base::limits::BLOCK_BYTES;
use crate::engine::Engine;
use crate::engine::format::segment::log_end;
use crate::engine::format::{FileName, SegmentId};
use crate::engine::log::scan::{Opened, Scan, ScanError, Scanned, SegmentScanner};
use crate::engine::log::{LogPosition, LogSegment};
use crate::io::{Disk, Host, OpenMode};

/// The log of one shard in one generation, from a position or from its beginning.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    pub generation: u32,
    pub shard: u32,
    pub from: Option<LogPosition>,
}

/// The log segments of all drives, and what the replay learnt of them.
pub struct Replay<H: Host> {
    segments: BTreeMap<SegmentId, Found<H>>,
    /// Where this core's own log ends.
    own_end: LogPosition,
}

struct Found<H: Host> {
    disk: H::Disk,
    generation: u32,
    shard: u32,
    bytes: u64,
    bytes_on_drive: u64,
    /// End of the last batch, once scanned.
    end: Option<u32>,
}

impl<H: Host> Found<H> {
    /// Whether it was scanned from its beginning and holds nothing.
    fn is_unused(&self) -> bool {
        self.end == Some(BLOCK_BYTES as u32)
    }
}

impl<H: Host> Replay<H> {
    /// Reads the headers of all log segments. Files without one were being made at a crash: this core
    /// removes its own.
    pub async fn open(engine: &Engine<H>, inventory: &Inventory) -> Result<Self, OpenError> {
        let mut segments = BTreeMap::new();
        for (id, (drive, file)) in &inventory.logs {
            let disk = engine.host().disks()[*drive].clone();
            match open_scanner(&disk, *id).await? {
                Some(scanner) if scanner.header.node != engine.inner.identity.node => {
                    let why = format!("{} belongs to another node", FileName::Log(*id));
                    return Err(OpenError::Foreign(why));
                }
                Some(scanner) => {
                    let found = Found {
                        disk,
                        generation: scanner.header.generation,
                        shard: scanner.header.shard,
                        bytes: scanner.header.bytes,
                        bytes_on_drive: bytes_on_drive(file),
                        end: None,
                    };
                    segments.insert(*id, found);
                }
                None if *id as usize % engine.cores() == engine.me() => {
                    disk.remove(&FileName::Log(*id).to_string()).await?;
                }
                // Its owner removes it, or has removed it since this core listed it.
                None => {}
            }
        }
        Ok(Self { segments, own_end: LogPosition { sequence: 1, ..LogPosition::default() } })
    }

    /// All chains of generations between the two, in order.
    pub fn chains_between(&self, after: u32, before: u32) -> Vec<Chain> {
        let wanted = |found: &&Found<H>| found.generation > after && found.generation < before;
        self.chains(wanted)
    }

    /// All chains of earlier generations, in order.
    pub fn chains_before(&self, generation: u32) -> Vec<Chain> {
        self.chains(|found| found.generation < generation)
    }

    fn chains(&self, wanted: impl Fn(&&Found<H>) -> bool) -> Vec<Chain> {
        let found = self.segments.values().filter(wanted).map(|found| (found.generation, found.shard));
        let distinct: std::collections::BTreeSet<(u32, u32)> = found.collect();
        distinct.into_iter().map(|(generation, shard)| Chain { generation, shard, from: None }).collect()
    }

    /// Replays one chain.
    pub async fn run(&mut self, engine: &Engine<H>, chain: Chain) -> Result<(), OpenError> {
        let first = chain.from.map_or(0, |from| from.segment);
        let ids: Vec<SegmentId> = self
            .segments
            .range(first..)
            .filter(|(_, found)| (found.generation, found.shard) == (chain.generation, chain.shard))
            .map(|(id, _)| *id)
            .collect();
        // A segment that nothing was written to may be gone: the position is at its very beginning.
        if let Some(from) = chain.from
            && ids.first() != Some(&from.segment)
            && from.offset > BLOCK_BYTES as u32
        {
            return Err(OpenError::Corrupt(format!("{} is missing", FileName::Log(from.segment))));
        }
        let mut end = chain.from.unwrap_or(LogPosition { sequence: 1, ..LogPosition::default() });
        let mut scanned = Vec::new();
        for id in ids {
            let start = if id == first { end.offset } else { BLOCK_BYTES as u32 };
            let scan = self.scan(engine, id, start.max(BLOCK_BYTES as u32)).await?;
            self.check_link(&chain, &end, id, &scan)?;
            if let Some((last, offset)) = scan.last {
                end = LogPosition {
                    segment: id,
                    offset: scan.end,
                    sequence: last.sequence + 1,
                    previous_segment: id,
                    previous_offset: offset,
                };
                scanned.clear();
            }
            scanned.push((id, scan));
        }
        for (id, scan) in scanned {
            self.check_tail(id, &scan).await?;
        }
        let identity = engine.inner.identity;
        if (chain.generation, chain.shard) == (identity.generation, identity.shard) {
            self.own_end = end;
        }
        Ok(())
    }

    async fn scan(&mut self, engine: &Engine<H>, id: SegmentId, start: u32) -> Result<Scan, OpenError> {
        let (me, cores) = (engine.me(), engine.cores());
        let found = self.segments.get_mut(&id).expect("listed above");
        let mut scanner = reopen(&found.disk, id).await?;
        let index = &engine.inner.index;
        let visit = |scanned: Scanned<'_>| {
            let location = scanned.location;
            let record = scanned.decode()?;
            if record.owner(cores) == me {
                index.borrow_mut().apply(record, location);
            }
            Ok(())
        };
        let scan = scanner.scan(start, visit).await.map_err(|error| match error {
            ScanError::Io(error) => OpenError::Io(error),
            ScanError::Malformed(at) => OpenError::Corrupt(format!(
                "{} at offset {}: a whole record can't be understood",
                FileName::Log(id),
                at.offset
            )),
        })?;
        found.end = Some(scan.end);
        Ok(scan)
    }

    /// The first batch of a segment names the batch before it. The replay must have ended exactly with that
    /// one; only in a log replayed from its beginning may the cleaner have removed it.
    fn check_link(
        &self,
        chain: &Chain,
        end: &LogPosition,
        id: SegmentId,
        scan: &Scan,
    ) -> Result<(), OpenError> {
        let Some(batch) = scan.first else { return Ok(()) };
        let named = (batch.previous_segment, batch.previous_offset, batch.sequence);
        if named == (end.previous_segment, end.previous_offset, end.sequence) {
            return Ok(());
        }
        let cleaned = chain.from.is_none() && !self.segments.contains_key(&batch.previous_segment);
        if cleaned && batch.sequence >= end.sequence {
            return Ok(());
        }
        Err(OpenError::Corrupt(format!(
            "{} at offset {}: the log breaks off here, but {} goes on after batch {} at offset {} of {}",
            FileName::Log(end.segment),
            end.offset,
            FileName::Log(id),
            batch.sequence.saturating_sub(1),
            batch.previous_offset,
            FileName::Log(batch.previous_segment),
        )))
    }

    /// A tail is torn where one write was under way; whole batches after the tear mean damage.
    async fn check_tail(&self, id: SegmentId, scan: &Scan) -> Result<(), OpenError> {
        let mut scanner = reopen(&self.segments[&id].disk, id).await?;
        match scanner.later_batch(scan).await? {
            None => Ok(()),
            Some(later) => Err(OpenError::Corrupt(format!(
                "{} at offset {}: a batch is damaged, but a later one at offset {later} is whole",
                FileName::Log(id),
                scan.end
            ))),
        }
    }

    /// Segments of earlier generations that this core takes care of from now on.
    pub fn old_segments(&self, engine: &Engine<H>) -> usize {
        let (me, cores, generation) = (engine.me(), engine.cores(), engine.inner.identity.generation);
        let old = self.segments.iter().filter(|(id, found)| {
            *(*id) as usize % cores == me && found.generation != generation && !found.is_unused()
        });
        old.count()
    }

    /// Where this core's log goes on, and the segments worth keeping. Segments of its own that were never
    /// written to are removed; the unused end of its last one is freed.
    pub async fn finish(
        self,
        engine: &Engine<H>,
    ) -> Result<(LogPosition, BTreeMap<SegmentId, LogSegment>), OpenError> {
        let (me, cores) = (engine.me(), engine.cores());
        let mut kept = BTreeMap::new();
        for (id, found) in &self.segments {
            let mine = *id as usize % cores == me;
            if mine && found.is_unused() {
                if let Err(error) = found.disk.remove(&FileName::Log(*id).to_string()).await {
                    tracing::warn!("removing {}: {error}", FileName::Log(*id));
                }
                continue;
            }
            if mine && let Some(end) = found.end {
                settle(&found.disk, *id, u64::from(end)..log_end(found.bytes)).await?;
            }
            let bytes_used = found.end.map_or(found.bytes_on_drive, u64::from);
            kept.insert(*id, LogSegment { generation: found.generation, shard: found.shard, bytes_used });
        }
        Ok((self.own_end, kept))
    }
}

/// Makes durable what was replayed: the node may have died without the machine, before a batch that can be
/// read was on the drive. What follows builds on it. Then frees the unused end.
async fn settle<D: Disk>(disk: &D, id: SegmentId, unused: std::ops::Range<u64>) -> Result<(), OpenError> {
    let name = FileName::Log(id).to_string();
    let file = disk.open(&name, OpenMode::Write).await?;
    disk.sync(&file).await?;
    if !unused.is_empty()
        && let Err(error) = disk.punch(&file, unused).await
    {
        tracing::warn!("freeing the end of {name}: {error}");
    }
    Ok(())
}

/// Opens a log segment; `None` if it is gone, or was being made at a crash.
async fn open_scanner<D: Disk>(disk: &D, id: SegmentId) -> Result<Option<SegmentScanner<D>>, OpenError> {
    let file = match disk.open(&FileName::Log(id).to_string(), OpenMode::Read).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match SegmentScanner::open(disk, file, id).await? {
        Opened::Segment(scanner) => Ok(Some(scanner)),
        Opened::Unused => Ok(None),
        Opened::Damaged => Err(OpenError::Corrupt(format!(
            "{} at offset 0: its header is damaged, but it holds records",
            FileName::Log(id)
        ))),
    }
}

async fn reopen<D: Disk>(disk: &D, id: SegmentId) -> Result<SegmentScanner<D>, OpenError> {
    open_scanner(disk, id).await?.ok_or_else(|| {
        OpenError::Corrupt(format!(
            "{}: its header was readable a moment ago and is not now",
            FileName::Log(id)
        ))
    })
}
