//! `evenkeel confirm`: keep what an apply with `--confirm` did, or take it back.

use evenkeel_engine::{Journal, Kernel, StateDir, pending_sysctls, take_pending_back};
use evenkeel_model::Desired;

use crate::args::{Confirm, Global};
use crate::error::Error;
use crate::history::stored;
use crate::live::{Access, Host};
use crate::output::Output;
use crate::report::tell_rollback;
use crate::status::Status;

pub(crate) fn run(
    arguments: &Confirm,
    global: &Global,
    output: &mut Output,
) -> Result<Status, Error> {
    let mut host = Host::connect(global, Access::Settle, output)?;
    if host.journal.pending.is_none() {
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
    // Its texts are the last applied ones only from now on, and what they ask for is in them.
    let desired = match &journal.next {
        Some(_) => stored(state, &Journal { spec: journal.next.clone(), ..journal.clone() }),
        None => None,
    };
    journal.keep_pending(desired.as_ref());
    Ok(state.write(journal)?)
}

/// Takes back what the apply did that waits, and tells how that went.
pub(crate) fn abort(host: &mut Host, output: &mut Output) -> Result<Status, Error> {
    let Host { kernel, state, journal, lock: _ } = host;
    let mut live = kernel.observe(&pending_sysctls(journal))?;
    let rollback = take_pending_back(kernel, journal, &mut live);
    state.write(journal)?;
    Ok(tell_rollback(&rollback, &Desired::default(), output))
}
