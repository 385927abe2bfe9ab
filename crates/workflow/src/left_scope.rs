//! Finds what left the scope of a spec that is about to be planned.

use evenkeel_engine::{Journal, StateDir};
use evenkeel_model::{Desired, Live};
use evenkeel_plan::{LastSpec, LeftObjects, LeftScopeInputs, left_scope, narrows};

use crate::adoption::attempted;
use crate::last_applied::stored;

/// Finds what left the scope of a spec. Reads the last applied spec only if the scope is narrower, and
/// if it is not at hand (`active`).
pub fn find_left(
    state: &StateDir,
    journal: &Journal,
    desired: &Desired,
    live: &Live,
    active: Option<&Desired>,
) -> LeftObjects {
    let record = &journal.record;
    let is_needed = journal.active_spec().is_some() && narrows(desired, record);
    let read = (active.is_none() && is_needed).then(|| stored(state, journal));
    let last = match &read {
        Some(Some(last)) => LastSpec::Read(last),
        Some(None) => LastSpec::Unreadable,
        None => active.into(),
    };
    let attempted = attempted(state, journal);
    left_scope(&LeftScopeInputs {
        desired,
        live,
        record,
        made: journal.made(),
        last,
        attempted: attempted.as_ref(),
        targeted: &journal.active_partial_applies().services(),
        attempted_targets: &journal.attempted.services(),
    })
}
