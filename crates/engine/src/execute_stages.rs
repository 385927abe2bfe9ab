//! Sends steps to the kernel, stage by stage, and records the outcome of each.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{Binding, Family, RealServers, ServiceKey};
use evenkeel_plan::{Op, PriorState};
use rustix::io::Errno;
use tracing::{debug, info};

use crate::apply_options::ApplyOptions;
use crate::drain_wait::{DrainWaiter, RealServerId};
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
    let mut added_by_others = None;
    let mut first = 0;
    for ops in stages(&steps) {
        let begins_drains = matches!(ops[0], Op::DrainRealServer { .. });
        if is_clean && !begins_drains && !waited && drains.pending().next().is_some() {
            waited = true;
            if let Err(error) = drains.wait(kernel, options.wait, context) {
                report.error = Some(error);
                is_clean = false;
            }
        }
        if is_clean && added_by_others.is_none() && removes_services(&ops[0], &steps) {
            match drains.added_by_others(kernel, &departing(&steps)) {
                Ok(found) => {
                    report.added_by_others.extend(&found);
                    added_by_others = Some(found);
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
            let draining: BTreeSet<RealServerId> = drains.pending().copied().collect();
            let plan = PlannedSteps { steps: &steps, secondaries };
            let waits = |op: &Op| !draining.is_empty() && plan.waits_for_drain(op, &draining);
            // These wait for real servers that other programs added; the next round drains those.
            let remaining = added_by_others.as_ref().filter(|found| !found.is_empty());
            let joins_drain =
                |op: &Op| remaining.is_some_and(|found| plan.waits_for_drain(op, found));
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
            is_clean = exceptions.is_empty();
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
        }
        first += ops.len();
    }
    report.extend(steps, outcomes);
    is_clean
}

/// Whether the stage that starts with `op` stops the traffic of departing services.
fn removes_services(op: &Op, steps: &[Op]) -> bool {
    match op {
        Op::Unbind { binding, .. } => !is_bound_again(binding, steps),
        op => matches!(op, Op::DeleteService { .. }),
    }
}

/// Whether a VIP only changes its label or prefix length.
fn is_bound_again(unbound: &Binding, steps: &[Op]) -> bool {
    let again = |op: &Op| matches!(op, Op::Bind { binding, .. } if binding.same_place(unbound));
    steps.iter().any(again)
}

/// The departing services, with the real servers that the plan knows of.
fn departing(steps: &[Op]) -> BTreeMap<ServiceKey, &RealServers> {
    let deleted = steps.iter().filter_map(|op| match op {
        Op::DeleteService { key, before } => Some((*key, &before.real_servers)),
        _ => None,
    });
    deleted.collect()
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

/// All steps of a plan, with the addresses that the kernel deletes together with another one.
struct PlannedSteps<'a> {
    steps: &'a [Op],
    secondaries: &'a BTreeMap<Binding, Binding>,
}

impl PlannedSteps<'_> {
    /// Whether an operation must wait while those real servers drain.
    fn waits_for_drain(&self, op: &Op, draining: &BTreeSet<RealServerId>) -> bool {
        let steps = self.steps;
        let mut all = draining.iter();
        match op {
            Op::DeleteRealServer { service, key, .. } => draining.contains(&(*service, *key)),
            Op::DeleteService { key, .. } => all.any(|(service, _)| service == key),
            Op::Unbind { binding, .. } => {
                self.is_used(binding, draining) || self.goes_with_waiting(binding, draining)
            }
            // Another label of a VIP that is not unbound yet.
            Op::Bind { binding: bound, .. } => steps.iter().any(|step| {
                matches!(step, Op::Unbind { binding, .. } if binding == bound)
                    && self.waits_for_drain(step, draining)
            }),
            Op::DeleteHostObject { object, .. } if object.reaches_real_servers() => {
                !draining.is_empty()
            }
            Op::EditHostObject { object, after, .. }
                if after.is_restored() && object.reaches_real_servers() =>
            {
                !draining.is_empty()
            }
            Op::EditHostObject { object, after, .. } if after.accepts_less() => {
                let is_on = |step: &Op| matches!(step, Op::Unbind { binding, .. } if object.carries(binding));
                let mut unbinds = steps.iter().filter(|step| is_on(step));
                unbinds.any(|step| self.waits_for_drain(step, draining))
            }
            Op::DeleteHostObject { object, .. } => steps.iter().any(|step| {
                let serves = |binding| object.is_on(binding) || object.carries(binding);
                matches!(step, Op::Unbind { binding, .. } if serves(binding))
                    && self.waits_for_drain(step, draining)
            }),
            Op::DeleteDummy { interface } => steps.iter().any(|step| {
                let on_it =
                    matches!(step, Op::Unbind { binding, .. } if binding.interface == *interface);
                on_it && self.waits_for_drain(step, draining)
            }),
            // Drains, the deletions after them and the VIPs that wait for them rely on the values in force.
            Op::RestoreSysctl { .. } => !draining.is_empty(),
            // The kernel starts no sync daemon while a service has real servers of the other family.
            Op::AddSync { .. } => all.any(|(service, real_server)| {
                Family::from(real_server.address) != service.family()
            }),
            _ => false,
        }
    }
    /// Whether connections through a VIP that leaves may belong to a service that drains; those of a fwmark
    /// service may come through any VIP.
    fn is_used(&self, vip: &Binding, draining: &BTreeSet<RealServerId>) -> bool {
        let departs = |key: &ServiceKey| {
            let mut all = self.steps.iter();
            all.any(|step| matches!(step, Op::DeleteService { key: it, .. } if it == key))
        };
        draining.iter().any(|(service, _)| {
            departs(service)
                && service.vip().is_none_or(|it| it == vip.address)
                && !is_bound_again(vip, self.steps)
        })
    }

    /// Whether a VIP waits with another one of its subnet: the primary with a secondary that the kernel
    /// would delete with it, and what gets another label with the primary.
    fn goes_with_waiting(&self, vip: &Binding, draining: &BTreeSet<RealServerId>) -> bool {
        let primary = match self.secondaries.get(vip) {
            None => vip,
            Some(primary) if self.steps.iter().any(|op| binds(op, vip)) => primary,
            Some(_) => return false,
        };
        let is_unbound = |op: &Op| matches!(op, Op::Unbind { binding, .. } if binding == primary);
        self.steps.iter().any(is_unbound)
            && self.steps.iter().any(|op| match op {
                Op::Unbind { binding, .. } => {
                    self.secondaries.get(binding) == Some(primary)
                        && self.is_used(binding, draining)
                }
                _ => false,
            })
    }
}

fn binds(op: &Op, vip: &Binding) -> bool {
    matches!(op, Op::Bind { binding, .. } if binding == vip)
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
    if matches!(outcome, Outcome::AlreadyInPlace | Outcome::Skipped | Outcome::Draining) {
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
