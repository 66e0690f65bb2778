//! Histories with crashes of renames: an object is under its old key or under its new one, never under both
//! and never under none.

use std::collections::{BTreeMap, BTreeSet};

use super::histories::*;
use super::*;
use crate::io::sim::Faults;

type Objects = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// A change as what it makes of the keys that it touches: all of it or nothing.
#[derive(Clone, Debug)]
struct Change {
    rename_from: Option<Vec<u8>>,
    key: Vec<u8>,
    after: Objects,
}

async fn carry_out(engine: SimEngine, bucket: BucketId, change: Change) -> Result<(), EngineError> {
    let Change { rename_from, key, after } = change;
    let condition = Condition::default();
    if let Some(from) = rename_from {
        let renamed = engine.rename(bucket, &from, &key, condition.clone(), condition, vec![]).await;
        return match renamed {
            Ok(_) | Err(EngineError::NoSuchObject) => Ok(()),
            Err(error) => Err(error),
        };
    }
    match &after[&key] {
        Some(bytes) => put(&engine, bucket, &key, bytes).await.map(drop),
        None => engine.delete(bucket, &key, Deletion::default()).await.map(drop),
    }
}

fn draw_change(
    draw: &mut Draw,
    objects: &Objects,
    taken: &mut BTreeSet<Vec<u8>>,
    fresh: u64,
) -> Option<Change> {
    let mut free_key = |draw: &mut Draw| {
        let key = format!("key-{}", draw.below(12)).into_bytes();
        taken.insert(key.clone()).then_some(key)
    };
    let key = free_key(draw)?;
    let mut after = Objects::new();
    let mut rename_from = None;
    match draw.below(5) {
        0 => drop(after.insert(key.clone(), None)),
        1 => {
            let length = [80, 64_000, 70_000, 400_000][draw.below(4) as usize];
            let bytes = [&fresh.to_le_bytes()[..], &content(fresh, length)].concat();
            after.insert(key.clone(), Some(bytes));
        }
        _ => {
            let from = free_key(draw)?;
            // A source that is not there changes nothing.
            if let Some(Some(bytes)) = objects.get(&from) {
                after.insert(key.clone(), Some(bytes.clone()));
                after.insert(from.clone(), None);
            }
            rename_from = Some(from);
        }
    }
    Some(Change { rename_from, key, after })
}

/// Compares the node with the model; each of the uncertain changes happened as a whole or not at all.
async fn judge(node: &Node, bucket: BucketId, objects: &mut Objects, uncertain: &[Change], seed: u64) {
    for change in uncertain {
        let mut found = Objects::new();
        for key in change.after.keys() {
            found.insert(key.clone(), get(node.core(0), bucket, key).await.unwrap());
        }
        let before: Objects =
            change.after.keys().map(|key| (key.clone(), objects.get(key).cloned().flatten())).collect();
        assert!(found == before || found == change.after, "seed {seed}: half of {:?}", change.rename_from);
        objects.extend(found);
    }
    for (number, (key, expected)) in objects.iter().enumerate() {
        let found = get(node.core(number), bucket, key).await.unwrap();
        assert!(found == *expected, "seed {seed}: {} differs", String::from_utf8_lossy(key));
    }
    let live: Vec<&[u8]> = objects.values().flatten().map(|bytes| &**bytes).collect();
    let bytes = live.iter().map(|bytes| bytes.len() as u64).sum();
    let usage = Usage { objects: live.len() as u64, bytes, ..Usage::default() };
    assert_eq!(node.core(0).usage(bucket).await.unwrap(), usage, "seed {seed}");
    judge_references(node, seed).await;
    for engine in &node.engines {
        assert!(engine.inner.index.borrow().renames.is_empty(), "seed {seed}: a rename has no end");
    }
}

fn history(seed: u64) {
    let simulation = Simulation::new(seed);
    let mut draw = Draw(seed.wrapping_mul(71) + 3);
    let mut objects = Objects::new();
    let drives = 1 + draw.below(2) as usize;
    let node = simulation.block_on(Node::start_with(&simulation, 2, drives, tiny())).unwrap();
    let made = node.core(0).create_bucket("bucket", Versioning::Unversioned, BTreeMap::new());
    let bucket = simulation.block_on(made).unwrap().id;
    simulation.crash();
    let (mut uncertain, mut fresh) = (Vec::new(), 0);
    for _ in 0..5 {
        cut_off_start(&simulation, &mut draw, drives, &tiny());
        let cores = 1 + draw.below(4) as usize;
        let node = simulation.block_on(Node::start_with(&simulation, cores, drives, tiny()));
        let node = node.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        simulation.block_on(judge(&node, bucket, &mut objects, &uncertain, seed));
        let rounds = draw.below(3);
        for round in 0..=rounds {
            let is_last = round == rounds;
            if is_last && draw.below(3) == 0 {
                simulation.set_faults(Faults { write_error: 0.02, sync_error: 0.05, ..Faults::default() });
            }
            let acknowledged = Rc::new(RefCell::new(Vec::new()));
            let (mut taken, mut under_way) = (BTreeSet::new(), Vec::new());
            for number in 0..2 + draw.below(6) {
                fresh += 1;
                let Some(change) = draw_change(&mut draw, &objects, &mut taken, fresh) else { continue };
                let (engine, log) = (node.core(number as usize).clone(), acknowledged.clone());
                let (at, change_) = (under_way.len(), change.clone());
                engine.host().clone().spawn(async move {
                    if carry_out(engine, bucket, change_).await.is_ok() {
                        log.borrow_mut().push(at);
                    }
                });
                under_way.push(change);
            }
            if is_last {
                begin_background_work(&node, &mut draw);
                simulation.block_on_for(node.core(0).host().sleep(LONG), draw.below(1500));
                simulation.set_faults(Faults::default());
                simulation.crash();
            } else {
                simulation.block_on(node.core(0).host().sleep(std::time::Duration::from_secs(2)));
                assert_eq!(acknowledged.borrow().len(), under_way.len(), "seed {seed}: all end well");
            }
            let acknowledged = acknowledged.take();
            acknowledged.iter().for_each(|at| objects.extend(under_way[*at].after.clone()));
            let uncertain_now =
                under_way.into_iter().enumerate().filter(|(at, _)| !acknowledged.contains(at));
            uncertain = uncertain_now.map(|(_, change)| change).collect();
            if !is_last {
                for engine in node.engines.iter().filter(|_| draw.below(2) == 0) {
                    simulation.block_on(clean_oldest(engine)).unwrap();
                }
                simulation.block_on(judge(&node, bucket, &mut objects, &[], seed));
            }
        }
    }
}

#[test]
fn a_crash_leaves_a_renamed_object_under_one_of_its_keys() {
    seeds().for_each(|seed| try_history(seed, "engine::tests::crash_renames", history));
}
