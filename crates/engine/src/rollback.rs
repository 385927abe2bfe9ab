//! Restores the state before the pass after a step failed.
//!
//! [`evenkeel_plan::rollback_plan`] plans the steps from a fresh reading; this module executes them
//! and reads again, a bounded number of times.

use std::collections::BTreeSet;

use evenkeel_model::Live;
use evenkeel_plan::{Object, Op, RollbackPlan, rollback_plan};
use tracing::info;

use crate::refresh::{FURTHER_ROUNDS, read_touched};
use crate::report::Rollback;
use crate::stages::stages;
use crate::{Exception, Kernel, KernelError, Outcome, Report};

/// Rolls back the steps of the report, and updates their outcomes.
pub(crate) fn roll_back(kernel: &mut dyn Kernel, report: &mut Report, live: &mut Live) -> Rollback {
    let is_ours = |outcome: &Outcome| {
        matches!(outcome, Outcome::Applied | Outcome::Failed(_) | Outcome::Unknown)
    };
    let done: Vec<Op> =
        report.iter().filter(|done| is_ours(done.outcome)).map(|done| done.op.clone()).collect();
    let rollback = restore(kernel, &done, live);
    if rollback.error.is_none() {
        let mut remaining: BTreeSet<Object> = rollback.remaining.iter().map(Op::object).collect();
        remaining.extend(rollback.foreign.iter().cloned());
        report.mark_rolled_back(&remaining);
    }
    rollback
}

/// Rolls back the steps, whichever of them were executed.
pub(crate) fn restore(kernel: &mut dyn Kernel, done: &[Op], live: &mut Live) -> Rollback {
    let mut rollback = Rollback::default();
    for round in 0.. {
        if let Err(error) = read_touched(kernel, live, done) {
            rollback.error = Some(error);
            break;
        }
        let RollbackPlan { steps, foreign, traces } = rollback_plan(done, live);
        rollback.foreign = foreign;
        rollback.traces = traces;
        rollback.remaining = steps;
        // After the last round, the reading only shows what remains.
        if rollback.remaining.is_empty() || round > FURTHER_ROUNDS {
            break;
        }
        let steps = std::mem::take(&mut rollback.remaining);
        rollback.refused.clear();
        if let Err(error) = execute_rollback(kernel, &steps, &mut rollback) {
            (rollback.error, rollback.remaining) = (Some(error), steps);
            break;
        }
    }
    rollback
}

fn execute_rollback(
    kernel: &mut dyn Kernel,
    steps: &[Op],
    rollback: &mut Rollback,
) -> Result<(), KernelError> {
    for ops in stages(steps) {
        rollback.broken += connections(kernel, ops)?;
        let replies = kernel.execute(ops)?;
        for op in ops {
            info!(verb = op.verb().as_str(), object = op.object().to_string(), "rollback step");
        }
        let is_clean = replies.exceptions.is_empty();
        for (place, exception) in replies.exceptions {
            if let Exception::Refused(refused) = exception {
                rollback.refused.push((ops[place].clone(), refused));
            }
        }
        // As in an apply, nothing is deleted after a failure.
        if !is_clean {
            break;
        }
    }
    Ok(())
}

/// How many connections break when the operations delete their objects.
fn connections(kernel: &mut dyn Kernel, ops: &[Op]) -> Result<u64, KernelError> {
    let deletes = |op: &&Op| matches!(op, Op::DeleteService { .. } | Op::DeleteRealServer { .. });
    let services: BTreeSet<_> = ops.iter().filter(deletes).filter_map(Op::service).collect();
    if services.is_empty() {
        return Ok(0);
    }
    let (_, statistics) = kernel.services_with_statistics(&services)?;
    let mut broken = 0;
    for op in ops {
        let Some(service) = op.service() else { continue };
        let Some(counted) = statistics.services.get(&service) else { continue };
        let open = counted.real_servers.iter().filter(|(key, _)| match op {
            Op::DeleteService { .. } => true,
            Op::DeleteRealServer { key: deleted, .. } => *key == deleted,
            _ => false,
        });
        broken += open.map(|(_, counted)| counted.open(&service)).sum::<u64>();
    }
    Ok(broken)
}
