//! An apply with `--confirm`: from before its first change until it waits.

use evenkeel_engine::{Journal, PartialApplies, Pending, Report, StateDir, steps_to_roll_back};
use evenkeel_model::Drain;
use evenkeel_plan::Op;

use crate::args::Global;
use crate::commands::confirm_rollback;
use crate::error::Error;
use crate::host_session::now;

/// Starts the process that takes back what is about to be done if nobody confirms it, or if this
/// one ends half-way, and writes both down: what the journal says is watched from the first moment
/// on.
pub(crate) fn begin(
    within: u32,
    steps: &[Op],
    state: &StateDir,
    journal: &mut Journal,
    global: &Global,
) -> Result<(), Error> {
    let mut pending = Pending::begin(now(), within, steps.to_vec()).map_err(Error::Watchdog)?;
    // One that finds nothing in the journal ends as soon as the lock is free.
    pending.watchdog = Some(confirm_rollback::start(&pending.id, global)?.id());
    journal.pending = Some(pending);
    state.write(journal)?;
    Ok(())
}

/// From now on it waits; one that failed has nothing to wait for, and one that was interrupted is
/// taken back by its watchdog. Gives what people should know of it.
pub(crate) fn finish(
    report: &Report,
    asked: &PartialApplies,
    state: &StateDir,
    journal: &mut Journal,
) -> Result<Option<String>, Error> {
    let Some(pending) = &mut journal.pending else { return Ok(None) };
    if report.interrupted {
        return Ok(Some("its watchdog takes back what was applied".to_owned()));
    }
    let mut message = None;
    if report.is_success() {
        pending.steps = steps_to_roll_back(report);
        pending.targeted = asked.clone();
        pending.deadline = Some(now() + u64::from(pending.timeout_seconds));
        message = Some(format!(
            "what was applied is taken back in {} unless `evenkeel confirm` keeps it; `evenkeel \
             confirm --abort` takes it back now",
            Drain(pending.timeout_seconds)
        ));
    } else {
        journal.pending = None;
    }
    state.write(journal).map_err(Error::PendingNotUpdated)?;
    Ok(message)
}
