//! What all histories with crashes share: their seeds, what is drawn for them, what is done to any node.

use std::collections::BTreeMap;

use super::*;

/// Histories that a plain test run tries; `RINGCASK_CRASH_SEEDS=FIRST..LAST` tries others.
const SEEDS: std::ops::Range<u64> = 0..60;

/// Longer than anything that a history waits for.
pub const LONG: std::time::Duration = std::time::Duration::from_secs(3600);

/// A small generator of its own, so that the history is a function of the seed alone.
pub struct Draw(pub u64);

impl Draw {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// The histories that a run tries.
pub fn seeds() -> std::ops::Range<u64> {
    match std::env::var("RINGCASK_CRASH_SEEDS") {
        Ok(text) => {
            let (first, last) = text.split_once("..").expect("RINGCASK_CRASH_SEEDS=FIRST..LAST");
            first.parse().expect("a number")..last.parse().expect("a number")
        }
        Err(_) => SEEDS,
    }
}

/// Tries one history; if it fails, says how to replay it alone.
pub fn try_history(seed: u64, test: &str, history: fn(u64)) {
    if let Err(panic) = std::panic::catch_unwind(|| history(seed)) {
        eprintln!("replay with: RINGCASK_CRASH_SEEDS={seed}..{} cargo test --lib {test}", seed + 1);
        std::panic::resume_unwind(panic);
    }
}

/// Cleans a segment, whether or not that pays.
pub async fn clean_oldest(engine: &SimEngine) -> Result<(), EngineError> {
    engine.maintain().await?;
    let _turn = engine.inner.maintenance.acquire(1).await;
    match engine.oldest_cleanable() {
        Some((id, segment)) if engine.inner.checkpoint.old_dropped() => engine.clean(id, segment).await,
        _ => Ok(()),
    }
}

/// Has every core begin to write a checkpoint, to clean or to stop, or nothing: the power will go meanwhile.
pub fn begin_background_work(node: &Node, draw: &mut Draw) {
    let chance = draw.below(4);
    for engine in &node.engines {
        let engine = engine.clone();
        engine.host().clone().spawn(async move {
            // It fails where drives do.
            let _ = match chance {
                0 => checkpoint::write(&engine).await,
                1 => clean_oldest(&engine).await,
                2 => engine.shutdown().await,
                _ => Ok(()),
            };
        });
    }
}

/// Perhaps a start, with any number of cores, that the power does not last for.
pub fn cut_off_start(simulation: &Simulation, draw: &mut Draw, drives: usize, options: &Options) {
    if draw.below(4) == 0 {
        let (cores, steps) = (1 + draw.below(3) as usize, draw.below(1000));
        let start = Node::start_with(simulation, cores, drives, options.clone());
        if let Some(Err(error)) = simulation.block_on_for(start, steps) {
            panic!("seed {}: {error}", simulation.seed());
        }
        simulation.crash();
    }
}

/// References that the owners count must be those that the indexes hold.
pub async fn judge_references(node: &Node, seed: u64) {
    node.core(0).host().sleep(std::time::Duration::from_secs(2)).await;
    let mut held: BTreeMap<format::ExtentId, u32> = BTreeMap::new();
    for engine in &node.engines {
        engine.inner.index.borrow().for_each_slice(|slice| *held.entry(slice.extent).or_default() += 1);
    }
    let mut counted = BTreeMap::new();
    node.engines.iter().for_each(|engine| counted.extend(engine.inner.extents.references()));
    assert_eq!(counted, held, "seed {seed}: references to extents");
}
