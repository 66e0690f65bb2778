//! What a node loses with a drive: found out, and told, before another drive takes its place.
//!
//! Of the keys whose core had the drive nobody knows more than how many there may be. Of the others the logs of the
//! drives that are there know all: what is damaged with the drive is named.

use std::collections::{BTreeMap, BTreeSet};

use super::catalogue::Catalogue;
use super::compare::{self, Checkpoint};
use super::inventory::{self, Inventory};
use super::logs::{self, Context, Logs};
use super::report::{Area, Finding, Findings, ObjectName, Severity, Summary};
use super::{Options, Progress, Unable};
use crate::base::limits::{BLOCK_BYTES, CORES_MAX};
use crate::engine::format::superblock::Superblock;
use crate::engine::format::{FileName, SegmentId};
use crate::engine::log::LogPosition;
use crate::io::Disk;

/// What is lost with a drive, and what the others still hold.
#[derive(Clone, Debug)]
pub struct Loss {
    /// The drive, among those of the node.
    pub drive: usize,
    /// Cores whose keys are lost, in order.
    pub cores_lost: Vec<usize>,
    /// Current objects of the other cores.
    pub objects_left: u64,
    /// Their versions that are not current, and delete markers.
    pub versions_left: u64,
    /// Versions and uploads of the other cores whose payload, or whose record, lay on the drive.
    pub damaged: Vec<ObjectName>,
    /// Newest first among equals: what the drives that are there say of the node.
    pub(in crate::engine) newest: Superblock,
    /// Of each drive that is there, which start it has seen.
    pub(in crate::engine) superblocks: Vec<Option<Superblock>>,
    /// Above every segment that anything names.
    pub(in crate::engine) segment_next: SegmentId,
    /// Where the empty logs begin, with the number of the checkpoint that says so: one for each lost core.
    pub(in crate::engine) beginnings: Vec<(u32, LogPosition)>,
}

impl Loss {
    /// Drives of the node.
    pub fn drives(&self) -> usize {
        self.superblocks.len()
    }

    /// Cores of the node at its last start.
    pub fn cores(&self) -> usize {
        self.newest.cores as usize
    }
}

/// Finds out what is lost with `lost`, one of the drives of a node, given in their order. What lies on that one is
/// not looked at. Nobody may write to the others meanwhile.
///
/// # Errors
///
/// [`Unable`] if the others are not all there, sound and of one node: nothing can then be said of what would be left.
pub async fn loss<D: Disk>(
    disks: &[D],
    lost: usize,
    progress: &mut dyn FnMut(Progress),
) -> Result<Loss, Unable> {
    let mut findings = Findings::default();
    let options = Options { quick: true, ..Options::default() };
    let mut inventory = inventory::take(disks, &options, &mut findings).await?;
    forget(&mut inventory, lost);
    let newest = check_others(&inventory, lost)?;
    let cores = newest.cores as usize;
    let cores_lost: BTreeSet<usize> = (0..cores).filter(|core| core % disks.len() == lost).collect();
    // What only the lost drive knew is missing in the logs: checkpoints know better.
    inventory.superblocks.iter_mut().flatten().for_each(|it| it.losses_before = SegmentId::MAX);
    if cores_lost.contains(&0) {
        return Err(Unable(
            "the first drive alone holds the table of buckets, their settings, users, keys and policies: without it \
             the others are of no use"
                .to_owned(),
        ));
    }
    let mut summary = Summary::default();
    let mut context = Context {
        disks,
        options: &options,
        identity: inventory.identity(),
        inventory: &inventory,
        findings: &mut findings,
        summary: &mut summary,
        progress,
        cores_lost: cores_lost.clone(),
    };
    let checkpoints = compare::open_all(&mut context).await;
    let mut logs = logs::open(&mut context).await;
    compare::name_positions(&checkpoints, &mut logs);
    let mut catalogue = Catalogue::default();
    logs::read_all(&mut context, &mut logs, &mut catalogue).await;
    let mut highest = highest_of(&inventory, &checkpoints, &catalogue);
    let covered = compare::compare_all(&mut context, &mut logs, &checkpoints, &mut catalogue).await;
    highest = highest.max(highest_of(&inventory, &checkpoints, &catalogue));
    check_covered(&newest, &covered)?;
    check_sound(findings, &inventory, lost)?;
    for core in &cores_lost {
        catalogue.drop_keys_of(*core, cores);
    }
    let table = std::mem::take(&mut catalogue.table);
    catalogue.drop_buckets_beyond(&table);
    catalogue.table = table;
    // Numbers end long before the type does: a segment's number is believed only up to half of it.
    if highest >= SegmentId::MAX / 2 - 2 * CORES_MAX as SegmentId {
        return Err(Unable(format!("there is no segment number left after {highest}")));
    }
    let segment_next = highest + 1;
    let (mut objects_left, mut versions_left) = (0, 0);
    for bucket in catalogue.buckets.keys() {
        let usage = catalogue.usage(*bucket);
        objects_left += usage.objects;
        versions_left += usage.versions;
    }
    Ok(Loss {
        drive: lost,
        damaged: damaged(&catalogue, &inventory),
        beginnings: beginnings(&cores_lost, &newest, &inventory, &checkpoints, &logs, segment_next),
        cores_lost: cores_lost.into_iter().collect(),
        objects_left,
        versions_left,
        newest,
        superblocks: inventory.superblocks,
        segment_next,
    })
}

/// Leaves out what lies on the drive: an attempt to replace it may have been cut off.
fn forget(inventory: &mut Inventory, lost: usize) {
    inventory.logs.retain(|_, placed| placed.drive != lost);
    inventory.data.retain(|_, placed| placed.drive != lost);
    inventory.checkpoints.retain(|_, placed| placed.drive != lost);
    if let Some(superblock) = inventory.superblocks.get_mut(lost) {
        *superblock = None;
    }
}

/// The newest superblock, once each of the other drives has one that belongs there and is of the last start or of the
/// one before, which was cut off then.
fn check_others(inventory: &Inventory, lost: usize) -> Result<Superblock, Unable> {
    let newest = inventory.superblocks.iter().flatten().max_by_key(|it| (it.epoch, it.drives));
    let Some(newest) = newest.cloned() else {
        return Err(Unable("none of the other drives belongs to a node".to_owned()));
    };
    let (of_node, given) = (newest.drives as usize, inventory.superblocks.len());
    if of_node != given {
        let them = "name all of them, in their order";
        return Err(Unable(format!("the node has {of_node} drives, and {given} are given: {them}")));
    }
    for (drive, superblock) in inventory.superblocks.iter().enumerate().filter(|(drive, _)| *drive != lost) {
        let Some(superblock) = superblock else {
            return Err(Unable(format!(
                "drive {drive} of the node is not mounted, has lost its superblocks, or is another one: only one \
                 drive can be replaced, and the others must be there"
            )));
        };
        let missed = newest.epoch - superblock.epoch;
        if missed > 1 {
            return Err(Unable(format!(
                "drive {drive} of the node missed its last {missed} starts: it is an older copy"
            )));
        }
    }
    if newest.cores as usize > CORES_MAX {
        return Err(Unable(format!("the superblock names {} cores", newest.cores)));
    }
    Ok(newest)
}

/// Without a checkpoint of its own since the number of cores changed, a core would need what earlier cores wrote to
/// the lost drive.
fn check_covered(newest: &Superblock, covered: &BTreeSet<usize>) -> Result<(), Unable> {
    let bare = (0..newest.cores as usize).find(|core| !covered.contains(core));
    match bare {
        Some(core) if newest.generation > 1 => Err(Unable(format!(
            "core {core} has no whole checkpoint since the number of cores was changed to {}: what was written to \
             the lost drive before would be needed to tell what it holds",
            newest.cores
        ))),
        _ => Ok(()),
    }
}

/// Refuses drives whose logs, superblocks or files are damaged in themselves: what then is left would be a guess.
fn check_sound(findings: Findings, inventory: &Inventory, lost: usize) -> Result<(), Unable> {
    // A log segment that is not there lay on the lost drive; if not, the start that follows says so.
    let is_gone = |finding: &Finding| match FileName::parse(&finding.spot.file) {
        Some(FileName::Log(id)) => !inventory.logs.contains_key(&id),
        _ => false,
    };
    let matters = |finding: &Finding| {
        finding.severity == Severity::Damage
            && finding.spot.drive != lost
            && !matches!(finding.area, Area::Checkpoint | Area::Data)
            && !is_gone(finding)
    };
    let report = findings.into_report(|_| None);
    if let Some(why) = report.unchecked.first() {
        return Err(Unable(format!("the other drives cannot be read: {why}")));
    }
    match report.findings.iter().find(|finding| matters(finding)) {
        Some(Finding { spot, found, .. }) => Err(Unable(format!(
            "drive {} is damaged, too: {} at offset {}: {found}; `ringcask check` tells all",
            spot.drive,
            spot.file,
            spot.offset.unwrap_or(0)
        ))),
        None => Ok(()),
    }
}

/// The highest number of a segment that is there, or that anything names.
fn highest_of(inventory: &Inventory, checkpoints: &[Checkpoint], catalogue: &Catalogue) -> SegmentId {
    let there = inventory.logs.keys().chain(inventory.data.keys()).max().copied().unwrap_or(0);
    let named = checkpoints.iter().map(|it| it.header.position.segment).max().unwrap_or(0);
    let mut highest = there.max(named);
    catalogue.for_each_slice(|slice, _| highest = highest.max(slice.extent.segment));
    catalogue.for_each_item(|item| highest = highest.max(item.location.segment));
    highest
}

/// Versions and uploads with payload or records in segments that are not there.
fn damaged(catalogue: &Catalogue, inventory: &Inventory) -> Vec<ObjectName> {
    let mut damaged = BTreeSet::new();
    catalogue.for_each_slice(|slice, name| {
        if !inventory.data.contains_key(&slice.extent.segment) {
            damaged.insert(name());
        }
    });
    catalogue.for_each_item(|item| {
        if !inventory.logs.contains_key(&item.location.segment) {
            damaged.extend(item.object);
        }
    });
    let bucket_name = |id| catalogue.table.get(&id).map(|(bucket, _)| bucket.name.clone());
    let named = |object: ObjectName| ObjectName { bucket_name: bucket_name(object.bucket), ..object };
    damaged.into_iter().map(named).collect()
}

/// Where the logs of the lost cores begin anew: behind all that other drives may still have of them, from when the
/// node had fewer drives.
fn beginnings(
    cores_lost: &BTreeSet<usize>,
    newest: &Superblock,
    inventory: &Inventory,
    checkpoints: &[Checkpoint],
    logs: &Logs,
    segment_next: SegmentId,
) -> Vec<(u32, LogPosition)> {
    let cores = newest.cores;
    let mut of_names: BTreeMap<u32, u32> = BTreeMap::new();
    for name in inventory.checkpoints.keys() {
        if let FileName::Checkpoint { generation, shard, sequence } = *name
            && generation == newest.generation
        {
            let known = of_names.entry(shard).or_default();
            *known = (*known).max(sequence);
        }
    }
    let beginning = |core: usize| {
        let shard = core as u32;
        let of_it = checkpoints.iter().map(|it| &it.header);
        let of_it = of_it.filter(|it| (it.generation, it.shard) == (newest.generation, shard));
        let known = of_it.map(|header| header.position);
        let known = known.chain(logs.ends.get(&(newest.generation, shard)).copied());
        let last = known.max_by_key(|position| position.sequence).unwrap_or_default();
        // The least number that is this core's and free.
        let segment = segment_next + (shard + cores - segment_next % cores) % cores;
        let position = LogPosition {
            segment,
            offset: BLOCK_BYTES as u32,
            sequence: last.sequence.max(1),
            previous_segment: last.previous_segment,
            previous_offset: last.previous_offset,
        };
        (of_names.get(&shard).copied().unwrap_or(0).saturating_add(1), position)
    };
    cores_lost.iter().map(|core| beginning(*core)).collect()
}
