//! Quotas of buckets: never exceeded, whoever asks for room at the same time, and nobody who fits is refused.

use std::time::Duration;

use super::*;
use crate::base::local::oneshot;
use crate::io::sim::Faults;

const BUCKET: &str = "b";

fn change(quota: Option<u64>) -> BucketChange {
    let value = quota.map(|bytes| bytes.to_string().into_bytes());
    BucketChange { settings: [(QUOTA_SETTING.to_string(), value)].into(), ..BucketChange::default() }
}

async fn bucket(node: &Node, versioning: Versioning, quota: u64) -> BucketId {
    let made = node.core(1).create_bucket(BUCKET, versioning, BTreeMap::new()).await.unwrap();
    node.core(2).set_bucket(BUCKET, change(Some(quota))).await.unwrap();
    made.id
}

/// Bytes that all cores hold, at this moment.
fn held(node: &Node, bucket: BucketId) -> u64 {
    node.engines.iter().map(|engine| engine.inner.index.borrow().bytes_held(bucket)).sum()
}

async fn used(node: &Node) -> QuotaUse {
    let bucket = node.core(0).bucket(BUCKET).unwrap();
    node.core(1).quota_use(&bucket).await.unwrap()
}

fn run<F: Future<Output = ()>>(seed: u64, test: impl FnOnce(Rc<Simulation>) -> F) {
    let simulation = Rc::new(Simulation::new(seed));
    let simulation_ = simulation.clone();
    simulation.block_on(test(simulation_));
}

/// Runs tasks at once, on all cores in turn, and waits for all of them.
async fn at_once<T: 'static, F: Future<Output = T> + 'static>(
    node: &Node,
    count: usize,
    task: impl Fn(SimEngine, usize) -> F,
) -> Vec<T> {
    let mut under_way = Vec::new();
    for number in 0..count {
        let (done, result) = oneshot();
        let engine = node.core(number).clone();
        let task = task(engine.clone(), number);
        engine.host().clone().spawn(async move { done.send(task.await) });
        under_way.push(result);
    }
    let mut results = Vec::new();
    for result in under_way {
        results.push(result.await.unwrap());
    }
    results
}

#[test]
fn of_a_hundred_puts_at_once_as_many_succeed_as_fit() {
    for seed in 1..8 {
        run(seed, |simulation| async move {
            let node = Node::start(&simulation, 4, 2).await.unwrap();
            let id = bucket(&node, Versioning::Unversioned, 10_500).await;
            let results = at_once(&node, 100, move |engine, number| async move {
                put(&engine, id, format!("key-{number}").as_bytes(), &content(1, 1000)).await
            })
            .await;
            let refused = Err(EngineError::QuotaExceeded { bytes: 1000 });
            assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 10);
            assert!(results.iter().all(|result| result.is_ok() || *result == refused), "{results:?}");
            assert_eq!(used(&node).await, QuotaUse { quota_bytes: Some(10_500), held_bytes: 10_000 });
            put(node.core(3), id, b"last", &content(1, 501)).await.unwrap_err();
            put(node.core(3), id, b"last", &content(1, 500)).await.unwrap();
            put(node.core(2), id, b"empty", b"").await.unwrap();
        });
    }
}

#[test]
fn what_is_replaced_or_deleted_makes_room_at_once_on_every_core() {
    run(1, |simulation| async move {
        let node = Node::start(&simulation, 4, 1).await.unwrap();
        let id = bucket(&node, Versioning::Unversioned, 1000).await;
        put(node.core(0), id, b"k", &content(1, 1000)).await.unwrap();
        for number in 0..8 {
            // Larger would be too much, the same or less is not.
            put(node.core(number), id, b"k", &content(1, 1001)).await.unwrap_err();
            put(node.core(number), id, b"k", &content(2, 1000 - number)).await.unwrap();
        }
        for number in 0..8 {
            let (old, new) = (format!("k{number}"), format!("k{}", number + 1));
            let old = if number == 0 { "k" } else { old.as_str() };
            put(node.core(number), id, new.as_bytes(), &content(1, 900)).await.unwrap_err();
            node.core(number + 1).delete(id, old.as_bytes(), Deletion::default()).await.unwrap();
            put(node.core(number), id, new.as_bytes(), &content(1, 900)).await.unwrap();
        }
        assert_eq!(held(&node, id), 900);
    });
}

#[test]
fn old_versions_and_parts_of_uploads_count_and_a_completion_never_fails() {
    run(1, |simulation| async move {
        let node = Node::start(&simulation, 3, 1).await.unwrap();
        let id = bucket(&node, Versioning::Enabled, 1000).await;
        put(node.core(0), id, b"k", &content(1, 400)).await.unwrap();
        put(node.core(1), id, b"k", &content(1, 400)).await.unwrap();
        put(node.core(2), id, b"k", &content(1, 400)).await.unwrap_err();
        let upload = node.core(0).create_upload(id, b"u", Vec::new()).await.unwrap().id;
        let part = async |core: usize, number, bytes| {
            let engine = node.core(core);
            let payload = payload(engine, &content(1, bytes)).await.unwrap();
            engine.put_part(id, b"u", upload, number, payload, attributes(b"").etag, None).await
        };
        part(0, 1, 100).await.unwrap();
        part(1, 2, 100).await.unwrap();
        let refused = part(2, 3, 1).await.unwrap_err();
        assert_eq!(refused, EngineError::QuotaExceeded { bytes: 1 });
        // In place of one that is there.
        part(2, 2, 100).await.unwrap();
        part(2, 1, 60).await.unwrap();
        assert_eq!(held(&node, id), 960);
        let completion = Completion {
            parts: vec![(2, attributes(b"").etag)],
            attributes: attributes(b""),
            condition: Condition::default(),
            events: Vec::new(),
        };
        node.core(1).complete_upload(id, b"u", upload, completion).await.unwrap();
        assert_eq!(used(&node).await.held_bytes, 900);
        put(node.core(0), id, b"k", &content(1, 100)).await.unwrap();
        assert_eq!(used(&node).await.held_bytes, 1000);
    });
}

#[test]
fn a_rename_needs_no_room_and_leaves_none_behind() {
    run(1, |simulation| async move {
        let node = Node::start(&simulation, 4, 1).await.unwrap();
        let id = bucket(&node, Versioning::Unversioned, 1000).await;
        put(node.core(0), id, b"k0", &content(1, 1000)).await.unwrap();
        for number in 0..12 {
            let (from, to) = (format!("k{number}"), format!("k{}", number + 1));
            let any = Condition::default;
            let renamed = node.core(number).rename(id, from.as_bytes(), to.as_bytes(), any(), any(), vec![]);
            renamed.await.unwrap();
            let core = node.core(number + 1);
            put(core, id, from.as_bytes(), &content(1, 1)).await.unwrap_err();
            assert_eq!(held(&node, id), 1000);
        }
    });
}

#[test]
fn a_quota_holds_from_when_it_is_set_until_it_is_cleared_also_over_a_crash() {
    run(1, |simulation| async move {
        let node = Node::start(&simulation, 3, 1).await.unwrap();
        let id = bucket(&node, Versioning::Unversioned, 5000).await;
        put(node.core(0), id, b"k", &content(1, 3000)).await.unwrap();
        // Below what is there: nothing is deleted, and nothing more is taken, but what makes less of it.
        node.core(1).set_bucket(BUCKET, change(Some(2000))).await.unwrap();
        put(node.core(0), id, b"other", &content(1, 1)).await.unwrap_err();
        put(node.core(0), id, b"k", &content(1, 2999)).await.unwrap();
        put(node.core(0), id, b"k", &content(1, 3000)).await.unwrap_err();
        simulation.crash();
        let node = Node::start(&simulation, 2, 1).await.unwrap();
        put(node.core(0), id, b"k", &content(1, 3000)).await.unwrap_err();
        put(node.core(1), id, b"k", &content(1, 1500)).await.unwrap();
        put(node.core(0), id, b"other", &content(1, 501)).await.unwrap_err();
        put(node.core(0), id, b"other", &content(1, 500)).await.unwrap();
        node.core(1).set_bucket(BUCKET, change(None)).await.unwrap();
        put(node.core(0), id, b"other", &content(1, 50_000)).await.unwrap();
        assert_eq!(used(&node).await, QuotaUse { quota_bytes: None, held_bytes: 51_500 });
    });
}

#[test]
fn what_a_core_was_given_of_a_larger_quota_is_worth_nothing_under_a_smaller_one() {
    run(1, |simulation| async move {
        let node = Node::start(&simulation, 3, 1).await.unwrap();
        let id = bucket(&node, Versioning::Unversioned, 100_000).await;
        // Each core gets some more than it asks for.
        for core in 0..3 {
            let key = keys_of(&node, id, core).next().unwrap();
            put(node.core(core), id, &key, &content(1, 100)).await.unwrap();
        }
        node.core(1).set_bucket(BUCKET, change(Some(1000))).await.unwrap();
        check_left(&node, id, 2, 700).await;
        assert_eq!(held(&node, id), 1000);
    });
}

#[test]
fn a_quota_that_is_set_among_puts_counts_all_of_them() {
    for seed in 1..20 {
        run(seed, |simulation| async move {
            let node = Node::start(&simulation, 4, 1).await.unwrap();
            let id = node
                .core(0)
                .create_bucket(BUCKET, Versioning::Unversioned, BTreeMap::new())
                .await
                .unwrap()
                .id;
            let node = Rc::new(node);
            let (cores, quota) = (node.clone(), 20_000);
            let set = Rc::new(Cell::new(None));
            let set_ = set.clone();
            at_once(&node, 60, move |engine, number| {
                let (cores, set) = (cores.clone(), set_.clone());
                async move {
                    if number == 20 {
                        engine.set_bucket(BUCKET, change(Some(quota))).await.unwrap();
                        set.set(Some(held(&cores, id)));
                        return;
                    }
                    let key = format!("key-{number}");
                    for round in 0..3 {
                        // Clients try again that are told to slow down.
                        let _ = put(&engine, id, key.as_bytes(), &content(round, 900)).await;
                        if let Some(before) = set.get() {
                            assert!(held(&cores, id) <= quota.max(before), "seed {seed}");
                        }
                    }
                }
            })
            .await;
            let before = set.get().unwrap();
            assert!(held(&node, id) <= quota.max(before), "seed {seed}");
        });
    }
}

/// Keys that a core owns.
fn keys_of(node: &Node, bucket: BucketId, core: usize) -> impl Iterator<Item = Vec<u8>> {
    let owner = move |key: &Vec<u8>| node.core(0).owner(bucket, key) == core;
    (0..).map(|number: u32| format!("key-{number}").into_bytes()).filter(owner)
}

/// What fits is exactly what is left: a byte more is refused.
async fn check_left(node: &Node, bucket: BucketId, core: usize, left: u64) {
    let key = keys_of(node, bucket, core).nth(500).unwrap();
    let refused = put(node.core(core), bucket, &key, &content(1, left as usize + 1)).await;
    assert_eq!(refused, Err(EngineError::QuotaExceeded { bytes: left + 1 }));
    put(node.core(core), bucket, &key, &content(1, left as usize)).await.unwrap();
}

#[test]
fn a_write_of_unknown_fate_counts_once_until_the_next_start_counts_what_is_there() {
    for seed in 1..20 {
        run(seed, |simulation| async move {
            let node = Node::start(&simulation, 2, 2).await.unwrap();
            let id = bucket(&node, Versioning::Unversioned, 10_000).await;
            let keys: Vec<_> = keys_of(&node, id, 1).take(4).collect();
            put(node.core(0), id, &keys[0], &content(1, 2000)).await.unwrap();
            let upload = node.core(0).create_upload(id, &keys[2], Vec::new()).await.unwrap().id;
            simulation.disk(1).set_faults(Faults { write_error: 1.0, ..Faults::default() });
            // An object, in place of another or not; or a part.
            let lost = match seed % 3 {
                0 => put(node.core(0), id, &keys[1], &content(2, 3000)).await.map(drop),
                1 => put(node.core(1), id, &keys[0], &content(2, 5000)).await.map(drop),
                _ => {
                    let payload = payload(node.core(0), &content(2, 3000)).await.unwrap();
                    let etag = attributes(b"").etag;
                    node.core(0).put_part(id, &keys[2], upload, 1, payload, etag, None).await.map(drop)
                }
            };
            assert!(matches!(lost, Err(EngineError::Failed(_))), "seed {seed}: {lost:?}");
            simulation.set_faults(Faults::default());
            // The core takes nothing more, and what is tried there takes nothing from the others.
            for number in 0..20 {
                let key = &keys[1 + number % 3];
                let refused = put(node.core(number), id, key, &content(3, 1000)).await;
                assert!(matches!(refused, Err(EngineError::ReadOnly(_))), "seed {seed}: {refused:?}");
            }
            check_left(&node, id, 0, 5000).await;
            simulation.crash();

            let node = Node::start(&simulation, 2, 2).await.unwrap();
            let there = held(&node, id);
            assert!([7000, 10_000].contains(&there), "seed {seed}: {there}");
            assert_eq!(used(&node).await.held_bytes, there);
            check_left(&node, id, 1, 10_000 - there).await;
            assert_eq!(held(&node, id), 10_000);
        });
    }
}

#[test]
fn a_change_for_which_the_log_had_no_segment_takes_nothing_from_the_quota() {
    run(1, |simulation| async move {
        let node = Node::start_with(&simulation, 2, 2, tiny()).await.unwrap();
        let (quota, bytes) = (2_000_000, 30_000);
        let id = bucket(&node, Versioning::Unversioned, quota).await;
        simulation.disk(1).set_faults(Faults { allocate_error: 1.0, ..Faults::default() });
        let keys: Vec<_> = keys_of(&node, id, 1).take(400).collect();
        let mut failed = 0;
        for (number, key) in keys.iter().enumerate() {
            let result = put(node.core(number), id, key, &content(1, bytes)).await;
            failed += usize::from(matches!(result, Err(EngineError::Failed(_))));
            assert!(result.is_ok() || failed > 0, "{result:?}");
            if failed == 100 {
                break;
            }
        }
        assert_eq!(failed, 100);
        // Renames bring their bytes along, and take them back.
        for (source, to) in keys_of(&node, id, 0).take(5).zip(&keys[300..]) {
            put(node.core(0), id, &source, &content(1, bytes)).await.unwrap();
            let any = Condition::default;
            let renamed = node.core(0).rename(id, &source, to, any(), any(), vec![]).await;
            assert!(matches!(renamed, Err(EngineError::Failed(_))), "{renamed:?}");
        }
        let left = quota - held(&node, id);
        assert!(left > 500_000, "{left}");
        simulation.set_faults(Faults::default());
        put(node.core(1), id, &keys[399], &content(1, bytes)).await.unwrap();
        check_left(&node, id, 0, left - bytes as u64).await;
        assert_eq!(held(&node, id), quota);
    });
}

/// A random number below `end`.
fn below(host: &SimHost, end: u64) -> u64 {
    let mut bytes = [0; 8];
    host.random(&mut bytes);
    u64::from_le_bytes(bytes) % end
}

/// What a client does to a bucket, over and over.
async fn random_change(engine: &SimEngine, id: BucketId, upload: &mut Option<(Vec<u8>, UploadId)>) {
    let host = engine.host().clone();
    let key = |prefix: &str| format!("{prefix}{}", below(&host, 12)).into_bytes();
    let bytes = || below(&host, if below(&host, 4) == 0 { 150_000 } else { 3000 }) as usize;
    let any = Condition::default;
    match below(&host, 10) {
        0..=3 => {
            let _ = put(engine, id, &key("k"), &content(1, bytes())).await;
        }
        4 | 5 => {
            let _ = engine.delete(id, &key("k"), Deletion::default()).await;
        }
        6 => {
            let _ = engine.rename(id, &key("k"), &key("k"), any(), any(), vec![]).await;
        }
        7 => {
            let Ok(Lookup::Found(source)) = engine.get(id, &key("k"), None).await else { return };
            let Ok(shared) = source.share(0..source.stored_bytes()).await else { return };
            let _ = engine.put(id, &key("k"), shared, attributes(b"copy"), any()).await;
        }
        8 => {
            if upload.is_none() {
                let key = key("u");
                let made = engine.create_upload(id, &key, Vec::new()).await;
                *upload = made.ok().map(|made| (key, made.id));
            }
            let Some((key, upload)) = upload else { return };
            let payload = payload(engine, &content(1, bytes())).await.unwrap();
            let number = 1 + below(&host, 3) as u16;
            let _ = engine.put_part(id, key, *upload, number, payload, attributes(b"").etag, None).await;
        }
        _ => {
            let Some((key, upload)) = upload.take() else { return };
            if below(&host, 2) == 0 {
                let _ = engine.abort_upload(id, &key, upload).await;
                return;
            }
            let Ok((_, parts)) = engine.upload(id, &key, upload, 0, 10).await else { return };
            let parts = parts.into_iter().map(|part| (part.number, part.etag)).collect();
            let (attributes, events) = (attributes(b""), Vec::new());
            let completion = Completion { parts, attributes, condition: any(), events };
            let _ = engine.complete_upload(id, &key, upload, completion).await;
        }
    }
}

#[test]
fn in_no_history_of_any_changes_a_bucket_holds_more_than_its_quota() {
    for seed in 1..25 {
        run(seed, |simulation| async move {
            let versioning = if seed % 3 == 0 { Versioning::Enabled } else { Versioning::Unversioned };
            let (quota, cores) = (200_000, 2 + seed as usize % 4);
            let node = Rc::new(Node::start(&simulation, cores, 1).await.unwrap());
            let id = bucket(&node, versioning, quota).await;
            // Both keys of a rename hold the object until it has ended.
            let has_ended = Rc::new(Cell::new(false));
            let (watched, over) = (node.clone(), has_ended.clone());
            let (done, watching) = oneshot();
            node.core(0).host().clone().spawn(async move {
                let mut most = 0;
                while !over.get() {
                    let renaming: usize =
                        watched.engines.iter().map(|engine| engine.inner.renaming.borrow().len()).sum();
                    if renaming == 0 {
                        most = most.max(held(&watched, id));
                    }
                    watched.core(0).host().sleep(Duration::from_micros(50)).await;
                }
                done.send(most);
            });
            at_once(&node, 12, move |engine, _| async move {
                let mut upload = None;
                for _ in 0..40 {
                    random_change(&engine, id, &mut upload).await;
                }
            })
            .await;
            has_ended.set(true);
            let most = watching.await.unwrap();
            assert!(most <= quota, "seed {seed}: {most}");
            assert!(most > quota / 2, "seed {seed}: the quota never mattered: {most}");
            // Nothing is kept for what is over: exactly the rest can be had.
            let left = quota - held(&node, id);
            assert_eq!(used(&node).await.held_bytes, quota - left);
            put(node.core(1), id, b"last", &content(1, left as usize + 1)).await.unwrap_err();
            put(node.core(0), id, b"last", &content(1, left as usize)).await.unwrap();
            assert_eq!(held(&node, id), quota);
        });
    }
}
