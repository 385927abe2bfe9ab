//! `evenkeel confirm`: confirms an apply with `--confirm`, or rolls it back.

use std::time::Duration;

use evenkeel_engine::{Journal, Kernel, StateDir, pending_request, roll_back_pending};
use evenkeel_model::Names;
use evenkeel_plan::render::count;
use evenkeel_plan::rollback_plan;

use crate::args::{ConfirmArgs, GlobalArgs};
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::host_session::{Access, HostSession, now};
use crate::last_applied::stored;
use crate::output::Output;
use crate::prompt::check_permitted;
use crate::report::print_rollback;

pub(crate) fn run(
    arguments: &ConfirmArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    let mut host = HostSession::connect(global, Access::ConfirmPending, output)?;
    if host.journal.pending.is_none() {
        // An apply may be pending in another journal.
        host.journal.check_writable(now())?;
        return Err(Error::NothingPending);
    }
    if arguments.abort {
        return abort(&mut host, output);
    }
    keep(&host.state, &mut host.journal)?;
    output.answer("Confirmed: what was applied stays.\n")?;
    Ok(CommandExit::Done)
}

fn keep(state: &StateDir, journal: &mut Journal) -> Result<(), Error> {
    // The texts of the pending spec, which become the last applied ones only now, say what it asks
    // for; without a pending spec they are those applied before.
    let spec = journal.next.clone().or_else(|| journal.spec.clone());
    let desired = stored(state, &Journal { spec, ..journal.clone() });
    journal.commit_pending(desired.as_ref());
    Ok(state.write(journal)?)
}

/// Writes the journal with a few retries, for a disk that is full for a moment: the rollback that it
/// records is already done.
fn write_with_retries(state: &StateDir, journal: &Journal) -> Result<(), Error> {
    const ATTEMPTS: usize = 5;
    for _ in 1..ATTEMPTS {
        if state.write(journal).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    state.write(journal).map_err(Error::Unrecorded)
}

/// Rolls the pending apply back, and prints the result.
pub(crate) fn abort(host: &mut HostSession, output: &mut Output) -> Result<CommandExit, Error> {
    let HostSession { kernel, state, journal, lock: _ } = host;
    let mut live = kernel.observe(&pending_request(journal))?;
    if let Some(pending) = &journal.pending {
        check_permitted(kernel, &rollback_plan(&pending.steps, &live).steps)?;
    }
    // Read now, because the rollback removes it from the journal.
    let spec = journal.next.clone();
    let asked =
        spec.and_then(|spec| stored(state, &Journal { spec: Some(spec), ..journal.clone() }));
    let before = Journal { pending: None, next: None, ..journal.clone() };
    let last = before.targeted.over(stored(state, &before));
    let rollback = roll_back_pending(kernel, journal, &mut live);
    write_with_retries(state, journal)?;
    if rollback.is_clean() {
        output.answer("Rolled back: everything that the apply touched is as it was before.\n")?;
        if rollback.broken > 0 {
            output.warning(&format!(
                "{} to added objects broke",
                count(rollback.broken, "connection")
            ));
        }
        return Ok(CommandExit::Done);
    }
    let names = Names { desired: &asked.unwrap_or_default(), last: last.as_ref() };
    Ok(print_rollback(&rollback, names, output))
}
