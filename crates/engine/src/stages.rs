//! Splits a plan into stages, so that a failure stops the steps that must not follow it.
//!
//! Within a stage, an operation is sent whatever the outcome of the one before: the kernel processes
//! batches that way. Between stages the replies are checked, so that no weight is lowered and nothing
//! deleted when an addition failed, and no VIP is bound before its services exist.

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
        // A scheduler is changed, and a weight lowered, only after all additions succeeded.
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

/// The steps of a plan, grouped by stage, in their order.
pub(crate) fn stages(steps: &[Op]) -> impl Iterator<Item = &[Op]> {
    steps.chunk_by(|one, next| stage(one) == stage(next))
}
