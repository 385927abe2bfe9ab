//! `evenkeel confirm`: confirms an apply with `--confirm`, or rolls it back.

use evenkeel_engine::IpvsUse;
use evenkeel_plan::render::count;
use evenkeel_workflow::{Aborted, abort, keep};

use crate::args::{ConfirmArgs, GlobalArgs};
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::host::{EventLog, host};
use crate::output::Output;
use crate::render;
use crate::report::print_rollback;

pub(crate) fn run(
    arguments: &ConfirmArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    let mut host = host(global, IpvsUse::IfPresent)?;
    let mut events = EventLog::default();
    if arguments.abort {
        let aborted = abort(&mut host, &mut events);
        events.print(output);
        let aborted = aborted?;
        let status = print_aborted(&aborted, output)?;
        return output.conclude(Ok(status), || render::aborted(&aborted));
    }
    let kept = keep(&mut host, &mut events);
    events.print(output);
    kept?;
    output.answer("Confirmed: what was applied stays.\n")?;
    output.conclude(Ok(CommandExit::Done), render::kept)
}

/// Prints the result of a rollback.
fn print_aborted(aborted: &Aborted, output: &mut Output) -> Result<CommandExit, Error> {
    let rollback = &aborted.rollback;
    if !rollback.is_clean() {
        let status = print_rollback(rollback, aborted.names(), output);
        if rollback.is_pending() {
            output.hint(
                "the apply still waits for confirmation and blocks other changes: remove the cause and \
                 run `evenkeel confirm --abort` again, or run `evenkeel confirm` to keep what is left",
            );
        }
        return Ok(status);
    }
    output.answer("Rolled back: everything that the apply touched is as it was before.\n")?;
    if rollback.broken > 0 {
        output.warning(format!("{} to added objects broke", count(rollback.broken, "connection")));
    }
    Ok(CommandExit::Done)
}
