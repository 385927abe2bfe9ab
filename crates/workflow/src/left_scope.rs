//! Finds what left the scope of a spec that is about to be planned.

use evenkeel_engine::{Journal, StateDir};
use evenkeel_model::{Desired, Live};
use evenkeel_plan::{LeftObjects, LeftScopeInputs, left_scope, narrows};

use crate::adoption::attempted;
use crate::last_applied::stored;

/// Finds what left the scope of a spec. Reads the last applied spec only if the scope is narrower.
pub(crate) fn find_left(
    state: &StateDir,
    journal: &Journal,
    desired: &Desired,
    live: &Live,
) -> LeftObjects {
    let record = &journal.record;
    let last = match narrows(desired, record) {
        true => journal.active_partial_applies().over(stored(state, journal)),
        false => None,
    };
    let attempted = journal.attempted.over(attempted(state, journal));
    left_scope(&LeftScopeInputs {
        desired,
        live,
        record,
        made: journal.made(),
        last: last.as_ref(),
        attempted: attempted.as_ref(),
    })
}
