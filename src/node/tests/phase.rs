//! Phases without cores.

use crate::node::phase::{Life, Phase};

#[test]
fn a_phase_is_reached_once_it_or_a_later_one_has_come() {
    let life = Life::new([].into());
    assert!(life.reached(Phase::Recovering) && !life.reached(Phase::Serving));
    life.advance(Phase::Draining);
    assert!(life.reached(Phase::Serving) && !life.reached(Phase::Closing));
}
