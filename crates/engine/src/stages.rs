//! Cuts a plan where a failure must not be followed by what comes next.

use evenkeel_plan::Op;

/// The plan's steps, stage by stage, in their order: [`evenkeel_plan::Stage`].
pub(crate) fn stages(steps: &[Op]) -> impl Iterator<Item = &[Op]> {
    steps.chunk_by(|one, next| one.stage() == next.stage())
}
