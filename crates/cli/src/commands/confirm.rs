//! `evenkeel confirm`: keep what an apply with `--confirm` did, or take it back.

use std::time::Duration;

use evenkeel_engine::{Journal, Kernel, StateDir, pending_request, roll_back_pending};
use evenkeel_model::Names;
use evenkeel_plan::render::count;
use evenkeel_plan::rollback_plan;

use crate::args::{Confirm, Global};
use crate::error::Error;
use crate::exit_code::Status;
use crate::host_session::{Access, HostSession, now};
use crate::last_applied::stored;
use crate::output::Output;
use crate::prompt::check_permitted;
use crate::report::print_rollback;

pub(crate) fn run(
    arguments: &Confirm,
    global: &Global,
    output: &mut Output,
) -> Result<Status, Error> {
    let mut host = HostSession::connect(global, Access::ConfirmPending, output)?;
    if host.journal.pending.is_none() {
        // Perhaps one does that another journal knows of.
        host.journal.check_writable(now())?;
        return Err(Error::NothingPending);
    }
    if arguments.abort {
        return abort(&mut host, output);
    }
    keep(&host.state, &mut host.journal)?;
    output.answer("Confirmed: what was applied stays.\n")?;
    Ok(Status::Done)
}

fn keep(state: &StateDir, journal: &mut Journal) -> Result<(), Error> {
    // Its texts are the last applied ones only from now on, and what they ask for is in them;
    // without any they are the same as before.
    let spec = journal.next.clone().or_else(|| journal.spec.clone());
    let desired = stored(state, &Journal { spec, ..journal.clone() });
    journal.commit_pending(desired.as_ref());
    Ok(state.write(journal)?)
}

/// Writes the journal; what it says is done already, so that a disk that is full for a moment is
/// worth some patience.
fn write_patiently(state: &StateDir, journal: &Journal) -> Result<(), Error> {
    const ATTEMPTS: usize = 5;
    for _ in 1..ATTEMPTS {
        if state.write(journal).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    state.write(journal).map_err(Error::Unrecorded)
}

/// Takes back what the apply did that waits, and tells how that went.
pub(crate) fn abort(host: &mut HostSession, output: &mut Output) -> Result<Status, Error> {
    let HostSession { kernel, state, journal, lock: _ } = host;
    let mut live = kernel.observe(&pending_request(journal))?;
    if let Some(pending) = &journal.pending {
        check_permitted(&rollback_plan(&pending.steps, &live).steps)?;
    }
    // Taken back, it is no longer known.
    let spec = journal.next.clone();
    let asked =
        spec.and_then(|spec| stored(state, &Journal { spec: Some(spec), ..journal.clone() }));
    let before = Journal { pending: None, next: None, ..journal.clone() };
    let last = before.targeted.over(stored(state, &before));
    let rollback = roll_back_pending(kernel, journal, &mut live);
    write_patiently(state, journal)?;
    if rollback.is_clean() {
        output.answer("Taken back: what the apply had touched is as it was before.\n")?;
        if rollback.broken > 0 {
            output.warning(&format!(
                "{} to what had been added broke",
                count(rollback.broken, "connection")
            ));
        }
        return Ok(Status::Done);
    }
    let names = Names { desired: &asked.unwrap_or_default(), last: last.as_ref() };
    Ok(print_rollback(&rollback, names, output))
}
