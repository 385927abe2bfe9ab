//! The commands, a file each.

mod apply;
mod confirm;
mod connections;
mod plan;
mod schema;
mod show;
mod snapshot;
mod teardown;
mod validate;
pub(crate) mod watchdog;

use crate::args::{Arguments, Command, Role};
use crate::error::Error;
use crate::output::Output;
use crate::status::Status;

/// Runs the command of that command line.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<Status, Error> {
    let Arguments { command, global } = arguments;
    let Role::Director = global.role;
    let status = match command {
        Command::Validate(validate) => validate::run(validate, global, output),
        Command::Plan(plan) => plan::run(plan, global, output),
        Command::Apply(apply) => apply::run(apply, global, output),
        Command::Snapshot(snapshot) => snapshot::run(snapshot, global, output),
        Command::Confirm(confirm) => confirm::run(confirm, global, output),
        Command::Watchdog(watchdog) => watchdog::run(watchdog, global, output),
        Command::Teardown(teardown) => teardown::run(teardown, global, output),
        Command::Show(show) => show::run(show, global, output),
        Command::Schema => schema::run(output),
    }?;
    output.flush()?;
    Ok(status)
}
