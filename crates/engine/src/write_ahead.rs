//! Executes with a journal: what is about to be bound, created, set and drained is written down
//! before it is, so that a crash in between forgets nothing, and the outcome afterwards.

use evenkeel_model::{Desired, RealServer};
use evenkeel_plan::{Draining, Op};

use crate::{
    ApplyOptions, Done, ExecutionContext, Journal, JournalError, Kernel, Outcome, PartialApplies,
    Pass, Report, StateDir, error_chain, execute,
};

/// As [`execute`], with the journal kept. The pass's own record is replaced by the journal's.
///
/// # Errors
/// The journal cannot be written; then nothing was changed.
pub fn execute_journalled(
    kernel: &mut impl Kernel,
    mut pass: Pass<'_>,
    options: ApplyOptions,
    context: &mut dyn ExecutionContext,
    state: &StateDir,
    journal: &mut Journal,
) -> Result<Report, JournalError> {
    // Between the reading of the journal and here someone may have been asked.
    journal.record.drains.rebase(&context.now());
    let before = journal.clone();
    let (desired, is_complete) = (pass.desired, pass.is_complete);
    record_intent(journal, &pass, context);
    // Also where nothing is intended that it must know: that it can be written is found out
    // before the first change.
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
        // What was done is done, and told; the next apply writes the journal again.
        let message = error_chain(&error);
        report.warnings.push(format!("{message}; it still says what was about to be done"));
    }
    Ok(report)
}

/// Writes down what the steps are about to do.
fn record_intent(journal: &mut Journal, pass: &Pass<'_>, context: &dyn ExecutionContext) {
    // Rounded up: a drain never ends before its time.
    let reading = context.now();
    let now = reading.wall.as_secs() + 1;
    let drains = &mut journal.record.drains.0;
    drains.retain(|(service, key), _| {
        let service = pass.live.services.get(service);
        service.is_some_and(|service| service.real_servers.get(key).is_some())
    });
    for op in &pass.steps {
        match op {
            Op::Bind { binding, .. } => {
                journal.addresses.insert(binding.clone());
            }
            Op::AddRoute { route } => {
                journal.routes.insert(route.clone());
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
                    // Someone else ended that drain; this is another one.
                    *drain = draining;
                } else if !reading.is_of_this_boot(drain.uptime) {
                    // From here on it goes on whatever is done to the wall's clock.
                    drain.uptime = reading.uptime_at(drain.since);
                }
            }
            _ => {}
        }
    }
}

/// Writes down what became of it.
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
            // Someone else's, or taken back, unless it was ours before this pass.
            Op::Bind { binding, .. } if !may_be_done && !before.addresses.contains(binding) => {
                journal.addresses.remove(binding);
            }
            Op::AddRoute { route } if may_be_done => {
                journal.routes.insert(route.clone());
            }
            Op::AddRoute { route } if !before.routes.contains(route) => {
                journal.routes.remove(route);
            }
            Op::DeleteRoute { route } if is_there => {
                journal.routes.remove(route);
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
            // Listed again: the drain is called off.
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
    /// The spec that asks for this is in force, and its texts are those of the last applied one.
    pub fn set_active_spec(&mut self, desired: &Desired) {
        self.record.governed_by(desired);
        self.record.timeouts = desired.timeouts;
        // What the spec no longer names has gone back to what it was.
        self.record.sysctls.retain(|key, _| desired.sysctls.contains_key(key));
        // The kernel deletes a route with its source address. What is out of scope stays on record.
        self.routes.retain(|route| {
            desired.vips.get(&route.binding()).is_some_and(|vip| vip.route)
                || !desired.scope.contains_address(route.destination)
        });
        self.targeted = PartialApplies::default();
        self.attempted = PartialApplies::default();
        self.promote_next_spec();
    }
}

#[cfg(test)]
mod tests;
