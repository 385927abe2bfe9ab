//! Executes a plan, verifies it, and goes back when it fails.
//!
//! It does not stop at the first refusal within a [stage](crate::stages), but it starts no stage
//! after one in which something failed: nothing is deleted when an addition failed. When the
//! kernel says that an object is not as the plan saw it (it exists already, it is gone), someone
//! else is writing too; the touched objects are then read and planned again, a bounded number of
//! times. Nothing is ever repeated blindly.

use std::collections::BTreeSet;

use evenkeel_model::{Desired, Live, ServiceKey};
use evenkeel_plan::{Inputs, Object, Op, PriorState, plan};

use crate::drain::DrainWaiter;
use crate::execute_stages::{execute_stages, is_already_draining};
use crate::rollback::roll_back;
use crate::{ExecutionContext, Kernel, KernelError, Outcome, ReadRequest, Report};

/// What an execution needs to know beside the kernel.
#[derive(Debug)]
pub struct Pass<'a> {
    /// What the spec asks for.
    pub desired: &'a Desired,
    /// What the last applied spec asked for, as the plan was made with it.
    pub last: Option<&'a Desired>,
    /// Whether that is all the spec asks for; a part of it does not become the last applied spec.
    pub is_complete: bool,
    /// What is on record of earlier applies, the starts of this pass's drains included.
    pub record: PriorState,
    /// What was observed when the plan was made; brought up to date as objects are read again.
    pub live: Live,
    /// The steps of the plan, in their order.
    pub steps: Vec<Op>,
}

impl<'a> Pass<'a> {
    /// Where nothing is on record.
    pub fn new(desired: &'a Desired, live: Live, steps: Vec<Op>) -> Self {
        let record = PriorState::default();
        Self { desired, last: None, is_complete: true, record, live, steps }
    }
}

/// How a pass is to be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApplyOptions {
    /// What becomes of the steps before one that fails.
    pub on_failure: OnFailure,
    /// Whether drains are waited for; otherwise they are begun, and what depends on them is left
    /// to a later pass.
    pub wait: bool,
    /// Whether a journal that cannot be written keeps back also what it has nothing to learn of.
    pub always_record: bool,
}

impl Default for ApplyOptions {
    /// As `apply` without options: back on failure, and drains are waited for.
    fn default() -> Self {
        Self { on_failure: OnFailure::Rollback, wait: true, always_record: true }
    }
}

/// What becomes of the steps before one that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The objects they touched go back to what they were.
    Rollback,
    /// They stay.
    Keep,
}

/// How often what is left over is planned and executed again before it counts as a mismatch.
pub(crate) const FURTHER_ROUNDS: usize = 2;

/// Executes the steps and verifies by reading every touched object again. All that goes wrong is
/// in the report.
pub fn execute(
    kernel: &mut impl Kernel,
    pass: Pass<'_>,
    options: ApplyOptions,
    context: &mut dyn ExecutionContext,
) -> Report {
    let Pass { desired, last, is_complete: _, record, mut live, mut steps } = pass;
    let wanted = DesiredState { desired, last, record: &record };
    let mut report = Report::default();
    let mut drains = DrainWaiter::default();
    for round in 0..=FURTHER_ROUNDS {
        if steps.is_empty() {
            break;
        }
        let first = report.len();
        let is_clean =
            execute_stages(kernel, steps, &mut report, (&mut drains, &record), options, context);
        let mut remaining = wanted.remaining_steps(kernel, &mut live, &report, first);
        if is_clean && remaining.as_ref().is_ok_and(|remaining| !remaining.is_empty()) {
            // A dump is no snapshot of the table: it may have missed an entry. Read once more
            // before anything is believed to be missing.
            remaining = wanted.remaining_steps(kernel, &mut live, &report, first);
        }
        let remaining = match remaining {
            Ok(remaining) => remaining,
            Err(error) => {
                report.unverified(first, error);
                break;
            }
        };
        // A drain that goes on was begun, whatever else is left to do to its real server.
        for op in remaining.iter().filter(|op| !is_already_draining(op)) {
            report.not_applied(&op.object());
        }
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

/// What plans are made from, beside the live state.
struct DesiredState<'a> {
    desired: &'a Desired,
    last: Option<&'a Desired>,
    record: &'a PriorState,
}

impl DesiredState<'_> {
    /// Reads what the steps from that place on touched, and plans what is still to be done to it.
    /// What waits for a drain is not.
    fn remaining_steps(
        &self,
        kernel: &mut impl Kernel,
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
        let Self { desired, last, record } = *self;
        // The objects that were not touched are as they were when they were in sync, or out of
        // the plan on purpose; only what concerns the touched ones is left over.
        let mut remaining = plan(Inputs { last, ..Inputs::new(desired, live, record) }).steps;
        remaining.retain(|op| match op.service() {
            Some(service) => touched.contains(&service),
            // Where loading is left to the kernel, what needs the module tells how that went.
            None if matches!(op, Op::AddModule { .. }) => false,
            None => steps.iter().any(|step| step.object() == op.object() || is_on(op, step)),
        });
        remaining.retain(|op| {
            let goes_with_its_service = match op {
                Op::DrainRealServer { service, .. } => waiting.contains(&Object::Service(*service)),
                _ => false,
            };
            !goes_with_its_service && !waiting.contains(&op.object())
        });
        Ok(remaining)
    }
}

/// Whether it binds on a device that the step brings up: what that had lost may not have been known.
fn is_on(op: &Op, step: &Op) -> bool {
    match (op, step) {
        (Op::Bind { binding, .. }, Op::EditDummy { interface }) => binding.interface == *interface,
        _ => false,
    }
}

/// The services that those operations belong to.
pub(crate) fn services(ops: &[Op]) -> BTreeSet<ServiceKey> {
    ops.iter().filter_map(Op::service).collect()
}

/// Brings up to date what those operations touched.
pub(crate) fn read_touched(
    kernel: &mut impl Kernel,
    live: &mut Live,
    ops: &[Op],
) -> Result<(), KernelError> {
    let touched = services(ops);
    let read = kernel.services(&touched)?;
    live.services.retain(|key, _| !touched.contains(key));
    if live.services.is_empty() {
        live.services = read;
    } else {
        live.services.extend(read);
    }
    if ops.iter().any(|op| op.service().is_none()) {
        let request = ReadRequest::again(live);
        kernel.read_namespace(&request, live)?;
    }
    Ok(())
}

#[cfg(test)]
mod fault_injection;
#[cfg(test)]
pub(crate) mod tests;
