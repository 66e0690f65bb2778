//! Superblocks at a start: whose drives these are, which start this is, whether the number of cores changed.

use std::sync::Arc;

use super::OpenError;
use crate::base::limits::BLOCK_BYTES;
use crate::engine::damage::{Damage, DamageKind};
use crate::engine::format::superblock::Superblock;
use crate::engine::format::{FileName, SegmentId};
use crate::engine::{SUPERBLOCK_NAME, SUPERBLOCK_NAMES, Shared};
use crate::io::{Buffer, Disk, Durability, Host, OpenMode};

/// Reads or makes the superblocks of all drives for a node of `cores` cores, which goes on without what is damaged
/// if it `accepts_damage`. Once for each start, on any one thread, before the engines are made.
pub async fn prepare<H: Host>(
    host: &H,
    cores: usize,
    accepts_damage: bool,
) -> Result<Arc<Shared>, OpenError> {
    let mut found = Vec::new();
    for (drive, disk) in host.disks().iter().enumerate() {
        found.push(read(disk, drive).await.map_err(|error| of_drive(error, drive))?);
    }
    let newest = found.iter().flatten().max_by_key(|superblock| (superblock.epoch, superblock.drives));
    let mut next = match newest {
        Some(newest) => newest.clone(),
        None => first(host, cores),
    };
    check_belonging(&found, &next, host.disks().len())?;
    check_age(&found, next.epoch, accepts_damage)?;
    // A start that was cut off below has left drives one start behind. They are brought up before another start
    // counts, so a drive that is further behind was away, whatever was cut off.
    for (drive, disk) in host.disks().iter().enumerate() {
        if found[drive].as_ref().is_some_and(|superblock| superblock.epoch < next.epoch) {
            next.drive = drive as u32;
            write(disk, &next).await.map_err(|error| of_drive(error, drive))?;
        }
    }
    // New drives join one after the other, each as the last one so far, before any drive counts on them: a
    // start that is cut off here can be repeated.
    for (drive, disk) in host.disks().iter().enumerate().filter(|(drive, _)| found[*drive].is_none()) {
        next.drive = drive as u32;
        next.drives = next.drives.max(drive as u32 + 1);
        write(disk, &next).await.map_err(|error| of_drive(error, drive))?;
    }
    if next.cores as usize != cores {
        next.generation += 1;
        next.cores = cores as u32;
    }
    if accepts_damage {
        next.losses_before = first_unused_log(host)?;
    }
    next.epoch += 1;
    next.drives = host.disks().len() as u32;
    for (drive, disk) in host.disks().iter().enumerate() {
        next.drive = drive as u32;
        write(disk, &next).await.map_err(|error| of_drive(error, drive))?;
    }
    Ok(Arc::new(Shared::new(next.node, next.epoch, next.generation, cores)))
}

fn first<H: Host>(host: &H, cores: usize) -> Superblock {
    let mut node = [0; 16];
    host.random(&mut node);
    Superblock { node, drive: 0, drives: 1, epoch: 0, generation: 1, cores: cores as u32, losses_before: 0 }
}

/// An error of a drive, which says of which.
fn of_drive(error: OpenError, drive: usize) -> OpenError {
    match error {
        OpenError::Io(error) => OpenError::Drive(drive, error),
        other => other,
    }
}

/// The number behind that of every log segment there is.
fn first_unused_log<H: Host>(host: &H) -> Result<SegmentId, OpenError> {
    let mut unused = 0;
    for (drive, disk) in host.disks().iter().enumerate() {
        for file in disk.list().map_err(|error| OpenError::Drive(drive, error))? {
            if let Some(FileName::Log(id)) = FileName::parse(&file.name) {
                unused = unused.max(id.saturating_add(1));
            }
        }
    }
    Ok(unused)
}

/// Every drive that the node had must be there; new ones may come after them.
fn check_belonging(
    found: &[Option<Superblock>],
    newest: &Superblock,
    drives: usize,
) -> Result<(), OpenError> {
    if newest.epoch > 0 && (newest.drives as usize) > drives {
        let why = format!("the node has {} drives, {drives} are given", newest.drives);
        return Err(OpenError::Foreign(why));
    }
    for (drive, superblock) in found.iter().enumerate() {
        match superblock {
            None if newest.epoch > 0 && drive < newest.drives as usize => {
                let why = format!(
                    "drive {drive} of the node is not mounted, has lost its {SUPERBLOCK_NAME}, or is another one"
                );
                return Err(OpenError::Foreign(why));
            }
            Some(superblock) if superblock.node != newest.node => {
                return Err(OpenError::Foreign(format!("drive {drive} belongs to another node")));
            }
            Some(superblock) if superblock.drive as usize != drive => {
                let why = format!("drive {} of the node is given in place {drive}", superblock.drive);
                return Err(OpenError::Foreign(why));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Refuses a drive that was away while the node started without it: an older copy, which lacks what was acknowledged
/// since. `newest`: the start that the others have seen.
fn check_age(found: &[Option<Superblock>], newest: u64, accepts_damage: bool) -> Result<(), OpenError> {
    for (drive, superblock) in found.iter().enumerate() {
        let missed = superblock.as_ref().map_or(0, |superblock| newest - superblock.epoch);
        if missed < 2 {
            continue;
        }
        let why = format!("drive {drive} of the node missed its last {missed} starts: it is an older copy");
        if !accepts_damage {
            let else_ = "mount the drive itself, or copies of all drives that are of one moment";
            return Err(OpenError::Foreign(format!("{why}; {else_}")));
        }
        tracing::error!("{why}, and what was acknowledged since is missing");
    }
    Ok(())
}

/// The superblock of a drive, from whichever of its two files is whole; the later one if both are.
async fn read<D: Disk>(disk: &D, drive: usize) -> Result<Option<Superblock>, OpenError> {
    let mut found: Option<Superblock> = None;
    let mut wrong = Vec::new();
    for name in SUPERBLOCK_NAMES {
        match read_one(disk, name).await? {
            Ok(superblock) if found.as_ref().is_none_or(|other| other.epoch < superblock.epoch) => {
                found = Some(superblock);
            }
            Ok(_) => {}
            Err(why) => wrong.push((name, why)),
        }
    }
    let damaged = wrong.iter().find(|(_, why)| why.is_some());
    match (found, damaged) {
        (Some(superblock), _) => {
            for (name, why) in wrong {
                let why = why.as_deref().unwrap_or("it is missing");
                tracing::error!("{name} of drive {drive}: {why}; it is written again from its other copy");
            }
            Ok(Some(superblock))
        }
        (None, Some((name, why))) => {
            let why = why.as_deref().unwrap_or_default();
            let other = "the other of its two files is no better";
            Err(OpenError::Foreign(format!("{name} of drive {drive}: {why}; {other}")))
        }
        (None, None) => Ok(None),
    }
}

/// What is damaged of a drive's superblocks.
pub async fn verify_superblocks<D: Disk>(disk: &D) -> Vec<Damage> {
    let mut damages = Vec::new();
    for name in SUPERBLOCK_NAMES {
        let what = match read_one(disk, name).await {
            Ok(Ok(_)) => continue,
            Ok(Err(what)) => what.unwrap_or_else(|| "it is missing".to_string()),
            Err(error) => error.to_string(),
        };
        damages.push(Damage {
            kind: DamageKind::Superblock,
            file: name.to_string(),
            offset: 0,
            bytes: BLOCK_BYTES as u64,
            what: format!("{what}; the next start writes it again"),
            objects: Vec::new(),
        });
    }
    damages
}

/// Reads one file of a superblock; the inner error says what is wrong with it, or nothing if it is missing.
async fn read_one<D: Disk>(disk: &D, name: &str) -> Result<Result<Superblock, Option<String>>, OpenError> {
    let file = match disk.open(name, OpenMode::Read).await {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Err(None)),
        Err(error) => return Err(error.into()),
    };
    let (result, buffer) = disk.read(&file, 0, Buffer::heap(BLOCK_BYTES), 0..BLOCK_BYTES).await;
    Ok(match result {
        Ok(count) => Superblock::decode(&buffer.whole()[..count]).map_err(Some),
        Err(error) => Err(Some(error.to_string())),
    })
}

/// Writes both files, one after the other, so that one is whole at any time.
pub async fn write<D: Disk>(disk: &D, superblock: &Superblock) -> Result<(), OpenError> {
    for name in SUPERBLOCK_NAMES {
        match replace(disk, name, superblock).await {
            // Not a block is free: the block that the file has is written over. What is read of it lies in one
            // sector, which no drive writes by halves, and there is the other copy.
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                write_over(disk, name, superblock).await?;
            }
            result => result?,
        }
    }
    Ok(())
}

/// Replaces a file as a whole.
async fn replace<D: Disk>(disk: &D, name: &str, superblock: &Superblock) -> std::io::Result<()> {
    let draft = format!("{name}.draft");
    let _ = disk.remove(&draft).await;
    let file = disk.open(&draft, OpenMode::Create).await?;
    let mut buffer = Buffer::heap(BLOCK_BYTES);
    buffer.append(&superblock.encode());
    disk.write(&file, 0, buffer, 0..BLOCK_BYTES, Durability::Durable).await.0?;
    disk.sync(&file).await?;
    disk.rename(&draft, name).await?;
    disk.sync_directory().await
}

async fn write_over<D: Disk>(disk: &D, name: &str, superblock: &Superblock) -> std::io::Result<()> {
    let file = disk.open(name, OpenMode::Write).await?;
    let mut buffer = Buffer::heap(BLOCK_BYTES);
    buffer.append(&superblock.encode());
    disk.write(&file, 0, buffer, 0..BLOCK_BYTES, Durability::Durable).await.0?;
    disk.sync(&file).await
}
