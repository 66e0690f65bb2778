//! Stories of drives that fail, fill up or were damaged, and of what the engine must not do then.

use std::time::Duration;

use super::*;
use crate::base::local::{Receiver, oneshot};
use crate::engine::format::record::{Record, StoredPayload};
use crate::io::sim::Faults;

fn run<F: Future<Output = ()>>(seed: u64, test: impl FnOnce(Rc<Simulation>) -> F) {
    let simulation = Rc::new(Simulation::new(seed));
    let simulation_ = simulation.clone();
    simulation.block_on(test(simulation_));
}

/// Runs `task` on the core by itself.
fn begin<T: 'static>(engine: &SimEngine, task: impl Future<Output = T> + 'static) -> Receiver<T> {
    let (done, result) = oneshot();
    engine.host().spawn(async move { done.send(task.await) });
    result
}

async fn bucket(node: &Node) -> BucketId {
    node.core(0).create_bucket("b", Versioning::Unversioned, BTreeMap::new()).await.unwrap().id
}

fn files(simulation: &Simulation, drive: usize, kind: &str) -> Vec<crate::io::FileEntry> {
    simulation.disk(drive).list().unwrap().into_iter().filter(|file| file.name.starts_with(kind)).collect()
}

#[test]
fn payload_written_before_a_failed_sync_is_not_called_durable_by_the_next_sync() {
    // The second upload had written its payload and waited for the sync after the one under way. That one
    // failed, and with it the kernel (or the drive) forgot what both had written; the next one succeeded and
    // covered nothing.
    run(1, |simulation| async move {
        let node = Node::start(&simulation, 1, 1).await.unwrap();
        let extents = node.core(0).extents().clone();
        let space = extents.reserve(100_000).await.unwrap();
        simulation.set_faults(Faults { sync_error: 1.0, ..Faults::default() });
        let wait = |extents: Extents<SimHost>| {
            let (segment, file) = (space.extent.segment, space.file.clone());
            begin(node.core(0), async move { extents.sync(segment, &file).await })
        };
        let first = wait(extents.clone());
        node.core(0).host().sleep(Duration::from_micros(5)).await;
        let second = wait(extents.clone());
        assert!(first.await.unwrap().is_err());
        simulation.set_faults(Faults::default());
        assert!(second.await.unwrap().is_err());
        assert!(extents.check().is_err());
    });
}

#[test]
fn space_is_freed_on_whichever_drive_it_lies() {
    // With another number of cores, a segment's owner may be a core of another drive.
    run(1, |simulation| async move {
        let node = Node::start(&simulation, 2, 2).await.unwrap();
        let id = bucket(&node).await;
        for number in 0..12u64 {
            let key = number.to_le_bytes();
            put(node.core(number as usize), id, &key, &content(number, 1_900_000)).await.unwrap();
        }
        node.shutdown().await;
        let node = Node::start(&simulation, 3, 2).await.unwrap();
        for number in 0..12u64 {
            assert!(
                node.core(0).delete(id, &number.to_le_bytes(), Deletion::default()).await.unwrap().existed
            );
        }
        node.core(0).host().sleep(Duration::from_secs(2)).await;
        for drive in 0..2 {
            assert_eq!(files(&simulation, drive, "data-"), [], "drive {drive}");
        }
    });
}

#[test]
fn a_removed_segment_gives_its_space_back_though_other_cores_have_it_open() {
    run(1, |simulation| async move {
        let node = Node::start(&simulation, 2, 1).await.unwrap();
        let id = bucket(&node).await;
        for number in 0..5u64 {
            put(node.core(0), id, &number.to_le_bytes(), &content(number, 1_900_000)).await.unwrap();
        }
        let name = files(&simulation, 0, "data-")[0].name.clone();
        let open = simulation.disk(0).open(&name, OpenMode::Read).await.unwrap();
        let keys = (0..5u64).map(|number| (number.to_le_bytes().to_vec(), Deletion::default())).collect();
        assert!(
            node.core(1)
                .delete_many(id, keys)
                .await
                .into_iter()
                .all(|result| result.is_ok_and(|deleted| deleted.existed))
        );
        node.core(0).host().sleep(Duration::from_secs(2)).await;
        assert!(files(&simulation, 0, "data-").iter().all(|file| file.name != name), "it is removed");
        let buffer = crate::io::Buffer::heap(7 << 20);
        let (_, blocks) = simulation.disk(0).read(&open, 4096, buffer, 0..7 << 20).await;
        assert!(blocks.whole().iter().all(|byte| *byte == 0), "its blocks are still taken");
    });
}

#[test]
fn a_log_segment_with_a_damaged_header_is_reported_and_kept() {
    // A file without a header was being made when the power went. One with records is not that.
    run(1, |simulation| async move {
        let node = Node::start(&simulation, 1, 1).await.unwrap();
        let id = bucket(&node).await;
        put(node.core(0), id, b"k", b"value").await.unwrap();
        node.shutdown().await;
        let name = files(&simulation, 0, "log-")[0].name.clone();
        let copy = files(&simulation, 0, "log-")[0].bytes - 4096;
        simulation.flip_bit(0, &name, 20);
        simulation.flip_bit(0, &name, copy + 20);
        let refused = Node::start(&simulation, 1, 1).await.err();
        assert!(matches!(refused, Some(OpenError::Corrupt(_))), "{refused:?}");
        assert!(files(&simulation, 0, "log-").iter().any(|file| file.name == name), "it was removed");
    });
}

#[test]
fn segments_that_were_being_made_at_a_crash_go_while_other_cores_look_at_them() {
    for seed in 0..30 {
        run(seed, |simulation| async move {
            for id in 100..120u32 {
                let name = FileName::Log(id).to_string();
                simulation.disk(0).open(&name, OpenMode::Create).await.unwrap();
            }
            let node = Node::start(&simulation, 3, 1).await;
            assert!(node.is_ok(), "seed {seed}: {:?}", node.err());
        });
    }
}

#[test]
fn a_file_name_beyond_the_last_segment_number_is_refused() {
    run(1, |simulation| async move {
        let name = FileName::Data(u32::MAX - 1).to_string();
        simulation.disk(0).open(&name, OpenMode::Create).await.unwrap();
        assert!(Node::start(&simulation, 3, 1).await.is_err());
    });
}

#[test]
fn what_is_stored_after_a_bucket_deletion_of_unknown_end_is_there_after_a_restart() {
    // The record of the deletion may be on the drive although writing it failed.
    for seed in 0..40 {
        let simulation = Simulation::new(seed);
        let (id, stored) = simulation.block_on(async {
            let node = Node::start(&simulation, 2, 2).await.unwrap();
            let id = bucket(&node).await;
            simulation.disk(0).set_faults(Faults { sync_error: 1.0, ..Faults::default() });
            assert!(node.core(1).delete_bucket("b").await.is_err());
            simulation.disk(0).set_faults(Faults::default());
            let mut stored = Vec::new();
            for number in 0..8u64 {
                let key = number.to_le_bytes();
                if put(node.core(1), id, &key, b"value").await.is_ok() {
                    stored.push(key);
                }
            }
            (id, stored)
        });
        simulation.crash();
        simulation.block_on(async {
            let node = Node::start(&simulation, 2, 2).await.unwrap();
            for key in stored {
                let found = get(node.core(0), id, &key).await.unwrap();
                assert_eq!(found.as_deref(), Some(&b"value"[..]), "seed {seed}");
            }
        });
    }
}

#[test]
fn a_bucket_that_stays_refuses_nothing_for_good_while_its_deletion_is_tried() {
    run(3, |simulation| async move {
        let node = Node::start(&simulation, 3, 1).await.unwrap();
        let id = bucket(&node).await;
        put(node.core(0), id, b"k", b"v").await.unwrap();
        for _ in 0..20 {
            let deletion = begin(node.core(1), {
                let engine = node.core(1).clone();
                async move { engine.delete_bucket("b").await }
            });
            for number in 0..10u64 {
                let result = put(node.core(number as usize), id, &number.to_le_bytes(), b"v").await;
                assert!(matches!(result, Ok(_) | Err(EngineError::Busy)), "{result:?}");
            }
            assert_eq!(deletion.await, Some(Err(EngineError::BucketNotEmpty)));
        }
    });
}

/// Who has the space of the drive.
fn describe(simulation: &Simulation, node: &Node) -> String {
    let sum = |kind| files(simulation, 0, kind).iter().map(|file| file.bytes_allocated).sum::<u64>();
    let logs = node
        .engines
        .iter()
        .map(|engine| (engine.inner.log.bytes_used(), engine.inner.index.borrow().live_log_bytes()));
    format!(
        "{:?}, logs {}, data {}, used and live {:?}",
        simulation.disk(0).space().unwrap(),
        sum("log-"),
        sum("data-"),
        logs.collect::<Vec<_>>()
    )
}

/// Fills the drive with objects of `bytes` until it is full; returns how many fit.
async fn fill(node: &Node, id: BucketId, bytes: usize) -> u64 {
    let mut number = 0u64;
    loop {
        match put(node.core(number as usize), id, &number.to_le_bytes(), &content(number, bytes)).await {
            Ok(_) => number += 1,
            Err(EngineError::Full) => return number,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_full_drive_takes_deletions_restarts_and_takes_objects_again() {
    for (cores, bytes) in [(1, 40_000), (2, 40_000), (1, 1_500_000), (2, 300_000), (2, 100)] {
        let simulation = Simulation::new(7);
        simulation.set_faults(Faults { capacity_bytes: 128 << 20, ..Faults::default() });
        let (id, count) = simulation.block_on(async {
            let node = Node::start(&simulation, cores, 1).await.unwrap();
            let id = bucket(&node).await;
            let bytes = if bytes == 100 {
                fill(&node, id, 1_500_000).await;
                40_000
            } else {
                bytes
            };
            (id, fill(&node, id, bytes).await)
        });
        simulation.crash();
        simulation.block_on(async {
            let node = Node::start(&simulation, cores, 1).await;
            let node = node.unwrap_or_else(|error| panic!("{cores} cores, {bytes} bytes: {error}"));
            for round in 0..2 {
                let count = fill(&node, id, 40_000).await.max(count);
                for number in 0..count {
                    let deleted = node.core(0).delete(id, &number.to_le_bytes(), Deletion::default()).await;
                    assert!(
                        deleted.is_ok(),
                        "{cores} cores, {bytes} bytes, round {round}, {number}: {deleted:?}: {}",
                        describe(&simulation, &node)
                    );
                }
                node.core(0).host().sleep(Duration::from_secs(30)).await;
                for number in 0..count / 2 {
                    let stored = put(node.core(0), id, &number.to_le_bytes(), &content(number, 40_000)).await;
                    assert!(
                        stored.is_ok(),
                        "{cores} cores, {bytes} bytes, round {round}, {number}: {stored:?}"
                    );
                }
            }
        });
    }
}

#[test]
fn a_node_starts_without_a_free_block_and_takes_changes_once_there_is_room() {
    for (cores, cores_then) in [(1, 1), (2, 2), (2, 3)] {
        let simulation = Simulation::new(3);
        let id = simulation.block_on(async {
            let node = Node::start(&simulation, cores, 1).await.unwrap();
            let id = bucket(&node).await;
            for number in 0..20u64 {
                put(node.core(0), id, &number.to_le_bytes(), &content(number, 90_000)).await.unwrap();
            }
            id
        });
        simulation.crash();
        // Another program has taken all the room.
        simulation.set_faults(Faults { capacity_bytes: 1, ..Faults::default() });
        simulation.block_on(async {
            let node = Node::start(&simulation, cores_then, 1).await;
            let node = node.unwrap_or_else(|error| panic!("{cores_then} cores: {error}"));
            for number in 0..20u64 {
                let found = get(node.core(0), id, &number.to_le_bytes()).await.unwrap();
                assert!(found.is_some_and(|found| found == content(number, 90_000)));
                let refused = put(node.core(0), id, &number.to_le_bytes(), b"new").await;
                assert_eq!(refused.err(), Some(EngineError::Full));
            }
            simulation.set_faults(Faults::default());
            for number in 0..20u64 {
                put(node.core(0), id, &number.to_le_bytes(), b"new").await.unwrap();
            }
            node.shutdown().await;
            let node = Node::start(&simulation, cores, 1).await.unwrap();
            for number in 0..20u64 {
                let found = get(node.core(0), id, &number.to_le_bytes()).await.unwrap();
                assert_eq!(found.as_deref(), Some(&b"new"[..]));
            }
        });
    }
}

#[test]
fn a_payload_that_does_not_fit_leaves_the_open_segment_to_smaller_ones() {
    run(1, |simulation| async move {
        simulation.set_faults(Faults { capacity_bytes: 40 << 20, ..Faults::default() });
        let node = Node::start(&simulation, 1, 1).await.unwrap();
        let extents = node.core(0).extents();
        let mut count = 0;
        while extents.reserve(1_500_000).await.is_ok() {
            count += 1;
        }
        assert!(count > 0);
        assert!(extents.reserve(100_000).await.is_ok(), "there was room for it");
    });
}

#[test]
fn parts_survive_the_cleaning_of_what_began_their_upload_when_the_log_alone_is_left() {
    run(1, |simulation| async move {
        let node = Node::start(&simulation, 1, 1).await.unwrap();
        let engine = node.core(0);
        let id = bucket(&node).await;
        let upload = engine.create_upload(id, b"k", vec![]).await.unwrap().id;
        let first = engine.inner.log.position().segment;
        let fill = async || {
            let before = engine.inner.log.position().segment;
            for number in 0.. {
                put(engine, id, b"filler", &content(number, 60_000)).await.unwrap();
                if engine.inner.log.position().segment != before {
                    return;
                }
            }
        };
        fill().await;
        let body = payload(engine, &content(1, 300_000)).await.unwrap();
        engine.put_part(id, b"k", upload, 1, body, ETag::of_md5([1; 16]), None).await.unwrap();
        fill().await;
        for _ in 0..2 {
            checkpoint::write(engine).await.unwrap();
        }
        let segments = engine.inner.log.sealed_segments();
        let (segment, state) = *segments.iter().find(|(segment, _)| *segment == first).unwrap();
        engine.clean(segment, state).await.unwrap();
        for file in files(&simulation, 0, "checkpoint-") {
            simulation.disk(0).remove(&file.name).await.unwrap();
        }
        let node = Node::start(&simulation, 1, 1).await.unwrap();
        let (_, parts) = node.core(0).upload(id, b"k", upload, 0, 10).await.unwrap();
        assert_eq!(parts.len(), 1);
    });
}

#[test]
fn a_start_that_was_cut_can_be_repeated() {
    // With new drives, or with drives that join those of a node.
    for before in [0, 1] {
        for steps in 1..80 {
            let simulation = Simulation::new(steps);
            if before > 0 {
                simulation.block_on(prepare(&simulation.host(before), 1, false)).unwrap();
            }
            let cut = simulation.block_on_for(prepare(&simulation.host(3), 2, false), steps);
            simulation.crash();
            let again = simulation.block_on(prepare(&simulation.host(3), 2, false));
            assert!(again.is_ok(), "{before} drives before, {steps} steps: {:?}", again.err());
            assert!(cut.is_none_or(|cut| cut.is_ok()));
        }
    }
}

#[test]
fn a_record_that_recovery_would_not_take_is_refused() {
    run(1, |simulation| async move {
        let options = Options { log_segment_bytes: 64 << 20, ..small() };
        let node = Node::start_with(&simulation, 1, 1, options).await.unwrap();
        let id = bucket(&node).await;
        let count = crate::base::limits::RECORD_META_BYTES_MAX / format::SLICE_BYTES + 1;
        let extent = ExtentId { segment: 1, block: 1 };
        let slice = Slice { extent, extent_bytes: 1, start: 0, length: 1 };
        let put = ObjectPut {
            bucket: id,
            key: b"k".to_vec(),
            sequence: 0,
            is_null: true,
            bytes: count as u64,
            attributes: attributes(b""),
            parts: Vec::new(),
            upload: None,
            payload: StoredPayload::Slices(vec![slice; count]),
        };
        assert!(node.core(0).inner.log.append(Record::ObjectPut(put), Urgency::Normal).await.is_err());
    });
}

#[test]
fn the_log_needs_no_buffer_of_those_that_wait_for_it() {
    run(1, |simulation| async move {
        let node = Node::start(&simulation, 1, 1).await.unwrap();
        let engine = node.core(0);
        let id = bucket(&node).await;
        let held: Vec<_> = std::iter::from_fn(|| engine.host().pool().try_acquire(BUFFER_BYTES)).collect();
        assert!(!held.is_empty());
        for _ in 0..2 {
            let mut attributes = attributes(b"");
            attributes.headers.push(("large".to_string(), vec![7; 2 * BUFFER_BYTES]));
            let payload = engine.inline_payload(Bytes::new());
            engine.put(id, b"k", payload, attributes, Condition::default()).await.unwrap();
        }
        drop(held);
    });
}

#[test]
fn a_damaged_checkpoint_is_not_counted_on() {
    run(1, |simulation| async move {
        let node = Node::start(&simulation, 1, 1).await.unwrap();
        let id = bucket(&node).await;
        for _ in 0..2 {
            put(node.core(0), id, b"k", b"value").await.unwrap();
            checkpoint::write(node.core(0)).await.unwrap();
        }
        let newest = files(&simulation, 0, "checkpoint-").pop().unwrap().name;
        simulation.disk(0).flip_bit(&newest, 4096 + 20).unwrap();
        let node = Node::start(&simulation, 1, 1).await.unwrap();
        assert_eq!(get(node.core(0), id, b"k").await.unwrap().as_deref(), Some(&b"value"[..]));
        let before = node.core(0).inner.checkpoint.oldest_position();
        checkpoint::write(node.core(0)).await.unwrap();
        assert_eq!(node.core(0).inner.checkpoint.oldest_position(), before, "the one that was used is kept");
    });
}

#[test]
fn no_file_is_made_after_names_of_files_were_lost() {
    // Two cores made files on one drive. One heard that the directory could not be synced; the other's next
    // sync succeeded, and the segment it filled had no name after the power went.
    run(1, |simulation| async move {
        let node = Node::start(&simulation, 2, 1).await.unwrap();
        simulation.set_faults(Faults { sync_error: 1.0, ..Faults::default() });
        assert!(node.core(0).inner.shared.sync_directory(&simulation.disk(0)).await.is_err());
        simulation.set_faults(Faults::default());
        assert!(node.core(1).extents().reserve(100_000).await.is_err());
    });
}

#[test]
fn lost_names_of_one_drive_keep_no_core_of_another_from_making_files() {
    run(1, |simulation| async move {
        let node = Node::start(&simulation, 3, 2).await.unwrap();
        simulation.disk(1).set_faults(Faults { sync_error: 1.0, ..Faults::default() });
        assert!(node.core(1).inner.shared.sync_directory(&simulation.disk(1)).await.is_err());
        simulation.set_faults(Faults::default());
        assert!(node.core(1).extents().reserve(100_000).await.is_err());
        for core in [0, 2] {
            assert!(node.core(core).extents().reserve(100_000).await.is_ok(), "core {core}");
        }
    });
}

#[test]
fn a_bucket_stays_while_a_core_cannot_say_what_is_durable() {
    // A put whose write failed may be there after the next start. If its bucket were gone by then, so would be
    // the object, and the event that tells of it would be of nothing.
    run(1, |simulation| async move {
        let node = Node::start(&simulation, 2, 2).await.unwrap();
        let id = bucket(&node).await;
        let key = (0..).map(u64::to_le_bytes).find(|key| node.core(0).owner(id, key) == 1).unwrap();
        simulation.disk(1).set_faults(Faults { sync_error: 1.0, ..Faults::default() });
        put(node.core(0), id, &key, b"v").await.unwrap_err();
        simulation.disk(1).set_faults(Faults::default());
        let refused = node.core(0).delete_bucket("b").await;
        assert!(matches!(refused, Err(EngineError::ReadOnly(_))), "{refused:?}");
        assert!(node.core(0).bucket("b").is_some());
        drop(node);
        let node = Node::start(&simulation, 2, 2).await.unwrap();
        node.core(0).delete(id, &key, Deletion::default()).await.unwrap();
        node.core(0).delete_bucket("b").await.unwrap();
    });
}

#[test]
fn half_a_checkpoint_keeps_no_room_of_a_full_drive() {
    run(1, |simulation| async move {
        let node = Node::start(&simulation, 1, 1).await.unwrap();
        let id = bucket(&node).await;
        for number in 0..2000u64 {
            put(node.core(0), id, &number.to_le_bytes(), b"value").await.unwrap();
        }
        let room = |capacity_bytes| simulation.set_faults(Faults { capacity_bytes, ..Faults::default() });
        let space = simulation.disk(0).space().unwrap();
        room(space.bytes_total - space.bytes_free + 2 * 4096);
        assert_eq!(checkpoint::write(node.core(0)).await, Err(EngineError::Full));
        assert_eq!(
            files(&simulation, 0, "checkpoint-").iter().filter(|it| it.name.contains("draft")).count(),
            0
        );
        room(u64::MAX);
        checkpoint::write(node.core(0)).await.unwrap();
    });
}

#[test]
fn an_object_is_durable_in_every_segment_that_it_was_written_to() {
    for seed in 0..10 {
        let simulation = Simulation::new(seed);
        let id = simulation.block_on(async {
            let node = Node::start_with(&simulation, 1, 1, tiny()).await.unwrap();
            let id = bucket(&node).await;
            put(node.core(0), id, b"k", &content(1, 2_500_000)).await.unwrap();
            let data = files(&simulation, 0, "data-");
            assert!(data.len() > 2, "{data:?}");
            id
        });
        simulation.crash();
        simulation.block_on(async {
            let node = Node::start_with(&simulation, 1, 1, tiny()).await.unwrap();
            assert!(get(node.core(0), id, b"k").await == Ok(Some(content(1, 2_500_000))), "seed {seed}");
        });
    }
}

#[test]
fn payload_that_finds_no_room_where_other_payload_was_freed_is_refused() {
    run(1, |simulation| async move {
        let node = Node::start_with(&simulation, 1, 1, tiny()).await.unwrap();
        let (id, engine) = (bucket(&node).await, node.core(0));
        for number in 0..2u64 {
            put(engine, id, &number.to_le_bytes(), &content(number, 400_000)).await.unwrap();
        }
        engine.delete(id, &0u64.to_le_bytes(), Deletion::default()).await.unwrap();
        engine.host().sleep(Duration::from_secs(5)).await;
        let disk = simulation.disk(0);
        let space = disk.space().unwrap();
        let capacity_bytes = space.bytes_total - space.bytes_free + 16_384;
        disk.set_faults(Faults { capacity_bytes, ..Faults::default() });
        let refused = put(engine, id, b"k", &content(2, 300_000)).await.err();
        assert_eq!(refused, Some(EngineError::Full));
        assert_eq!(get(engine, id, b"k").await, Ok(None));
    });
}

#[test]
fn the_log_goes_on_behind_a_checkpoint_whose_segment_was_never_written_to() {
    let simulation = Simulation::new(1);
    let (id, position) = simulation.block_on(async {
        let node = Node::start(&simulation, 1, 1).await.unwrap();
        let id = bucket(&node).await;
        put(node.core(0), id, b"before", b"1").await.unwrap();
        node.shutdown().await;
        // A start begins a new segment.
        let node = Node::start(&simulation, 1, 1).await.unwrap();
        checkpoint::write(node.core(0)).await.unwrap();
        (id, node.core(0).inner.log.position())
    });
    simulation.crash();
    simulation.block_on(async {
        let name = FileName::Log(position.segment).to_string();
        if simulation.disk(0).list().unwrap().iter().any(|file| file.name == name) {
            simulation.disk(0).remove(&name).await.unwrap();
        }
        let node = Node::start(&simulation, 1, 1).await.unwrap();
        let now = node.core(0).inner.log.position().segment;
        assert!(now > position.segment, "{now} is not behind {position:?}");
        put(node.core(0), id, b"after", b"2").await.unwrap();
    });
    simulation.crash();
    simulation.block_on(async {
        let node = Node::start(&simulation, 1, 1).await.unwrap();
        for (key, value) in [(b"before".as_slice(), b"1"), (b"after", b"2")] {
            assert_eq!(get(node.core(0), id, key).await, Ok(Some(value.to_vec())));
        }
    });
}
