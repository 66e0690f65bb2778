//! Histories with crashes against a reference model: what was acknowledged is there, what was not is wholly
//! there or wholly not.

use std::collections::BTreeMap;

use super::*;
use crate::base::local::Receiver;
use crate::io::sim::Faults;

/// Histories that a plain test run tries; `RINGCASK_CRASH_SEEDS=FIRST..LAST` tries others.
const SEEDS: std::ops::Range<u64> = 0..60;

/// A small generator of its own, so that the history is a function of the seed alone.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// What a key may hold: one value if its last change was acknowledged, else any of several.
type Model = BTreeMap<Vec<u8>, Vec<Option<Vec<u8>>>>;

/// A change's key and its end.
type UnderWay = (Vec<u8>, Receiver<Result<(), EngineError>>);

#[derive(Clone, Debug)]
enum Change {
    Put {
        key: Vec<u8>,
        bytes: Vec<u8>,
    },
    /// If nothing is there.
    Create {
        key: Vec<u8>,
        bytes: Vec<u8>,
    },
    Delete {
        key: Vec<u8>,
    },
    Copy {
        from: Vec<u8>,
        key: Vec<u8>,
    },
    /// Its first part is stored twice, and a last one is not named.
    Multipart {
        key: Vec<u8>,
        parts: Vec<Vec<u8>>,
    },
    /// An upload with a part that is given up.
    Abort {
        key: Vec<u8>,
        bytes: Vec<u8>,
    },
}

impl Change {
    fn key(&self) -> &[u8] {
        match self {
            Self::Put { key, .. }
            | Self::Create { key, .. }
            | Self::Abort { key, .. }
            | Self::Delete { key }
            | Self::Copy { key, .. }
            | Self::Multipart { key, .. } => key,
        }
    }
}

fn draw_change(draw: &mut Draw, model: &Model, taken: &mut Vec<Vec<u8>>) -> Option<Change> {
    let mut fresh_key = |draw: &mut Draw| {
        let key = format!("key-{}", draw.below(24)).into_bytes();
        let free = !taken.contains(&key);
        free.then(|| {
            taken.push(key.clone());
            key
        })
    };
    let key = fresh_key(draw)?;
    let size = |draw: &mut Draw| match draw.below(4) {
        0 => draw.below(100) as usize,
        1 => draw.below(70_000) as usize,
        2 => 65_000 + draw.below(2000) as usize,
        _ => draw.below(900_000) as usize,
    };
    Some(match draw.below(12) {
        10 => Change::Create { key, bytes: content(draw.0, size(draw)) },
        11 => Change::Abort { key, bytes: content(draw.0, 1 + size(draw)) },
        0..=4 => Change::Put { key, bytes: content(draw.0, size(draw)) },
        5 | 6 => Change::Delete { key },
        7 | 8 => {
            let certain: Vec<&Vec<u8>> = model
                .iter()
                .filter(|(_, states)| states.len() == 1 && states[0].is_some())
                .map(|(key, _)| key)
                .collect();
            let from = (*certain.get(draw.below(certain.len().max(1) as u64) as usize)?).clone();
            if taken.contains(&from) {
                return None;
            }
            taken.push(from.clone());
            Change::Copy { from, key }
        }
        _ => {
            let parts = (0..1 + draw.below(3)).map(|n| content(draw.0 + n, 1 + size(draw))).collect();
            Change::Multipart { key, parts }
        }
    })
}

/// The value of the key after the change.
fn outcome(change: &Change, model: &Model) -> Option<Vec<u8>> {
    match change {
        Change::Put { bytes, .. } => Some(bytes.clone()),
        Change::Create { key, bytes } => {
            let now = model.get(key).and_then(|states| states[0].clone());
            Some(now.unwrap_or_else(|| bytes.clone()))
        }
        Change::Abort { key, .. } => model.get(key).and_then(|states| states[0].clone()),
        Change::Delete { .. } => None,
        Change::Copy { from, .. } => model[from][0].clone(),
        Change::Multipart { parts, .. } => Some(parts.concat()),
    }
}

async fn carry_out(engine: SimEngine, bucket: BucketId, change: Change) -> Result<(), EngineError> {
    match change {
        Change::Put { key, bytes } => put(&engine, bucket, &key, &bytes).await.map(drop),
        Change::Create { key, bytes } => {
            let payload = payload(&engine, &bytes).await?;
            let condition = Condition { absent: true, ..Condition::default() };
            match engine.put(bucket, &key, payload, attributes(&bytes), condition).await {
                Ok(_) | Err(EngineError::ConditionFailed) => Ok(()),
                Err(error) => Err(error),
            }
        }
        Change::Abort { key, bytes } => {
            let upload = engine.create_upload(bucket, &key, vec![]).await?.id;
            store_part(&engine, bucket, &key, upload, 1, &bytes).await?;
            engine.abort_upload(bucket, &key, upload).await
        }
        Change::Delete { key } => engine.delete(bucket, &key, Deletion::default()).await.map(drop),
        Change::Copy { from, key } => {
            let source = engine.get(bucket, &from, None).await?.found().expect("the model knows it is there");
            let shared = source.share(0..source.bytes).await?;
            let attributes = source.attributes.clone();
            engine.put(bucket, &key, shared, attributes, Condition::default()).await.map(drop)
        }
        Change::Multipart { key, parts } => {
            let upload = engine.create_upload(bucket, &key, vec![]).await?.id;
            let mut named = Vec::new();
            store_part(&engine, bucket, &key, upload, 1, b"replaced").await?;
            store_part(&engine, bucket, &key, upload, 99, b"not named").await?;
            for (number, bytes) in (1..).zip(&parts) {
                named.push((number, store_part(&engine, bucket, &key, upload, number, bytes).await?));
            }
            let condition = Condition::default();
            let completion = Completion { parts: named, attributes: attributes(&parts.concat()), condition };
            engine.complete_upload(bucket, &key, upload, completion).await.map(drop)
        }
    }
}

async fn store_part(
    engine: &SimEngine,
    bucket: BucketId,
    key: &[u8],
    upload: UploadId,
    number: u16,
    bytes: &[u8],
) -> Result<ETag, EngineError> {
    let (body, etag) = (payload(engine, bytes).await?, attributes(bytes).etag);
    engine.put_part(bucket, key, upload, number, body, etag, None).await.map(|part| part.etag)
}

/// Compares the node with the model and settles what was uncertain.
async fn judge(node: &Node, bucket: BucketId, model: &mut Model, seed: u64) {
    let listed = list_all(node.core(0), bucket, 7).await;
    for (number, (key, states)) in model.iter_mut().enumerate() {
        let found = get(node.core(number), bucket, key).await;
        let found =
            found.unwrap_or_else(|error| panic!("seed {seed}: {error} for {}", String::from_utf8_lossy(key)));
        assert!(
            states.contains(&found),
            "seed {seed}: {} holds {:?} bytes, expected one of {:?}",
            String::from_utf8_lossy(key),
            found.as_ref().map(Vec::len),
            states.iter().map(|state| state.as_ref().map(Vec::len)).collect::<Vec<_>>()
        );
        assert_eq!(listed.contains(key), found.is_some(), "seed {seed}: the listing disagrees");
        *states = vec![found];
    }
    let live: Vec<&Vec<u8>> = model.values().filter_map(|states| states[0].as_ref()).collect();
    let bytes = live.iter().map(|bytes| bytes.len() as u64).sum();
    let usage = node.core(1).usage(bucket).await.unwrap();
    assert_eq!(usage, Usage { objects: live.len() as u64, versions: 0, bytes }, "seed {seed}: usage");
}

/// References that the owners count must be those that the indexes hold.
async fn judge_references(node: &Node, seed: u64) {
    node.core(0).host().sleep(std::time::Duration::from_secs(2)).await;
    let mut held: BTreeMap<format::ExtentId, u32> = BTreeMap::new();
    for engine in &node.engines {
        engine.inner.index.borrow().for_each_slice(|slice| *held.entry(slice.extent).or_default() += 1);
    }
    let mut counted = BTreeMap::new();
    node.engines.iter().for_each(|engine| counted.extend(engine.inner.extents.references()));
    assert_eq!(counted, held, "seed {seed}: references to extents");
}

fn history(seed: u64) {
    let simulation = Simulation::new(seed);
    let mut draw = Draw(seed.wrapping_mul(77) + 1);
    let mut model = Model::new();
    let drives = 1 + draw.below(3) as usize;
    let bucket = simulation.block_on(async {
        let node = Node::start(&simulation, 2, drives).await.unwrap();
        let bucket =
            node.core(0).create_bucket("bucket", Versioning::Unversioned, BTreeMap::new()).await.unwrap().id;
        drop(node);
        bucket
    });
    simulation.crash();
    for _ in 0..4 {
        let cores = 1 + draw.below(3) as usize;
        let node = simulation.block_on(Node::start(&simulation, cores, drives));
        let node = node.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        simulation.block_on(async {
            judge(&node, bucket, &mut model, seed).await;
            judge_references(&node, seed).await;
        });
        for _ in 0..draw.below(4) {
            round(&simulation, &node, bucket, &mut draw, &mut model, seed);
        }
        crash_in_the_middle(&simulation, &node, bucket, &mut draw, &mut model);
    }
}

/// Some changes at once, all acknowledged; then perhaps a checkpoint and cleaning.
fn round(
    simulation: &Simulation,
    node: &Node,
    bucket: BucketId,
    draw: &mut Draw,
    model: &mut Model,
    seed: u64,
) {
    let under_way = begin(node, bucket, draw, model);
    simulation.block_on(async {
        for (_, result) in under_way {
            result.await.expect("it ends").unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
    });
    for states in model.values_mut() {
        let last = states.pop().expect("never empty");
        *states = vec![last];
    }
    let chance = draw.below(3);
    simulation.block_on(async {
        for engine in node.engines.iter().filter(|_| chance == 0) {
            checkpoint::write(engine).await.unwrap();
        }
        for engine in node.engines.iter().filter(|_| chance == 1) {
            engine.maintain().await.unwrap();
            if let Some((id, segment)) = engine.inner.log.sealed_segments().first().copied()
                && engine.inner.checkpoint.oldest_position().is_some_and(|position| id < position.segment)
            {
                engine.clean(id, segment).await.unwrap();
            }
        }
    });
}

/// Some changes at once; the power goes before all are acknowledged.
fn crash_in_the_middle(
    simulation: &Simulation,
    node: &Node,
    bucket: BucketId,
    draw: &mut Draw,
    model: &mut Model,
) {
    // Perhaps the drives begin to fail before.
    if draw.below(3) == 0 {
        simulation.set_faults(Faults { write_error: 0.02, sync_error: 0.05, ..Faults::default() });
    }
    let under_way = begin(node, bucket, draw, model);
    let acknowledged = Rc::new(RefCell::new(Vec::new()));
    let log = acknowledged.clone();
    let waiting = async {
        for (key, result) in under_way {
            if let Some(Ok(())) = result.await {
                log.borrow_mut().push(key);
            }
        }
    };
    let steps = draw.below(800);
    simulation.block_on_for(waiting, steps);
    simulation.set_faults(Faults::default());
    simulation.crash();
    for key in acknowledged.borrow().iter() {
        let states = model.get_mut(key).expect("listed when it began");
        let last = states.pop().expect("never empty");
        *states = vec![last];
    }
}

fn begin(node: &Node, bucket: BucketId, draw: &mut Draw, model: &mut Model) -> Vec<UnderWay> {
    let mut taken = Vec::new();
    let mut under_way = Vec::new();
    for number in 0..1 + draw.below(8) {
        let Some(change) = draw_change(draw, model, &mut taken) else { continue };
        let after = outcome(&change, model);
        let (done, result) = crate::base::local::oneshot();
        let engine = node.core(number as usize).clone();
        let key = change.key().to_vec();
        engine.host().clone().spawn(async move { done.send(carry_out(engine, bucket, change).await) });
        model.entry(key.clone()).or_insert_with(|| vec![None]).push(after);
        under_way.push((key, result));
    }
    under_way
}

#[test]
fn acknowledged_changes_survive_crashes_and_restarts_with_other_cores() {
    let seeds = match std::env::var("RINGCASK_CRASH_SEEDS") {
        Ok(text) => {
            let (first, last) = text.split_once("..").expect("RINGCASK_CRASH_SEEDS=FIRST..LAST");
            first.parse().expect("a number")..last.parse().expect("a number")
        }
        Err(_) => SEEDS,
    };
    for seed in seeds {
        let result = std::panic::catch_unwind(|| history(seed));
        if let Err(panic) = result {
            eprintln!(
                "replay with: RINGCASK_CRASH_SEEDS={seed}..{} cargo test --lib engine::tests::crash",
                seed + 1
            );
            std::panic::resume_unwind(panic);
        }
    }
}
