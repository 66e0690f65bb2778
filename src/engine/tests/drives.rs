//! Stories of a drive that fails beside others: it takes its own keys with it, and nothing else. And of one that
//! comes back as it was before.

use std::time::Duration;

use super::*;
use crate::base::limits::BLOCK_BYTES;
use crate::io::sim::Faults;
use crate::io::{Buffer, Durability};

/// A drive that is no longer there: everything fails.
fn gone() -> Faults {
    Faults {
        read_error: 1.0,
        write_error: 1.0,
        sync_error: 1.0,
        open_error: 1.0,
        allocate_error: 1.0,
        punch_error: 1.0,
        name_error: 1.0,
        ..Faults::default()
    }
}

/// Lengths of objects: in the log, and in extents.
const SMALL: usize = 3_000;
const LARGE: usize = 300_000;

/// Two cores with a drive each, and objects whose key and payload lie on every pair of them.
struct Story {
    node: Node,
    bucket: BucketId,
    stored: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Story {
    async fn begin(simulation: &Simulation) -> Self {
        let node = Node::start(simulation, 2, 2).await.unwrap();
        let bucket =
            node.core(0).create_bucket("b", Versioning::Unversioned, BTreeMap::new()).await.unwrap().id;
        let mut stored = BTreeMap::new();
        for number in 0..24u64 {
            let bytes = content(number, if number % 3 == 0 { SMALL } else { LARGE });
            let key = format!("before/{number}").into_bytes();
            put(node.core(number as usize), bucket, &key, &bytes).await.unwrap();
            stored.insert(key, bytes);
        }
        Self { node, bucket, stored }
    }

    /// Puts an object of each length under keys of both owners, from both cores.
    async fn put_all(&mut self, lost: usize) {
        for number in 0..32u64 {
            let (from, length) = ((number % 2) as usize, if number % 4 < 2 { SMALL } else { LARGE });
            let key = format!("after/{number}").into_bytes();
            let bytes = content(100 + number, length);
            let result = put(self.node.core(from), self.bucket, &key, &bytes).await;
            let needs_lost =
                self.node.core(0).owner(self.bucket, &key) == lost || (length == LARGE && from == lost);
            match result {
                Ok(_) => {
                    assert!(!needs_lost, "{number} was taken without the drive that it needs");
                    self.stored.insert(key, bytes);
                }
                Err(EngineError::Failed(_) | EngineError::ReadOnly(_)) => {
                    assert!(needs_lost, "{number} needs no drive but the other one");
                }
                Err(other) => panic!("{number}: {other}"),
            }
        }
    }

    async fn read_all(&self, lost: usize) {
        let (mut right, mut failed) = (0, 0);
        for (key, bytes) in &self.stored {
            match get(self.node.core(right), self.bucket, key).await {
                Ok(found) => {
                    assert!(found.as_ref() == Some(bytes), "{}", String::from_utf8_lossy(key));
                    right += 1;
                }
                Err(EngineError::Failed(_) | EngineError::Corrupt(_)) => failed += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert!(right >= 8 && failed >= 4, "without drive {lost} {right} are read, {failed} fail");
    }
}

#[test]
fn a_drive_that_disappears_leaves_the_keys_of_other_drives_alone() {
    for seed in 0..12 {
        let lost = (seed % 2) as usize;
        let simulation = Simulation::new(seed);
        let (bucket, stored) = simulation.block_on(async {
            let mut story = Story::begin(&simulation).await;
            simulation.disk(lost).set_faults(gone());
            story.put_all(lost).await;
            story.read_all(lost).await;

            // Both cores know every key; what is deleted stays so.
            let (lost_core, other) = (story.node.core(lost).clone(), story.node.core(1 - lost).clone());
            let listed = list_all(&lost_core, story.bucket, 7).await;
            assert!(listed.iter().eq(story.stored.keys()));
            let owned = story.stored.keys().find(|key| other.owner(story.bucket, key) == 1 - lost);
            let owned = owned.unwrap().clone();
            other.delete(story.bucket, &owned, Deletion::default()).await.unwrap();
            story.stored.remove(&owned);

            // Connections go to the core that can write.
            assert!(!lost_core.is_sound(lost) && lost_core.is_sound(1 - lost));
            assert!(lost_core.is_outdone() && !other.is_outdone());
            let health: Vec<CoreHealth> = other.health().await.into_iter().map(Option::unwrap).collect();
            assert!(health[1 - lost].failures.is_empty(), "{health:?}");
            let failed: Vec<FailedPart> = health[lost].failures.iter().map(|failure| failure.part).collect();
            assert!(failed.contains(&FailedPart::Log) && failed.contains(&FailedPart::Payload), "{health:?}");
            (story.bucket, story.stored)
        });
        simulation.crash();
        simulation.disk(lost).set_faults(Faults::default());
        simulation.block_on(async {
            let node = Node::start(&simulation, 2, 2).await.unwrap();
            for (number, (key, bytes)) in stored.iter().enumerate() {
                let found = get(node.core(number), bucket, key).await.unwrap();
                assert!(found.as_ref() == Some(bytes), "seed {seed}: {}", String::from_utf8_lossy(key));
            }
        });
    }
}

#[test]
fn nobody_is_sent_away_when_every_drive_has_failed() {
    let simulation = Simulation::new(1);
    simulation.block_on(async {
        let story = Story::begin(&simulation).await;
        simulation.set_faults(gone());
        for core in 0..2 {
            put(story.node.core(core), story.bucket, b"k", &content(1, LARGE)).await.unwrap_err();
        }
        for core in 0..2 {
            assert!(!story.node.core(core).is_outdone());
        }
    });
}

#[test]
fn a_drive_that_cannot_be_read_is_named_by_the_start_that_it_refuses() {
    let simulation = Simulation::new(1);
    simulation.block_on(async { drop(Story::begin(&simulation).await) });
    simulation.disk(1).set_faults(gone());
    simulation.block_on(async {
        let refused = Node::start(&simulation, 2, 2).await.err();
        assert!(matches!(refused, Some(OpenError::Drive(1, _))), "{refused:?}");
    });
}

/// The superblocks of a drive, to be put back.
pub async fn superblocks(simulation: &Simulation, drive: usize) -> Vec<Buffer> {
    let disk = simulation.disk(drive);
    let mut all = Vec::new();
    for name in SUPERBLOCK_NAMES {
        let file = disk.open(name, OpenMode::Read).await.unwrap();
        let (read, buffer) = disk.read(&file, 0, Buffer::heap(BLOCK_BYTES), 0..BLOCK_BYTES).await;
        assert_eq!(read.unwrap(), BLOCK_BYTES);
        all.push(buffer);
    }
    all
}

pub async fn put_back(simulation: &Simulation, drive: usize, superblocks: Vec<Buffer>) {
    let disk = simulation.disk(drive);
    for (name, block) in SUPERBLOCK_NAMES.into_iter().zip(superblocks) {
        let file = disk.open(name, OpenMode::Write).await.unwrap();
        disk.write(&file, 0, block, 0..BLOCK_BYTES, Durability::Durable).await.0.unwrap();
    }
}

#[test]
fn an_older_copy_of_a_drive_beside_newer_ones_is_refused() {
    let simulation = Simulation::new(1);
    simulation.block_on(async {
        drop(Story::begin(&simulation).await);
        let old = superblocks(&simulation, 1).await;
        for _ in 0..2 {
            drop(Node::start(&simulation, 2, 2).await.unwrap());
        }
        put_back(&simulation, 1, old).await;
        let refused = Node::start(&simulation, 2, 2).await.err();
        let why = refused.map(|error| error.to_string()).unwrap_or_default();
        assert!(why.contains("drive 1") && why.contains("missed its last 2 starts"), "{why}");
        let told = Options { accept_damage: true, ..small() };
        Node::start_with(&simulation, 2, 2, told).await.unwrap();
    });
}

#[test]
fn starts_that_are_cut_off_again_and_again_make_no_drive_look_old() {
    for seed in 0..60 {
        let simulation = Simulation::new(seed);
        simulation.block_on(async { drop(Node::start(&simulation, 2, 2).await.unwrap()) });
        simulation.crash();
        for round in 0..6 {
            simulation.block_on(async {
                let host = simulation.host_with_arena(2, 8 << 20);
                let starting = host.clone();
                host.spawn(async move { drop(prepare(&starting, 2, false).await) });
                // It takes some milliseconds.
                host.sleep(Duration::from_micros((seed * 997 + round * 1723) % 6000)).await;
            });
            simulation.crash();
        }
        simulation.block_on(async {
            let started = Node::start(&simulation, 2, 2).await;
            assert!(started.is_ok(), "seed {seed}: {:?}", started.err());
        });
    }
}
