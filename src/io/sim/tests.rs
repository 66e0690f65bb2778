//! Stories of the simulated machine.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;

use super::*;
use crate::base::limits::BLOCK_BYTES;
use crate::io::{Buffer, Disk, Durability, OpenMode};

const BLOCK: u64 = BLOCK_BYTES as u64;

/// A buffer of `blocks` blocks filled with `byte`.
fn filled(byte: u8, blocks: usize) -> Buffer {
    let mut buffer = Buffer::heap(blocks * BLOCK_BYTES);
    buffer.set_len(blocks * BLOCK_BYTES);
    buffer.fill(byte);
    buffer
}

async fn write(disk: &SimDisk, file: &SimFile, block: u64, byte: u8, blocks: usize, durability: Durability) {
    let range = 0..blocks * BLOCK_BYTES;
    disk.write(file, block * BLOCK, filled(byte, blocks), range, durability).await.0.unwrap();
}

async fn read(disk: &SimDisk, file: &SimFile, block: u64) -> Vec<u8> {
    let (count, buffer) = disk.read(file, block * BLOCK, Buffer::heap(BLOCK_BYTES), 0..BLOCK_BYTES).await;
    buffer[..count.unwrap()].to_vec()
}

async fn create(disk: &SimDisk, name: &str) -> SimFile {
    let file = disk.open(name, OpenMode::Create).await.unwrap();
    disk.sync_directory().await.unwrap();
    file
}

#[test]
fn what_was_written_is_read_back() {
    let simulation = Simulation::new(1);
    let disk = simulation.disk(0);
    simulation.block_on(async {
        let file = create(&disk, "a").await;
        write(&disk, &file, 3, 7, 2, Durability::Buffered).await;
        assert_eq!(read(&disk, &file, 2).await, [0; BLOCK_BYTES]);
        assert_eq!(read(&disk, &file, 4).await, [7; BLOCK_BYTES]);
        assert!(read(&disk, &file, 5).await.is_empty());
    });
    let entries = disk.list().unwrap();
    assert_eq!((entries[0].bytes, entries[0].bytes_allocated), (5 * BLOCK, 2 * BLOCK));
}

/// Contents of block 0 of file "a" after a crash, over many seeds, if `story` ran before it.
fn outcomes(story: impl AsyncFn(SimDisk)) -> BTreeSet<Vec<u8>> {
    let mut outcomes = BTreeSet::new();
    for seed in 0..200 {
        let simulation = Simulation::new(seed);
        simulation.block_on(story(simulation.disk(0)));
        simulation.crash();
        let disk = simulation.disk(0);
        outcomes.insert(simulation.block_on(async {
            match disk.open("a", OpenMode::Read).await {
                Ok(file) => read(&disk, &file, 0).await,
                Err(error) => format!("{:?}", error.kind()).into_bytes(),
            }
        }));
    }
    outcomes
}

#[test]
fn a_crash_keeps_loses_and_tears_what_was_not_synced() {
    let outcomes = outcomes(async |disk| {
        let file = create(&disk, "a").await;
        write(&disk, &file, 0, 1, 1, Durability::Durable).await;
        write(&disk, &file, 0, 2, 1, Durability::Buffered).await;
    });
    assert!(outcomes.contains(&[1; BLOCK_BYTES][..]));
    assert!(outcomes.contains(&[2; BLOCK_BYTES][..]));
    let torn = outcomes.iter().filter(|block| block.contains(&1) && block.contains(&2));
    assert!(torn.count() > 1);
    for block in &outcomes {
        assert!(block.chunks(512).all(|sector| sector == [1; 512] || sector == [2; 512]));
    }
}

#[test]
fn what_was_synced_survives_every_crash() {
    let synced = outcomes(async |disk| {
        let file = create(&disk, "a").await;
        write(&disk, &file, 0, 1, 4, Durability::Buffered).await;
        disk.sync(&file).await.unwrap();
        write(&disk, &file, 1, 2, 1, Durability::Buffered).await;
    });
    assert_eq!(synced, [vec![1; BLOCK_BYTES]].into());
}

#[test]
fn a_durable_write_survives_what_came_before_it() {
    // An older unsynced version must never come back over a newer durable one.
    let durable = outcomes(async |disk| {
        let file = create(&disk, "a").await;
        write(&disk, &file, 0, 1, 2, Durability::Buffered).await;
        write(&disk, &file, 0, 2, 1, Durability::Durable).await;
    });
    assert_eq!(durable, [vec![2; BLOCK_BYTES]].into());
}

#[test]
fn a_sync_does_not_cover_a_write_that_completes_during_it() {
    let outcomes = outcomes(async |disk| {
        let file = create(&disk, "a").await;
        disk.allocate(&file, 0..BLOCK).await.unwrap();
        disk.sync(&file).await.unwrap();
        let mut sync = Box::pin(disk.sync(&file));
        std::future::poll_fn(|context| {
            assert!(sync.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        write(&disk, &file, 0, 1, 1, Durability::Buffered).await;
        sync.await.unwrap();
    });
    assert!(outcomes.contains(&[0; BLOCK_BYTES][..]) && outcomes.contains(&[1; BLOCK_BYTES][..]));
}

#[test]
fn a_name_may_vanish_until_the_directory_is_synced() {
    let unsynced = outcomes(async |disk| {
        let file = disk.open("a", OpenMode::Create).await.unwrap();
        write(&disk, &file, 0, 1, 1, Durability::Durable).await;
    });
    assert_eq!(unsynced, [vec![1; BLOCK_BYTES], b"NotFound".to_vec()].into());
}

#[test]
fn a_rename_is_atomic_across_a_crash() {
    let outcomes = outcomes(async |disk| {
        let old = create(&disk, "a").await;
        write(&disk, &old, 0, 1, 1, Durability::Durable).await;
        let new = create(&disk, "b").await;
        write(&disk, &new, 0, 2, 1, Durability::Durable).await;
        disk.rename("b", "a").await.unwrap();
    });
    assert_eq!(outcomes, [vec![1; BLOCK_BYTES], vec![2; BLOCK_BYTES]].into());
}

#[test]
fn a_removed_file_may_come_back_until_the_directory_is_synced() {
    let story = |sync: bool| {
        outcomes(async move |disk| {
            let file = create(&disk, "a").await;
            write(&disk, &file, 0, 1, 1, Durability::Durable).await;
            disk.remove("a").await.unwrap();
            if sync {
                disk.sync_directory().await.unwrap();
            }
        })
    };
    assert_eq!(story(false).len(), 2);
    assert_eq!(story(true), [b"NotFound".to_vec()].into());
}

#[test]
fn a_write_under_way_may_reach_the_drive_though_nobody_heard_of_it() {
    let mut survived = BTreeSet::new();
    for seed in 0..200 {
        let simulation = Simulation::new(seed);
        let disk = simulation.disk(0);
        let file = simulation.block_on(async {
            let file = create(&disk, "a").await;
            write(&disk, &file, 0, 1, 1, Durability::Durable).await;
            file
        });
        let started = simulation.block_on_for(write(&disk, &file, 0, 2, 1, Durability::Durable), 1);
        assert!(started.is_none());
        simulation.crash();
        let disk = simulation.disk(0);
        survived.insert(simulation.block_on(async {
            let file = disk.open("a", OpenMode::Read).await.unwrap();
            read(&disk, &file, 0).await[0]
        }));
    }
    assert_eq!(survived, [1, 2].into());
}

#[test]
fn a_dropped_future_does_not_stop_its_write() {
    let simulation = Simulation::new(3);
    let host = simulation.host(1);
    let disk = simulation.disk(0);
    simulation.block_on(async {
        let file = create(&disk, "a").await;
        let mut abandoned = Box::pin(write(&disk, &file, 0, 9, 1, Durability::Buffered));
        std::future::poll_fn(|context| {
            assert!(abandoned.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        drop(abandoned);
        host.sleep(Duration::from_secs(1)).await;
        assert_eq!(read(&disk, &file, 0).await[0], 9);
    });
}

#[test]
fn a_failed_sync_leaves_data_that_may_be_lost_although_the_next_sync_succeeds() {
    let outcomes = outcomes(async |disk| {
        let file = create(&disk, "a").await;
        write(&disk, &file, 0, 1, 1, Durability::Durable).await;
        write(&disk, &file, 0, 2, 1, Durability::Buffered).await;
        disk.set_faults(Faults { sync_error: 1.0, ..Faults::default() });
        assert!(disk.sync(&file).await.is_err());
        disk.set_faults(Faults::default());
        disk.sync(&file).await.unwrap();
    });
    assert_eq!(outcomes, [vec![1; BLOCK_BYTES], vec![2; BLOCK_BYTES]].into());
}

#[test]
fn a_full_drive_refuses_until_space_is_punched_free() {
    let simulation = Simulation::new(4);
    simulation.set_faults(Faults { capacity_bytes: 4 * BLOCK, ..Faults::default() });
    let disk = simulation.disk(0);
    simulation.block_on(async {
        let file = create(&disk, "a").await;
        disk.allocate(&file, 0..4 * BLOCK).await.unwrap();
        assert_eq!(disk.space().unwrap().bytes_free, 0);
        write(&disk, &file, 3, 1, 1, Durability::Buffered).await;
        let beyond = disk.allocate(&file, 0..5 * BLOCK).await.unwrap_err();
        assert_eq!(beyond.kind(), io::ErrorKind::StorageFull);
        disk.punch(&file, BLOCK..2 * BLOCK).await.unwrap();
        assert_eq!(disk.space().unwrap().bytes_free, BLOCK);
        write(&disk, &file, 4, 2, 1, Durability::Buffered).await;
        assert_eq!(disk.list().unwrap()[0].bytes_allocated, 4 * BLOCK);
    });
}

#[test]
fn faults_happen_as_often_as_asked() {
    let simulation = Simulation::new(5);
    let disk = simulation.disk(0);
    let failures = simulation.block_on(async {
        let file = create(&disk, "a").await;
        disk.set_faults(Faults { read_error: 0.3, write_error: 0.3, ..Faults::default() });
        let mut failures = [0, 0];
        for _ in 0..1000 {
            let written = disk.write(&file, 0, filled(1, 1), 0..BLOCK_BYTES, Durability::Buffered).await;
            failures[0] += u32::from(written.0.is_err());
            failures[1] += u32::from(disk.read(&file, 0, written.1, 0..BLOCK_BYTES).await.0.is_err());
        }
        failures
    });
    assert!(failures.iter().all(|count| (200..400).contains(count)), "{failures:?}");
}

#[test]
fn a_bit_flips_at_rest() {
    let simulation = Simulation::new(6);
    let disk = simulation.disk(0);
    simulation.block_on(async {
        let file = create(&disk, "a").await;
        write(&disk, &file, 0, 0, 2, Durability::Durable).await;
        disk.flip_bit("a", BLOCK + 5).unwrap();
        assert_eq!(read(&disk, &file, 0).await, [0; BLOCK_BYTES]);
        let flipped = read(&disk, &file, 1).await;
        assert_eq!(flipped.iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
        assert_eq!(flipped[5].count_ones(), 1);
        assert!(disk.flip_bit("a", 2 * BLOCK).is_err());
    });
}

#[test]
fn a_block_goes_astray_at_rest() {
    let simulation = Simulation::new(6);
    let disk = simulation.disk(0);
    simulation.block_on(async {
        let file = create(&disk, "a").await;
        write(&disk, &file, 0, 1, 1, Durability::Durable).await;
        write(&disk, &file, 1, 2, 1, Durability::Durable).await;
        simulation.misdirect(0, "a", 5, BLOCK + 9);
        assert_eq!((read(&disk, &file, 0).await[0], read(&disk, &file, 1).await), (1, vec![1; BLOCK_BYTES]));
    });
    let tally = simulation.tally();
    assert_eq!(tally["blocks misdirected at rest"], 1);
}

#[test]
fn one_power_cut_leaves_several_states_and_each_again_from_its_seed() {
    let simulation = Simulation::new(12);
    let disk = simulation.disk(0);
    simulation.block_on(async {
        let file = create(&disk, "a").await;
        for block in 0..8 {
            write(&disk, &file, block, 1, 1, Durability::Durable).await;
            write(&disk, &file, block, 2, 1, Durability::Buffered).await;
        }
        disk.open("b", OpenMode::Create).await.unwrap();
    });
    let cut = simulation.power_cut();
    let state = |seed| {
        let fingerprint = simulation.power_on(&cut, seed);
        let disk = simulation.disk(0);
        let names = disk.list().unwrap().len();
        let bytes = simulation.block_on(async {
            let file = disk.open("a", OpenMode::Read).await.unwrap();
            let (count, buffer) =
                disk.read(&file, 0, Buffer::heap(8 * BLOCK_BYTES), 0..8 * BLOCK_BYTES).await;
            buffer.whole()[..count.unwrap()].to_vec()
        });
        (fingerprint, names, bytes)
    };
    let states: Vec<_> = (0..100).map(state).collect();
    assert_eq!((0..100).map(state).collect::<Vec<_>>(), states);
    let distinct: BTreeSet<_> = states.iter().map(|(_, names, bytes)| (names, bytes)).collect();
    let fingerprints: BTreeSet<_> = states.iter().map(|(fingerprint, ..)| fingerprint).collect();
    assert!(distinct.len() > 20 && fingerprints.len() >= distinct.len());
    for (fingerprint, ..) in &states {
        let alike: BTreeSet<_> = states.iter().filter(|(other, ..)| other == fingerprint).collect();
        assert_eq!(alike.len(), 1, "what was decided alike is alike");
    }
}

#[test]
fn every_kind_of_operation_can_fail_and_is_counted() {
    let simulation = Simulation::new(13);
    let disk = simulation.disk(0);
    simulation.block_on(async {
        let file = create(&disk, "a").await;
        write(&disk, &file, 0, 1, 2, Durability::Durable).await;
        simulation.set_faults(Faults {
            open_error: 1.0,
            allocate_error: 1.0,
            punch_error: 1.0,
            name_error: 1.0,
            stall: 1.0,
            ..Faults::default()
        });
        let before = simulation.host(1).now();
        assert!(disk.open("a", OpenMode::Read).await.is_err());
        assert!(disk.allocate(&file, 0..8 * BLOCK).await.is_err());
        assert!(disk.punch(&file, 0..BLOCK).await.is_err());
        assert!(disk.rename("a", "b").await.is_err() && disk.remove("a").await.is_err());
        assert!(simulation.host(1).now() - before >= 5 * STALL.as_millis() as u64);
        assert_eq!(read(&disk, &file, 0).await[0], 1);
        assert_eq!(disk.allocated("a").unwrap(), vec![0..2 * BLOCK; 1]);
    });
    let tally = simulation.tally();
    let counted: Vec<_> = tally.iter().map(|(kind, count)| (*kind, *count)).collect();
    assert_eq!(
        counted,
        [
            ("allocate errors", 1),
            ("name errors", 2),
            ("open errors", 1),
            ("punch errors", 1),
            ("stalled operations", 6)
        ]
    );
}

#[test]
fn a_crash_ends_tasks_and_refuses_old_handles() {
    let simulation = Simulation::new(8);
    let host = simulation.host(1);
    let disk = simulation.disk(0);
    let alive = Rc::new(());
    let held = alive.clone();
    host.spawn(async move {
        let _held = held;
        std::future::pending::<()>().await;
    });
    let file = simulation.block_on(create(&disk, "a"));
    simulation.crash();
    assert_eq!(Rc::strong_count(&alive), 1);
    assert!(simulation.block_on(disk.sync(&file)).is_err());
    assert!(simulation.block_on(disk.open("a", OpenMode::Write)).is_err());
    assert!(simulation.block_on(simulation.disk(0).open("a", OpenMode::Write)).is_ok());
}

#[test]
#[should_panic(expected = "simulation seed 77")]
fn a_deadlock_names_its_seed() {
    Simulation::new(77).block_on(std::future::pending::<()>());
}

/// The order in which three tasks get on, with what they read and when.
fn trace(seed: u64) -> Vec<(u32, u64, Vec<u8>)> {
    let simulation = Simulation::new(seed);
    let host = simulation.host(2);
    let trace = Rc::new(RefCell::new(Vec::new()));
    for task in 0..3 {
        let (host, trace) = (host.clone(), trace.clone());
        simulation.host(1).spawn(async move {
            let disk = &host.disks()[task as usize % 2];
            let file = create(disk, &task.to_string()).await;
            for round in 0..5 {
                let mut bytes = vec![0; 3];
                host.random(&mut bytes);
                write(disk, &file, round, bytes[0], 1, Durability::Buffered).await;
                host.sleep(Duration::from_millis(u64::from(bytes[1]))).await;
                trace.borrow_mut().push((task, host.now(), bytes));
            }
        });
    }
    simulation.block_on(simulation.host(1).sleep(Duration::from_secs(10)));
    let events = trace.borrow().clone();
    assert_eq!(events.len(), 15);
    events
}

#[test]
fn a_seed_replays_and_another_differs() {
    assert_eq!(trace(9), trace(9));
    assert_ne!(trace(9), trace(10));
}

#[test]
fn reads_see_a_model_of_completed_changes() {
    for seed in 0..50 {
        let simulation = Simulation::new(seed);
        let host = simulation.host(1);
        let disk = simulation.disk(0);
        simulation.block_on(async {
            let file = create(&disk, "a").await;
            let mut model: Vec<u8> = Vec::new();
            for _ in 0..200 {
                let mut dice = [0; 4];
                host.random(&mut dice);
                let (first, blocks) = (u64::from(dice[1] % 16), usize::from(dice[2] % 4) + 1);
                let range = first as usize..first as usize + blocks;
                match dice[0] % 4 {
                    0 => {
                        disk.punch(&file, first * BLOCK..(first + blocks as u64) * BLOCK).await.unwrap();
                        let end = range.end.min(model.len());
                        model[range.start.min(end)..end].fill(0);
                    }
                    1 => disk.sync(&file).await.unwrap(),
                    _ => {
                        write(&disk, &file, first, dice[3], blocks, Durability::Buffered).await;
                        model.resize(model.len().max(range.end), 0);
                        model[range].fill(dice[3]);
                    }
                }
                for (block, byte) in model.iter().enumerate() {
                    assert_eq!(read(&disk, &file, block as u64).await, [*byte; BLOCK_BYTES], "seed {seed}");
                }
                assert_eq!(disk.list().unwrap()[0].bytes as usize, model.len() * BLOCK_BYTES);
            }
        });
    }
}
