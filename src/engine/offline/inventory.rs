//! Which files lie on the drives, whose they are, and whether the drives belong together.

use std::collections::BTreeMap;

use super::report::{Area, Findings, Severity, Spot};
use super::{Options, Unable};
use crate::base::limits::{BLOCK_BYTES, DATA_DIRECTORIES_MAX};
use crate::engine::format::superblock::{FORMAT_VERSION, Superblock};
use crate::engine::format::{FileName, SegmentId};
use crate::engine::gc::ASIDE;
use crate::engine::{SUPERBLOCK_NAME, SUPERBLOCK_NAMES};
use crate::io::{Disk, FileEntry};

use super::reader::Reader;

/// A file and the drive it lies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    pub drive: usize,
    pub file: FileEntry,
}

/// The files of all drives, by what they are.
#[derive(Debug, Default)]
pub struct Inventory {
    pub logs: BTreeMap<SegmentId, Placed>,
    pub data: BTreeMap<SegmentId, Placed>,
    pub checkpoints: BTreeMap<FileName, Placed>,
    pub superblocks: Vec<Option<Superblock>>,
}

/// What is known of the node whose drives these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub node: [u8; 16],
    pub epoch: u64,
    pub generation: u32,
    pub cores: u32,
    pub losses_before: SegmentId,
}

impl Inventory {
    /// Whether anything of a node lies there.
    pub fn is_empty(&self) -> bool {
        let files = self.logs.len() + self.data.len() + self.checkpoints.len();
        files == 0 && self.superblocks.iter().all(Option::is_none)
    }

    /// The newest superblock.
    pub fn identity(&self) -> Option<Identity> {
        let newest = self.superblocks.iter().flatten().max_by_key(|it| (it.epoch, it.drives))?;
        let Superblock { node, epoch, generation, cores, losses_before, .. } = *newest;
        Some(Identity { node, epoch, generation, cores, losses_before })
    }

    /// Whether the log may lack changes that a start was told to go on without: then checkpoints know better.
    pub fn is_lossy(&self) -> bool {
        let before = self.identity().map_or(0, |identity| identity.losses_before);
        self.logs.keys().any(|id| *id < before)
    }
}

/// Lists the drives and reads their superblocks.
pub async fn take<D: Disk>(
    disks: &[D],
    options: &Options<'_>,
    findings: &mut Findings,
) -> Result<Inventory, Unable> {
    let mut inventory = Inventory::default();
    for (drive, disk) in disks.iter().enumerate() {
        let files =
            disk.list().map_err(|error| Unable(format!("drive {drive} cannot be listed: {error}")))?;
        for file in files {
            sort_in(&mut inventory, drive, file, options, findings);
        }
    }
    for (drive, disk) in disks.iter().enumerate() {
        let superblock = read_superblock(disk, drive, findings).await?;
        inventory.superblocks.push(superblock);
    }
    check_belonging(&inventory, disks.len(), findings)?;
    Ok(inventory)
}

fn sort_in(
    inventory: &mut Inventory,
    drive: usize,
    file: FileEntry,
    options: &Options<'_>,
    findings: &mut Findings,
) {
    let spot = Spot::file(drive, &file.name);
    let name = FileName::parse(&file.name);
    let canonical = name.is_some_and(|name| name.to_string() == file.name);
    let placed = Placed { drive, file };
    let earlier = match name.filter(|_| canonical) {
        Some(FileName::Log(id)) => keep(&mut inventory.logs, id, placed),
        Some(FileName::Data(id)) => keep(&mut inventory.data, id, placed),
        Some(name @ FileName::Checkpoint { .. }) => keep(&mut inventory.checkpoints, name, placed),
        Some(FileName::CheckpointDraft { .. }) => {
            let found = "a checkpoint that was being written when the node ended";
            findings.add(
                Severity::Note,
                Area::Files,
                spot,
                found,
                "nothing; drafts are never read and replaced in time",
            );
            return;
        }
        None if placed.file.name.starts_with(ASIDE) => {
            let found = "a log segment that the cleaner set aside because it is damaged";
            let expected = "nothing; it is kept for whoever looks for what was lost in it";
            findings.add(Severity::Warning, Area::Files, spot, found, expected);
            return;
        }
        None => {
            let is_known = placed.file.name.starts_with(SUPERBLOCK_NAME)
                || options.names_known.contains(&placed.file.name.as_str());
            if !is_known {
                findings.add(
                    Severity::Warning,
                    Area::Files,
                    spot,
                    format!("a file of {} bytes that is not ours", placed.file.bytes),
                    "only the node's own files; the node ignores others",
                );
            }
            return;
        }
    };
    if let Some(earlier) = earlier {
        findings.damage(
            Area::Files,
            spot,
            format!("a second file of this name; drive {earlier} has one too"),
            "names are unique over all drives: one of the two is a copy and must be moved away",
        );
    }
}

/// Keeps a file under its name; the drive of the one that is there already, if one is.
fn keep<K: Ord>(files: &mut BTreeMap<K, Placed>, name: K, placed: Placed) -> Option<usize> {
    match files.entry(name) {
        std::collections::btree_map::Entry::Vacant(slot) => {
            slot.insert(placed);
            None
        }
        std::collections::btree_map::Entry::Occupied(slot) => Some(slot.get().drive),
    }
}

/// The superblock of a drive, from whichever of its two files is whole; the later one if both are.
async fn read_superblock<D: Disk>(
    disk: &D,
    drive: usize,
    findings: &mut Findings,
) -> Result<Option<Superblock>, Unable> {
    let mut newest: Option<Superblock> = None;
    let mut wrong = Vec::new();
    let mut whole: Vec<(&str, Superblock)> = Vec::new();
    for name in SUPERBLOCK_NAMES {
        match read_one(disk, name).await {
            Ok(Ok(superblock)) => {
                if newest.as_ref().is_none_or(|other| other.epoch < superblock.epoch) {
                    newest = Some(superblock.clone());
                }
                whole.push((name, superblock));
            }
            Ok(Err((why, Some(version)))) if version != FORMAT_VERSION => {
                return Err(Unable(format!("{name} of drive {drive}: {why}")));
            }
            Ok(Err((why, _))) => wrong.push((name, why)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                wrong.push((name, "there is none".to_owned()));
            }
            Err(error) => {
                findings.unreadable(Area::Superblock, Spot::file(drive, name), &error);
            }
        }
    }
    let is_missing = wrong.iter().all(|(_, why)| why == "there is none");
    if newest.is_none() && is_missing {
        return Ok(None);
    }
    // Between the two, a first start may have been cut off.
    let severity = match &newest {
        Some(newest) if newest.epoch <= 1 && is_missing => Severity::Note,
        _ => Severity::Damage,
    };
    for (name, why) in wrong {
        let expected = match newest {
            Some(_) => {
                "one of the two superblocks of the drive; the other is whole, and a start mends this one"
            }
            None => "one of the two superblocks of the drive; without any the node does not start",
        };
        findings.add(severity, Area::Superblock, Spot::file(drive, name), why, expected);
    }
    if let [(_, first), (name, second)] = &whole[..] {
        let spot = Spot::file(drive, name);
        if (first.node, first.drive) != (second.node, second.drive) {
            let found = "the superblock of another drive";
            let expected = "the same as in the other of the two superblocks";
            findings.damage(Area::Superblock, spot, found, expected);
        } else if first.epoch != second.epoch {
            let found = format!("the two are of starts {} and {}", first.epoch, second.epoch);
            let expected = "the same start in both; a start was cut off, and the next one mends it";
            findings.add(Severity::Note, Area::Superblock, spot, found, expected);
        }
    }
    Ok(newest)
}

/// A superblock, or what is wrong with the file, and the format version that it claims.
type Read = Result<Superblock, (String, Option<u32>)>;

async fn read_one<D: Disk>(disk: &D, name: &str) -> std::io::Result<Read> {
    let mut reader = Reader::open(disk, name, BLOCK_BYTES as u64).await?;
    let bytes = reader.bytes(0, BLOCK_BYTES).await?;
    Ok(Superblock::decode(bytes).map_err(|why| (why, Superblock::version(bytes))))
}

fn check_belonging(inventory: &Inventory, drives: usize, findings: &mut Findings) -> Result<(), Unable> {
    let newest = inventory.superblocks.iter().flatten().max_by_key(|it| (it.epoch, it.drives));
    let Some(newest) = newest else { return Ok(()) };
    let of_node = newest.drives as usize;
    if of_node > drives && of_node <= DATA_DIRECTORIES_MAX && newest.epoch > 0 {
        return Err(Unable(format!(
            "the node has {of_node} drives, and {drives} are given: name all of them, in their order"
        )));
    }
    for (drive, superblock) in inventory.superblocks.iter().enumerate() {
        let spot = Spot::file(drive, SUPERBLOCK_NAME);
        let Some(superblock) = superblock else {
            if !findings.has_about(&spot) && drive < of_node && newest.epoch > 0 {
                findings.damage(
                    Area::Superblock,
                    spot,
                    "there is none",
                    format!("that of drive {drive} of the node"),
                );
            }
            continue;
        };
        if superblock.node != newest.node {
            return Err(Unable(format!("drive {drive} belongs to another node than the others")));
        }
        if superblock.drive as usize != drive {
            return Err(Unable(format!(
                "drive {} of the node is given in place {drive}: name the drives in their order",
                superblock.drive
            )));
        }
        if (superblock.epoch, superblock.generation) != (newest.epoch, newest.generation) {
            let (epoch, newest) = (superblock.epoch, newest.epoch);
            let (severity, expected) = match newest.saturating_sub(epoch) {
                0 | 1 => {
                    let why = "the same start on all drives; a start was cut off, and the next one mends it";
                    (Severity::Note, why)
                }
                _ => (
                    Severity::Damage,
                    "the same start on all drives, or the last but one: it is an older copy",
                ),
            };
            let found = format!("it is of start {epoch}, the newest of start {newest}");
            findings.add(severity, Area::Superblock, spot, found, expected);
        }
    }
    Ok(())
}
