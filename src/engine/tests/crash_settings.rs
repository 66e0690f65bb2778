//! Histories with crashes of the settings of buckets and of the configuration: every core has what was
//! acknowledged, and of a change of several entries all or nothing.

use std::collections::BTreeMap;

use super::histories::*;
use super::*;
use crate::base::local::Receiver;
use crate::io::sim::Faults;

/// What an entry may be: one value if its last change was acknowledged, else any of several.
type Model = BTreeMap<Name, Vec<Option<Vec<u8>>>>;

/// What a change is about. Each is changed by one task at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    /// A setting of the bucket.
    Setting(String),
    /// Two entries of the configuration that are always changed together.
    Pair(u64),
}

fn pair(number: u64) -> [String; 2] {
    [format!("left/{number}"), format!("right/{number}")]
}

async fn carry_out(engine: SimEngine, name: Name, value: Option<Vec<u8>>) -> Result<(), EngineError> {
    match name {
        Name::Setting(name) => {
            let change = BucketChange { settings: [(name, value)].into(), ..BucketChange::default() };
            engine.set_bucket("bucket", change).await.map(drop)
        }
        Name::Pair(number) => {
            let now = engine.config();
            let value_of = |name: &String| now.entries.get(name).map(|value| value.to_vec());
            let entries = pair(number).map(|name| (name, value.clone())).into();
            let expected = pair(number).map(|name| (name.clone(), value_of(&name))).into();
            engine.change_config(ConfigChange { entries, expected }).await
        }
    }
}

/// What a core has under a name; the halves of a pair must agree.
fn found(engine: &SimEngine, name: &Name, seed: u64) -> Option<Vec<u8>> {
    match name {
        Name::Setting(name) => engine.bucket("bucket").expect("it exists").settings.get(name).cloned(),
        Name::Pair(number) => {
            let config = engine.config();
            let [left, right] =
                pair(*number).map(|name| config.entries.get(&name).map(|value| value.to_vec()));
            assert!(left == right, "seed {seed}: half a change of pair {number}");
            left
        }
    }
}

/// Compares every core with the model and settles what was uncertain.
fn judge(node: &Node, model: &mut Model, seed: u64) {
    for (name, states) in model.iter_mut() {
        let value = found(node.core(0), name, seed);
        assert!(states.contains(&value), "seed {seed}: {name:?} is none of what it may be");
        for engine in &node.engines {
            assert!(found(engine, name, seed) == value, "seed {seed}: cores disagree about {name:?}");
        }
        *states = vec![value];
    }
}

fn begin(node: &Node, draw: &mut Draw, model: &mut Model) -> Vec<(Name, Receiver<Result<(), EngineError>>)> {
    let mut under_way: Vec<(Name, Receiver<Result<(), EngineError>>)> = Vec::new();
    for number in 0..1 + draw.below(6) {
        let name = match draw.below(2) {
            0 => Name::Setting(format!("setting-{}", draw.below(4))),
            _ => Name::Pair(draw.below(8)),
        };
        if under_way.iter().any(|(taken, _)| *taken == name) {
            continue;
        }
        let bytes = draw.below(100_000) as usize;
        let value = (draw.below(4) > 0).then(|| content(draw.0, bytes));
        model.entry(name.clone()).or_insert_with(|| vec![None]).push(value.clone());
        let (done, result) = crate::base::local::oneshot();
        let (engine, name_) = (node.core(number as usize).clone(), name.clone());
        engine.host().clone().spawn(async move { done.send(carry_out(engine, name_, value).await) });
        under_way.push((name, result));
    }
    under_way
}

fn settle(model: &mut Model, name: &Name) {
    let states = model.get_mut(name).expect("listed when it began");
    let last = states.pop().expect("never empty");
    *states = vec![last];
}

/// A record of all settings must fit.
fn options() -> Options {
    Options { log_segment_bytes: 1 << 20, ..tiny() }
}

fn history(seed: u64) {
    let simulation = Simulation::new(seed);
    let mut draw = Draw(seed.wrapping_mul(91) + 1);
    let mut model = Model::new();
    let drives = 1 + draw.below(2) as usize;
    let node = simulation.block_on(Node::start_with(&simulation, 2, drives, options())).unwrap();
    let made = node.core(0).create_bucket("bucket", Versioning::Unversioned, BTreeMap::new());
    simulation.block_on(made).unwrap();
    simulation.crash();
    for _ in 0..4 {
        cut_off_start(&simulation, &mut draw, drives, &options());
        let cores = 1 + draw.below(3) as usize;
        let node = simulation.block_on(Node::start_with(&simulation, cores, drives, options()));
        let node = node.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        judge(&node, &mut model, seed);
        for _ in 0..draw.below(5) {
            let under_way = begin(&node, &mut draw, &mut model);
            for (name, result) in under_way {
                let result = simulation.block_on(result).expect("it ends");
                result.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                settle(&mut model, &name);
            }
            if draw.below(2) == 0 {
                for engine in &node.engines {
                    simulation.block_on(clean_oldest(engine)).unwrap();
                }
            }
            judge(&node, &mut model, seed);
        }
        crash_in_the_middle(&simulation, &node, &mut draw, &mut model);
    }
}

/// Some changes at once; the power goes before all are acknowledged.
fn crash_in_the_middle(simulation: &Simulation, node: &Node, draw: &mut Draw, model: &mut Model) {
    if draw.below(3) == 0 {
        simulation.set_faults(Faults { write_error: 0.02, sync_error: 0.05, ..Faults::default() });
    }
    let under_way = begin(node, draw, model);
    begin_background_work(node, draw);
    let acknowledged = Rc::new(RefCell::new(Vec::new()));
    let log = acknowledged.clone();
    let waiting = async {
        for (name, result) in under_way {
            if let Some(Ok(())) = result.await {
                log.borrow_mut().push(name);
            }
        }
    };
    simulation.block_on_for(waiting, draw.below(900));
    simulation.set_faults(Faults::default());
    simulation.crash();
    acknowledged.borrow().iter().for_each(|name| settle(model, name));
}

#[test]
fn acknowledged_settings_and_configuration_survive_crashes_whole() {
    seeds().for_each(|seed| try_history(seed, "engine::tests::crash_settings", history));
}
