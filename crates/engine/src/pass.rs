//! Executes a plan and verifies it.
//!
//! It does not stop at the first refusal within a [stage](crate::stage), but it starts no stage
//! after one in which something failed: nothing is deleted when an addition failed. When the
//! kernel says that an object is not as the plan saw it (it exists already, it is gone), someone
//! else is writing too; the touched objects are then read and planned again, a bounded number of
//! times. Nothing is ever repeated blindly.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;

use evenkeel_model::{Desired, Live, ServiceKey};
use evenkeel_plan::{Inputs, Op, Record, plan};
use rustix::io::Errno;
use tracing::info;

use crate::stage::stages;
use crate::{
    Done, EngineError, Exception, Journal, Kernel, KernelError, Outcome, Replies, Report, StateDir,
    Sysctls,
};

/// What an execution needs to know beside the kernel.
#[derive(Debug)]
pub struct Pass<'a> {
    /// What the spec asks for.
    pub desired: &'a Desired,
    /// What is on record of earlier applies, as the plan was made with it.
    pub record: &'a Record,
    /// What was observed when the plan was made; brought up to date as objects are read again.
    pub live: Live,
    /// The steps of the plan, in their order.
    pub steps: Vec<Op>,
}

/// How often what is left over is planned and executed again before it counts as a mismatch.
const FURTHER_ROUNDS: usize = 2;

/// Executes the steps and verifies by reading every touched object again.
///
/// # Errors
/// The kernel could not be read or written. Refusals of single operations are no errors: they are
/// in the report.
pub fn execute(kernel: &mut impl Kernel, pass: Pass<'_>) -> Result<Report, KernelError> {
    let Pass { desired, record, mut live, mut steps } = pass;
    let mut report = Report::default();
    if steps.is_empty() {
        return Ok(report);
    }
    for round in 0..=FURTHER_ROUNDS {
        let first = report.len();
        let is_clean = run(kernel, steps, &mut report)?;
        let mut left = left_over(kernel, (desired, record), &mut live, report.steps_from(first))?;
        if is_clean && !left.is_empty() {
            // A dump is no snapshot of the table: it may have missed an entry. Read once more
            // before anything is believed to be missing.
            left = left_over(kernel, (desired, record), &mut live, report.steps_from(first))?;
        }
        settle(&mut report, &left);
        if left.is_empty() || !report.is_success() {
            return Ok(report);
        }
        if round == FURTHER_ROUNDS {
            report.mismatches = left;
            break;
        }
        steps = left;
    }
    Ok(report)
}

/// As [`execute`], with a journal: what is about to be bound and created is written down before it
/// is, so that a crash in between forgets nothing, and the outcome afterwards.
///
/// # Errors
/// As [`execute`], and when the journal cannot be written; then nothing was changed.
pub fn execute_journalled(
    kernel: &mut impl Kernel,
    pass: Pass<'_>,
    state: &StateDir,
    journal: &mut Journal,
) -> Result<Report, EngineError> {
    let before = journal.clone();
    let desired = pass.desired;
    for op in &pass.steps {
        match op {
            Op::Bind { binding } => journal.addresses.insert(binding.clone()),
            Op::AddDummy { interface } => journal.dummies.insert(interface.clone()),
            Op::EditSysctl { key, before, .. } if !journal.record.sysctls.contains_key(key) => {
                journal.record.sysctls.insert(key.clone(), before.clone());
                true
            }
            _ => continue,
        };
    }
    // Also where only the outcome will change it: that it can be written is found out before the
    // first change.
    let will_change = |op: &Op| !before.record.applied || op.service().is_none();
    if pass.steps.iter().any(will_change) {
        state.write(journal)?;
    }
    let intended = journal.clone();
    let mut report = execute(kernel, pass)?;
    for Done { op, outcome } in report.iter() {
        match (op, outcome) {
            (Op::Bind { .. } | Op::AddDummy { .. }, Outcome::Applied) => {}
            // Someone else's, unless it was ours before this pass.
            (Op::Bind { binding }, _) if !before.addresses.contains(binding) => {
                journal.addresses.remove(binding);
            }
            (Op::AddDummy { interface }, _) if !before.dummies.contains(interface) => {
                journal.dummies.remove(interface);
            }
            (Op::Unbind { binding }, Outcome::Applied | Outcome::AlreadyInPlace) => {
                journal.addresses.remove(binding);
            }
            _ => {}
        }
    }
    if report.is_success() {
        journal.record.applied = true;
        journal.record.timeouts = desired.timeouts;
        // What the spec no longer names has gone back to what it was.
        journal.record.sysctls.retain(|key, _| desired.sysctls.contains_key(key));
    }
    if *journal != intended
        && let Err(error) = state.write(journal)
    {
        // What was done is done, and told; the next apply writes the journal again.
        let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
        report.warnings.push(format!("{error}{cause}; it still says what was about to be done"));
    }
    Ok(report)
}

/// Executes stage by stage, and adds an outcome for each step to the report. Returns whether
/// every answer came and was a yes.
fn run(kernel: &mut impl Kernel, steps: Vec<Op>, report: &mut Report) -> Result<bool, KernelError> {
    let mut outcomes = BTreeMap::new();
    let mut failed_services = BTreeSet::new();
    let mut first = 0;
    for ops in stages(&steps) {
        if !outcomes.is_empty() {
            outcomes.extend((first..first + ops.len()).map(|place| (place, Outcome::Skipped)));
        } else {
            let Replies { mut exceptions, warnings } = kernel.execute(ops)?;
            report.warnings.extend(warnings);
            for (place, op) in ops.iter().enumerate() {
                match exceptions.remove(&place) {
                    None => log(op, &Outcome::Applied),
                    Some(exception) => {
                        let outcome = outcome(op, exception, &mut failed_services);
                        log(op, &outcome);
                        outcomes.insert(first + place, outcome);
                    }
                }
            }
        }
        first += ops.len();
    }
    let is_clean = outcomes.is_empty();
    outcomes.retain(|_, outcome| *outcome != Outcome::Applied);
    report.extend(steps, outcomes);
    Ok(is_clean)
}

fn outcome(op: &Op, exception: Exception, failed_services: &mut BTreeSet<ServiceKey>) -> Outcome {
    let refused = match exception {
        // A lost answer counts as done until the object is read again.
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
        | (Op::Bind { .. }, Errno::EXIST)
        | (Op::DeleteService { .. } | Op::DeleteSync { .. }, Errno::SRCH)
        | (Op::DeleteRealServer { .. }, Errno::NOENT | Errno::SRCH)
        | (Op::Unbind { .. }, Errno::ADDRNOTAVAIL | Errno::NODEV) => Outcome::AlreadyInPlace,
        (Op::AddRealServer { service, .. }, Errno::SRCH) if failed_services.contains(service) => {
            Outcome::Skipped
        }
        (Op::EditRealServer { .. }, Errno::NOENT)
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

/// Reads the touched objects again and plans what is still to be done to them.
fn left_over(
    kernel: &mut impl Kernel,
    (desired, record): (&Desired, &Record),
    live: &mut Live,
    steps: &[Op],
) -> Result<Vec<Op>, KernelError> {
    let touched: BTreeSet<ServiceKey> = steps.iter().filter_map(Op::service).collect();
    let read = kernel.services(&touched)?;
    live.services.retain(|key, _| !touched.contains(key));
    if live.services.is_empty() {
        live.services = read;
    } else {
        live.services.extend(read);
    }
    if steps.iter().any(|op| op.service().is_none()) {
        let sysctls: Sysctls = live.sysctls.keys().cloned().collect();
        kernel.surroundings(&sysctls, live)?;
    }
    // The objects that were not touched are as they were when they were in sync, or out of
    // the plan on purpose; only what concerns the touched ones is left over.
    let mut left = plan(Inputs::new(desired, live, record)).steps;
    left.retain(|op| match op.service() {
        Some(service) => touched.contains(&service),
        None => steps.iter().any(|step| step.object() == op.object()),
    });
    Ok(left)
}

/// Corrects outcomes by what was read: an operation that counts as done, and is still needed, was
/// not done.
fn settle(report: &mut Report, left: &[Op]) {
    for op in left {
        report.not_applied(&op.object());
    }
}

/// One line for each operation. A failure is no louder than the others: the report tells it, and
/// whoever reads the report shows it.
fn log(op: &Op, outcome: &Outcome) {
    let refused = match outcome {
        Outcome::Failed(refused) => Some(refused),
        _ => None,
    };
    info!(
        verb = op.verb().word(),
        object = ?op.object(),
        outcome = outcome.word(),
        errno = refused.map(|refused| refused.errno.raw_os_error()),
        reason = refused.and_then(|refused| refused.message.as_deref()),
        "step"
    );
}

#[cfg(test)]
mod tests;
