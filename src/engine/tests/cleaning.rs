//! Cleaning of the log comes to an end, and takes nothing that a crash leaves for damage.

use std::time::Duration;

use super::*;
use crate::base::limits::BLOCK_BYTES;
use crate::engine::format::segment::{BatchHeader, SegmentHeader, SegmentKind};
use crate::engine::log::scan::{Opened, SegmentScanner};
use crate::io::sim::Faults;
use crate::io::{Buffer, Disk, Durability};

fn tiny_log() -> Options {
    Options { log_segment_bytes: 32 << 10, checkpoint_log_bytes: 32 << 10, ..small() }
}

/// A node of one core with a log of several segments, mostly live.
async fn filled(simulation: &Simulation) -> (Node, BucketId) {
    let node = Node::start_with(simulation, 1, 1, tiny_log()).await.unwrap();
    let created = node.core(0).create_bucket("b", Versioning::Unversioned, BTreeMap::new());
    let bucket = created.await.unwrap().id;
    for number in 0..100u64 {
        put(node.core(0), bucket, &number.to_le_bytes(), b"value").await.unwrap();
    }
    for _ in 0..2 {
        checkpoint::write(node.core(0)).await.unwrap();
    }
    (node, bucket)
}

async fn write_block(simulation: &Simulation, name: &str, mode: OpenMode, offset: u64, bytes: &[u8]) {
    let disk = simulation.disk(0);
    let file = disk.open(name, mode).await.unwrap();
    let mut block = Buffer::heap(BLOCK_BYTES);
    block.append(bytes);
    disk.write(&file, offset, block, 0..BLOCK_BYTES, Durability::Durable).await.0.unwrap();
    disk.sync_directory().await.unwrap();
}

fn header_of(simulation: &Simulation, name: &str) -> SegmentHeader {
    SegmentHeader::decode(&simulation.disk(0).peek(name, 0, BLOCK_BYTES).unwrap()).unwrap()
}

#[test]
fn cleaning_ends_though_a_log_of_small_batches_is_mostly_padding() {
    // One put after the other makes a batch of one block for each. Nothing of that is dead, but most of the
    // log is of no record.
    let simulation = Simulation::new(1);
    let story = async {
        let (node, bucket) = filled(&simulation).await;
        let segments = node.core(0).inner.log.sealed_segments().len();
        node.core(0).maintain().await.unwrap();
        let written = node.core(0).inner.log.bytes_written();
        node.core(0).maintain().await.unwrap();
        assert_eq!(node.core(0).inner.log.bytes_written(), written, "what a pass left is moved again");
        assert!(node.core(0).inner.log.sealed_segments().len() < segments / 2, "it is packed");
        for number in 0..100u64 {
            assert_eq!(get(node.core(0), bucket, &number.to_le_bytes()).await, Ok(Some(b"value".to_vec())));
        }
    };
    simulation.block_on_for(story, 1_000_000).expect("cleaning goes on for ever");
}

#[test]
fn a_segment_in_the_making_of_whose_headers_the_copy_alone_is_there_is_no_damage() {
    let simulation = Simulation::new(2);
    simulation.block_on(async {
        let (node, _) = filled(&simulation).await;
        let (id, _) = node.core(0).inner.log.sealed_segments()[0];
        node.shutdown().await;
        let header = SegmentHeader { id: 99, ..header_of(&simulation, &FileName::Log(id).to_string()) };
        assert_eq!(header.kind, SegmentKind::Log);
        let name = FileName::Log(99).to_string();
        let copy = header.bytes - BLOCK_BYTES as u64;
        write_block(&simulation, &name, OpenMode::Create, copy, &header.encode()).await;
        let node = Node::start_with(&simulation, 1, 1, tiny_log()).await.unwrap();
        assert_eq!(node.core(0).damages().count, 0, "{:?}", node.core(0).damages().list);
        let files = simulation.disk(0).list().unwrap();
        assert!(files.iter().all(|file| file.name != name), "it holds nothing");
    });
}

#[test]
fn a_batch_that_was_torn_at_the_end_of_a_segment_does_not_set_it_aside() {
    // A start frees what follows the last whole batch, but nothing makes that durable: another crash may
    // bring it back, behind a checkpoint, where no start looks again.
    let simulation = Simulation::new(3);
    simulation.block_on(async {
        let (node, bucket) = filled(&simulation).await;
        node.shutdown().await;
        // A start begins a new segment: the last one before it has room left.
        let node = Node::start_with(&simulation, 1, 1, tiny_log()).await.unwrap();
        let engine = node.core(0);
        let (id, segment) = *engine.inner.log.sealed_segments().last().unwrap();
        let name = FileName::Log(id).to_string();
        let last = segment.bytes_used.next_multiple_of(BLOCK_BYTES as u64) - BLOCK_BYTES as u64;
        let batch = BatchHeader::decode(&simulation.disk(0).peek(&name, last, BLOCK_BYTES).unwrap()).unwrap();
        let torn = BatchHeader { sequence: batch.sequence + 1, ..batch };
        let place = last + BLOCK_BYTES as u64;
        assert!(place + (BLOCK_BYTES as u64) < header_of(&simulation, &name).bytes, "{segment:?} is full");
        write_block(&simulation, &name, OpenMode::Write, place, &torn.encode()).await;
        engine.clean(id, segment).await.unwrap();
        assert_eq!(engine.damages().count, 0, "{:?}", engine.damages().list);
        let files = simulation.disk(0).list().unwrap();
        assert!(files.iter().all(|file| !file.name.ends_with(&name)), "it is removed");
        for number in 0..100u64 {
            assert_eq!(get(engine, bucket, &number.to_le_bytes()).await, Ok(Some(b"value".to_vec())));
        }
    });
}

#[test]
fn cleaning_ends_at_the_end_of_a_full_segment_whose_last_block_cannot_be_read() {
    // The last block is a copy of the header. Cleaning took it for damage in front of its end, again and again,
    // without letting its core do anything else.
    let simulation = Simulation::new(4);
    simulation.block_on(async {
        let (node, bucket) = filled(&simulation).await;
        let engine = node.core(0);
        let (id, segment) = engine.inner.log.sealed_segments()[0];
        let name = FileName::Log(id).to_string();
        let end = header_of(&simulation, &name).bytes - BLOCK_BYTES as u64;
        assert!(segment.bytes_used + BLOCK_BYTES as u64 > end, "{segment:?} has room left");
        simulation.disk(0).make_unreadable(&name, end).unwrap();
        engine.clean(id, segment).await.unwrap();
        for number in 0..100u64 {
            assert_eq!(get(engine, bucket, &number.to_le_bytes()).await, Ok(Some(b"value".to_vec())));
        }
    });
}

#[test]
fn cleaning_gives_nothing_up_because_a_drive_was_away_for_a_while() {
    for faults in
        [Faults { read_error: 1.0, ..Faults::default() }, Faults { read_short: 1.0, ..Faults::default() }]
    {
        let simulation = Simulation::new(5);
        simulation.block_on(async {
            let (node, bucket) = filled(&simulation).await;
            node.shutdown().await;
            // Nothing is cached.
            let node = Node::start_with(&simulation, 1, 1, tiny_log()).await.unwrap();
            let engine = node.core(0);
            let (id, segment) = engine.inner.log.sealed_segments()[0];
            simulation.set_faults(faults.clone());
            assert_eq!(engine.clean(id, segment).await, Ok(false));
            simulation.set_faults(Faults::default());
            assert_eq!(engine.clean(id, segment).await, Ok(false), "it is not tried all the time");
            engine.host().sleep(Duration::from_secs(601)).await;
            assert_eq!(engine.clean(id, segment).await, Ok(true));
            for number in 0..100u64 {
                assert_eq!(get(engine, bucket, &number.to_le_bytes()).await, Ok(Some(b"value".to_vec())));
            }
        });
    }
}

#[test]
fn a_deletion_stays_as_long_as_a_segment_of_another_number_of_cores_may_hold_what_it_hides() {
    let simulation = Simulation::new(7);
    simulation.block_on(async {
        let (node, bucket) = filled(&simulation).await;
        let key = 1u64.to_le_bytes();
        node.shutdown().await;
        let node = Node::start_with(&simulation, 2, 1, tiny_log()).await.unwrap();
        node.core(0).delete(bucket, &key, Deletion::default()).await.unwrap();
        let owner = node.core(0).owner(bucket, &key);
        let deleted_in = node.core(owner).inner.log.position().segment;
        node.shutdown().await;
        let node = Node::start_with(&simulation, 2, 1, tiny_log()).await.unwrap();
        let sealed = node.core(owner).inner.log.sealed_segments();
        let (id, segment) = *sealed.iter().find(|(id, _)| *id == deleted_in).expect("it has the deletion");
        assert_eq!(node.core(owner).clean(id, segment).await, Ok(true));
        node.shutdown().await;
        for file in simulation.disk(0).list().unwrap() {
            if file.name.starts_with("checkpoint") {
                simulation.disk(0).remove(&file.name).await.unwrap();
            }
        }
        let node = Node::start_with(&simulation, 2, 1, tiny_log()).await.unwrap();
        assert_eq!(get(node.core(0), bucket, &key).await, Ok(None), "it is back");
        assert_eq!(get(node.core(0), bucket, &2u64.to_le_bytes()).await, Ok(Some(b"value".to_vec())));
    });
}

#[test]
fn an_upload_that_is_being_moved_does_not_outlive_its_bucket() {
    for seed in 0..100 {
        let simulation = Simulation::new(seed);
        simulation.block_on(async {
            let node = Node::start_with(&simulation, 1, 1, tiny_log()).await.unwrap();
            let engine = node.core(0);
            let created = engine.create_bucket("b", Versioning::Unversioned, BTreeMap::new());
            let bucket = created.await.unwrap().id;
            let upload = engine.create_upload(bucket, b"k", Vec::new()).await.unwrap().id;
            let bytes = content(1, 100_000);
            for number in 1..=3 {
                let body = payload(engine, &bytes).await.unwrap();
                let etag = attributes(&bytes).etag;
                engine.put_part(bucket, b"k", upload, number, body, etag, None).await.unwrap();
            }
            node.shutdown().await;
            let node = Node::start_with(&simulation, 1, 1, tiny_log()).await.unwrap();
            let engine = node.core(0).clone();
            let (done, cleaned) = crate::base::local::oneshot();
            engine.host().spawn({
                let engine = engine.clone();
                async move {
                    for (id, segment) in engine.inner.log.sealed_segments() {
                        assert_eq!(engine.clean(id, segment).await, Ok(true));
                    }
                    done.send(());
                }
            });
            engine.host().sleep(Duration::from_micros(20 * seed)).await;
            engine.delete_bucket("b").await.unwrap();
            cleaned.await.unwrap();
            engine.host().sleep(Duration::from_secs(1)).await;
            assert!(engine.inner.index.borrow().upload(bucket, b"k", upload).is_none(), "it is back");
            assert_eq!(engine.inner.extents.count(), 0);
        });
    }
}

#[test]
fn a_batch_that_another_segment_left_at_the_same_place_is_none_of_this_one() {
    let simulation = Simulation::new(6);
    simulation.block_on(async {
        let (node, _) = filled(&simulation).await;
        let (id, _) = node.core(0).inner.log.sealed_segments()[0];
        let (name, place) = (FileName::Log(id).to_string(), BLOCK_BYTES as u64);
        let batch =
            BatchHeader::decode(&simulation.disk(0).peek(&name, place, BLOCK_BYTES).unwrap()).unwrap();
        let scanned = async || {
            let file = simulation.disk(0).open(&name, OpenMode::Read).await.unwrap();
            match SegmentScanner::open(&simulation.disk(0), file, id).await.unwrap() {
                Opened::Segment(mut scanner) => scanner.batch(BLOCK_BYTES as u32).await.unwrap(),
                _ => panic!("{name} is whole"),
            }
        };
        assert_eq!(scanned().await, Some(batch));
        for other in [BatchHeader { nonce: !batch.nonce, ..batch }, BatchHeader { segment: id + 1, ..batch }]
        {
            write_block(&simulation, &name, OpenMode::Write, place, &other.encode()).await;
            assert_eq!(scanned().await, None);
        }
    });
}
