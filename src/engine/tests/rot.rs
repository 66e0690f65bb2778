//! Rot: histories whose drives are damaged at rest, judged against what was stored.
//!
//! What each object's data is, byte for byte, is known before: so it is known whom a place that is damaged may
//! hit. Nobody else may lose anything, nobody may get other bytes than were stored, the scrub must find all of
//! it, and cleaning and restarts go on.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::histories::{Draw, clean_oldest, seeds, try_history};
use super::*;
use crate::engine::format::segment::log_end;

/// A version by its key and name.
type Name = (Vec<u8>, VersionId);

/// What is stored, as acknowledged.
#[derive(Default)]
struct Model {
    /// Contents of each version that must be there.
    versions: BTreeMap<Name, Vec<u8>>,
    /// Current version of each key, unless a delete marker hides it or nothing is there.
    current: BTreeMap<Vec<u8>, VersionId>,
}

/// Where a version's data lies: file and bytes.
type Places = BTreeMap<Name, Vec<(String, Range<u64>)>>;

struct Rot {
    file: String,
    drive: usize,
    /// Bytes that may differ now.
    range: Range<u64>,
    what: &'static str,
}

#[test]
fn damage_is_never_served_hits_nobody_else_and_stops_nothing() {
    seeds(0..60).for_each(|seed| {
        try_history(
            seed,
            "engine::tests::rot::damage_is_never_served_hits_nobody_else_and_stops_nothing",
            history,
        );
    });
}

fn history(seed: u64) {
    let simulation = Simulation::new(seed);
    let mut draw = Draw::new(seed ^ 0x0dd5);
    let (cores, drives) = (1 + draw.below(3) as usize, 1 + draw.below(2) as usize);
    let drives = drives.min(cores);
    let is_crash = draw.below(3) == 0;
    let (model, places, tails) = simulation.block_on(async {
        let node = Node::start_with(&simulation, cores, drives, tiny()).await.unwrap();
        let versioning = if draw.below(2) == 0 { Versioning::Enabled } else { Versioning::Unversioned };
        let id = node.core(0).create_bucket("b", versioning, BTreeMap::new()).await.unwrap().id;
        let model = fill(&node, id, &mut draw).await;
        if !is_crash {
            node.shutdown().await;
        }
        let places = places(&node, id);
        let tails: Vec<_> = node.engines.iter().map(|engine| engine.inner.log.position()).collect();
        (model, places, tails)
    });
    if is_crash {
        simulation.crash();
    }
    // The last batch of a log may have been torn by a crash for all that a start can tell.
    let is_tail = |rot: &Rot| {
        is_crash
            && tails.iter().any(|tail| {
                rot.file == FileName::Log(tail.previous_segment).to_string()
                    && rot.range.end > u64::from(tail.previous_offset)
            })
    };
    let rot = loop {
        let Some(rot) = plan(&simulation, drives, &mut draw) else { return };
        if !is_tail(&rot) {
            break rot;
        }
    };
    inflict(&simulation, &rot);
    judge(&simulation, Judged { seed, cores, drives, model, places, rot }, &mut draw);
}

/// Puts, overwrites, copies and deletes, with checkpoints and cleaning between.
async fn fill(node: &Node, id: BucketId, draw: &mut Draw) -> Model {
    let mut model = Model::default();
    let steps = 20 + draw.below(60);
    for step in 0..steps {
        let engine = node.core(draw.below(8) as usize);
        let key = format!("key-{}", draw.below(12)).into_bytes();
        match draw.below(20) {
            0 => checkpoint::write(engine).await.unwrap(),
            1 => clean_oldest(engine).await.unwrap(),
            2..=4 => {
                let deleted = engine.delete(id, &key, Deletion::default()).await.unwrap();
                if deleted.version.is_none() {
                    model.versions.remove(&(key.clone(), VersionId::Null));
                }
                model.current.remove(&key);
            }
            5..=6 => {
                let Some(object) = engine.get(id, &key, None).await.unwrap().found() else { continue };
                let shared = object.share(0..object.bytes).await.unwrap();
                let bytes = model.versions[&(key.clone(), model.current[&key])].clone();
                let to = format!("copy-{}", draw.below(6)).into_bytes();
                let committed =
                    engine.put(id, &to, shared, attributes(&bytes), Condition::default()).await.unwrap();
                model.put(to, committed, bytes);
            }
            dice => {
                let length = match dice {
                    7..=9 => 66_000 + draw.below(200_000),
                    10..=12 => draw.below(60_000),
                    _ => draw.below(3000),
                };
                let bytes = content(step, length as usize);
                let committed = put(engine, id, &key, &bytes).await.unwrap();
                model.put(key, committed, bytes);
            }
        }
    }
    model
}

impl Model {
    fn put(&mut self, key: Vec<u8>, committed: Committed, bytes: Vec<u8>) {
        let version = committed.version.unwrap_or(VersionId::Null);
        self.versions.insert((key.clone(), version), bytes);
        self.current.insert(key, version);
    }
}

/// Where the data of each version lies.
fn places(node: &Node, id: BucketId) -> Places {
    let mut places = Places::new();
    for engine in &node.engines {
        let index = engine.inner.index.borrow();
        let Some(shard) = index.buckets.get(&id) else { continue };
        for (key, entry) in shard.walk(std::ops::Bound::Unbounded) {
            let place = entry.location;
            let (start, end) = (u64::from(place.offset), u64::from(place.offset + place.length));
            let mut of_it = vec![(FileName::Log(place.segment).to_string(), start..end)];
            for slice in entry.payload.slices() {
                let start = u64::from(slice.extent.block) * 4096;
                let end = start + u64::from(extent::extent_blocks(slice.extent_bytes)) * 4096;
                of_it.push((FileName::Data(slice.extent.segment).to_string(), start..end));
            }
            places.insert((key.to_vec(), entry.version()), of_it);
        }
    }
    places
}

/// Chooses a place anywhere in what the drives hold.
fn plan(simulation: &Simulation, drives: usize, draw: &mut Draw) -> Option<Rot> {
    let drive = draw.below(drives as u64) as usize;
    let disk = simulation.disk(drive);
    let kinds = ["log-", "log-", "data-", "data-", "checkpoint-", "ringcask.superblock"];
    let kind = kinds[draw.below(kinds.len() as u64) as usize];
    let files: Vec<_> = disk.list().unwrap().into_iter().filter(|file| file.name.starts_with(kind)).collect();
    if files.is_empty() {
        return if kind == "data-" { plan(simulation, drives, draw) } else { None };
    }
    let file = &files[draw.below(files.len() as u64) as usize];
    let allocated = disk.allocated(&file.name).unwrap();
    if allocated.is_empty() {
        return plan(simulation, drives, draw);
    }
    let run = &allocated[draw.below(allocated.len() as u64) as usize];
    // What was never written is not worth a look.
    let end = if kind == "log-" { run.end.min(run.start + (128 << 10)) } else { run.end };
    let offset = run.start + draw.below(end - run.start);
    let block = offset - offset % 4096;
    let (range, what) = match draw.below(6) {
        0..=2 => (offset..offset + 1, "flip"),
        3 => (block..block + 4096, "misdirect"),
        4 => (block..block + 4096, "unreadable"),
        _ if draw.below(3) == 0 => (0..u64::MAX, "lose"),
        _ => (block..u64::MAX, "cut"),
    };
    Some(Rot { file: file.name.clone(), drive, range, what })
}

fn inflict(simulation: &Simulation, rot: &Rot) {
    let (disk, start) = (simulation.disk(rot.drive), rot.range.start);
    match rot.what {
        "flip" => disk.flip_bit(&rot.file, start).unwrap(),
        "misdirect" => {
            let blocks =
                disk.list().unwrap().into_iter().find(|file| file.name == rot.file).unwrap().bytes / 4096;
            let from = (start / 4096 + 1 + start / 8192) % blocks;
            disk.misdirect(&rot.file, from * 4096, start).unwrap();
        }
        "unreadable" => disk.make_unreadable(&rot.file, start).unwrap(),
        "cut" => disk.cut(&rot.file, start).unwrap(),
        _ => simulation.block_on(async {
            disk.remove(&rot.file).await.unwrap();
            disk.sync_directory().await.unwrap();
        }),
    }
}

struct Judged {
    seed: u64,
    cores: usize,
    drives: usize,
    model: Model,
    places: Places,
    rot: Rot,
}

impl Judged {
    fn told(&self) -> String {
        let Rot { file, drive, range, what } = &self.rot;
        format!("seed {}: {what} of {file} on drive {drive} at {range:?}", self.seed)
    }

    /// Versions whose data lies where the damage is.
    fn is_hit(&self, name: &Name) -> bool {
        self.places.get(name).is_some_and(|places| {
            let overlaps =
                |range: &Range<u64>| range.start < self.rot.range.end && range.end > self.rot.range.start;
            places.iter().any(|(file, range)| *file == self.rot.file && overlaps(range))
        })
    }
}

fn judge(simulation: &Simulation, judged: Judged, draw: &mut Draw) {
    let told = judged.told();
    let is_log = judged.rot.file.starts_with("log-");
    let Judged { cores, drives, .. } = judged;
    simulation.block_on(async {
        let mut options = tiny();
        let node = match Node::start_with(simulation, cores, drives, options.clone()).await {
            Ok(node) => node,
            Err(error) => {
                // Only changes that may be lost stop a start, and it says where.
                assert!(is_log, "{told}: {error}");
                let text = error.to_string();
                assert!(text.contains("log-") && text.contains("--accept-damage"), "{told}: {text}");
                options.accept_damage = true;
                let node = Node::start_with(simulation, cores, drives, options.clone()).await;
                let node = node.unwrap_or_else(|error| panic!("{told}: {error}"));
                judge_accepted(&node, &judged, &told).await;
                node.shutdown().await;
                judge_check(simulation, &judged, &told).await;
                return;
            }
        };
        let id = node.core(0).bucket("b").unwrap_or_else(|| panic!("{told}: the bucket is gone")).id;
        for engine in &node.engines {
            engine.scrub().await.unwrap_or_else(|error| panic!("{told}: {error}"));
        }
        let named: BTreeSet<Name> = named(&node);
        let lost = judge_reads(&node, id, &judged, &told).await;
        for name in &lost {
            assert!(judged.is_hit(name), "{told}: {name:?} was lost with it");
            assert!(named.contains(name), "{told}: the scrub did not find {name:?}");
        }
        for name in &named {
            assert!(lost.contains(name), "{told}: {name:?} is said to be damaged and can be read");
        }
        // Everything that is read again and again says the same as the scrub.
        assert_eq!(super::rot::named(&node), named, "{told}");

        // Cleaning goes on around it, and nothing more is lost.
        for number in 0..40u64 {
            let (engine, key) = (node.core(number as usize), format!("filler-{}", number % 3).into_bytes());
            put(engine, id, &key, &content(number, 30_000))
                .await
                .unwrap_or_else(|error| panic!("{told}: {error}"));
        }
        for _ in 0..4 {
            for engine in &node.engines {
                clean_oldest(engine).await.unwrap_or_else(|error| panic!("{told}: cleaning: {error}"));
            }
        }
        assert_eq!(judge_reads(&node, id, &judged, &told).await, lost, "{told}: after cleaning");
        node.shutdown().await;
        let cores = 1 + draw.below(3) as usize;
        let node = Node::start_with(simulation, cores.max(drives), drives, options).await;
        let node = node.unwrap_or_else(|error| panic!("{told}: the second start: {error}"));
        assert_eq!(judge_reads(&node, id, &judged, &told).await, lost, "{told}: after the second start");
        // What is lost can be deleted, and then all is well.
        for (key, version) in &lost {
            let deletion = Deletion { version: Some(*version), ..Deletion::default() };
            node.core(0).delete(id, key, deletion).await.unwrap_or_else(|error| panic!("{told}: {error}"));
        }
        for engine in &node.engines {
            engine.scrub().await.unwrap_or_else(|error| panic!("{told}: {error}"));
        }
        assert_eq!(super::rot::named(&node), BTreeSet::new(), "{told}: after the deletion");
    });
}

/// Versions that the node says are damaged.
fn named(node: &Node) -> BTreeSet<Name> {
    let damages = node.engines.iter().flat_map(|engine| engine.damages().list);
    damages.flat_map(|damage| damage.objects).map(|object| (object.key, object.version)).collect()
}

/// Reads everything: right bytes, or an error that names the file. Returns what could not be read.
async fn judge_reads(node: &Node, id: BucketId, judged: &Judged, told: &str) -> BTreeSet<Name> {
    let mut lost = BTreeSet::new();
    for (number, (name, bytes)) in judged.model.versions.iter().enumerate() {
        match read_version(node.core(number), id, name).await {
            Ok(Some(found)) => assert!(found == *bytes, "{told}: {name:?} has other bytes"),
            Ok(None) => panic!("{told}: {name:?} is gone"),
            Err(EngineError::Corrupt(what)) => {
                assert!(what.contains("log-") || what.contains("data-"), "{told}: {what}");
                lost.insert(name.clone());
            }
            Err(error) => panic!("{told}: {name:?}: {error}"),
        }
    }
    let listed: BTreeSet<Vec<u8>> = list_all(node.core(0), id, 7).await.into_iter().collect();
    let of_model = |key: &&Vec<u8>| !key.starts_with(b"filler");
    let listed: BTreeSet<&Vec<u8>> = listed.iter().filter(of_model).collect();
    assert_eq!(listed, judged.model.current.keys().collect(), "{told}: keys");
    lost
}

async fn read_version(engine: &SimEngine, id: BucketId, name: &Name) -> Result<Option<Vec<u8>>, EngineError> {
    match engine.get(id, &name.0, Some(name.1)).await?.found() {
        Some(object) => read(&object, 0..object.bytes).await.map(Some),
        None => Ok(None),
    }
}

/// After an accepted loss of changes, keys may have earlier contents or none, but never other bytes; what was
/// not changed there is as it was.
async fn judge_accepted(node: &Node, judged: &Judged, told: &str) {
    // The bucket itself may be among what is lost.
    let Some(bucket) = node.core(0).bucket("b") else { return };
    for (number, (name, bytes)) in judged.model.versions.iter().enumerate() {
        match read_version(node.core(number), bucket.id, name).await {
            Ok(Some(found)) => {
                let is_earlier = name.1 == VersionId::Null && found != *bytes;
                assert!(is_earlier || found == *bytes, "{told}: {name:?} has other bytes");
            }
            Ok(None) | Err(EngineError::Corrupt(_)) => {}
            Err(error) => panic!("{told}: {name:?}: {error}"),
        }
    }
    assert!(node.engines.iter().any(|engine| engine.damages().count > 0), "{told}: nothing is told");
}

/// The offline check calls what is damaged damage; not that log and checkpoint differ since changes were given up.
async fn judge_check(simulation: &Simulation, judged: &Judged, told: &str) {
    let disks: Vec<_> = (0..judged.drives).map(|drive| simulation.disk(drive)).collect();
    let report = offline::check(&disks, &offline::Options::default(), &mut |_| {}).await;
    let report = report.unwrap_or_else(|error| panic!("{told}: {error}"));
    for finding in report.findings.iter().filter(|it| it.severity == offline::Severity::Damage) {
        let is_there = finding.spot.file.ends_with(&judged.rot.file);
        assert!(is_there || finding.area == offline::Area::Log, "{told}: {finding:#?}");
    }
}

#[test]
fn the_last_block_of_a_log_segment_is_no_place_for_batches() {
    assert_eq!(log_end(1 << 20), (1 << 20) - 4096);
}
