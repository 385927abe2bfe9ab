//! Sets up the confirm timeout of an apply with `--confirm`.

use evenkeel_engine::{Journal, PartialApplies, Pending, Report, StateDir, steps_to_roll_back};
use evenkeel_model::Drain;
use evenkeel_plan::Op;

use crate::args::GlobalArgs;
use crate::commands::confirm_rollback;
use crate::error::Error;
use crate::host_session::now;

/// Starts the watchdog and records it with the pending apply in the journal, before the first
/// change.
///
/// The watchdog rolls the apply back if it is not confirmed, or if this process ends prematurely.
pub(crate) fn begin(
    within: u32,
    steps: &[Op],
    state: &StateDir,
    journal: &mut Journal,
    global: &GlobalArgs,
) -> Result<(), Error> {
    let mut pending = Pending::begin(now(), within, steps.to_vec()).map_err(Error::Watchdog)?;
    // If the journal is not written, the watchdog ends as soon as the lock is free.
    pending.watchdog = Some(confirm_rollback::start(&pending.id, global)?.id());
    journal.pending = Some(pending);
    state.write(journal)?;
    Ok(())
}

/// Starts the timeout after a successful apply, and returns a hint for the user.
///
/// A failed apply is no longer pending; an interrupted one is rolled back by its watchdog.
pub(crate) fn finish(
    report: &Report,
    asked: &PartialApplies,
    state: &StateDir,
    journal: &mut Journal,
) -> Result<Option<String>, Error> {
    let Some(pending) = &mut journal.pending else { return Ok(None) };
    if report.interrupted {
        return Ok(Some("its watchdog rolls the apply back".to_owned()));
    }
    let mut message = None;
    if report.is_success() {
        pending.steps = steps_to_roll_back(report);
        pending.targeted = asked.clone();
        pending.deadline = Some(now() + u64::from(pending.timeout_seconds));
        message = Some(format!(
            "the apply is rolled back in {} unless `evenkeel confirm` confirms it; `evenkeel \
             confirm --abort` rolls it back now",
            Drain(pending.timeout_seconds)
        ));
    } else {
        journal.pending = None;
    }
    state.write(journal).map_err(Error::PendingNotUpdated)?;
    Ok(message)
}
