//! Stories of single damages, and of readers that take their time.

use std::time::Duration;

use super::*;

fn run<F: Future<Output = ()>>(seed: u64, test: impl FnOnce(Rc<Simulation>) -> F) {
    let simulation = Rc::new(Simulation::new(seed));
    let simulation_ = simulation.clone();
    simulation.block_on(test(simulation_));
}

async fn bucket(node: &Node) -> BucketId {
    node.core(0).create_bucket("b", Versioning::Unversioned, BTreeMap::new()).await.unwrap().id
}

fn files(simulation: &Simulation, kind: &str) -> Vec<String> {
    let files = simulation.disk(0).list().unwrap().into_iter().map(|file| file.name);
    files.filter(|name| name.starts_with(kind)).collect()
}

fn kinds(node: &Node) -> Vec<DamageKind> {
    let damages = node.engines.iter().flat_map(|engine| engine.damages().list);
    damages.map(|damage| damage.kind).collect()
}

#[test]
fn a_slow_reader_keeps_what_it_reads_and_nothing_else() {
    run(1, |simulation| async move {
        let node = Node::start(&simulation, 2, 1).await.unwrap();
        let id = bucket(&node).await;
        for key in [b"slow", b"gone"] {
            put(node.core(0), id, key, &content(7, 1_500_000)).await.unwrap();
        }
        let object = node.core(1).get(id, b"slow", None).await.unwrap().found().unwrap();
        let mut reader = object.reader(0..object.bytes);
        let first = reader.next().await.unwrap().unwrap();
        let mut bytes = first.to_vec();
        drop((first, object));
        for key in [b"slow", b"gone"] {
            node.core(0).delete(id, key, Deletion::default()).await.unwrap();
        }
        let count = || node.engines.iter().map(|engine| engine.extents().count()).sum::<usize>();
        node.core(0).host().sleep(Duration::from_secs(10)).await;
        assert_eq!(count(), 1, "what nobody reads was kept, or what somebody reads was freed");
        while let Some(chunk) = reader.next().await {
            bytes.extend_from_slice(&chunk.unwrap());
        }
        assert!(bytes == content(7, 1_500_000));
        drop(reader);
        node.core(0).host().sleep(Duration::from_secs(2)).await;
        assert_eq!(count(), 0);
        assert_eq!(kinds(&node), []);
    });
}

#[test]
fn of_two_superblocks_one_may_be_damaged_or_lost() {
    for (seed, name) in (0..).zip(SUPERBLOCK_NAMES.into_iter().cycle().take(4)) {
        run(seed, |simulation| async move {
            Node::start(&simulation, 1, 1).await.unwrap().shutdown().await;
            if seed < 2 {
                simulation.flip_bit(0, name, 40);
            } else {
                simulation.disk(0).remove(name).await.unwrap();
            }
            let node = Node::start(&simulation, 1, 1).await.unwrap();
            node.core(0).scrub().await.unwrap();
            assert_eq!(kinds(&node), [], "it was written again");
            simulation.flip_bit(0, name, 40);
            node.core(0).scrub().await.unwrap();
            assert_eq!(kinds(&node), [DamageKind::Superblock]);
        });
    }
    run(9, |simulation| async move {
        Node::start(&simulation, 1, 1).await.unwrap().shutdown().await;
        SUPERBLOCK_NAMES.into_iter().for_each(|name| simulation.flip_bit(0, name, 40));
        let refused = Node::start(&simulation, 1, 1).await.err().unwrap().to_string();
        assert!(refused.contains("ringcask.superblock of drive 0"), "{refused}");
    });
}

#[test]
fn a_block_that_was_written_to_the_place_of_another_serves_nobody() {
    // Records of one size stand at the same place in their blocks, and are whole wherever they are.
    run(1, |simulation| async move {
        let node = Node::start(&simulation, 1, 1).await.unwrap();
        let id = bucket(&node).await;
        for key in [b"one", b"two"] {
            put(node.core(0), id, key, key).await.unwrap();
        }
        let place = |key: &[u8]| node.core(0).inner.index.borrow().object(id, key).unwrap().location;
        let (one, two) = (place(b"one"), place(b"two"));
        assert_eq!(
            (one.segment, one.length, one.offset % 4096),
            (two.segment, two.length, two.offset % 4096)
        );
        node.shutdown().await;
        let name = FileName::Log(one.segment).to_string();
        simulation.misdirect(0, &name, one.offset.into(), two.offset.into());
        let node = Node::start(&simulation, 1, 1).await.unwrap();
        assert_eq!(get(node.core(0), id, b"one").await.unwrap().unwrap(), b"one");
        let refused = get(node.core(0), id, b"two").await;
        assert!(matches!(refused, Err(EngineError::Corrupt(_))), "{refused:?}");
        let damages = node.core(0).damages();
        assert_eq!(damages.list[0].objects[0].key, b"two");
        assert_eq!((&damages.list[0].file, damages.list[0].offset), (&name, u64::from(two.offset)));
    });
}

#[test]
fn damaged_checkpoints_cost_time_only() {
    run(1, |simulation| async move {
        let node = Node::start(&simulation, 2, 1).await.unwrap();
        let id = bucket(&node).await;
        for number in 0..40u64 {
            put(node.core(0), id, &number.to_le_bytes(), &content(number, 5000)).await.unwrap();
        }
        node.shutdown().await;
        node.shutdown().await;
        let checkpoints = files(&simulation, "checkpoint-");
        assert_eq!(checkpoints.len(), 4);
        for (number, name) in checkpoints.iter().enumerate() {
            match number % 2 {
                0 => simulation.flip_bit(0, name, 4200),
                _ => simulation.disk(0).make_unreadable(name, 4096).unwrap(),
            }
        }
        let node = Node::start(&simulation, 2, 1).await.unwrap();
        for number in 0..40u64 {
            let found = get(node.core(1), id, &number.to_le_bytes()).await.unwrap();
            assert!(found.is_some_and(|bytes| bytes == content(number, 5000)), "{number}");
        }
        assert_eq!(kinds(&node), [DamageKind::Checkpoint; 4]);
        for engine in &node.engines {
            engine.scrub().await.unwrap();
            engine.scrub().await.unwrap();
        }
        assert_eq!(kinds(&node), [], "they were replaced");
    });
}

#[test]
fn the_number_of_a_lost_segment_is_not_given_to_another() {
    // What was stored then at the same place would be served for what was lost.
    for kind in ["data-", "log-"] {
        run(1, |simulation| async move {
            let node = Node::start(&simulation, 1, 1).await.unwrap();
            let id = bucket(&node).await;
            let bytes = if kind == "data-" { 1_000_000 } else { 1000 };
            put(node.core(0), id, b"lost", &content(1, bytes)).await.unwrap();
            node.shutdown().await;
            for file in
                files(&simulation, kind).into_iter().chain(files(&simulation, "log-").into_iter().skip(1))
            {
                let _ = simulation.disk(0).remove(&file).await;
            }
            let options = Options { accept_damage: true, ..small() };
            let node = Node::start_with(&simulation, 1, 1, options).await.unwrap();
            for number in 0..20u64 {
                put(node.core(0), id, &number.to_le_bytes(), &content(number, bytes)).await.unwrap();
            }
            let refused = get(node.core(0), id, b"lost").await;
            assert!(matches!(refused, Err(EngineError::Corrupt(_))), "{kind}: {refused:?}");
            node.core(0).scrub().await.unwrap();
            let named = node.core(0).damages().list.into_iter().flat_map(|damage| damage.objects);
            assert!(named.into_iter().any(|object| object.key == b"lost"), "{kind}");
        });
    }
}

#[test]
fn cleaning_sets_a_damaged_segment_aside_and_goes_on() {
    run(1, |simulation| async move {
        let node = Node::start_with(&simulation, 1, 1, tiny()).await.unwrap();
        let id = bucket(&node).await;
        for number in 0..30u64 {
            put(node.core(0), id, &number.to_le_bytes(), &content(number, 30_000)).await.unwrap();
        }
        let lost = node.core(0).inner.index.borrow().object(id, &3u64.to_le_bytes()).unwrap().location;
        node.shutdown().await;
        let node = Node::start_with(&simulation, 1, 1, tiny()).await.unwrap();
        let name = FileName::Log(lost.segment).to_string();
        simulation.flip_bit(0, &name, u64::from(lost.offset) + 20_000);
        checkpoint::write(node.core(0)).await.unwrap();
        checkpoint::write(node.core(0)).await.unwrap();
        let before = files(&simulation, "log-");
        for _ in 0..before.len() {
            histories::clean_oldest(node.core(0)).await.unwrap();
        }
        assert_eq!(files(&simulation, "damaged-log-"), [""; 0], "it may be readable later");
        node.core(0).host().sleep(Duration::from_secs(601)).await;
        for _ in 0..before.len() {
            histories::clean_oldest(node.core(0)).await.unwrap();
        }
        assert_eq!(files(&simulation, "damaged-log-"), [format!("damaged-{name}")]);
        let left = files(&simulation, "log-");
        assert!(before.iter().take(3).all(|name| !left.contains(name)), "{before:?}, {left:?}");
        for number in 0..30u64 {
            let found = get(node.core(0), id, &number.to_le_bytes()).await;
            match number {
                3 => assert!(matches!(found, Err(EngineError::Corrupt(_))), "{found:?}"),
                _ => assert!(found.unwrap().unwrap() == content(number, 30_000)),
            }
        }
        put(node.core(0), id, &3u64.to_le_bytes(), b"again").await.unwrap();
        node.core(0).scrub().await.unwrap();
        assert_eq!(kinds(&node), []);
    });
}

#[test]
fn what_is_replayed_is_read_around_if_only_payload_or_a_bit_of_a_header_was_lost() {
    // After a power cut, nothing but the log knows of these objects.
    for (seed, what) in (0..).zip(["payload", "header", "meta", "another batch"]) {
        let simulation = Rc::new(Simulation::new(seed));
        let (id, hit, other) = simulation.block_on(async {
            let node = Node::start(&simulation, 1, 1).await.unwrap();
            let id = bucket(&node).await;
            for number in 0..6u64 {
                put(node.core(0), id, &number.to_le_bytes(), &content(number, 2000)).await.unwrap();
            }
            let place = |number: u64| {
                let location =
                    node.core(0).inner.index.borrow().object(id, &number.to_le_bytes()).unwrap().location;
                (FileName::Log(location.segment).to_string(), u64::from(location.offset))
            };
            (id, place(2), place(4))
        });
        simulation.crash();
        match what {
            "payload" => simulation.flip_bit(0, &hit.0, hit.1 + 1000),
            // The batch begins 48 bytes before its only record.
            "header" => simulation.flip_bit(0, &hit.0, hit.1 - 30),
            "meta" => simulation.flip_bit(0, &hit.0, hit.1 + 30),
            _ => simulation.misdirect(0, &hit.0, other.1, hit.1),
        }
        simulation.block_on(async {
            let started = Node::start(&simulation, 1, 1).await;
            if what == "meta" || what == "another batch" {
                let refused = started.err().unwrap_or_else(|| panic!("{what}")).to_string();
                assert!(refused.contains(&hit.0) && refused.contains("--accept-damage"), "{refused}");
                let options = Options { accept_damage: true, ..small() };
                let node = Node::start_with(&simulation, 1, 1, options).await.unwrap();
                for number in [0, 1, 3, 4, 5u64] {
                    let found = get(node.core(0), id, &number.to_le_bytes()).await.unwrap();
                    assert!(found.is_some_and(|bytes| bytes == content(number, 2000)), "{what}: {number}");
                }
                assert_eq!(get(node.core(0), id, &2u64.to_le_bytes()).await, Ok(None));
                node.shutdown().await;
                Node::start(&simulation, 1, 1).await.unwrap_or_else(|error| panic!("{what}, again: {error}"));
                return;
            }
            let node = started.unwrap_or_else(|error| panic!("{what}: {error}"));
            for number in 0..6u64 {
                let found = get(node.core(0), id, &number.to_le_bytes()).await;
                match number {
                    2 if what == "payload" => {
                        assert!(matches!(found, Err(EngineError::Corrupt(_))), "{found:?}");
                    }
                    _ => assert!(found.unwrap().unwrap() == content(number, 2000), "{what}: {number}"),
                }
            }
            assert!(kinds(&node).contains(&DamageKind::Log), "{what} is not told");
        });
    }
}
