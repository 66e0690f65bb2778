//! Histories with crashes against a reference model: everything that clients and background work do to a
//! node, mixed, from one seed; and after every crash, fault and stop everything is judged.
//!
//! `draw` makes the steps of a history from its seed, `resolve` finds what they mean for the node at hand,
//! `model` knows what may come of it, `run` takes the steps, `see` looks at all of a node, `judge` and
//! `accounts` compare, and `minimise` makes what fails short.

mod accounts;
mod body;
mod draw;
mod judge;
mod long;
mod minimise;
mod model;
mod resolve;
mod resolve_uploads;
mod run;
mod see;
mod steps;
mod work;

use super::*;

pub use accounts::audit;
pub use draw::Draw;
pub use long::{seeds, try_history};
pub use work::clean_oldest;

use long::try_run;

/// Histories that a plain test run tries; `RINGCASK_CRASH_SEEDS=FIRST..LAST` tries others.
const SEEDS: std::ops::Range<u64> = 0..600;

#[test]
fn what_was_acknowledged_survives_and_what_was_not_is_whole_or_absent() {
    long::run_seeds(SEEDS);
}

#[test]
fn a_seed_makes_one_history_and_one_run() {
    for seed in [1, 7] {
        let runs = [draw::draw(seed), draw::draw(seed)].map(|history| run::run(&history, None));
        let figures = runs.map(|tally| format!("{tally:?}"));
        assert_eq!(figures[0], figures[1]);
    }
}

/// A model with a fault of its own: it takes objects with a hold in a bucket of versions for impossible.
fn finds_a_hold(world: &model::World) {
    let is_held = |held: &model::Held| held.lock.legal_hold && held.tag > 0;
    let states = world.keys.iter().filter(|(name, _)| name.0 == 1);
    assert!(!states.flat_map(|(_, state)| state.iter()).any(is_held), "a hold was found: {:?}", world.keys);
}

#[test]
fn a_history_that_fails_is_made_short() {
    let failing = (0..200).find_map(|seed| {
        let history = draw::draw(seed);
        try_run(|| drop(run::run(&history, Some(finds_a_hold)))).err().map(|message| (history, message))
    });
    let (history, message) = failing.expect("some history holds an object and tags it");
    let ops = history.ops();
    let short = minimise::minimise(history, message, 600, Some(finds_a_hold));
    assert!(short.message.starts_with("a hold was found"), "{}", short.message);
    let minimal = 3;
    assert!(
        short.history.ops() <= minimal,
        "{} operations of {ops}:\n{:?}",
        short.history.ops(),
        short.history
    );
    assert!(short.history.lives.len() <= 2, "{:?}", short.history);
}
