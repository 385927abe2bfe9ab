//! Simulates a plan on a live state.

use evenkeel_model::Live;

use crate::Op;

/// Returns the live state after those operations. An operation on an absent object changes nothing.
pub fn simulate(live: &Live, steps: &[Op]) -> Live {
    let mut after = live.clone();
    for op in steps {
        op.simulate(&mut after);
    }
    after
}
