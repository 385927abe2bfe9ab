//! The guards that a plan without a journal, such as one against a snapshot, cannot judge.

use super::wider_scope::take_over;
use super::{Guard, cut_off};
use crate::{Inputs, Op, PriorState, Verb};

use evenkeel_model::{Binding, Owner};

/// Returns the guards that compare with the journal and could refuse these operations. With
/// `is_complete`, every file of the spec has the end mark, and `cut-off` refuses none of them.
///
/// Operations that change nothing live are left out: on an empty host no guard protects anything.
pub fn guards_without_journal(inputs: &Inputs<'_>, ops: &[Op], is_complete: bool) -> Vec<Guard> {
    if *inputs.live == evenkeel_model::Live::default() {
        return Vec::new();
    }
    let first = PriorState { applied: false, ..inputs.record.clone() };
    let could_refuse = [
        (Guard::CutOff, !is_complete && ops.iter().any(cut_off::takes)),
        (Guard::TakeOver, take_over(&Inputs { record: &first, ..*inputs }, ops).is_some()),
        (Guard::WiderScope, ops.iter().any(|op| may_be_newly_covered(inputs, op))),
        (Guard::LeftScope, may_have_left(inputs)),
        (Guard::MissingFile, ops.iter().any(may_go_with_a_file)),
    ];
    could_refuse.into_iter().filter(|(_, could)| *could).map(|(guard, _)| guard).collect()
}

/// Whether the operation changes a live object that the scope in force may leave to others.
fn may_be_newly_covered(inputs: &Inputs<'_>, op: &Op) -> bool {
    let is_live = op.service().is_some_and(|key| inputs.live.services.contains_key(&key));
    is_live || matches!(op, Op::Unbind { .. } | Op::DeleteSync { .. })
}

/// Whether something live outside the scope may be what evenkeel made for an earlier spec.
fn may_have_left(inputs: &Inputs<'_>) -> bool {
    let Inputs { desired, live, .. } = inputs;
    let is_made = |(binding, owner): (&Binding, &Owner)| {
        *owner == Owner::Evenkeel && !desired.governs_vip(binding)
    };
    desired.when_left.is_none()
        && (live.addresses.iter().any(is_made)
            || live.services.keys().any(|key| !desired.governs(key)))
}

/// Whether a missing file of the spec in force may be the reason for the operation: it listed the
/// object, or the `defaults` of a service.
fn may_go_with_a_file(op: &Op) -> bool {
    let is_object = matches!(
        op,
        Op::DeleteService { .. }
            | Op::Unbind { .. }
            | Op::DeleteHostObject { .. }
            | Op::DeleteSync { .. }
    );
    is_object || (op.verb() == Verb::Edit && op.service().is_some())
}
