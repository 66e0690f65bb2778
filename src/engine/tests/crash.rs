//! Histories with crashes against a reference model: what was acknowledged is there, what was not is wholly
//! there or wholly not.

use std::collections::BTreeMap;

use super::histories::*;
use super::model::{Change, Held, Model, Name, State, tagged, usage_of};
use super::*;
use crate::base::local::Receiver;
use crate::io::sim::Faults;

/// Buckets of a history: one without versioning, and one whose versioning is enabled and suspended by turns.
const BUCKETS: [&str; 2] = ["plain", "versioned"];

/// A key and the end of its change.
type UnderWay = (Name, Receiver<Result<(), EngineError>>);

/// What a history knows of the node that it changes.
struct History {
    seed: u64,
    simulation: Rc<Simulation>,
    draw: Draw,
    drives: usize,
    buckets: [BucketId; 2],
    versioning: [Versioning; 2],
    model: Model,
    /// Names of the versions of each key, newest first, as they were found last.
    names: BTreeMap<Name, Vec<VersionId>>,
    uploads: Vec<OpenUpload>,
}

/// An upload that stays open over rounds and restarts.
struct OpenUpload {
    name: Name,
    id: UploadId,
    parts: BTreeMap<u16, Vec<u8>>,
}

fn draw_change(history: &mut History, taken: &mut Vec<Name>) -> Option<(Name, Change)> {
    if history.draw.below(8) == 0 {
        return draw_end_of_upload(history, taken);
    }
    let draw = &mut history.draw;
    let name = (draw.below(2) as usize, format!("key-{}", draw.below(12)).into_bytes());
    if taken.contains(&name) {
        return None;
    }
    taken.push(name.clone());
    let size = |draw: &mut Draw| match draw.below(4) {
        0 => draw.below(100) as usize,
        1 => draw.below(70_000) as usize,
        2 => 60_000 + draw.below(7000) as usize,
        _ => draw.below(500_000) as usize,
    };
    let state = history.model.get(&name).map_or(&[][..], |states| &states[0]);
    let place = draw.below(state.len().max(1) as u64) as usize;
    let is_object = state.get(place).is_some_and(|held| held.bytes.is_some());
    let change = match draw.below(20) {
        0..=5 => Change::Put { bytes: content(draw.0, size(draw)) },
        6..=8 => Change::Delete,
        9 | 10 => {
            let (from, bytes) = draw_source(draw, &history.model, taken)?;
            Change::Copy { from, bytes }
        }
        11 => Change::Create { bytes: content(draw.0, size(draw)) },
        12 => Change::Abort { bytes: content(draw.0, 1 + size(draw)) },
        13 | 14 => {
            let parts = (0..1 + draw.below(3)).map(|n| content(draw.0 + n, 1 + size(draw))).collect();
            Change::Multipart { parts }
        }
        15 if is_object => Change::Tag { place, tag: 1 + draw.below(1000) },
        16 if is_object && name.0 == 1 => Change::Hold { place, legal_hold: !state[place].legal_hold },
        15 | 16 => return None,
        _ if state.is_empty() => return None,
        _ => Change::DeleteVersion { place },
    };
    Some((name, change))
}

/// The end of an open upload: the model takes no further part of it, whatever happens.
fn draw_end_of_upload(history: &mut History, taken: &mut Vec<Name>) -> Option<(Name, Change)> {
    let place = history.draw.below(history.uploads.len().max(1) as u64) as usize;
    history.uploads.get(place).filter(|upload| !taken.contains(&upload.name))?;
    let OpenUpload { name, id, parts } = history.uploads.swap_remove(place);
    taken.push(name.clone());
    let aborts = history.draw.below(4) == 0;
    Some((name, if aborts { Change::AbortBegun { id } } else { Change::Complete { id, parts } }))
}

/// A key whose current object is certain and stays so.
fn draw_source(draw: &mut Draw, model: &Model, taken: &mut Vec<Name>) -> Option<(Name, Vec<u8>)> {
    let current = |states: &Vec<State>| states[0].first().and_then(|held| held.bytes.clone());
    let certain: Vec<_> = model.iter().filter_map(|(name, states)| Some((name, current(states)?))).collect();
    let (name, bytes) = certain.get(draw.below(certain.len().max(1) as u64) as usize)?;
    if taken.contains(name) {
        return None;
    }
    taken.push((*name).clone());
    Some(((*name).clone(), bytes.clone()))
}

/// Carries out a change of a key. What a legal hold refuses is done: the model says when it must.
async fn carry_out(
    engine: SimEngine,
    buckets: [BucketId; 2],
    (bucket, key): Name,
    change: Change,
    versions: Vec<VersionId>,
) -> Result<(), EngineError> {
    let bucket = buckets[bucket];
    let (key, condition) = (&key[..], Condition::default());
    let result = match change {
        Change::Put { bytes } => {
            let payload = payload(&engine, &bytes).await?;
            engine.put(bucket, key, payload, plain(&bytes), condition).await.map(drop)
        }
        Change::Create { bytes } => {
            let payload = payload(&engine, &bytes).await?;
            let condition = Condition { absent: true, ..condition };
            match engine.put(bucket, key, payload, plain(&bytes), condition).await {
                Ok(_) | Err(EngineError::ConditionFailed) => Ok(()),
                Err(error) => Err(error),
            }
        }
        Change::Abort { bytes } => {
            let upload = engine.create_upload(bucket, key, vec![]).await?.id;
            store_part(&engine, bucket, key, upload, 1, &bytes).await?;
            engine.abort_upload(bucket, key, upload).await
        }
        Change::Delete => engine.delete(bucket, key, Deletion::default()).await.map(drop),
        Change::Copy { from, bytes } => {
            let source = engine.get(buckets[from.0], &from.1, None).await?.found();
            let shared = source.expect("the model knows it is there").share(0..bytes.len() as u64).await?;
            engine.put(bucket, key, shared, plain(&bytes), condition).await.map(drop)
        }
        Change::Multipart { parts } => {
            let upload = engine.create_upload(bucket, key, vec![]).await?.id;
            let mut named = Vec::new();
            store_part(&engine, bucket, key, upload, 1, b"replaced").await?;
            store_part(&engine, bucket, key, upload, 99, b"not named").await?;
            for (number, bytes) in (1..).zip(&parts) {
                named.push((number, store_part(&engine, bucket, key, upload, number, bytes).await?));
            }
            complete(&engine, bucket, key, upload, named, &parts.concat()).await
        }
        Change::Complete { id, parts } => {
            let named = parts.iter().map(|(number, bytes)| (*number, attributes(bytes).etag)).collect();
            let bytes: Vec<u8> = parts.into_values().flatten().collect();
            complete(&engine, bucket, key, id, named, &bytes).await
        }
        Change::AbortBegun { id } => engine.abort_upload(bucket, key, id).await,
        Change::DeleteVersion { place } => {
            let deletion = Deletion { version: Some(versions[place]), ..Deletion::default() };
            engine.delete(bucket, key, deletion).await.map(|deleted| assert!(deleted.existed))
        }
        Change::Tag { place, tag } => {
            let update = Update::Headers { set: tagged(tag), remove: Vec::new() };
            engine.update(bucket, key, Some(versions[place]), update, condition).await.map(drop)
        }
        Change::Hold { place, legal_hold } => {
            let update = Update::LegalHold(legal_hold);
            engine.update(bucket, key, Some(versions[place]), update, condition).await.map(drop)
        }
    };
    if result == Err(EngineError::Locked) { Ok(()) } else { result }
}

/// Completes an upload, or aborts it if a legal hold refuses that.
async fn complete(
    engine: &SimEngine,
    bucket: BucketId,
    key: &[u8],
    upload: UploadId,
    parts: Vec<(u16, ETag)>,
    bytes: &[u8],
) -> Result<(), EngineError> {
    let attributes = plain(bytes);
    let completion = Completion { parts, attributes, condition: Condition::default(), events: Vec::new() };
    let completed = engine.complete_upload(bucket, key, upload, completion).await;
    if completed == Err(EngineError::Locked) {
        engine.abort_upload(bucket, key, upload).await?;
    }
    completed.map(drop)
}

fn plain(bytes: &[u8]) -> Attributes {
    Attributes { headers: Vec::new(), ..attributes(bytes) }
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

/// Reads every version of every key of a bucket, in pages of few.
async fn read_all(engine: &SimEngine, bucket: BucketId) -> BTreeMap<Vec<u8>, Vec<(VersionId, Held)>> {
    let mut found: BTreeMap<Vec<u8>, Vec<(VersionId, Held)>> = BTreeMap::new();
    let mut query = VersionQuery { count_max: 5, ..VersionQuery::default() };
    loop {
        let page = engine.list_versions(bucket, query.clone()).await.unwrap();
        for listed in page.versions {
            let of_key = found.entry(listed.key.clone()).or_default();
            assert_eq!(listed.is_latest, of_key.is_empty(), "{listed:?}");
            let held = read_version(engine, bucket, &listed).await;
            of_key.push((listed.version, held));
        }
        if !page.truncated {
            return found;
        }
        (query.key_after, query.version_after) = (page.next_key, page.next_version);
    }
}

async fn read_version(engine: &SimEngine, bucket: BucketId, listed: &ListedVersion) -> Held {
    let is_null = listed.version == VersionId::Null;
    match engine.get(bucket, &listed.key, Some(listed.version)).await.unwrap() {
        Lookup::Found(object) => {
            assert!(!listed.is_delete_marker && listed.bytes == object.bytes, "{listed:?}");
            let bytes = read(&object, 0..object.bytes).await.unwrap();
            assert_eq!(object.attributes.etag, attributes(&bytes).etag, "{listed:?}");
            let tag = object
                .attributes
                .headers
                .first()
                .map_or(0, |(_, value)| str::from_utf8(value).expect("digits").parse().expect("digits"));
            Held { bytes: Some(bytes), is_null, legal_hold: object.attributes.lock.legal_hold, tag }
        }
        Lookup::DeleteMarker { version, is_latest, .. } => {
            assert!(listed.is_delete_marker && version == listed.version, "{listed:?}");
            assert_eq!(is_latest, listed.is_latest, "{listed:?}");
            Held { bytes: None, is_null, legal_hold: false, tag: 0 }
        }
        Lookup::Missing => panic!("{listed:?} is listed and not there"),
    }
}

/// Compares the node with the model and settles what was uncertain.
async fn judge(node: &Node, history: &mut History) {
    let seed = history.seed;
    for (number, bucket) in history.buckets.into_iter().enumerate() {
        let found = read_all(node.core(0), bucket).await;
        let objects = list_all(node.core(0), bucket, 7).await;
        for key in found.keys() {
            let is_known = history.model.contains_key(&(number, key.clone()));
            assert!(is_known, "seed {seed}: {} came from nowhere", String::from_utf8_lossy(key));
        }
        let of_bucket = history.model.iter_mut().filter(|((it, _), _)| *it == number);
        for (place, (name, states)) in of_bucket.enumerate() {
            let (versions, held): (Vec<_>, State) =
                found.get(&name.1).cloned().unwrap_or_default().into_iter().unzip();
            let text = String::from_utf8_lossy(&name.1);
            assert!(states.contains(&held), "seed {seed}: {text} holds {held:?}, expected one of {states:?}");
            let current = held.first().and_then(|held| held.bytes.clone());
            assert_eq!(objects.contains(&name.1), current.is_some(), "seed {seed}: the listing disagrees");
            let got = get(node.core(place), bucket, &name.1).await;
            assert_eq!(got, Ok(current), "seed {seed}: {text}");
            *states = vec![held];
            history.names.insert(name.clone(), versions);
        }
        for OpenUpload { name, id, parts } in history.uploads.iter().filter(|it| it.name.0 == number) {
            let (_, found) = node.core(2).upload(bucket, &name.1, *id, 0, 100).await.unwrap();
            let found: Vec<_> = found.into_iter().map(|part| (part.number, part.etag)).collect();
            let stored: Vec<_> = parts.iter().map(|(it, bytes)| (*it, attributes(bytes).etag)).collect();
            assert_eq!(found, stored, "seed {seed}: parts of an upload");
        }
        let states = history.model.iter().filter(|((it, _), _)| *it == number);
        let expected = usage_of(states.map(|(_, states)| &states[0]));
        assert_eq!(node.core(1).usage(bucket).await, Ok(expected), "seed {seed}: usage");
    }
}

fn run(seed: u64) {
    let simulation = Rc::new(Simulation::new(seed));
    let mut draw = Draw(seed.wrapping_mul(77) + 1);
    let drives = 1 + draw.below(3) as usize;
    let versioning = [Versioning::Unversioned, Versioning::Enabled];
    let buckets = simulation.block_on(async {
        let node = Node::start_with(&simulation, 2, drives, tiny()).await.unwrap();
        let mut buckets = [0; 2];
        for (number, name) in BUCKETS.into_iter().enumerate() {
            let made = node.core(0).create_bucket(name, versioning[number], BTreeMap::new()).await;
            buckets[number] = made.unwrap().id;
        }
        buckets
    });
    simulation.crash();
    let (model, names) = (Model::new(), BTreeMap::new());
    let uploads = Vec::new();
    let mut history = History { seed, simulation, draw, drives, buckets, versioning, model, names, uploads };
    for _ in 0..4 {
        history.life();
    }
}

impl History {
    /// A start with any number of cores, some rounds of changes, a crash.
    fn life(&mut self) {
        cut_off_start(&self.simulation, &mut self.draw, self.drives, &tiny());
        let cores = 1 + self.draw.below(3) as usize;
        let node = self.simulation.block_on(Node::start_with(&self.simulation, cores, self.drives, tiny()));
        let node = node.unwrap_or_else(|error| panic!("seed {}: {error}", self.seed));
        self.judge(&node);
        self.simulation.block_on(judge_references(&node, self.seed));
        for _ in 0..self.draw.below(8) {
            self.round(&node);
        }
        self.crash_in_the_middle(&node);
    }

    fn judge(&mut self, node: &Node) {
        let simulation = self.simulation.clone();
        simulation.block_on(judge(node, self));
    }

    /// Some changes at once, all acknowledged; then perhaps a checkpoint and cleaning.
    fn round(&mut self, node: &Node) {
        if self.draw.below(3) == 0 {
            self.turn_versioning(node);
        }
        if self.draw.below(2) == 0 {
            self.go_on_with_upload(node);
        }
        let under_way = self.begin(node);
        let seed = self.seed;
        let chance = self.draw.below(3);
        // The image is written, and the log cleaned, while changes go on.
        let busy = chance != 2 && self.draw.below(2) == 0;
        self.simulation.block_on(async {
            if busy {
                maintain(node, chance).await;
            }
            for (_, result) in under_way {
                result.await.expect("it ends").unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            }
        });
        for states in self.model.values_mut() {
            let last = states.pop().expect("never empty");
            *states = vec![last];
        }
        self.simulation.block_on(maintain(node, chance));
        self.judge(node);
    }

    /// Begins an upload that stays open, or stores a part of one, perhaps again.
    fn go_on_with_upload(&mut self, node: &Node) {
        let place = self.draw.below(3) as usize;
        let engine = node.core(self.draw.below(3) as usize);
        if place >= self.uploads.len() {
            let name = (self.draw.below(2) as usize, format!("key-{}", self.draw.below(12)).into_bytes());
            let created = engine.create_upload(self.buckets[name.0], &name.1, Vec::new());
            let id = self.simulation.block_on(created).unwrap().id;
            self.uploads.push(OpenUpload { name, id, parts: BTreeMap::new() });
        }
        let place = place.min(self.uploads.len() - 1);
        let number = 1 + self.draw.below(4) as u16;
        let bytes = content(self.draw.0, 1 + self.draw.below(300_000) as usize);
        let OpenUpload { name: (bucket, key), id, parts } = &mut self.uploads[place];
        let stored = store_part(engine, self.buckets[*bucket], key, *id, number, &bytes);
        self.simulation.block_on(stored).unwrap();
        parts.insert(number, bytes);
    }

    fn turn_versioning(&mut self, node: &Node) {
        let next = match self.versioning[1] {
            Versioning::Enabled => Versioning::Suspended,
            _ => Versioning::Enabled,
        };
        self.versioning[1] = next;
        let change = BucketChange { versioning: Some(next), ..BucketChange::default() };
        let changed = self.simulation.block_on(node.core(1).set_bucket(BUCKETS[1], change));
        assert_eq!(changed.unwrap().versioning, next);
    }

    /// Some changes at once; the power goes before all are acknowledged.
    fn crash_in_the_middle(&mut self, node: &Node) {
        // Perhaps the drives begin to fail before.
        if self.draw.below(3) == 0 {
            let faults = Faults { write_error: 0.02, sync_error: 0.05, ..Faults::default() };
            self.simulation.set_faults(faults);
        }
        let under_way = self.begin(node);
        begin_background_work(node, &mut self.draw);
        let acknowledged = Rc::new(RefCell::new(Vec::new()));
        let log = acknowledged.clone();
        let waiting = async {
            for (name, result) in under_way {
                if let Some(Ok(())) = result.await {
                    log.borrow_mut().push(name);
                }
            }
        };
        let steps = self.draw.below(2000);
        self.simulation.block_on_for(waiting, steps);
        self.simulation.set_faults(Faults::default());
        self.simulation.crash();
        for name in acknowledged.borrow().iter() {
            let states = self.model.get_mut(name).expect("listed when it began");
            let last = states.pop().expect("never empty");
            *states = vec![last];
        }
    }

    fn begin(&mut self, node: &Node) -> Vec<UnderWay> {
        let mut taken = Vec::new();
        let mut under_way = Vec::new();
        for number in 0..1 + self.draw.below(12) {
            let Some((name, change)) = draw_change(self, &mut taken) else { continue };
            let states = self.model.entry(name.clone()).or_insert_with(|| vec![State::new()]);
            let after = change.outcome(&states[0], self.versioning[name.0]);
            states.push(after);
            let versions = self.names.get(&name).cloned().unwrap_or_default();
            let (done, result) = crate::base::local::oneshot();
            let engine = node.core(number as usize).clone();
            let (buckets, of) = (self.buckets, name.clone());
            engine.host().clone().spawn(async move {
                done.send(carry_out(engine, buckets, of, change, versions).await);
            });
            under_way.push((name, result));
        }
        under_way
    }
}

async fn maintain(node: &Node, chance: u64) {
    for engine in node.engines.iter().filter(|_| chance == 0) {
        checkpoint::write(engine).await.unwrap();
    }
    for engine in node.engines.iter().filter(|_| chance == 1) {
        clean_oldest(engine).await.unwrap();
    }
}

#[test]
fn acknowledged_changes_survive_crashes_and_restarts_with_other_cores() {
    seeds().for_each(|seed| try_history(seed, "engine::tests::crash::", run));
}
