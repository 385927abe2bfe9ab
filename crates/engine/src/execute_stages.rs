//! Sends steps to the kernel, stage by stage, and records the outcome of each.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{Binding, ServiceKey};
use evenkeel_plan::{Op, PriorState};
use rustix::io::Errno;
use tracing::{debug, info};

use crate::apply_options::ApplyOptions;
use crate::drain_dependents::{DrainDependents, Waiting};
use crate::drain_wait::DrainWaiter;
use crate::stages::stages;
use crate::{Exception, ExecutionContext, Kernel, KernelError, Outcome, Replies, Report};

/// Executes the steps stage by stage and adds their outcomes to the report.
///
/// Returns whether every reply arrived and was a success.
pub(crate) fn execute_stages(
    kernel: &mut dyn Kernel,
    steps: Vec<Op>,
    secondaries: &BTreeMap<Binding, Binding>,
    report: &mut Report,
    (drains, record): (&mut DrainWaiter, &PriorState),
    options: ApplyOptions,
    context: &mut dyn ExecutionContext,
) -> bool {
    let mut outcomes = BTreeMap::new();
    let mut failed_services = BTreeSet::new();
    let (mut is_clean, mut waited) = (true, false);
    let mut has_looked = false;
    let dependents = DrainDependents::new(&steps, secondaries);
    let pending = |drains: &DrainWaiter| drains.pending().copied().collect();
    let mut waiting = dependents.waiting(pending(drains));
    // These wait for real servers that other programs added; the next round drains those.
    let mut joining = Waiting::default();
    let mut first = 0;
    for ops in stages(&steps) {
        let begins_drains = matches!(ops[0], Op::DrainRealServer { .. });
        if is_clean && !begins_drains && !waited && drains.pending().next().is_some() {
            waited = true;
            if let Err(error) = drains.wait(kernel, options.wait, context) {
                report.error = Some(error);
                is_clean = false;
            }
            waiting = dependents.waiting(pending(drains));
        }
        if is_clean && !has_looked && dependents.removes_services(&ops[0]) {
            match drains.added_by_others(kernel, dependents.departing()) {
                Ok(found) => {
                    report.added_by_others.extend(&found);
                    joining = dependents.waiting(found);
                    has_looked = true;
                }
                Err(error) => {
                    report.error = Some(error);
                    is_clean = false;
                }
            }
        }
        report.interrupted |= is_clean && context.is_interrupted();
        is_clean &= !report.interrupted;
        if is_clean {
            let waits = |op: &Op| waiting.holds(op);
            let joins_drain = |op: &Op| joining.holds(op);
            let is_skipped = |op: &Op| waits(op) || joins_drain(op) || is_already_draining(op);
            let mut exceptions = match send(kernel, ops, is_skipped) {
                Ok(Replies { exceptions, warnings }) => {
                    report.warnings.extend(warnings);
                    exceptions
                }
                // The next reading shows which of them were executed.
                Err(error) => {
                    report.error = Some(error);
                    (0..ops.len()).map(|place| (place, Exception::Lost)).collect()
                }
            };
            is_clean = exceptions.values().all(|it| *it == Exception::LeftToKernel);
            for (place, op) in ops.iter().enumerate() {
                let outcome = match exceptions.remove(&place) {
                    None if waits(op) => Outcome::Draining,
                    None if joins_drain(op) => Outcome::Skipped,
                    None if is_already_draining(op) => Outcome::AlreadyInPlace,
                    None => Outcome::Applied,
                    Some(exception) => outcome(op, exception, &mut failed_services),
                };
                log(op, &outcome);
                if outcome != Outcome::Applied {
                    outcomes.insert(first + place, outcome);
                }
            }
        } else {
            outcomes.extend((first..first + ops.len()).map(|place| (place, Outcome::Skipped)));
        }
        if begins_drains && is_clean {
            drains.begin(ops, record, context.now().wall);
            waiting = dependents.waiting(pending(drains));
        }
        first += ops.len();
    }
    report.extend(steps, outcomes);
    is_clean
}

/// Whether nothing has to be sent: the drain has been running since an earlier pass.
pub(crate) fn is_already_draining(op: &Op) -> bool {
    matches!(op, Op::DrainRealServer { before, .. } if before.weight == 0)
}

/// Sends the operations, except for the skipped ones.
fn send(
    kernel: &mut dyn Kernel,
    ops: &[Op],
    skip: impl Fn(&Op) -> bool,
) -> Result<Replies, KernelError> {
    if !ops.iter().any(&skip) {
        return kernel.execute(ops);
    }
    let chosen = ops.iter().enumerate().filter(|(_, op)| !skip(op));
    let (places, chosen): (Vec<usize>, Vec<Op>) =
        chosen.map(|(place, op)| (place, op.clone())).unzip();
    let Replies { exceptions, warnings } = kernel.execute(&chosen)?;
    let exceptions = exceptions.into_iter();
    let exceptions = exceptions.map(|(index, exception)| (places[index], exception)).collect();
    Ok(Replies { exceptions, warnings })
}

pub(crate) fn outcome(
    op: &Op,
    exception: Exception,
    failed_services: &mut BTreeSet<ServiceKey>,
) -> Outcome {
    let refused = match exception {
        // A lost reply counts as applied until the object is read again.
        Exception::Lost => return Outcome::Applied,
        Exception::NotSent => return Outcome::Skipped,
        Exception::LeftToKernel => return Outcome::LeftToKernel,
        Exception::Refused(refused) => refused,
    };
    match (op, refused.errno) {
        (
            Op::AddService { .. }
            | Op::AddRealServer { .. }
            | Op::AddDummy { .. }
            | Op::AddSync { .. },
            Errno::EXIST,
        )
        | (Op::Bind { .. } | Op::AddHostObject { .. }, Errno::EXIST)
        | (Op::DeleteHostObject { .. }, Errno::NOENT | Errno::SRCH | Errno::NODEV)
        | (Op::DeleteService { .. } | Op::DeleteSync { .. }, Errno::SRCH)
        | (Op::DeleteRealServer { .. } | Op::DrainRealServer { .. }, Errno::NOENT | Errno::SRCH)
        | (Op::DeleteDummy { .. }, Errno::NODEV)
        | (Op::Unbind { .. }, Errno::ADDRNOTAVAIL | Errno::NODEV) => Outcome::AlreadyInPlace,
        (Op::AddRealServer { service, .. }, Errno::SRCH) if failed_services.contains(service) => {
            Outcome::Skipped
        }
        (Op::EditRealServer { .. }, Errno::NOENT)
        | (Op::EditDummy { .. }, Errno::NODEV)
        | (
            Op::EditService { .. } | Op::EditRealServer { .. } | Op::AddRealServer { .. },
            Errno::SRCH,
        ) => Outcome::Skipped,
        _ => {
            if let Op::AddService { key, .. } = op {
                failed_services.insert(*key);
            }
            Outcome::Failed(Box::new(refused))
        }
    }
}

/// Logs one line for each executed operation.
///
/// Operations that were not executed are logged at debug level only: a running drain would otherwise
/// appear in every pass. A failure has the same level as a success, since the caller shows the
/// failures of the report.
pub(crate) fn log(op: &Op, outcome: &Outcome) {
    let refused = match outcome {
        Outcome::Failed(refused) => Some(refused),
        _ => None,
    };
    let (verb, outcome_name) = (op.verb().as_str(), outcome.as_str());
    if matches!(
        outcome,
        Outcome::AlreadyInPlace | Outcome::LeftToKernel | Outcome::Skipped | Outcome::Draining
    ) {
        return debug!(verb, object = op.object().to_string(), outcome = outcome_name, "step");
    }
    info!(
        verb,
        object = op.object().to_string(),
        change = change(op),
        outcome = outcome_name,
        errno = refused.map(|refused| refused.errno.raw_os_error()),
        reason = refused.and_then(|refused| refused.message.as_deref()),
        "step"
    );
}

/// The fields that an edit changes, with both values.
fn change(op: &Op) -> Option<String> {
    let changes: Vec<String> = op.changes().iter().map(ToString::to_string).collect();
    (!changes.is_empty()).then(|| changes.join(", "))
}
