//! Whole exchanges between several cores under sampled schedules, by shuttle.

mod core;
#[path = "../../../src/node/mesh.rs"]
#[allow(dead_code, reason = "a history uses a part of it")]
mod mesh;
#[path = "../once.rs"]
mod once;
#[path = "../../../src/node/phase.rs"]
#[allow(dead_code, reason = "a history uses a part of it")]
mod phase;
mod primitives;
#[path = "../queue.rs"]
mod queue;
mod sync;
#[path = "../../../src/ring/wakeup.rs"]
#[allow(dead_code, reason = "a history uses a part of it")]
mod wakeup;

use std::sync::Arc;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::thread;

use self::core::{Core, Ledger, Plan};
use self::mesh::ports_within;
use self::phase::{Life, Phase};

/// Schedules that each test tries.
fn schedules() -> usize {
    std::env::var("RINGCASK_SCHEDULES").map_or(500, |text| text.parse().expect("a number of schedules"))
}

/// Tries a history under random schedules, and under ones that run one thread for long and change to another at
/// a few chosen steps (PCT), which finds what needs bad luck. A failure prints its schedule;
/// `RINGCASK_SCHEDULE` runs that alone.
fn check(plan: Plan) {
    let history = move || history(plan);
    if let Ok(schedule) = std::env::var("RINGCASK_SCHEDULE") {
        return shuttle::replay(history, &schedule);
    }
    run(RandomScheduler::new(schedules()), history);
    run(PctScheduler::new(4, schedules()), history);
}

fn run(scheduler: impl Scheduler + 'static, history: impl Fn() + Send + Sync + 'static) {
    let mut config = shuttle::Config::new();
    config.stack_size = 256 * 1024;
    shuttle::Runner::new(scheduler, config).run(history);
}

/// A node from its start to its end. The main thread takes it through the phases, as `node::run` does.
fn history(plan: Plan) {
    let ports = ports_within(plan.cores, plan.calls_max, 2);
    let bells = ports[0].bells();
    let life = Life::new(bells.clone());
    let ledger = Arc::new(Ledger::new(plan));
    let threads: Vec<_> = ports
        .into_iter()
        .map(|ports| {
            let (life, ledger) = (life.clone(), ledger.clone());
            thread::spawn(move || Core::run(ports, plan, life, ledger))
        })
        .collect();
    life.advance(Phase::Serving);
    if plan.waits_for_callers {
        ledger.wait_for_callers();
    } else {
        thread::yield_now();
    }
    for phase in [Phase::Draining, Phase::Closing, Phase::Closed] {
        life.advance(phase);
    }
    for thread in threads {
        thread.join().unwrap();
    }
    drop((life, bells));
    ledger.judge();
}

#[test]
fn every_call_is_answered_once_and_connections_arrive_once() {
    check(Plan { cores: 2, calls_max: 2, callers: 3, calls: 3, waits_for_callers: true, gives_up: false });
}

#[test]
fn calls_that_are_given_up_at_any_moment_take_nothing_from_others() {
    check(Plan { cores: 2, calls_max: 1, callers: 3, calls: 4, waits_for_callers: true, gives_up: true });
}

#[test]
fn three_cores_of_which_one_asks_on_while_it_answers_never_wait_in_a_circle() {
    check(Plan { cores: 3, calls_max: 1, callers: 2, calls: 3, waits_for_callers: true, gives_up: true });
}

#[test]
fn the_end_of_a_node_in_the_midst_of_calls_leaves_nobody_waiting() {
    check(Plan { cores: 3, calls_max: 1, callers: 2, calls: 3, waits_for_callers: false, gives_up: true });
}
