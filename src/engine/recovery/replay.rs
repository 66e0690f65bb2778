//! Replaying logs onto the index: torn tails are cut; damage in the middle is read around as far as nothing
//! but payload was lost, and is an error otherwise.

use std::collections::BTreeMap;

use super::{Inventory, OpenError, bytes_on_drive};
use crate::base::limits::BLOCK_BYTES;
use crate::engine::Engine;
use crate::engine::damage::{DamageKind, Flaw};
use crate::engine::format::segment::{BatchHeader, SegmentHeader, SegmentKind, log_end};
use crate::engine::format::{FileName, SegmentId};
use crate::engine::log::scan::{Head, Opened, ScanError, Scanned, SegmentScanner};
use crate::engine::log::{LogPosition, LogSegment};
use crate::io::{Buffer, Disk, Durability, FileEntry, Host, OpenMode};

/// Where the first batch of a segment stands.
const FIRST: u32 = BLOCK_BYTES as u32;

/// The log of one shard in one generation, from a position or from its beginning.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    pub generation: u32,
    pub shard: u32,
    pub from: Option<LogPosition>,
    /// A position that the log is known to have reached.
    pub reached: Option<LogPosition>,
}

/// The log segments of all drives, and what the replay learnt of them.
pub struct Replay<H: Host> {
    segments: BTreeMap<SegmentId, Found<H>>,
    /// Where this core's own log ends.
    own_end: LogPosition,
    /// Whether anything of a log was damaged that was replayed.
    pub met_damage: bool,
}

struct Found<H: Host> {
    disk: H::Disk,
    generation: u32,
    shard: u32,
    bytes: u64,
    bytes_on_drive: u64,
    /// Length of the file: less than its header says if it was cut.
    bytes_left: u64,
    /// Header and copy are damaged: nobody knows whose log it is. Records in it can be read by their places.
    is_headless: bool,
    /// End of the last batch, once replayed.
    end: Option<u32>,
}

impl<H: Host> Found<H> {
    /// Whether it was replayed from its beginning and holds nothing.
    fn is_unused(&self) -> bool {
        self.end == Some(FIRST)
    }
}

/// Where the reading of a chain stands.
struct Cursor<D: Disk> {
    segment: SegmentId,
    scanner: SegmentScanner<D>,
    /// Where the next batch is looked for.
    offset: u32,
}

/// The next batch after a place where no whole one stands.
struct Next {
    segment: SegmentId,
    offset: u32,
    batch: BatchHeader,
    /// It follows on what was read before: nothing is missing.
    is_linked: bool,
}

impl<H: Host> Replay<H> {
    /// Reads the headers of all log segments. Files without one were being made at a crash: this core
    /// removes its own.
    pub async fn open(engine: &Engine<H>, inventory: &Inventory) -> Result<Self, OpenError> {
        let mut segments = BTreeMap::new();
        for (id, (drive, file)) in &inventory.logs {
            let disk = engine.host().disks()[*drive].clone();
            let is_own = *id as usize % engine.cores() == engine.me();
            match open_scanner(&disk, *id).await? {
                Some(Opened::Segment(scanner)) if scanner.header.node != engine.inner.identity.node => {
                    let why = format!("{} belongs to another node", FileName::Log(*id));
                    return Err(OpenError::Foreign(why));
                }
                Some(Opened::Segment(scanner)) => {
                    let found = Found::of(disk.clone(), file, &scanner.header);
                    if is_own && scanner.is_header_damaged {
                        restore_header(engine, &disk, &scanner.header).await;
                    }
                    if is_own && file.bytes < found.bytes {
                        note(engine, *id, file.bytes, found.bytes - file.bytes, "the file was cut");
                    }
                    segments.insert(*id, found);
                }
                Some(Opened::Damaged) => {
                    if is_own {
                        note(engine, *id, 0, FIRST.into(), "the header and its copy are damaged");
                    }
                    segments.insert(*id, Found::headless(disk, file));
                }
                Some(Opened::Unused) if is_own => {
                    disk.remove(&FileName::Log(*id).to_string()).await?;
                }
                // Its owner removes it, or has removed it since this core listed it.
                Some(Opened::Unused) | None => {}
            }
        }
        let own_end = LogPosition { sequence: 1, ..LogPosition::default() };
        Ok(Self { segments, own_end, met_damage: false })
    }

    /// Segments of unknown chains may hold what is to be replayed, unless they are older than `before`.
    pub fn check_headless(
        &mut self,
        engine: &Engine<H>,
        before: Option<LogPosition>,
    ) -> Result<(), OpenError> {
        let (me, cores) = (engine.me(), engine.cores());
        let first = before.map_or(0, |position| position.segment);
        for (id, found) in self.segments.range(first..) {
            if found.is_headless && *id as usize % cores == me {
                self.met_damage = true;
                let why = "the header and its copy are damaged, so that the changes in it cannot be replayed";
                refuse(engine, *id, 0, why)?;
            }
        }
        Ok(())
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
        let found = self.segments.values().filter(|found| !found.is_headless).filter(wanted);
        let distinct: std::collections::BTreeSet<(u32, u32)> =
            found.map(|found| (found.generation, found.shard)).collect();
        let chain = |(generation, shard)| Chain { generation, shard, from: None, reached: None };
        distinct.into_iter().map(chain).collect()
    }

    /// Replays one chain.
    pub async fn run(&mut self, engine: &Engine<H>, chain: Chain) -> Result<(), OpenError> {
        let mut end = chain.from.unwrap_or(LogPosition { sequence: 1, ..LogPosition::default() });
        let first = end.segment;
        let is_of_it = |found: &Found<H>| {
            !found.is_headless && (found.generation, found.shard) == (chain.generation, chain.shard)
        };
        let ids = self.segments.range(first..).filter(|(_, found)| is_of_it(found)).map(|(id, _)| *id);
        let ids: Vec<SegmentId> = ids.collect();
        // A segment that nothing was written to may be gone: the position is at its very beginning.
        if chain.from.is_some() && ids.first() != Some(&first) && end.offset > FIRST {
            self.met_damage = true;
            refuse(engine, first, 0, "the log goes on in this file, which is missing")?;
        }
        if let Some((id, rest)) = ids.split_first() {
            let offset = if *id == first { end.offset.max(FIRST) } else { FIRST };
            let cursor =
                Cursor { segment: *id, scanner: reopen(&self.segments[id].disk, *id).await?, offset };
            self.read(engine, &chain, cursor, &mut end, rest).await?;
        }
        if let Some(reached) = chain.reached.filter(|reached| reached.sequence > end.sequence) {
            self.met_damage = true;
            let lost = reached.sequence - end.sequence;
            let why = format!("the log ends here, but a checkpoint knows of {lost} more batches");
            refuse(engine, end.segment, end.offset, &why)?;
        }
        let identity = engine.inner.identity;
        if (chain.generation, chain.shard) == (identity.generation, identity.shard) {
            self.own_end = end;
        }
        Ok(())
    }

    /// Reads from the cursor to the end of the log; `rest` are the segments behind the cursor's.
    async fn read(
        &mut self,
        engine: &Engine<H>,
        chain: &Chain,
        mut cursor: Cursor<H::Disk>,
        end: &mut LogPosition,
        mut rest: &[SegmentId],
    ) -> Result<(), OpenError> {
        let (me, cores) = (engine.me(), engine.cores());
        let mut apply = |scanned: Scanned<'_>| {
            let location = scanned.location;
            let record = scanned.decode()?;
            if record.owner(cores) == me {
                engine.inner.index.borrow_mut().apply(record, location);
            }
            Ok(())
        };
        loop {
            let id = cursor.segment;
            let failed = |error: ScanError| error_of(id, error);
            let found = cursor.scanner.batch(cursor.offset).await.map_err(|error| failed(error.into()))?;
            let batch = found.filter(|batch| self.follows(chain, end, batch, cursor.offset));
            if let Some(batch) = &batch
                && cursor.scanner.visit(cursor.offset, batch, &mut apply).await.map_err(failed)?
            {
                *end = cursor.pass(batch);
                continue;
            }
            let Some(next) = self.next(engine, chain, &mut cursor, *end, batch, rest).await? else {
                self.set_end(id, cursor.offset);
                rest.iter().for_each(|id| self.set_end(*id, FIRST));
                return Ok(());
            };
            if !next.is_linked {
                self.met_damage = true;
                let is_lone = next.segment == id
                    && (next.batch.previous_segment, next.batch.previous_offset) == (id, cursor.offset)
                    && next.batch.sequence == end.sequence + 1;
                let accepts = engine.inner.options.accept_damage;
                let until = if next.segment == id { next.offset } else { cursor.scanner.end() };
                let place = BatchHeader {
                    segment: id,
                    nonce: cursor.scanner.header.nonce,
                    sequence: end.sequence,
                    previous_segment: end.previous_segment,
                    previous_offset: end.previous_offset,
                    bytes: 0,
                    records: 0,
                    digest: 0,
                };
                let head = match &batch {
                    Some(batch) => Head::Whole(batch),
                    None if is_lone => Head::Lost(&place),
                    None => Head::Unknown,
                };
                let salvaged = cursor.scanner.salvage(cursor.offset, head, until, accepts, &mut apply).await;
                let is_understood = salvaged.map_err(failed)?;
                let length = batch.map_or(until - cursor.offset, |batch| batch.bytes);
                if is_understood {
                    let what = "payload of small objects in the log is damaged";
                    note(engine, id, cursor.offset.into(), length.into(), what);
                } else {
                    let lost = if batch.is_some() { 1 } else { next.batch.sequence - end.sequence };
                    let why = format!(
                        "{lost} batches of changes are damaged; the log goes on at offset {} of {}",
                        next.offset,
                        FileName::Log(next.segment),
                    );
                    refuse(engine, id, cursor.offset, &why)?;
                }
                if let Some(batch) = &batch {
                    *end = cursor.pass(batch);
                    continue;
                }
                *end = LogPosition {
                    segment: next.segment,
                    offset: next.offset,
                    sequence: next.batch.sequence,
                    previous_segment: next.batch.previous_segment,
                    previous_offset: next.batch.previous_offset,
                };
            }
            if next.segment == id {
                cursor.offset = next.offset;
                continue;
            }
            self.set_end(id, cursor.offset);
            while let Some((skipped, behind)) = rest.split_first() {
                rest = behind;
                if *skipped == next.segment {
                    break;
                }
                self.set_end(*skipped, FIRST);
            }
            let scanner = reopen(&self.segments[&next.segment].disk, next.segment).await?;
            cursor = Cursor { segment: next.segment, scanner, offset: next.offset };
        }
    }

    fn set_end(&mut self, id: SegmentId, end: u32) {
        if let Some(found) = self.segments.get_mut(&id) {
            found.end = Some(end);
        }
    }

    /// Whether a batch at `offset` of its segment is the one after what was read. It names the batch before it;
    /// only in a log replayed from its beginning may the cleaner have removed that one.
    fn follows(&self, chain: &Chain, end: &LogPosition, batch: &BatchHeader, offset: u32) -> bool {
        let named = (batch.previous_segment, batch.previous_offset, batch.sequence);
        let is_next = named == (end.previous_segment, end.previous_offset, end.sequence);
        let is_cleaned = chain.from.is_none()
            && offset == FIRST
            && batch.sequence >= end.sequence
            && !self.segments.contains_key(&batch.previous_segment);
        is_next || is_cleaned
    }

    /// Looks for the next batch where no whole one stands. `broken` is the header of the one at the cursor, if
    /// that is whole. `None` at the end of the log: what was being written when the node died is cut.
    async fn next(
        &mut self,
        engine: &Engine<H>,
        chain: &Chain,
        cursor: &mut Cursor<H::Disk>,
        end: LogPosition,
        broken: Option<BatchHeader>,
        rest: &[SegmentId],
    ) -> Result<Option<Next>, OpenError> {
        let id = cursor.segment;
        // Most segments end before their last block, and nothing needs to be searched.
        if let Some(following) = rest.first() {
            let mut scanner = reopen(&self.segments[following].disk, *following).await?;
            let first = scanner.batch(FIRST).await.map_err(|error| error_of(*following, error.into()))?;
            let named = |batch: &BatchHeader| (batch.previous_segment, batch.previous_offset, batch.sequence);
            let wanted = (end.previous_segment, end.previous_offset, end.sequence);
            if let Some(batch) = first.filter(|batch| named(batch) == wanted) {
                return Ok(Some(Next { segment: *following, offset: FIRST, batch, is_linked: true }));
            }
        }
        let skipped = broken.map_or(1, |batch| batch.bytes.div_ceil(BLOCK_BYTES as u32)) * BLOCK_BYTES as u32;
        let later = cursor.scanner.later(cursor.offset + skipped, end.sequence + 1).await;
        if let Some((offset, batch)) = later.map_err(|error| error_of(id, error.into()))? {
            return Ok(Some(Next { segment: id, offset, batch, is_linked: false }));
        }
        for following in rest {
            let mut scanner = reopen(&self.segments[following].disk, *following).await?;
            let later = scanner.later(FIRST, end.sequence).await;
            if let Some((offset, batch)) = later.map_err(|error| error_of(*following, error.into()))? {
                let is_linked = broken.is_none() && self.follows(chain, &end, &batch, offset);
                return Ok(Some(Next { segment: *following, offset, batch, is_linked }));
            }
            self.check_end(engine, *following, &scanner, FIRST..2 * FIRST)?;
        }
        self.check_end(engine, id, &cursor.scanner, cursor.offset..cursor.offset + skipped)?;
        Ok(None)
    }

    /// Where the log seems to end, the next batch would stand in `place`: if that can be read, there was none.
    fn check_end(
        &mut self,
        engine: &Engine<H>,
        id: SegmentId,
        scanner: &SegmentScanner<H::Disk>,
        place: std::ops::Range<u32>,
    ) -> Result<(), OpenError> {
        let (start, end) = (u64::from(place.start), u64::from(place.end));
        let is_within = start < u64::from(scanner.end());
        let is_cut = self.segments[&id].bytes_left < end;
        if is_within && (is_cut || scanner.unreadable.range(start..end).next().is_some()) {
            self.met_damage = true;
            refuse(engine, id, place.start, "changes may have stood here, which cannot be read")?;
        }
        Ok(())
    }

    /// Segments of earlier generations that this core takes care of from now on.
    pub fn old_segments(&self, engine: &Engine<H>) -> usize {
        let (me, cores, generation) = (engine.me(), engine.cores(), engine.inner.identity.generation);
        let old = self.segments.iter().filter(|(id, found)| {
            *(*id) as usize % cores == me && found.generation != generation && !found.is_unused()
        });
        old.count()
    }

    /// Whether a log segment was there at the start.
    pub fn has(&self, id: SegmentId) -> bool {
        self.segments.contains_key(&id)
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
            // Of a file that was cut, nobody knows how far it was written.
            let is_cut = found.bytes_left < found.bytes;
            let unknown = if is_cut { log_end(found.bytes) } else { found.bytes_on_drive };
            let bytes_used = found.end.map_or(unknown, u64::from);
            kept.insert(*id, LogSegment { generation: found.generation, shard: found.shard, bytes_used });
        }
        Ok((self.own_end, kept))
    }
}

impl<H: Host> Found<H> {
    fn of(disk: H::Disk, file: &FileEntry, header: &SegmentHeader) -> Self {
        Self {
            disk,
            generation: header.generation,
            shard: header.shard,
            bytes: header.bytes,
            bytes_on_drive: bytes_on_drive(file),
            bytes_left: file.bytes,
            is_headless: false,
            end: None,
        }
    }

    /// Of no generation, so that it is cleaned before all others.
    fn headless(disk: H::Disk, file: &FileEntry) -> Self {
        let (bytes, bytes_on_drive) = (file.bytes, bytes_on_drive(file));
        let (generation, shard) = (0, 0);
        Self {
            disk,
            generation,
            shard,
            bytes,
            bytes_on_drive,
            bytes_left: bytes,
            is_headless: true,
            end: None,
        }
    }
}

impl<D: Disk> Cursor<D> {
    /// Moves behind a batch; the position there.
    fn pass(&mut self, batch: &BatchHeader) -> LogPosition {
        let (segment, previous_offset) = (self.segment, self.offset);
        self.offset += (batch.bytes as usize).next_multiple_of(BLOCK_BYTES) as u32;
        LogPosition {
            segment,
            offset: self.offset,
            sequence: batch.sequence + 1,
            previous_segment: segment,
            previous_offset,
        }
    }
}

/// Takes note of damage in a log segment, if this core takes care of it.
fn note<H: Host>(engine: &Engine<H>, id: SegmentId, offset: u64, bytes: u64, what: &str) {
    if id as usize % engine.cores() == engine.me() {
        let flaw = Flaw { offset, bytes, what: what.to_string() };
        engine.note_damage(flaw.in_file(DamageKind::Log, FileName::Log(id)));
    }
}

/// Something is lost that nobody can name: the start ends here, unless whoever started the node accepts that.
fn refuse<H: Host>(engine: &Engine<H>, id: SegmentId, offset: u32, why: &str) -> Result<(), OpenError> {
    if engine.inner.options.accept_damage {
        note(engine, id, offset.into(), 0, why);
        return Ok(());
    }
    Err(OpenError::Corrupt(format!(
        "{} at offset {offset}: {why}. `ringcask check` tells what is damaged; `--accept-damage` starts the node \
         without what is lost: keys changed there may be missing, or have the content they had before",
        FileName::Log(id)
    )))
}

fn error_of(id: SegmentId, error: ScanError) -> OpenError {
    let name = FileName::Log(id);
    match error {
        ScanError::Io(error) => OpenError::Corrupt(format!("{name} cannot be read: {error}")),
        ScanError::Malformed(at) => {
            OpenError::Corrupt(format!("{name} at offset {}: a whole record can't be understood", at.offset))
        }
    }
}

/// Writes a damaged header again, from its copy.
async fn restore_header<H: Host>(engine: &Engine<H>, disk: &H::Disk, header: &SegmentHeader) {
    debug_assert_eq!(header.kind, SegmentKind::Log);
    let what = "the header is damaged; it was read from its copy and is written again";
    note(engine, header.id, 0, BLOCK_BYTES as u64, what);
    let restored = async {
        let file = disk.open(&FileName::Log(header.id).to_string(), OpenMode::Write).await?;
        let mut block = Buffer::heap(BLOCK_BYTES);
        block.append(&header.encode());
        disk.write(&file, 0, block, 0..BLOCK_BYTES, Durability::Durable).await.0
    };
    if let Err(error) = restored.await {
        tracing::warn!("writing the header of {} again: {error}", FileName::Log(header.id));
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

/// Opens a log segment; `None` if it is gone.
async fn open_scanner<D: Disk>(disk: &D, id: SegmentId) -> Result<Option<Opened<D>>, OpenError> {
    let file = match disk.open(&FileName::Log(id).to_string(), OpenMode::Read).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let opened = SegmentScanner::open(disk, file, id).await;
    opened.map(Some).map_err(|error| error_of(id, error.into()))
}

async fn reopen<D: Disk>(disk: &D, id: SegmentId) -> Result<SegmentScanner<D>, OpenError> {
    match open_scanner(disk, id).await? {
        Some(Opened::Segment(scanner)) => Ok(scanner),
        _ => Err(OpenError::Corrupt(format!(
            "{}: its header was readable a moment ago and is not now",
            FileName::Log(id)
        ))),
    }
}
