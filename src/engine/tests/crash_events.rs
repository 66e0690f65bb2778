//! Histories with crashes of changes that have events: whatever happened has its event until that is done,
//! whatever did not happen has none, and what is done does not come back.

use std::collections::{BTreeMap, BTreeSet};

use super::histories::*;
use super::*;
use crate::base::local::Receiver;
use crate::io::sim::Faults;

/// A change of a key with its event.
#[derive(Clone, Debug)]
struct Change {
    key: Vec<u8>,
    /// The body of the event.
    number: u64,
    kind: Kind,
    before: Option<Vec<u8>>,
    after: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Put,
    Delete,
    Multipart,
    /// Of headers: what the key holds stays.
    Update,
}

impl Change {
    /// Whether it has an event when it has happened.
    fn has_event(&self, versioning: Versioning) -> bool {
        match self.kind {
            Kind::Delete => self.before.is_some() || versioning != Versioning::Unversioned,
            Kind::Update => self.before.is_some(),
            Kind::Put | Kind::Multipart => true,
        }
    }

    fn kind_told(&self, versioning: Versioning) -> EventChange {
        match self.kind {
            Kind::Put | Kind::Multipart => EventChange::Created,
            Kind::Update => EventChange::Updated,
            Kind::Delete if versioning == Versioning::Unversioned => EventChange::Removed,
            Kind::Delete => EventChange::MarkerCreated,
        }
    }
}

struct Model {
    bucket: BucketId,
    versioning: Versioning,
    objects: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Events by number, with what they tell.
    due: BTreeMap<u64, (Vec<u8>, EventChange)>,
    done: BTreeSet<u64>,
    number_next: u64,
}

async fn carry_out(engine: SimEngine, bucket: BucketId, change: Change) -> Result<(), EngineError> {
    let events = vec![EventDraft { body: change.number.to_le_bytes().to_vec() }];
    let condition = Condition::default();
    match change.kind {
        Kind::Put => {
            let bytes = change.after.expect("a put has content");
            let payload = payload(&engine, &bytes).await?;
            let attributes = attributes(&bytes);
            engine
                .put_with_events(bucket, &change.key, payload, attributes, condition, events)
                .await
                .map(drop)
        }
        Kind::Delete => {
            let deletion = Deletion { events, ..Deletion::default() };
            engine.delete(bucket, &change.key, deletion).await.map(drop)
        }
        Kind::Multipart => {
            let bytes = change.after.expect("a completion has content");
            let upload = engine.create_upload(bucket, &change.key, vec![]).await?.id;
            let (part, attributes) = (payload(&engine, &bytes).await?, attributes(&bytes));
            engine.put_part(bucket, &change.key, upload, 1, part, attributes.etag, None).await?;
            let parts = vec![(1, attributes.etag)];
            let completion = Completion { parts, attributes, condition, events };
            engine.complete_upload(bucket, &change.key, upload, completion).await.map(drop)
        }
        Kind::Update => {
            let set = vec![("n".to_string(), change.number.to_string().into_bytes())];
            let update = Update::Headers { set, remove: vec![] };
            let updated = engine.update_with_events(bucket, &change.key, None, update, condition, events);
            match updated.await {
                Ok(_) | Err(EngineError::NoSuchObject | EngineError::DeleteMarker) => Ok(()),
                Err(error) => Err(error),
            }
        }
    }
}

fn draw_change(draw: &mut Draw, model: &mut Model, taken: &mut BTreeSet<Vec<u8>>) -> Option<Change> {
    let key = format!("key-{}", draw.below(16)).into_bytes();
    if !taken.insert(key.clone()) {
        return None;
    }
    model.number_next += 1;
    let number = model.number_next;
    let before = model.objects.get(&key).cloned().flatten();
    let kind = [Kind::Put, Kind::Put, Kind::Delete, Kind::Multipart, Kind::Update][draw.below(5) as usize];
    let length = [50, 3000, 60_000, 120_000][draw.below(4) as usize];
    let after = match kind {
        Kind::Put | Kind::Multipart => Some([&number.to_le_bytes()[..], &content(number, length)].concat()),
        Kind::Delete => None,
        Kind::Update => before.clone(),
    };
    Some(Change { key, number, kind, before, after })
}

/// Every event of the node by number, with its core.
async fn queued(node: &Node, model: &Model, seed: u64) -> BTreeMap<u64, (usize, Event)> {
    let mut found = BTreeMap::new();
    for (core, engine) in node.engines.iter().enumerate() {
        let mut after = None;
        loop {
            let page = engine.events_due(after, 3);
            let Some(last) = page.last() else { break };
            assert!(
                page.is_sorted() && after.is_none_or(|after| after < page[0]),
                "seed {seed}: out of order"
            );
            after = Some(*last);
            for id in page {
                let event = engine.event(id).await.unwrap().expect("it was listed");
                assert_eq!((event.id, event.bucket), (id, model.bucket));
                let number = u64::from_le_bytes(event.body.as_ref().try_into().expect("eight bytes"));
                assert!(
                    found.insert(number, (core, event)).is_none(),
                    "seed {seed}: {number} is there twice"
                );
            }
        }
        assert_eq!(engine.events_dropped(), 0);
    }
    found
}

/// Compares the node with the model; `uncertain` are changes and events whose fate nobody was told.
async fn judge(node: &Node, model: &mut Model, uncertain: &[Change], maybe_done: &BTreeSet<u64>, seed: u64) {
    for change in uncertain {
        let found = get(node.core(1), model.bucket, &change.key).await.unwrap();
        assert!(found == change.before || found == change.after, "seed {seed}: {change:?} is half done");
        model.objects.insert(change.key.clone(), found);
    }
    for (key, expected) in &model.objects {
        let found = get(node.core(0), model.bucket, key).await.unwrap();
        assert!(found == *expected, "seed {seed}: {} differs", String::from_utf8_lossy(key));
    }
    let found = queued(node, model, seed).await;
    for (number, (key, change)) in &model.due {
        let Some((_, event)) = found.get(number) else {
            assert!(maybe_done.contains(number), "seed {seed}: event {number} is lost");
            continue;
        };
        assert_eq!((&event.key, event.change), (key, *change), "seed {seed}: event {number}");
    }
    for change in uncertain {
        let is_there = found.contains_key(&change.number);
        if !change.has_event(model.versioning) {
            assert!(!is_there, "seed {seed}: an event of nothing: {}", change.number);
        } else if change.before != change.after {
            let happened = model.objects[&change.key] == change.after;
            assert_eq!(is_there, happened, "seed {seed}: event {} against its change", change.number);
        }
        if is_there {
            model.due.insert(change.number, (change.key.clone(), change.kind_told(model.versioning)));
        }
    }
    for number in found.keys() {
        assert!(model.due.contains_key(number), "seed {seed}: event {number} came from nowhere or came back");
        assert!(!model.done.contains(number));
    }
    model.due.retain(|number, _| found.contains_key(number));
}

type UnderWay<T> = Vec<(T, Receiver<Result<(), EngineError>>)>;

fn begin(node: &Node, draw: &mut Draw, model: &mut Model) -> UnderWay<Change> {
    let mut taken = BTreeSet::new();
    let mut under_way = Vec::new();
    for number in 0..1 + draw.below(8) {
        let Some(change) = draw_change(draw, model, &mut taken) else { continue };
        let (done, result) = crate::base::local::oneshot();
        let (engine, bucket, change_) = (node.core(number as usize).clone(), model.bucket, change.clone());
        engine.host().clone().spawn(async move { done.send(carry_out(engine, bucket, change_).await) });
        under_way.push((change, result));
    }
    under_way
}

/// Takes about a third of the events off the queue, some together.
fn begin_done(node: &Node, draw: &mut Draw, found: BTreeMap<u64, (usize, Event)>) -> UnderWay<Vec<u64>> {
    let mut by_core: BTreeMap<(usize, u64), (Vec<u64>, Vec<EventId>)> = BTreeMap::new();
    for (number, (core, event)) in found {
        if draw.below(3) == 0 {
            let (numbers, ids) = by_core.entry((core, draw.below(2))).or_default();
            numbers.push(number);
            ids.push(event.id);
        }
    }
    let mut under_way = Vec::new();
    for ((core, _), (numbers, ids)) in by_core {
        let (done, result) = crate::base::local::oneshot();
        let engine = node.core(core).clone();
        engine.host().clone().spawn(async move { done.send(engine.events_done(&ids).await) });
        under_way.push((numbers, result));
    }
    under_way
}

impl Model {
    fn settle(&mut self, change: &Change) {
        self.objects.insert(change.key.clone(), change.after.clone());
        if change.has_event(self.versioning) {
            self.due.insert(change.number, (change.key.clone(), change.kind_told(self.versioning)));
        }
    }

    fn settle_done(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.due.remove(number);
            self.done.insert(*number);
        }
    }
}

fn history(seed: u64) {
    let simulation = Simulation::new(seed);
    let mut draw = Draw(seed.wrapping_mul(83) + 5);
    let drives = 1 + draw.below(2) as usize;
    let versioning = [Versioning::Unversioned, Versioning::Enabled][draw.below(2) as usize];
    let node = simulation.block_on(Node::start_with(&simulation, 2, drives, tiny())).unwrap();
    let made = simulation.block_on(node.core(0).create_bucket("bucket", versioning, BTreeMap::new()));
    let bucket = made.unwrap().id;
    let (objects, due, done) = Default::default();
    let mut model = Model { bucket, versioning, objects, due, done, number_next: 0 };
    simulation.crash();
    let (mut uncertain, mut maybe_done) = (Vec::new(), BTreeSet::new());
    for _ in 0..4 {
        cut_off_start(&simulation, &mut draw, drives, &tiny());
        let cores = 1 + draw.below(3) as usize;
        let node = simulation.block_on(Node::start_with(&simulation, cores, drives, tiny()));
        let node = node.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        simulation.block_on(judge(&node, &mut model, &uncertain, &maybe_done, seed));
        for _ in 0..draw.below(4) {
            round(&simulation, &node, &mut draw, &mut model, seed);
        }
        (uncertain, maybe_done) = crash_in_the_middle(&simulation, &node, &mut draw, &mut model, seed);
    }
}

/// Some changes at once, all acknowledged, with events taken off meanwhile; then perhaps cleaning.
fn round(simulation: &Simulation, node: &Node, draw: &mut Draw, model: &mut Model, seed: u64) {
    let found = simulation.block_on(queued(node, model, seed));
    let done = begin_done(node, draw, found);
    let changes = begin(node, draw, model);
    for (change, result) in changes {
        let result = simulation.block_on(result).expect("it ends");
        result.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        model.settle(&change);
    }
    for (numbers, result) in done {
        simulation.block_on(result).expect("it ends").unwrap();
        model.settle_done(&numbers);
    }
    let chance = draw.below(3);
    for engine in node.engines.iter().filter(|_| chance > 0) {
        if chance == 1 {
            simulation.block_on(checkpoint::write(engine)).unwrap();
        }
        simulation.block_on(clean_oldest(engine)).unwrap();
    }
    simulation.block_on(judge(node, model, &[], &BTreeSet::new(), seed));
}

/// Some changes at once; the power goes before all are acknowledged. Returns what nobody was told.
fn crash_in_the_middle(
    simulation: &Simulation,
    node: &Node,
    draw: &mut Draw,
    model: &mut Model,
    seed: u64,
) -> (Vec<Change>, BTreeSet<u64>) {
    let found = simulation.block_on(queued(node, model, seed));
    if draw.below(3) == 0 {
        simulation.set_faults(Faults { write_error: 0.02, sync_error: 0.05, ..Faults::default() });
    }
    let done = begin_done(node, draw, found);
    let changes = begin(node, draw, model);
    begin_background_work(node, draw);
    let acknowledged = Rc::new(RefCell::new((Vec::new(), Vec::new())));
    let (mut uncertain, mut maybe_done) = (Vec::new(), BTreeSet::new());
    for (change, result) in changes {
        let log = acknowledged.clone();
        uncertain.push(change.clone());
        node.core(0).host().spawn(async move {
            if let Some(Ok(())) = result.await {
                log.borrow_mut().0.push(change);
            }
        });
    }
    for (numbers, result) in done {
        let log = acknowledged.clone();
        maybe_done.extend(numbers.iter().copied());
        node.core(0).host().spawn(async move {
            if let Some(Ok(())) = result.await {
                log.borrow_mut().1.push(numbers);
            }
        });
    }
    simulation.block_on_for(node.core(0).host().sleep(LONG), draw.below(1500));
    simulation.set_faults(Faults::default());
    simulation.crash();
    let (changes, done) = acknowledged.take();
    for change in changes {
        model.settle(&change);
        uncertain.retain(|other| other.number != change.number);
    }
    for numbers in done {
        model.settle_done(&numbers);
        maybe_done.retain(|number| !numbers.contains(number));
    }
    (uncertain, maybe_done)
}

#[test]
fn every_acknowledged_change_has_its_event_after_a_crash_until_that_is_done() {
    seeds().for_each(|seed| try_history(seed, "engine::tests::crash_events", history));
}
