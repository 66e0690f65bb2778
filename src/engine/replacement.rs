//! A drive that is lost for good: an empty one takes its place, and the node goes on with what the others hold.
//!
//! The keys whose cores wrote to the lost drive are given up. Each of those cores gets an empty checkpoint on the new
//! drive, from which its log begins: so nothing that older segments on other drives have of its keys comes back.
//! The superblock comes last. Until it is durable the drive is missing, and no node starts; whatever was cut off is
//! begun anew.

use std::io::ErrorKind;

use super::format::FileName;
use super::format::checkpoint::CheckpointHeader;
use super::format::superblock::Superblock;
use super::log::LogPosition;
use super::offline::{Loss, Unable};
use super::recovery::write_superblock;
use super::{OpenError, SUPERBLOCK_NAME, SUPERBLOCK_NAMES};
use crate::base::limits::BLOCK_BYTES;
use crate::io::{Buffer, Disk, Durability, OpenMode};

/// Name of the file that marks a drive as one that is being put in the place of a lost one. Without it, and without a
/// superblock, a drive with files of the engine is not touched.
pub const REPLACEMENT_NAME: &str = "ringcask.superblock.replacement";

/// What lies on the drive that is to take the place of a lost one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vacancy {
    /// Nothing of a node.
    Empty,
    /// What an attempt left that was cut off.
    Begun,
    /// The replacement is done.
    Done,
}

/// Looks at the drive that is to take the place of a lost one.
///
/// # Errors
///
/// [`Unable`] if it holds what a node wrote: it is not lost, or not empty.
pub async fn vacancy<D: Disk>(disk: &D) -> Result<Vacancy, Unable> {
    let cannot = |error| Unable(format!("the drive in its place cannot be listed: {error}"));
    let files = disk.list().map_err(cannot)?;
    let has = |wanted: &str| files.iter().any(|file| file.name == wanted);
    let is_begun = has(REPLACEMENT_NAME);
    if SUPERBLOCK_NAMES.into_iter().any(has) {
        return match is_begun {
            true => Ok(Vacancy::Done),
            false => Err(Unable(format!(
                "it is not lost: its {SUPERBLOCK_NAME} is there. If nothing on it can be used, give an empty directory \
                 in its place"
            ))),
        };
    }
    match files.iter().find(|file| FileName::parse(&file.name).is_some()) {
        Some(file) if !is_begun => Err(Unable(format!(
            "the directory in its place holds '{}': give an empty one, and keep this one for who may still read it",
            file.name
        ))),
        _ if is_begun => Ok(Vacancy::Begun),
        _ => Ok(Vacancy::Empty),
    }
}

/// Puts the empty drive `loss.drive` of `disks` into the place of the one that is lost. Nobody may use any of them
/// meanwhile. What is cut off can be repeated, from finding out what is lost on.
///
/// # Errors
///
/// A drive cannot be written; the node does not start, or starts with the drive replaced.
pub async fn replace<D: Disk>(disks: &[D], loss: &Loss) -> Result<(), OpenError> {
    let mut next = loss.newest.clone();
    for (drive, disk) in disks.iter().enumerate().filter(|(drive, _)| *drive != loss.drive) {
        let of = |error| of_drive(error, drive);
        // A start was cut off. The next one brings up drives that are one start behind, not two.
        if loss.superblocks[drive].as_ref().is_some_and(|it| it.epoch < next.epoch) {
            next.drive = drive as u32;
            write_superblock(disk, &next).await.map_err(of)?;
        }
    }
    let new = &disks[loss.drive];
    lay_out(new, loss).await.map_err(|error| OpenError::Drive(loss.drive, error))?;
    // As after a start that only this drive has seen. The next one makes the lost drive an older copy, should it come
    // back.
    next.drive = loss.drive as u32;
    next.epoch += 1;
    next.losses_before = next.losses_before.max(loss.segment_next);
    write_superblock(new, &next).await.map_err(|error| of_drive(error, loss.drive))?;
    end(new).await.map_err(|error| OpenError::Drive(loss.drive, error))
}

/// Removes the mark of a replacement that is done.
pub async fn end<D: Disk>(disk: &D) -> std::io::Result<()> {
    remove(disk, REPLACEMENT_NAME).await?;
    disk.sync_directory().await
}

/// Everything but the superblock, durable when this returns.
async fn lay_out<D: Disk>(disk: &D, loss: &Loss) -> std::io::Result<()> {
    // Before anything else, and as long as anything else is there without a superblock.
    match write_file(disk, REPLACEMENT_NAME, vec![0; BLOCK_BYTES]).await {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => disk.sync_directory().await?,
    }
    for file in disk.list()? {
        if FileName::parse(&file.name).is_some() {
            remove(disk, &file.name).await?;
        }
    }
    for (core, (sequence, position)) in loss.cores_lost.iter().zip(&loss.beginnings) {
        let header = beginning(&loss.newest, *core as u32, *sequence, *position);
        let name = FileName::Checkpoint {
            generation: header.generation,
            shard: header.shard,
            sequence: header.sequence,
        };
        write_file(disk, &name.to_string(), header.encode()).await?;
    }
    disk.sync_directory().await
}

/// The checkpoint of a core that holds nothing.
fn beginning(node: &Superblock, shard: u32, sequence: u32, position: LogPosition) -> CheckpointHeader {
    CheckpointHeader {
        node: node.node,
        generation: node.generation,
        shard,
        cores: node.cores,
        sequence,
        position,
        chunks: 0,
        entries: 0,
    }
}

/// Makes a file of whole blocks; its name is not durable yet.
async fn write_file<D: Disk>(disk: &D, name: &str, bytes: Vec<u8>) -> std::io::Result<()> {
    let file = disk.open(name, OpenMode::Create).await?;
    let mut buffer = Buffer::heap(bytes.len());
    buffer.append(&bytes);
    disk.write(&file, 0, buffer, 0..bytes.len(), Durability::Durable).await.0?;
    disk.sync(&file).await
}

async fn remove<D: Disk>(disk: &D, name: &str) -> std::io::Result<()> {
    match disk.remove(name).await {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn of_drive(error: OpenError, drive: usize) -> OpenError {
    match error {
        OpenError::Io(error) => OpenError::Drive(drive, error),
        other => other,
    }
}
