//! What a plan makes of a live state when every operation is applied.

use evenkeel_model::Live;

use crate::Op;

/// The live state after those operations. One on an object that is not there changes nothing.
pub fn simulate(live: &Live, steps: &[Op]) -> Live {
    let mut after = live.clone();
    for op in steps {
        op.simulate(&mut after);
    }
    after
}
