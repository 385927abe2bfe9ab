//! Cuts a plan where a failure must not be followed by what comes next.
//!
//! Within a stage an operation may be sent whatever became of the one before: the kernel takes
//! batches that way. Between stages the answers are looked at, so that nothing is lowered or deleted
//! when an addition failed, and no VIP is bound to services that are not there.

use evenkeel_plan::Op;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Modules,
    Globals,
    Devices,
    AddAndRaise,
    EditServices,
    Lower,
    EditDevices,
    Bind,
    Drain,
    DeleteRealServers,
    Unbind,
    DeleteServices,
    DeleteDummies,
    StartSync,
}

fn stage(op: &Op) -> Stage {
    match op {
        Op::AddModule { .. } => Stage::Modules,
        Op::EditSysctl { .. } | Op::DeleteSync { .. } | Op::EditTimeouts { .. } => Stage::Globals,
        Op::AddSync { .. } => Stage::StartSync,
        Op::AddDummy { .. } => Stage::Devices,
        // A scheduler is changed, and a weight lowered, only where all that makes up for it is there.
        Op::EditService { .. } => Stage::EditServices,
        Op::EditRealServer { before, after, .. } if after.weight < before.weight => Stage::Lower,
        Op::AddService { .. } | Op::AddRealServer { .. } | Op::EditRealServer { .. } => {
            Stage::AddAndRaise
        }
        Op::EditDummy { .. } => Stage::EditDevices,
        Op::Bind { .. } => Stage::Bind,
        Op::DrainRealServer { .. } => Stage::Drain,
        Op::DeleteDummy { .. } => Stage::DeleteDummies,
        Op::DeleteRealServer { .. } => Stage::DeleteRealServers,
        Op::Unbind { .. } => Stage::Unbind,
        Op::DeleteService { .. } => Stage::DeleteServices,
    }
}

/// The plan's steps, stage by stage, in their order.
pub(crate) fn stages(steps: &[Op]) -> impl Iterator<Item = &[Op]> {
    steps.chunk_by(|one, next| stage(one) == stage(next))
}
