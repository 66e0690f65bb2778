//! From what is on the drives to the index: superblocks, checkpoint, log; then the references to extents,
//! which all cores count before any core writes.

mod prepare;
mod replay;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::Ordering;

use super::damage::{DamageKind, Flaw};
use super::format::checkpoint::{CheckpointEntry, CheckpointHeader};
use super::format::{FileName, SegmentId};
use super::log::{LogPosition, LogSegment};
use super::message::{Answer, Request};
use super::types::EngineError;
use super::{Engine, checkpoint, core_of, gc, owner_of};
use crate::base::limits::BLOCK_BYTES;
use crate::io::{Disk, FileEntry, Host};
use replay::{Chain, Replay};

pub use prepare::prepare;
pub(super) use prepare::{verify_superblocks, write as write_superblock};

/// Why a node's data cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The drives do not belong together, are of another format version, or are incomplete.
    Foreign(String),
    /// The data is damaged: file and offset are named.
    Corrupt(String),
    /// A drive cannot be read or written: its number.
    Drive(usize, std::io::Error),
    Io(std::io::Error),
    /// The engine could not start on what it found.
    Engine(EngineError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign(why) | Self::Corrupt(why) => out.write_str(why),
            Self::Drive(drive, error) => write!(out, "drive {drive}: {error}"),
            Self::Io(error) => error.fmt(out),
            Self::Engine(error) => error.fmt(out),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<std::io::Error> for OpenError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<EngineError> for OpenError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

/// The files of all drives, by what they are.
pub(super) struct Inventory {
    /// Log segments with their drive.
    logs: BTreeMap<SegmentId, (usize, FileEntry)>,
    data: BTreeMap<SegmentId, (usize, FileEntry)>,
    checkpoints: Vec<(usize, FileName)>,
}

/// Reads what this core owns; see [`Engine::recover`].
pub async fn recover<H: Host>(engine: &Engine<H>) -> Result<(), OpenError> {
    let inner = &engine.inner;
    let (me, cores) = (engine.me(), engine.cores());
    let inventory = take_inventory(engine)?;

    let mut replay = Replay::open(engine, &inventory).await?;
    let chains = choose_base(engine, &inventory, &mut replay).await?;
    for chain in chains {
        replay.run(engine, chain).await?;
    }
    inner.checkpoint.set_index_ready();
    inner.recovered_signal.raise();
    // Before the other cores may clean: they drop deletions once no old segment is left.
    let old = replay.old_segments(engine);
    inner.shared.old_segments.fetch_add(old as u32, Ordering::SeqCst);
    learn_buckets(engine).await?;
    learn_config(engine).await?;
    exchange_references(engine).await?;
    find_missing(engine, &inventory, &replay);
    let next_id = next_segment_id(engine, &inventory)?;
    inner.checkpoint.next_id.set(next_id);

    let met_damage = replay.met_damage;
    let (position, segments) = replay.finish(engine).await?;
    let own = segments.into_iter().filter(|(id, _)| *id as usize % cores == me);
    let own: BTreeMap<SegmentId, LogSegment> = own.collect();
    inner.log.start(position, own).await?;
    inner.recovered.set(true);
    inner.recovered_signal.raise();
    match engine.settle_renames().await {
        // It can be read meanwhile, under both keys.
        Err(EngineError::Full) => engine.settle_renames_later(),
        settled => settled?,
    }
    // The next start shall not have to read around it again.
    if met_damage && let Err(error) = checkpoint::write(engine).await {
        tracing::warn!("writing a checkpoint after damage: {error}");
    }
    gc::start(engine, own_data(&inventory, me, cores));
    Ok(())
}

/// Length, allocation and number of the data segments that this core owns.
fn own_data(inventory: &Inventory, me: usize, cores: usize) -> Vec<(SegmentId, u64, u64)> {
    let own = inventory.data.iter().filter(|(id, _)| **id as usize % cores == me);
    own.map(|(id, (_, file))| (*id, file.bytes, file.bytes_allocated)).collect()
}

fn take_inventory<H: Host>(engine: &Engine<H>) -> Result<Inventory, OpenError> {
    let mut inventory = Inventory { logs: BTreeMap::new(), data: BTreeMap::new(), checkpoints: Vec::new() };
    for (drive, disk) in engine.host().disks().iter().enumerate() {
        for file in disk.list().map_err(|error| OpenError::Drive(drive, error))? {
            match FileName::parse(&file.name) {
                Some(FileName::Log(id)) => drop(inventory.logs.insert(id, (drive, file))),
                Some(FileName::Data(id)) => drop(inventory.data.insert(id, (drive, file))),
                Some(name @ FileName::Checkpoint { .. }) => inventory.checkpoints.push((drive, name)),
                Some(FileName::CheckpointDraft { .. }) | None => {}
            }
        }
    }
    Ok(inventory)
}

/// The least number above all others that this core may give to a segment.
///
/// Above those of files that are missing, too: what an index still refers to must not become something else, and the
/// log goes on behind every checkpoint.
fn next_segment_id<H: Host>(engine: &Engine<H>, inventory: &Inventory) -> Result<SegmentId, OpenError> {
    let there = inventory.logs.keys().chain(inventory.data.keys()).max().copied().unwrap_or(0);
    let highest = there.max(engine.inner.shared.segment_max.load(Ordering::SeqCst));
    // 0 means "no segment" in the header of a first batch.
    let least = u64::from(highest) + 1;
    let (me, cores) = (engine.me() as u64, engine.cores() as u64);
    let next = least + (me + cores - least % cores) % cores;
    // Nobody ever wrote that many: a file was renamed, or is not ours.
    let exhausted = || OpenError::Corrupt(format!("there is no segment number left after {}", least - 1));
    SegmentId::try_from(next)
        .map_err(|_| exhausted())
        .and_then(|id| if id < SegmentId::MAX / 2 { Ok(id) } else { Err(exhausted()) })
}

/// Loads the best checkpoints into the index and says which logs to replay on top, in order.
async fn choose_base<H: Host>(
    engine: &Engine<H>,
    inventory: &Inventory,
    replay: &mut Replay<H>,
) -> Result<Vec<Chain>, OpenError> {
    let identity = engine.inner.identity;
    let mut reached: Option<LogPosition> = None;
    let own_chain =
        |from, reached| Chain { generation: identity.generation, shard: identity.shard, from, reached };
    let mut own: Vec<(usize, FileName)> = of_shard(inventory, identity.generation, identity.shard);
    own.sort_unstable_by_key(|(_, name)| std::cmp::Reverse(*name));
    let mut kept = Vec::new();
    for (drive, name) in own {
        // Also one that is damaged otherwise tells how far the log went.
        let header = checkpoint::read_header(&engine.host().disks()[drive], name, identity.node).await;
        if let Ok(header) = &header {
            note_named(engine, header.position);
            if reached.is_none_or(|reached| reached.sequence < header.position.sequence) {
                reached = Some(header.position);
            }
        }
        // The newest that can be loaded is the base. Only it and older ones count as kept: cleaning relies
        // on them.
        let found = match kept.is_empty() {
            true => load_into(engine, drive, name).await,
            false => header,
        };
        match found {
            Ok(header) => kept.push((header.sequence, header.position)),
            Err(why) => {
                if kept.is_empty() {
                    engine.inner.index.take();
                }
                note_checkpoint(engine, why);
            }
        }
    }
    for (sequence, position) in kept.iter().rev() {
        engine.inner.checkpoint.found(*sequence, *position);
    }
    replay.check_headless(engine, kept.first().map(|(_, position)| *position))?;
    if let Some((_, from)) = kept.first() {
        engine.inner.shared.checkpoints_missing.fetch_sub(1, Ordering::SeqCst);
        return Ok(vec![own_chain(Some(*from), reached)]);
    }
    for generation in (0..identity.generation).rev() {
        if let Some(mut chains) = load_generation(engine, inventory, generation).await {
            chains.extend(replay.chains_between(generation, identity.generation));
            chains.push(own_chain(None, reached));
            return Ok(chains);
        }
    }
    let mut chains = replay.chains_before(identity.generation);
    chains.push(own_chain(None, reached));
    Ok(chains)
}

/// A checkpoint may name a segment that is gone, since nothing was written to it. A new segment with a lower number
/// would stand before the place that the checkpoint's log goes on from, and not be replayed.
fn note_named<H: Host>(engine: &Engine<H>, position: LogPosition) {
    engine.inner.shared.segment_max.fetch_max(position.segment, Ordering::SeqCst);
}

/// Checkpoints of a shard on any drive.
fn of_shard(inventory: &Inventory, wanted_generation: u32, wanted_shard: u32) -> Vec<(usize, FileName)> {
    let wanted = |name: &FileName| {
        matches!(name, FileName::Checkpoint { generation, shard, .. }
            if *generation == wanted_generation && *shard == wanted_shard)
    };
    inventory.checkpoints.iter().filter(|(_, name)| wanted(name)).copied().collect()
}

/// Loads the newest valid checkpoint of every shard of an earlier generation, if there is one of each.
async fn load_generation<H: Host>(
    engine: &Engine<H>,
    inventory: &Inventory,
    generation: u32,
) -> Option<Vec<Chain>> {
    let mut candidates = Vec::new();
    for shard in 0..cores_of(engine, inventory, generation).await? {
        let mut of_one = of_shard(inventory, generation, shard);
        of_one.sort_unstable_by_key(|(_, name)| *name);
        candidates.push(of_one);
    }
    // What was loaded before one turns out to be damaged can't be taken back alone.
    'again: loop {
        if candidates.iter().any(Vec::is_empty) {
            return None;
        }
        let mut chains = Vec::new();
        for (shard, of_one) in (0..).zip(&mut candidates) {
            let (drive, name) = *of_one.last().expect("checked above");
            match load_into(engine, drive, name).await {
                Ok(header) => {
                    note_named(engine, header.position);
                    chains.push(Chain { generation, shard, from: Some(header.position), reached: None })
                }
                Err(why) => {
                    note_checkpoint(engine, why);
                    of_one.pop();
                    engine.inner.index.take();
                    continue 'again;
                }
            }
        }
        return Some(chains);
    }
}

/// Cores of a generation, as one of its checkpoints says.
async fn cores_of<H: Host>(engine: &Engine<H>, inventory: &Inventory, generation: u32) -> Option<u32> {
    let node = engine.inner.identity.node;
    for (drive, name) in &inventory.checkpoints {
        if !matches!(name, FileName::Checkpoint { generation: it, .. } if *it == generation) {
            continue;
        }
        let disk = &engine.host().disks()[*drive];
        if let Ok(header) = checkpoint::read_header(disk, *name, node).await {
            return Some(header.cores);
        }
    }
    None
}

/// Loads what this core owns of a checkpoint into the index.
async fn load_into<H: Host>(
    engine: &Engine<H>,
    drive: usize,
    name: FileName,
) -> Result<CheckpointHeader, checkpoint::Unusable> {
    let (me, cores) = (engine.me(), engine.cores());
    let node = engine.inner.identity.node;
    checkpoint::load(&engine.host().disks()[drive], name, node, |entry| {
        let mut index = engine.inner.index.borrow_mut();
        match entry {
            CheckpointEntry::Bucket { bucket, location } => {
                if me == 0 {
                    index.apply(super::format::record::Record::BucketPut(bucket), location);
                }
            }
            CheckpointEntry::Config { name, value, location } => {
                if me == 0 {
                    index.apply(super::format::record::Record::ConfigPut { name, value }, location);
                }
            }
            CheckpointEntry::Event { id, entry } => {
                if core_of(entry.route, cores) == me {
                    index.set_event(id, entry);
                }
            }
            CheckpointEntry::Rename { rename, location } => {
                if owner_of(rename.bucket, &rename.to, cores) == me {
                    index.set_rename(rename, location);
                }
            }
            CheckpointEntry::Object { bucket, key, entry } => {
                if owner_of(bucket, &key, cores) == me {
                    index.set(bucket, &key, entry);
                }
            }
            CheckpointEntry::Upload { bucket, entry } => {
                if owner_of(bucket, &entry.upload.key, cores) == me {
                    index.restore_upload(bucket, entry);
                }
            }
        }
    })
    .await
}

/// Gets the table of buckets from core 0, and drops what is left of buckets that are gone.
async fn learn_buckets<H: Host>(engine: &Engine<H>) -> Result<(), OpenError> {
    let Answer::Buckets(table) = engine.ask(0, Request::BucketTable).await? else {
        return Err(OpenError::Engine(EngineError::Failed("core 0 has no table of buckets".to_string())));
    };
    let mut buckets = engine.inner.buckets.borrow_mut();
    for bucket in table {
        engine.inner.quotas.set(&bucket);
        buckets.insert(bucket);
    }
    let mut index = engine.inner.index.borrow_mut();
    let gone: Vec<_> = index.buckets.keys().copied().filter(|id| !buckets.contains(*id)).collect();
    for id in gone {
        index.drop_bucket(id);
    }
    Ok(())
}

/// Gets the configuration from core 0.
async fn learn_config<H: Host>(engine: &Engine<H>) -> Result<(), OpenError> {
    let Answer::Config(entries) = engine.ask(0, Request::ConfigTable).await? else {
        return Err(OpenError::Engine(EngineError::Failed("core 0 has no configuration".to_string())));
    };
    engine.inner.config.apply(&entries);
    Ok(())
}

/// A checkpoint that can't be used costs time only.
fn note_checkpoint<H: Host>(engine: &Engine<H>, unusable: checkpoint::Unusable) {
    let checkpoint::Unusable { name, offset, bytes, why } = unusable;
    let what = format!("{why}; the checkpoint is not used, so the start takes longer");
    engine.note_damage(Flaw { offset, bytes, what }.in_file(DamageKind::Checkpoint, name));
}

/// Tells of segments that this core's index refers to, or that it counts references to, whose files are not
/// there or too short: the node serves the rest.
fn find_missing<H: Host>(engine: &Engine<H>, inventory: &Inventory, replay: &Replay<H>) {
    for segment in engine.inner.index.borrow().live_segments() {
        if !replay.has(segment) {
            let bytes = engine.inner.index.borrow().live_bytes_in(segment);
            let what = "the file is missing: objects and payload of small objects in it are lost".to_string();
            let damage = Flaw { offset: 0, bytes, what }.in_file(DamageKind::Log, FileName::Log(segment));
            engine.tell_damage(segment, damage);
        }
    }
    let mut missing = BTreeSet::new();
    engine.inner.index.borrow().for_each_slice(|slice| {
        if !inventory.data.contains_key(&slice.extent.segment) {
            missing.insert(slice.extent.segment);
        }
    });
    engine.inner.payload_missing.borrow_mut().append(&mut missing);
    for (segment, end, bytes) in engine.extents().reach() {
        let (offset, what) = match inventory.data.get(&segment) {
            None => {
                engine.inner.payload_missing.borrow_mut().insert(segment);
                (0, "the file is missing: payload in it is lost")
            }
            Some((_, file)) if file.bytes < end => (file.bytes, "the file was cut: payload behind is lost"),
            Some(_) => continue,
        };
        let bytes = bytes.min(end - offset);
        let flaw = Flaw { offset, bytes, what: what.to_string() };
        engine.note_damage(flaw.in_file(DamageKind::Extent, FileName::Data(segment)));
    }
}

/// Tells every owner which of its extents this core's index refers to, and waits until all cores have.
async fn exchange_references<H: Host>(engine: &Engine<H>) -> Result<(), OpenError> {
    const REFERENCES_PER_MESSAGE: usize = 16 * 1024;
    let cores = engine.cores();
    let mut by_owner = vec![Vec::new(); cores];
    let mut highest = engine.inner.index.borrow().live_segments().last().copied().unwrap_or(0);
    engine.inner.index.borrow().for_each_slice(|slice| {
        highest = highest.max(slice.extent.segment);
        by_owner[slice.extent.segment as usize % cores].push((slice.extent, slice.extent_bytes));
    });
    engine.inner.shared.segment_max.fetch_max(highest, Ordering::SeqCst);
    for (owner, references) in by_owner.into_iter().enumerate() {
        for run in references.chunks(REFERENCES_PER_MESSAGE) {
            engine.ask(owner, Request::RecoverReferences { references: run.to_vec() }).await?;
        }
    }
    for answer in engine.ask_all(|| Request::RecoverReferencesEnd).await {
        answer?;
    }
    while engine.inner.references_ended.get() < cores {
        engine.inner.recovered_signal.wait().await;
    }
    Ok(())
}

/// Bytes that a segment takes on its drive, for what was not scanned.
fn bytes_on_drive(file: &FileEntry) -> u64 {
    file.bytes.min(file.bytes_allocated).max(BLOCK_BYTES as u64)
}
