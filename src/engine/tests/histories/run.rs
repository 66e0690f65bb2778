//! Takes the steps of a history on a simulated machine.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use super::accounts::Audit;
use super::body::Body;
use super::model::*;
use super::resolve::*;
use super::see::see;
use super::steps::*;
use super::work::{begin_work, do_work};
use super::*;
use crate::io::sim::{Faults, STALL};

/// Steps of the machine within which everything ends that is waited for.
const STEPS_MAX: u64 = 300_000;

/// Within which background work comes to rest, if no drive stalls.
const REST: Duration = Duration::from_millis(150);

/// What a run did.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub histories: u64,
    /// Recoveries after a crash, fault or stop in the midst of operations, each judged wholly.
    pub sequences: u64,
    /// Crash states that were left out because another of the same moment had left the same.
    pub states_alike: u64,
    /// Starts that were cut off or failed, and recovered from.
    pub false_starts: u64,
    pub operations: u64,
    pub bytes_read: u64,
    /// What befell the machines.
    pub machine: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.histories += other.histories;
        self.sequences += other.sequences;
        self.states_alike += other.states_alike;
        self.false_starts += other.false_starts;
        self.operations += other.operations;
        self.bytes_read += other.bytes_read;
        for (kind, count) in &other.machine {
            *self.machine.entry(kind).or_default() += count;
        }
    }
}

/// Looks at the model after each judgement; for tests of the minimiser.
pub type Hook = fn(&World);

struct Run<'a> {
    history: &'a History,
    simulation: Simulation,
    drives: usize,
    world: World,
    tally: Tally,
    /// A drive was full since the start.
    was_full: bool,
    hook: Option<Hook>,
    /// Within which background work comes to rest.
    pause: Duration,
}

/// Operations under way, with what was heard of them.
struct UnderWay {
    pending: Vec<Vec<Pending>>,
    readings: Vec<Reading>,
    heard: Rc<RefCell<Heard>>,
    allowed: Allowances,
}

#[derive(Default)]
struct Heard {
    answers: BTreeMap<usize, Vec<Answered>>,
    read: BTreeMap<usize, Result<Option<Vec<u8>>, EngineError>>,
}

impl Heard {
    fn count(&self) -> usize {
        self.answers.len() + self.read.len()
    }
}

/// A read with all that it may find.
struct Reading {
    what: String,
    allowed: Vec<Option<Body>>,
}

/// Runs a history; panics when something is not as it must be.
pub fn run(history: &History, hook: Option<Hook>) -> Tally {
    let simulation = Simulation::new(history.seed);
    let drives = history.setup.drives.into();
    let (world, tally) = (World::default(), Tally { histories: 1, ..Tally::default() });
    let pause = REST;
    let mut run = Run { history, simulation, drives, world, tally, was_full: false, hook, pause };
    run.begin_world();
    for life in &history.lives {
        run.life(life);
    }
    run.last_start();
    run.tally.machine = run.simulation.tally();
    run.tally
}

impl Run<'_> {
    fn options(&self) -> Options {
        let setup = &self.history.setup;
        Options {
            log_segment_bytes: setup.log_segment_kib << 10,
            data_segment_bytes: 1 << 20,
            checkpoint_log_bytes: setup.checkpoint_kib << 10,
            cache_bytes: setup.cache_kib << 10,
            scrub_bytes_per_second: setup.scrub_mib << 20,
            open_files_max: 6,
            ..Options::default()
        }
    }

    fn wait<F: Future>(&self, what: impl std::fmt::Debug, future: F) -> F::Output {
        let ended = self.simulation.block_on_for(future, STEPS_MAX);
        ended.unwrap_or_else(|| panic!("this does not end: {what:?}"))
    }

    /// Waits until something was heard of every operation.
    fn wait_for(&self, node: &Node, under_way: &UnderWay) {
        let (heard, count) = (under_way.heard.clone(), under_way.pending.len() + under_way.readings.len());
        let all = async {
            while heard.borrow().count() < count {
                node.core(0).host().sleep(Duration::from_millis(1)).await;
            }
        };
        if self.simulation.block_on_for(all, STEPS_MAX).is_none() {
            let missing = (0..under_way.pending.len()).filter(|it| !heard.borrow().answers.contains_key(it));
            let missing: Vec<_> = missing.map(|it| under_way.pending[it][0].what.clone()).collect();
            panic!("these do not end: {missing:?}");
        }
    }

    fn begin_world(&mut self) {
        let node = self.start(2);
        for (slot, versioning) in [(0, Versioning::Unversioned), (1, Versioning::Enabled)] {
            let made = self.wait(
                "a bucket",
                node.core(slot).create_bucket(SLOT_NAMES[slot], versioning, BTreeMap::new()),
            );
            let id = Some(made.expect("a new node makes buckets").id);
            self.world.buckets[slot] = Some(BucketFacts { id, versioning, settings: BTreeMap::new() });
        }
        self.simulation.crash();
    }

    fn start(&self, cores: usize) -> Node {
        let started =
            self.wait("a start", Node::start_with(&self.simulation, cores, self.drives, self.options()));
        started.unwrap_or_else(|error| panic!("no start: {error}"))
    }

    /// A start, and everything judged.
    fn start_judged(&mut self, cores: usize) -> Node {
        let node = self.start(cores);
        self.was_full = false;
        self.judge(&node);
        self.tally.sequences += 1;
        node
    }

    fn judge(&mut self, node: &Node) {
        let seen = self.wait("a look at everything", see(node));
        self.tally.bytes_read += seen.bytes_read;
        self.world.judge(&seen);
        self.audit(node);
        if let Some(hook) = self.hook {
            hook(&self.world);
        }
    }

    fn audit(&self, node: &Node) {
        self.wait("a pause", node.core(0).host().sleep(self.pause));
        // In the midst of cleaning, files and what is known of them may differ.
        let turn = |engine: &SimEngine| self.wait("background work", engine.inner.maintenance.acquire(1));
        let _turns: Vec<_> = node.engines.iter().map(turn).collect();
        let Self { simulation, drives, was_full, .. } = self;
        let tally = simulation.tally();
        let reads = ["open errors", "read errors", "short reads"];
        let had_failures = reads.into_iter().any(|kind| tally.contains_key(kind));
        Audit { simulation, drives: *drives, had_failures, was_full: *was_full }.audit(node);
    }

    fn life(&mut self, life: &Life) {
        if life.drive_more && self.drives < 3 {
            self.drives += 1;
        }
        if let Some(start) = &life.false_start {
            self.false_start(start);
        }
        let node = self.start_judged(life.cores.into());
        for round in &life.rounds {
            self.round(&node, round);
        }
        self.end(node, &life.end);
    }

    fn last_start(&mut self) {
        let node = self.start_judged(2);
        for _ in 0..2 {
            self.wait("cleaning", do_work(&node, Work::Clean, false));
        }
        self.judge(&node);
    }

    fn false_start(&mut self, start: &FalseStart) {
        if start.other_order && self.drives > 1 {
            let order: Vec<usize> = (0..self.drives).rev().collect();
            let host = self.simulation.host_over(&order);
            let refused = self.wait("a refusal", prepare(&host, start.cores.into(), false)).err();
            assert!(matches!(refused, Some(OpenError::Foreign(_))), "drives in another order: {refused:?}");
        }
        self.simulation.set_faults(faults_of(start.failing));
        let node = Node::start_with(&self.simulation, start.cores.into(), self.drives, self.options());
        let started = self.simulation.block_on_for(node, start.steps);
        if let Some(Err(error)) = started {
            assert!(start.failing.is_some(), "no start: {error}");
        }
        self.simulation.set_faults(Faults::default());
        self.simulation.crash();
        self.tally.false_starts += 1;
    }

    /// Operations at the same time, all of which end.
    fn round(&mut self, node: &Node, round: &Round) {
        self.set_weather(round.weather);
        let full = matches!(round.weather, Weather::Full { .. });
        self.was_full |= full;
        let under_way = self.begin(node, &round.ops, Allowances { full, ..Allowances::default() });
        if round.together {
            self.wait(round.work, do_work(node, round.work, full));
        }
        if full {
            self.wait("ten seconds", node.core(0).host().sleep(Duration::from_secs(10)));
        }
        // What has begun may wait for room to end.
        self.simulation.set_faults(Faults::default());
        self.wait_for(node, &under_way);
        self.settle(under_way);
        if !round.together {
            self.wait(round.work, do_work(node, round.work, false));
        }
        self.pause = if round.weather == Weather::Stalls { 10 * STALL } else { REST };
        self.judge(node);
        self.pause = REST;
    }

    fn set_weather(&self, weather: Weather) {
        match weather {
            Weather::Fair => {}
            Weather::Stalls => self.simulation.set_faults(Faults { stall: 0.05, ..Faults::default() }),
            Weather::Full { kib } => {
                for drive in 0..self.drives {
                    let disk = self.simulation.disk(drive);
                    let space = disk.space().expect("powered");
                    let capacity_bytes = space.bytes_total - space.bytes_free + (kib << 10);
                    disk.set_faults(Faults { capacity_bytes, ..Faults::default() });
                }
            }
        }
    }

    /// Begins operations; those whose outcome others depend on are understood first.
    fn begin(&mut self, node: &Node, ops: &[Op], mut allowed: Allowances) -> UnderWay {
        let doubtful = self.world.pending.iter().flat_map(|it| &it.alternatives).flat_map(|it| &it.effects);
        let taken: BTreeSet<Place> = doubtful.filter_map(cell_of).collect();
        let cores = node.engines.len();
        let record_bytes_max = (self.history.setup.log_segment_kib << 9) as u32 - 3000;
        let world = &mut self.world;
        let mut beginning = Beginning { world, cores, record_bytes_max, taken, turning: [None; SLOTS] };
        let heard: Rc<RefCell<Heard>> = Rc::default();
        let mut pending = Vec::new();
        let mut order: Vec<(usize, &Op)> = ops.iter().enumerate().collect();
        order.sort_by_key(|(_, op)| match op {
            Op::BucketVersioning { .. } => 0,
            Op::BucketDelete { .. } => 2,
            _ => 1,
        });
        for (number, op) in order {
            let Some(Meant { pending: of, request, core }) = beginning.resolve(op) else { continue };
            if let Op::BucketDelete { slot } = op {
                allowed.deleting.push(*slot);
            }
            self.tally.operations += 1;
            let engine = node.core(core.unwrap_or(number)).clone();
            let (place, log) = (pending.len(), heard.clone());
            engine.host().clone().spawn(async move {
                let answers = request(engine).await;
                log.borrow_mut().answers.insert(place, answers);
            });
            pending.push(of);
        }
        let mut under_way = UnderWay { pending, readings: Vec::new(), heard, allowed };
        for (number, op) in ops.iter().enumerate() {
            self.begin_read(node.core(number), op, &mut under_way);
        }
        under_way
    }

    /// A read that goes on while keys change: it finds what was there before, or what a change makes.
    fn begin_read(&mut self, engine: &SimEngine, op: &Op, under_way: &mut UnderWay) {
        let Op::Read { key: name, place, milliseconds } = op else { return };
        let Some((bucket, _)) = self.world.bucket(name.0) else { return };
        let mut states = vec![self.world.state(*name)];
        for pending in under_way.pending.iter().flatten().chain(&self.world.pending) {
            let effects = pending.alternatives.iter().flat_map(|it| &it.effects);
            let unfinished = pending.unfinished.iter().flatten();
            for effect in effects.chain(unfinished) {
                match effect {
                    Effect::Key(of, state) if of == name => states.push(state.clone()),
                    Effect::Bucket(slot, None) if *slot == name.0 => states.push(State::default()),
                    _ => {}
                }
            }
        }
        let place = place.map(|place| place as usize % states[0].len().max(1));
        let version = place.and_then(|place| states[0].get(place)?.id);
        let shows = |state: &State| match version {
            // One null version takes the place of another.
            Some(VersionId::Null) => {
                state.iter().find(|held| held.is_null).and_then(|held| held.body.clone())
            }
            Some(_) => state.iter().find(|held| held.id == version).and_then(|held| held.body.clone()),
            None => current(state).and_then(|held| held.body.clone()),
        };
        let allowed = states.iter().map(shows).collect();
        let what = format!("{op:?}");
        let (number, heard, engine) = (under_way.readings.len(), under_way.heard.clone(), engine.clone());
        let (key, pause) = (key_of(*name), Duration::from_millis((*milliseconds).into()));
        under_way.readings.push(Reading { what, allowed });
        self.tally.operations += 1;
        engine.host().clone().spawn(async move {
            let found = async {
                let Some(object) = engine.get(bucket, &key, version).await?.found() else { return Ok(None) };
                engine.host().sleep(pause).await;
                read(&object, 0..object.bytes).await.map(Some)
            };
            let found = found.await;
            heard.borrow_mut().read.insert(number, found);
        });
    }

    /// Takes in what was heard.
    fn settle(&mut self, under_way: UnderWay) {
        let UnderWay { pending, readings, heard, allowed } = under_way;
        let Heard { mut answers, mut read } = heard.take();
        for (place, pending) in pending.into_iter().enumerate() {
            let mut answers = answers.remove(&place).unwrap_or_default().into_iter();
            for one in pending {
                self.world.answer(one, answers.next(), &allowed);
            }
        }
        for (number, Reading { what, allowed: bodies }) in readings.into_iter().enumerate() {
            match read.remove(&number) {
                None => {}
                Some(Err(error)) => assert!(allowed.failing, "{what} failed: {error}"),
                Some(Ok(found)) => {
                    self.tally.bytes_read += found.as_ref().map_or(0, Vec::len) as u64;
                    let is_allowed = bodies.iter().any(|body| match (body, &found) {
                        (Some(body), Some(found)) => body.is(found),
                        (None, None) => true,
                        _ => false,
                    });
                    let found = found.map(|bytes| bytes.len());
                    assert!(is_allowed, "{what} found {found:?} bytes, expected one of {bodies:?}");
                }
            }
        }
    }

    /// Operations at the same time; the power goes before all have ended.
    fn end(&mut self, node: Node, end: &End) {
        let failing = end.failing.is_some() || end.work == Work::Stop;
        self.simulation.set_faults(faults_of(end.failing));
        let mut under_way = self.begin(&node, &end.ops, Allowances { failing, ..Allowances::default() });
        begin_work(&node, end.work);
        let a_day = node.core(0).host().sleep(Duration::from_secs(86_400));
        self.simulation.block_on_for(a_day, end.steps);
        if let Some(ops) = &end.limping {
            under_way = self.limp(&node, ops, under_way);
        }
        let cut = self.simulation.power_cut();
        self.simulation.set_faults(Faults::default());
        drop(node);
        self.settle(under_way);
        let Some((last, others)) = end.states.split_last() else { return self.simulation.crash() };
        let mut left = BTreeSet::new();
        for seed in others {
            if !left.insert(self.simulation.power_on(&cut, *seed)) {
                self.tally.states_alike += 1;
                continue;
            }
            let world = self.world.clone();
            let node = self.start_judged(1 + *seed as usize % 3);
            drop(node);
            self.world = world;
        }
        let fingerprint = self.simulation.power_on(&cut, *last);
        if left.contains(&fingerprint) {
            // It was judged already; the start that follows counts as it.
            self.tally.states_alike += 1;
            self.tally.sequences -= 1;
        }
    }

    /// After failures: everything ends, on drives that work again; what is certain can be read.
    fn limp(&mut self, node: &Node, ops: &[Op], before: UnderWay) -> UnderWay {
        self.simulation.set_faults(Faults::default());
        self.wait_for(node, &before);
        self.settle(before);
        let under_way = self.begin(node, ops, Allowances { failing: true, ..Allowances::default() });
        self.wait_for(node, &under_way);
        self.settle(under_way);
        let seen = self.wait("a look at everything", see(node));
        self.world.judge_in_doubt(&seen);
        UnderWay {
            pending: Vec::new(),
            readings: Vec::new(),
            heard: Rc::default(),
            allowed: Allowances::default(),
        }
    }
}

fn cell_of(effect: &Effect) -> Option<Place> {
    Some(match effect {
        Effect::Key(name, _) => Place::Key(*name),
        Effect::Bucket(slot, _) => Place::Slot(*slot),
        Effect::Versioning(slot, _) => Place::Versioning(*slot),
        Effect::Setting(slot, name, _) => Place::Setting(*slot, *name),
        Effect::Pair(number, _) => Place::Pair(*number),
        Effect::Parts(upload, _) => Place::Upload(*upload),
        Effect::Due(number, _) | Effect::Done(number) => Place::Event(*number),
        Effect::Begun(..) => return None,
    })
}

fn faults_of(failure: Option<Trouble>) -> Faults {
    let usual = Faults::default();
    match failure {
        None => usual,
        Some(Trouble::Writes) => Faults { write_error: 0.04, ..usual },
        Some(Trouble::Syncs) => Faults { sync_error: 0.06, ..usual },
        Some(Trouble::Reads) => Faults { read_error: 0.1, ..usual },
        Some(Trouble::ShortReads) => Faults { read_short: 0.1, ..usual },
        Some(Trouble::Opens) => Faults { open_error: 0.1, ..usual },
        Some(Trouble::Names) => Faults { name_error: 0.2, ..usual },
        Some(Trouble::Punches) => Faults { punch_error: 0.3, ..usual },
        Some(Trouble::Allocations) => Faults { allocate_error: 0.3, ..usual },
        Some(Trouble::All) => Faults {
            read_error: 0.01,
            write_error: 0.01,
            sync_error: 0.02,
            open_error: 0.02,
            allocate_error: 0.05,
            punch_error: 0.05,
            name_error: 0.05,
            read_short: 0.01,
            stall: 0.02,
            ..usual
        },
    }
}
