//! Executes with a journal: what is about to be bound, created, set and drained is written down
//! before it is, so that a crash in between forgets nothing, and the outcome afterwards.

use evenkeel_model::{Desired, RealServer};
use evenkeel_plan::{Draining, Op};

use crate::{
    Attendant, Done, Journal, JournalError, Kernel, Outcome, Pass, Report, StateDir, Targeted,
    Terms, execute, in_full,
};

/// As [`execute`], with the journal kept. The pass's own record is replaced by the journal's.
///
/// # Errors
/// The journal cannot be written; then nothing was changed.
pub fn execute_journalled(
    kernel: &mut impl Kernel,
    mut pass: Pass<'_>,
    terms: Terms,
    attendant: &mut dyn Attendant,
    state: &StateDir,
    journal: &mut Journal,
) -> Result<Report, JournalError> {
    // Between the reading of the journal and here someone may have been asked.
    journal.record.drains.rebase(&attendant.now());
    let before = journal.clone();
    let (desired, is_whole) = (pass.desired, pass.is_whole);
    intend(journal, &pass, attendant);
    // Also where nothing is intended that it must know: that it can be written is found out
    // before the first change.
    if !pass.steps.is_empty() && (terms.always_record || *journal != before) {
        state.write(journal)?;
    }
    let intended = journal.clone();
    pass.record = journal.record.clone();
    let mut report = execute(kernel, pass, terms, attendant);
    conclude(journal, &before, &report, (desired, is_whole));
    if *journal != intended
        && let Err(error) = state.write(journal)
    {
        // What was done is done, and told; the next apply writes the journal again.
        let words = in_full(&error);
        report.warnings.push(format!("{words}; it still says what was about to be done"));
    }
    Ok(report)
}

/// Writes down what the steps are about to do.
fn intend(journal: &mut Journal, pass: &Pass<'_>, attendant: &dyn Attendant) {
    // Rounded up: a drain never ends before its time.
    let clocks = attendant.now();
    let now = clocks.wall.as_secs() + 1;
    let drains = &mut journal.record.drains.0;
    drains.retain(|(service, key), _| {
        let service = pass.live.services.get(service);
        service.is_some_and(|service| service.real_servers.get(key).is_some())
    });
    for op in &pass.steps {
        match op {
            Op::Bind { binding } => {
                journal.addresses.insert(binding.clone());
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
                    uptime: clocks.uptime_at(now),
                };
                if !drains.contains_key(&(*service, *key)) {
                    let (live, last) = (&pass.live, pass.last);
                    journal.adopted.adopt_draining(*service, *key, live, last);
                }
                let drain = drains.entry((*service, *key)).or_insert(draining);
                if before.weight > 0 {
                    // Someone else ended that drain; this is another one.
                    *drain = draining;
                } else if !clocks.is_of_this_boot(drain.uptime) {
                    // From here on it goes on whatever is done to the wall's clock.
                    drain.uptime = clocks.uptime_at(drain.since);
                }
            }
            _ => {}
        }
    }
}

/// Writes down what became of it.
fn conclude(
    journal: &mut Journal,
    before: &Journal,
    report: &Report,
    (desired, is_whole): (&Desired, bool),
) {
    for Done { op, outcome } in report.iter() {
        let is_applied = *outcome == Outcome::Applied;
        let is_there = matches!(outcome, Outcome::Applied | Outcome::AlreadyInPlace);
        let may_be_done = matches!(outcome, Outcome::Applied | Outcome::Unknown);
        let drains = &mut journal.record.drains.0;
        match op {
            // Someone else's, or taken back, unless it was ours before this pass.
            Op::Bind { binding } if !may_be_done && !before.addresses.contains(binding) => {
                journal.addresses.remove(binding);
            }
            Op::AddDummy { interface } if !may_be_done && !before.dummies.contains(interface) => {
                journal.dummies.remove(interface);
            }
            Op::EditSysctl { key, .. }
                if !may_be_done && !before.record.sysctls.contains_key(key) =>
            {
                journal.record.sysctls.remove(key);
            }
            Op::Unbind { binding } if is_there => {
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
    if report.is_success() && is_whole {
        journal.is_in_force(desired);
    }
}

impl Journal {
    /// The spec that asks for this is in force, and its texts are those of the last applied one.
    pub fn is_in_force(&mut self, desired: &Desired) {
        self.record.governed_by(desired);
        self.record.timeouts = desired.timeouts;
        // What the spec no longer names has gone back to what it was.
        self.record.sysctls.retain(|key, _| desired.sysctls.contains_key(key));
        self.targeted = Targeted::default();
        self.attempted = Targeted::default();
        self.spec_is_applied();
    }
}

#[cfg(test)]
mod tests;
