//! Executes a plan, verifies the result, and rolls back on failure.
//!
//! Execution does not stop at the first refusal within a [stage](crate::stages), but no stage
//! starts after one in which something failed: nothing is deleted when an addition failed. When the
//! kernel reports that an object is not as the plan saw it (it exists already, or is gone), another
//! program is writing too; the touched objects are then read and planned again, a bounded number of
//! times. No operation is repeated without a fresh reading.

use std::collections::BTreeSet;

use evenkeel_model::{Desired, Live, Overlays};
use evenkeel_plan::{Inputs, Object, Op, PriorState, plan};

use crate::drain_wait::DrainWaiter;
use crate::execute_stages::{execute_stages, is_already_draining};
use crate::refresh::{FURTHER_ROUNDS, read_touched, services};
use crate::rollback::roll_back;
use crate::{ApplyOptions, ExecutionContext, Kernel, KernelError, OnFailure, Outcome, Report};

/// The input of an execution, apart from the kernel.
#[derive(Debug)]
pub struct Pass<'a> {
    /// What the spec asks for.
    pub desired: &'a Desired,
    /// What the last applied spec asked for, as in the inputs of the plan.
    pub last: Option<&'a Desired>,
    /// The overlays, as in the inputs of the plan.
    pub overlays: &'a Overlays,
    /// Whether `desired` is the whole spec; a part does not become the last applied spec.
    pub is_complete: bool,
    /// The record of earlier applies, including the starts of this pass's drains.
    pub record: PriorState,
    /// The state observed for the plan; updated as objects are read again.
    pub live: Live,
    /// The steps of the plan, in their order.
    pub steps: Vec<Op>,
}

impl<'a> Pass<'a> {
    /// A pass without overlays and a record of earlier applies.
    pub fn new(desired: &'a Desired, live: Live, steps: Vec<Op>) -> Self {
        let record = PriorState::default();
        let overlays = Overlays::none();
        Self { desired, last: None, overlays, is_complete: true, record, live, steps }
    }
}

/// Executes the steps and verifies them by reading every touched object again.
///
/// Every failure is in the report.
pub fn execute(
    kernel: &mut dyn Kernel,
    pass: Pass<'_>,
    options: ApplyOptions,
    context: &mut dyn ExecutionContext,
) -> Report {
    let Pass { desired, last, overlays, is_complete: _, mut record, mut live, mut steps } = pass;
    record.note_new_services(desired, &steps);
    let wanted = DesiredState { desired, last, overlays, record: &record };
    let mut report = Report::default();
    let mut drains = DrainWaiter::default();
    for round in 0..=FURTHER_ROUNDS {
        if steps.is_empty() {
            break;
        }
        let first = report.len();
        let is_clean = execute_stages(
            kernel,
            steps,
            &live.secondaries,
            &mut report,
            (&mut drains, &record),
            options,
            context,
        );
        let mut remaining = wanted.remaining_steps(kernel, &mut live, &report, first);
        if is_clean && remaining.as_ref().is_ok_and(|remaining| !remaining.is_empty()) {
            // A dump is not an atomic snapshot of the table and may miss an entry. Read once more
            // before an object counts as missing.
            remaining = wanted.remaining_steps(kernel, &mut live, &report, first);
        }
        let remaining = match remaining {
            Ok(remaining) => remaining,
            Err(error) => {
                report.unverified(first, error);
                break;
            }
        };
        // A running drain was started, whatever else remains to be done to its real server.
        let is_done = |op: &&Op| is_already_draining(op) || has_sysctl(&live, op);
        report.not_applied(remaining.iter().filter(|op| !is_done(op)).map(Op::object).collect());
        if remaining.is_empty() || !report.is_success() || report.interrupted {
            break;
        }
        if round == FURTHER_ROUNDS {
            report.mismatches = remaining;
            break;
        }
        steps = remaining;
    }
    report.record_deadlines(drains.over());
    report.deleted_by_others = drains.gone;
    if report.has_failed() && report.has_changed() && options.on_failure == OnFailure::Rollback {
        let rollback = roll_back(kernel, &mut report, &mut live);
        report.rollback = Some(rollback);
    }
    report
}

/// The inputs of a plan, apart from the live state.
struct DesiredState<'a> {
    desired: &'a Desired,
    last: Option<&'a Desired>,
    overlays: &'a Overlays,
    record: &'a PriorState,
}

impl DesiredState<'_> {
    /// Reads the objects that the steps from `first` on touched, and plans what remains to be done.
    ///
    /// Steps that wait for a drain are left out.
    fn remaining_steps(
        &self,
        kernel: &mut dyn Kernel,
        live: &mut Live,
        report: &Report,
        first: usize,
    ) -> Result<Vec<Op>, KernelError> {
        let steps = report.steps_from(first);
        read_touched(kernel, live, steps)?;
        let touched = services(steps);
        let waiting: BTreeSet<Object> = report
            .iter()
            .filter(|done| *done.outcome == Outcome::Draining)
            .map(|done| done.op.object())
            .collect();
        let touched_objects: BTreeSet<Object> =
            steps.iter().filter(|op| op.service().is_none()).map(Op::object).collect();
        let devices: BTreeSet<&str> = steps.iter().filter_map(brought_up).collect();
        let Self { desired, last, overlays, record } = *self;
        // Untouched objects were in sync, or were left out of the plan on purpose; only steps that
        // concern touched objects remain.
        let inputs = Inputs { last, overlays, ..Inputs::new(desired, live, record) };
        let mut remaining = plan(inputs).steps;
        remaining.retain(|op| match op.service() {
            Some(service) => touched.contains(&service),
            // Where the kernel loads modules itself, the step that needs the module shows the
            // result.
            None if matches!(op, Op::AddModule { .. }) => false,
            None => touched_objects.contains(&op.object()) || is_on(op, &devices),
        });
        remaining.retain(|op| {
            let is_drained_with_its_service = match op {
                Op::DrainRealServer { service, .. } => waiting.contains(&Object::Service(*service)),
                _ => false,
            };
            !is_drained_with_its_service && !waiting.contains(&op.object())
        });
        Ok(remaining)
    }
}

/// Whether a sysctl has its value, and will be rewritten and set again by the steps before this one.
fn has_sysctl(live: &Live, op: &Op) -> bool {
    match op {
        Op::EditSysctl { key, after, .. } | Op::RestoreSysctl { key, after, .. } => {
            live.sysctls.get(key) == Some(after)
        }
        _ => false,
    }
}

/// The device that a step brings up.
fn brought_up(step: &Op) -> Option<&str> {
    match step {
        Op::EditDummy { interface } => Some(interface),
        _ => None,
    }
}

/// Whether `op` binds an address on one of the devices that were brought up: the plan may not have known
/// which addresses they had lost.
fn is_on(op: &Op, devices: &BTreeSet<&str>) -> bool {
    matches!(op, Op::Bind { binding, .. } if devices.contains(&*binding.interface))
}

#[cfg(test)]
mod fault_injection;
#[cfg(test)]
mod secondaries;
#[cfg(test)]
pub(crate) mod tests;
