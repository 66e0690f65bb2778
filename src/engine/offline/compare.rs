//! Checkpoints against the log: whichever of them a start begins with, the same must come out.
//!
//! The log alone makes one catalogue. A checkpoint with what follows it in the log makes another, for the keys
//! of its core; the two must be the same. Where the log is damaged, only what lies in the damage is told. Where a
//! start went on without what was damaged, checkpoints are right: the log alone may lack even that.

use std::collections::BTreeSet;

use super::catalogue::{Catalogue, Item, owner_of_entry};
use super::image::{Fault, read_entries, read_header};
use super::logs::{ChainId, Context, Logs, missing_segment, replay};
use super::reader::Reader;
use super::report::{Area, ObjectName, Severity, Spot};
use super::{Progress, Stage};
use crate::base::limits::{BLOCK_BYTES, CORES_MAX, OFFLINE_OBJECTS_NAMED_MAX};
use crate::engine::format::checkpoint::{CheckpointEntry, CheckpointHeader};
use crate::engine::format::{FileName, Location};
use crate::engine::index::{Entry, UploadEntry};
use crate::engine::log::LogPosition;
use crate::engine::{SUPERBLOCK_NAME, core_of, owner_of};
use crate::io::Disk;

/// A checkpoint whose header is valid.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    pub name: FileName,
    pub drive: usize,
    pub bytes: u64,
    pub header: CheckpointHeader,
}

/// Reads the headers of all checkpoints.
pub async fn open_all<D: Disk>(context: &mut Context<'_, D>) -> Vec<Checkpoint> {
    let mut checkpoints = Vec::new();
    for (name, placed) in &context.inventory.checkpoints {
        let (name, drive, bytes) = (*name, placed.drive, placed.file.bytes);
        context.summary.checkpoints += 1;
        let node = context.identity.map(|identity| identity.node);
        let read = async {
            let mut reader = Reader::open(&context.disks[drive], &placed.file.name, bytes).await?;
            read_header(&mut reader, name, node).await
        };
        match read.await {
            Ok(header) => checkpoints.push(Checkpoint { name, drive, bytes, header }),
            Err(fault) => report(context, drive, name, fault),
        }
    }
    checkpoints
}

fn report<D: Disk>(context: &mut Context<'_, D>, drive: usize, name: FileName, fault: Fault) {
    match fault {
        Fault::Io(error) => {
            context.findings.unreadable(Area::Checkpoint, Spot::file(drive, name), &error);
        }
        Fault::Bad { offset, found, expected } => {
            let expected = format!("{expected}; a start uses the checkpoint before, or the log");
            context.findings.damage(Area::Checkpoint, Spot::at(drive, name, offset), found, expected);
        }
    }
}

/// Asks for the batches before the checkpoints' positions to be looked for.
pub fn name_positions(checkpoints: &[Checkpoint], logs: &mut Logs) {
    for checkpoint in checkpoints {
        let LogPosition { previous_segment, previous_offset, .. } = checkpoint.header.position;
        if logs.segments.contains_key(&previous_segment) {
            logs.named.insert((previous_segment, previous_offset), None);
        }
    }
}

/// Whether the log has the place that a checkpoint continues from.
fn check_position<D: Disk>(context: &mut Context<'_, D>, logs: &mut Logs, checkpoint: &Checkpoint) {
    let CheckpointHeader { position, generation, shard, .. } = checkpoint.header;
    let chain = (generation, shard);
    let is_used = position.offset > BLOCK_BYTES as u32;
    if is_used && !context.inventory.logs.contains_key(&position.segment) {
        logs.damaged.insert(chain);
        missing_segment(context, logs, checkpoint.drive, position.segment);
        return;
    }
    let place = (position.previous_segment, position.previous_offset);
    let Some(found) = logs.named.get(&place).copied() else { return };
    let expected = position.sequence.saturating_sub(1);
    if found == Some(expected) {
        return;
    }
    logs.damaged.insert(chain);
    let location = Location { segment: place.0, offset: place.1, length: 1 };
    if logs.hole_at(location).is_some() {
        return;
    }
    let drive = logs.segments[&place.0].drive;
    let found = found.map_or("no whole batch".to_owned(), |sequence| format!("batch {sequence}"));
    let expected = format!("batch {expected}, which {} continues from", checkpoint.name);
    let spot = Spot::at(drive, FileName::Log(place.0), place.1.into());
    let finding = context.findings.damage(Area::Log, spot, found, expected);
    logs.holes.push(super::logs::Hole { segment: place.0, from: place.1, to: u32::MAX, finding });
}

/// Verifies all checkpoints and holds those that a start may begin with against the log. What only a
/// checkpoint knows is added to `catalogue`. Returns the cores that have a whole one of this generation, or are lost.
pub async fn compare_all<D: Disk>(
    context: &mut Context<'_, D>,
    logs: &mut Logs,
    checkpoints: &[Checkpoint],
    catalogue: &mut Catalogue,
) -> BTreeSet<usize> {
    for checkpoint in checkpoints {
        check_position(context, logs, checkpoint);
    }
    let cores = context.identity.map_or(0, |identity| (identity.cores as usize).min(CORES_MAX));
    let generation = context.identity.map_or(0, |identity| identity.generation);
    let total = checkpoints.iter().map(|checkpoint| checkpoint.bytes).sum();
    let mut done = 0;
    let mut whole: Vec<Checkpoint> = Vec::new();
    let mut covered = context.cores_lost.clone();
    let mut images = Catalogue::default();
    // Newest first: what it knows beyond a damaged log is the best that there is.
    for checkpoint in checkpoints.iter().rev() {
        (context.progress)(Progress { stage: Stage::Checkpoints, done, total });
        done += checkpoint.bytes;
        let is_current = checkpoint.header.generation == generation
            && checkpoint.header.cores as usize == cores
            && (checkpoint.header.shard as usize) < cores
            && !context.cores_lost.contains(&(checkpoint.header.shard as usize));
        let mut image = Catalogue::default();
        if !load(context, checkpoint, &mut |entry| {
            if is_current {
                image.restore(entry)
            }
        })
        .await
        {
            continue;
        }
        whole.push(checkpoint.clone());
        if is_current {
            let shard = checkpoint.header.shard;
            let base = vec![((generation, shard), checkpoint.header.position)];
            let core = shard as usize;
            let is_newest = covered.insert(core);
            let image =
                finish_and_compare(context, logs, image, &base, core, cores, catalogue, checkpoint).await;
            if is_newest && context.inventory.is_lossy() {
                images.absorb(image);
            }
        }
    }
    for core in (0..cores).filter(|core| !covered.contains(core)) {
        compare_older(context, logs, &whole, core, cores, catalogue).await;
    }
    if context.inventory.is_lossy() {
        let found = "a start was told to go on without changes that were damaged";
        let expected = "checkpoints and the log differ where it did, which is no damage";
        context.findings.add(Severity::Note, Area::Index, Spot::file(0, SUPERBLOCK_NAME), found, expected);
        if covered.len() == cores {
            *catalogue = images;
        }
    }
    covered
}

/// Reads a checkpoint; whether it is whole.
async fn load<D: Disk>(
    context: &mut Context<'_, D>,
    checkpoint: &Checkpoint,
    visit: &mut dyn FnMut(CheckpointEntry),
) -> bool {
    let Checkpoint { name, drive, bytes, .. } = *checkpoint;
    let read = async {
        let mut reader = Reader::open(&context.disks[drive], &name.to_string(), bytes).await?;
        read_entries(&mut reader, &checkpoint.header, &mut |entry, _| visit(entry)).await
    };
    match read.await {
        Ok(()) => true,
        Err(fault) => {
            report(context, drive, name, fault);
            false
        }
    }
}

/// A core that has no checkpoint of this generation begins with those of the newest earlier generation that
/// has one of each of its cores.
async fn compare_older<D: Disk>(
    context: &mut Context<'_, D>,
    logs: &mut Logs,
    whole: &[Checkpoint],
    core: usize,
    cores: usize,
    catalogue: &mut Catalogue,
) {
    let generation = context.identity.map_or(0, |identity| identity.generation);
    let earlier: BTreeSet<u32> =
        whole.iter().map(|it| it.header.generation).filter(|it| *it < generation).collect();
    for older in earlier.into_iter().rev() {
        let of_it: Vec<&Checkpoint> = whole.iter().filter(|it| it.header.generation == older).collect();
        let shards = of_it.first().map_or(0, |it| it.header.cores);
        let newest = |shard| of_it.iter().filter(|it| it.header.shard == shard).max_by_key(|it| it.name);
        let chosen: Vec<&Checkpoint> = (0..shards).filter_map(newest).copied().collect();
        if chosen.is_empty() || chosen.len() != shards as usize {
            continue;
        }
        let mut image = Catalogue::default();
        for checkpoint in &chosen {
            let mut take = |entry: CheckpointEntry| {
                if owner_of_entry(&entry, cores) == core {
                    image.restore(entry);
                }
            };
            if !load(context, checkpoint, &mut take).await {
                return;
            }
        }
        let mut base: Vec<(ChainId, LogPosition)> = Vec::new();
        base.extend(chosen.iter().map(|it| ((older, it.header.shard), it.header.position)));
        let between = logs.chains.keys().filter(|(it, _)| *it > older && *it < generation);
        base.extend(between.map(|chain| (*chain, LogPosition::default())));
        base.push(((generation, core as u32), LogPosition::default()));
        let newest = chosen[0];
        finish_and_compare(context, logs, image, &base, core, cores, catalogue, newest).await;
        return;
    }
}

/// Applies the logs behind an image, compares the result with the catalogue, and returns it.
#[allow(clippy::too_many_arguments)]
async fn finish_and_compare<D: Disk>(
    context: &mut Context<'_, D>,
    logs: &mut Logs,
    mut image: Catalogue,
    base: &[(ChainId, LogPosition)],
    core: usize,
    cores: usize,
    catalogue: &mut Catalogue,
    checkpoint: &Checkpoint,
) -> Catalogue {
    for (chain, from) in base {
        let mut apply = |record: crate::engine::format::record::Record, location| {
            if record.owner(cores) == core {
                image.apply(record, location);
            }
        };
        replay(context, logs, *chain, *from, &mut apply).await;
    }
    // A bucket whose record is lost is still known from here.
    if logs.is_damaged() {
        for (id, entry) in &image.table {
            catalogue.table.entry(*id).or_insert_with(|| entry.clone());
        }
    }
    if !context.inventory.is_lossy() {
        image.drop_buckets_beyond(&catalogue.table);
    }
    let differences = differences(catalogue, &image, core, cores);
    tell(context, logs, checkpoint, &differences);
    for difference in differences {
        if let Some(entry) = difference.restore {
            catalogue.restore(entry);
        }
    }
    image
}

/// Something that the log and a checkpoint do not agree on.
struct Difference {
    item: Item,
    /// Further records that it needs.
    others: Vec<Location>,
    kind: Kind,
    /// What only the checkpoint knows.
    restore: Option<CheckpointEntry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    OnlyInCheckpoint,
    OnlyInLog,
    Different,
}

/// What the two do not agree on, of what `core` owns.
fn differences(log: &Catalogue, image: &Catalogue, core: usize, cores: usize) -> Vec<Difference> {
    let mut found = Vec::new();
    for (bucket, contents) in &image.buckets {
        let known = log.buckets.get(bucket);
        for (key, entry) in contents.versions() {
            let versions = known.and_then(|it| it.keys.get(key)).map_or(&[][..], Vec::as_slice);
            let same = versions.iter().find(|it| it.version() == entry.version());
            if same != Some(entry) {
                let kind = if same.is_some() { Kind::Different } else { Kind::OnlyInCheckpoint };
                found.push(of_version(*bucket, key, entry, kind));
            }
        }
        for ((key, id), upload) in &contents.uploads {
            let same = known.and_then(|it| it.uploads.get(&(key.clone(), *id)));
            if same != Some(upload) {
                let kind = if same.is_some() { Kind::Different } else { Kind::OnlyInCheckpoint };
                found.push(of_upload(*bucket, upload, kind));
            }
        }
    }
    for (bucket, contents) in &log.buckets {
        let known = image.buckets.get(bucket);
        for (key, entry) in contents.versions().filter(|(key, _)| owner_of(*bucket, key, cores) == core) {
            let versions = known.and_then(|it| it.keys.get(key)).map_or(&[][..], Vec::as_slice);
            if !versions.iter().any(|it| it.version() == entry.version()) {
                found.push(of_version(*bucket, key, entry, Kind::OnlyInLog));
            }
        }
        for ((key, id), upload) in &contents.uploads {
            let is_missing = known.is_none_or(|it| !it.uploads.contains_key(&(key.clone(), *id)));
            if is_missing && owner_of(*bucket, key, cores) == core {
                found.push(of_upload(*bucket, upload, Kind::OnlyInLog));
            }
        }
    }
    tables(log, image, core, cores, &mut found);
    found
}

fn of_version(bucket: u64, key: &[u8], entry: &Entry, kind: Kind) -> Difference {
    let object = ObjectName::version(bucket, key, entry.version());
    let item = Item { location: entry.location, what: "version", object: Some(object) };
    let restore = (kind != Kind::OnlyInLog).then(|| CheckpointEntry::Object {
        bucket,
        key: key.into(),
        entry: entry.clone(),
    });
    Difference { item, others: Vec::new(), kind, restore }
}

fn of_upload(bucket: u64, upload: &UploadEntry, kind: Kind) -> Difference {
    let object = ObjectName::upload(bucket, &upload.upload.key, upload.upload.id);
    let item = Item { location: upload.location, what: "upload", object: Some(object) };
    let others = upload.parts.values().map(|part| part.location).collect();
    let restore =
        (kind != Kind::OnlyInLog).then(|| CheckpointEntry::Upload { bucket, entry: upload.clone() });
    Difference { item, others, kind, restore }
}

/// The tables beside the buckets' contents: by name and place alone.
fn tables(log: &Catalogue, image: &Catalogue, core: usize, cores: usize, found: &mut Vec<Difference>) {
    let mut differ = |what, location, object, kind| {
        let item = Item { location, what, object };
        found.push(Difference { item, others: Vec::new(), kind, restore: None });
    };
    let kind_of = |is_there| if is_there { Kind::Different } else { Kind::OnlyInCheckpoint };
    if core == 0 {
        for (id, entry) in &image.table {
            let same = log.table.get(id);
            if same != Some(entry) {
                let object = Some(ObjectName::key(*id, b""));
                differ("bucket", entry.1, object, kind_of(same.is_some()));
            }
        }
        for (id, entry) in log.table.iter().filter(|(id, _)| !image.table.contains_key(id)) {
            differ("bucket", entry.1, Some(ObjectName::key(*id, b"")), Kind::OnlyInLog);
        }
        for (name, entry) in &image.config {
            let same = log.config.get(name);
            if same != Some(entry) {
                differ("entry of the configuration", entry.location, None, kind_of(same.is_some()));
            }
        }
        for (_, entry) in log.config.iter().filter(|(name, _)| !image.config.contains_key(*name)) {
            differ("entry of the configuration", entry.location, None, Kind::OnlyInLog);
        }
    }
    for (id, entry) in &image.events {
        let same = log.events.get(id);
        if same != Some(entry) {
            differ("event", entry.location, None, kind_of(same.is_some()));
        }
    }
    let mine = |route| core_of(route, cores) == core;
    for (_, entry) in log.events.iter().filter(|(id, it)| mine(it.route) && !image.events.contains_key(id)) {
        differ("event", entry.location, None, Kind::OnlyInLog);
    }
    for (id, entry) in &image.renames {
        let same = log.renames.get(id);
        if same != Some(entry) {
            differ("rename", entry.1, Some(ObjectName::key(id.0, &id.1)), kind_of(same.is_some()));
        }
    }
    for (id, entry) in &log.renames {
        if owner_of(id.0, &id.1, cores) == core && !image.renames.contains_key(id) {
            differ("rename", entry.1, Some(ObjectName::key(id.0, &id.1)), Kind::OnlyInLog);
        }
    }
}

/// Says what lies in damage of the log, and what cannot be explained by it.
fn tell<D: Disk>(
    context: &mut Context<'_, D>,
    logs: &mut Logs,
    checkpoint: &Checkpoint,
    differences: &[Difference],
) {
    let mut unexplained: Vec<(Kind, Vec<&Item>, u64)> = Vec::new();
    for difference in differences {
        let explained = difference.kind != Kind::OnlyInLog && explain(context, logs, difference);
        // A damaged log has lost deletions too: what it knows more may rightly be gone.
        if explained || logs.is_damaged() || context.inventory.is_lossy() {
            continue;
        }
        let at = unexplained.iter().position(|(kind, _, _)| *kind == difference.kind);
        let at = at.unwrap_or_else(|| {
            unexplained.push((difference.kind, Vec::new(), 0));
            unexplained.len() - 1
        });
        let (_, items, count) = &mut unexplained[at];
        *count += 1;
        if items.len() < OFFLINE_OBJECTS_NAMED_MAX {
            items.push(&difference.item);
        }
    }
    for (kind, items, count) in unexplained {
        let Some(first) = items.first() else { continue };
        let place = format!("{} at offset {}", FileName::Log(first.location.segment), first.location.offset);
        let what = first.what;
        let (found, expected) = match kind {
            Kind::OnlyInCheckpoint => (
                format!("{count} entries that the log does not have, first a {what} at {place}"),
                "what the log says: replaying it from its beginning must come to the same",
            ),
            Kind::OnlyInLog => (
                format!("{count} entries are missing that the log has, first a {what} at {place}"),
                "every entry that the log says is stored: a start from here would lose it",
            ),
            Kind::Different => (
                format!("{count} entries say something else than the log, first a {what} at {place}"),
                "what the log says: replaying it from its beginning must come to the same",
            ),
        };
        let spot = Spot::file(checkpoint.drive, checkpoint.name);
        let finding = context.findings.add(Severity::Damage, Area::Index, spot, found, expected);
        let objects = items.iter().filter_map(|item| item.object.clone());
        objects.for_each(|object| context.findings.touch(finding, object));
    }
}

/// Whether a record that a checkpoint refers to lies in damage, or in a segment that is gone.
fn explain<D: Disk>(context: &mut Context<'_, D>, logs: &mut Logs, difference: &Difference) -> bool {
    let mut explained = false;
    for location in std::iter::once(difference.item.location).chain(difference.others.iter().copied()) {
        let hole = match logs.hole_at(location) {
            Some(hole) => Some(hole.finding),
            None if !context.inventory.logs.contains_key(&location.segment) => {
                let drive = 0;
                Some(missing_segment(context, logs, drive, location.segment))
            }
            None => None,
        };
        if let Some(finding) = hole {
            explained = true;
            if let Some(object) = difference.item.object.clone() {
                context.findings.touch(finding, object);
            }
        }
    }
    explained
}
