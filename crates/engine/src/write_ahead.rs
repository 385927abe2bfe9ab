//! Executes a pass with write-ahead journalling.
//!
//! The journal records what is about to be bound, created, set and drained before it is done, so
//! that a crash loses nothing, and the outcome afterwards.

use evenkeel_model::{Desired, RealServer};
use evenkeel_plan::{Draining, Op};

use crate::{
    ApplyOptions, Done, ExecutionContext, ExecutionWarning, Journal, JournalError, Kernel, Outcome,
    PartialApplies, Pass, Report, StateDir, error_chain, execute,
};

/// Executes a pass as [`execute`] does, and keeps the journal. The journal's record replaces the one
/// of the pass.
///
/// # Errors
/// The journal cannot be written; nothing was changed.
pub fn execute_journalled(
    kernel: &mut dyn Kernel,
    mut pass: Pass<'_>,
    options: ApplyOptions,
    context: &mut dyn ExecutionContext,
    state: &StateDir,
    journal: &mut Journal,
) -> Result<Report, JournalError> {
    // The user may have been prompted since the journal was read, and the wall clock set.
    journal.record.drains.rebase(&context.now());
    let before = journal.clone();
    let (desired, is_complete) = (pass.desired, pass.is_complete);
    record_intent(journal, &pass, context);
    // Written also where the record does not change, so that a journal that cannot be written is
    // found before the first change.
    if !pass.steps.is_empty() && (options.always_record || *journal != before) {
        state.write(journal)?;
    }
    let intended = journal.clone();
    pass.record = journal.record.clone();
    let mut report = execute(kernel, pass, options, context);
    record_outcome(journal, &before, &report, (desired, is_complete));
    if *journal != intended
        && let Err(error) = state.write(journal)
    {
        // The changes were made and are reported; the next apply writes the journal again.
        let error = error_chain(&error);
        report.warnings.push(ExecutionWarning::OutcomeNotRecorded { error });
    }
    Ok(report)
}

/// Records what the steps are about to do.
fn record_intent(journal: &mut Journal, pass: &Pass<'_>, context: &dyn ExecutionContext) {
    // Rounded up, so that a drain never ends early.
    let reading = context.now();
    let now = reading.wall.as_secs() + 1;
    let drains = &mut journal.record.drains.0;
    // A pass for single services knows nothing of the others: their drains continue.
    if pass.is_complete {
        drains.retain(|(service, key), _| {
            let service = pass.live.services.get(service);
            service.is_some_and(|service| service.real_servers.get(key).is_some())
        });
    }
    for op in &pass.steps {
        match op {
            Op::Bind { binding, .. } => {
                journal.addresses.insert(binding.clone());
            }
            Op::AddHostObject { object, .. } => {
                journal.host_objects.insert(object.clone());
            }
            Op::AddDummy { interface } => {
                journal.dummies.insert(interface.clone());
            }
            Op::EditSysctl { key, before, .. } => {
                let sysctls = &mut journal.record.sysctls;
                sysctls.entry(key.clone()).or_insert_with(|| before.clone());
            }
            Op::DrainRealServer { service, key, before, limit } => {
                let draining = Draining {
                    since: now,
                    weight: before.weight,
                    limit: *limit,
                    uptime: reading.uptime_at(now),
                };
                if !drains.contains_key(&(*service, *key)) {
                    let (live, last) = (&pass.live, pass.last);
                    journal.adopted.adopt_draining(*service, *key, live, last);
                }
                let drain = drains.entry((*service, *key)).or_insert(draining);
                if before.weight > 0 {
                    // Another program ended the recorded drain; this is a new one.
                    *drain = draining;
                } else if !reading.is_of_this_boot(drain.uptime) {
                    // From here on, steps of the wall clock do not affect it.
                    drain.uptime = reading.uptime_at(drain.since);
                }
            }
            _ => {}
        }
    }
}

/// Records the outcomes of the steps.
fn record_outcome(
    journal: &mut Journal,
    before: &Journal,
    report: &Report,
    (desired, is_complete): (&Desired, bool),
) {
    for Done { op, outcome } in report.iter() {
        let is_applied = *outcome == Outcome::Applied;
        let is_there = matches!(outcome, Outcome::Applied | Outcome::AlreadyInPlace);
        let may_be_done = matches!(outcome, Outcome::Applied | Outcome::Unknown);
        let drains = &mut journal.record.drains.0;
        match op {
            // Bound by another program, or rolled back, unless it was ours before this pass.
            Op::Bind { binding, .. } if !may_be_done && !before.addresses.contains(binding) => {
                journal.addresses.remove(binding);
            }
            Op::AddHostObject { object, .. } if may_be_done => {
                journal.host_objects.insert(object.clone());
            }
            Op::AddHostObject { object, .. } if !before.host_objects.contains(object) => {
                journal.host_objects.remove(object);
            }
            Op::DeleteHostObject { object, .. } if is_there => {
                journal.host_objects.remove(object);
            }
            // It may have been unbound first, to be bound with another label.
            Op::Bind { binding, .. } if may_be_done => {
                journal.addresses.insert(binding.clone());
            }
            Op::AddDummy { interface } if !may_be_done && !before.dummies.contains(interface) => {
                journal.dummies.remove(interface);
            }
            Op::EditSysctl { key, .. }
                if !may_be_done && !before.record.sysctls.contains_key(key) =>
            {
                journal.record.sysctls.remove(key);
            }
            Op::Unbind { binding, .. } if is_there => {
                journal.addresses.remove(binding);
            }
            Op::DeleteDummy { interface } if is_there => {
                journal.dummies.remove(interface);
            }
            Op::DeleteRealServer { service, key, .. } if is_there => {
                drains.remove(&(*service, *key));
            }
            Op::DeleteService { key, .. } if is_there => {
                drains.retain(|(service, _), _| service != key);
            }
            // Listed again: the drain is cancelled.
            Op::EditRealServer { service, key, after: RealServer { weight, .. }, .. }
                if is_applied && *weight > 0 =>
            {
                drains.remove(&(*service, *key));
            }
            Op::DrainRealServer { service, key, .. }
                if !may_be_done && *outcome != Outcome::AlreadyInPlace =>
            {
                match before.record.drains.0.get(&(*service, *key)) {
                    Some(draining) => drains.insert((*service, *key), *draining),
                    None => drains.remove(&(*service, *key)),
                };
            }
            _ => {}
        }
    }
    journal.conclude_adoption(report);
    if report.is_success() && is_complete {
        journal.set_active_spec(desired);
    }
}

impl Journal {
    /// Records that the spec that asks for `desired` is applied, and makes its texts the last applied
    /// ones.
    pub fn set_active_spec(&mut self, desired: &Desired) {
        self.record.governed_by(desired);
        self.record.timeouts = desired.timeouts;
        // Sysctls that the spec no longer names have their original value again.
        self.record.sysctls.retain(|key, _| desired.sysctls.contains_key(key));
        // The kernel deletes a route with its source address. Objects out of scope stay recorded, and so
        // do those whose deletion waits for a drain: a kind without a record is not read.
        let is_draining = !self.record.drains.0.is_empty();
        self.host_objects.retain(|object| {
            (is_draining && object.reaches_real_servers())
                || desired.host_objects.contains_key(object)
                || !desired.scope.contains_address(object.address())
        });
        self.targeted = PartialApplies::default();
        self.attempted = PartialApplies::default();
        self.promote_next_spec();
    }
}

#[cfg(test)]
mod tests;
