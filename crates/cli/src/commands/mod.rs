//! The commands, one file for each.

mod all_hosts;
mod apply;
mod approve;
mod check;
mod confirm;
mod connections;
mod doctor;
mod overrides;
mod owners;
mod pause;
mod plan;
mod schema;
mod show;
mod snapshot;
mod status;
mod stored_overrides;
mod table;
mod teardown;
mod validate;
mod watch;
mod watchdog;
mod zero;

use evenkeel_control::OverrideAction;

use crate::args::{Arguments, Command};
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::output::Output;
use crate::owner::of_command;

/// Runs the command of the command line.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<CommandExit, Error> {
    let Arguments { command, global } = arguments;
    let chosen = match command {
        Command::Confirm(_)
        | Command::Teardown(_)
        | Command::Status(_)
        | Command::Approve(_)
        | Command::Pause(_)
        | Command::Resume(_)
        | Command::Drain(_)
        | Command::Disable(_)
        | Command::Enable(_)
        | Command::Weight(_)
        | Command::Overrides(_)
        | Command::Clear(_)
        | Command::Zero(_) => Some(of_command(command.name(), global)?),
        _ => None,
    };
    let global = chosen.as_ref().unwrap_or(global);
    let status = match command {
        Command::Validate(validate) => validate::run(validate, global, output),
        Command::Check(check) => check::run(check, global, output),
        Command::Plan(plan) => plan::run(plan, global, output),
        Command::Doctor(doctor) => doctor::run(doctor, global, output),
        Command::Apply(apply) => apply::run(apply, global, output),
        Command::Snapshot(snapshot) => snapshot::run(snapshot, global, output),
        Command::Confirm(confirm) => confirm::run(confirm, global, output),
        Command::Watchdog(watchdog) => watchdog::run(watchdog, global),
        Command::Teardown(teardown) => teardown::run(teardown, global, output),
        Command::Show(show) => show::run(show, global, output),
        Command::Zero(zero) => zero::run(zero, global, output),
        Command::Watch(watch) => watch::run(watch, global, output),
        Command::Owners(owners) => owners::run(owners, global, output),
        Command::Status(status) => status::run(status, global, output),
        Command::Approve(approve) => approve::run(approve, global, output),
        Command::Pause(pause) => pause::pause(pause, global, output),
        Command::Resume(_) => pause::resume(global, output),
        Command::Drain(it) => overrides::begin(OverrideAction::Drain, it, global, output),
        Command::Disable(it) => overrides::begin(OverrideAction::Disable, it, global, output),
        Command::Enable(it) => overrides::begin(OverrideAction::Enable, it, global, output),
        Command::Weight(it) => overrides::weight(it, global, output),
        Command::Overrides(it) => overrides::list(it, global, output),
        Command::Clear(it) => overrides::clear(it, global, output),
        Command::Schema => schema::run(output),
    }?;
    output.flush()?;
    Ok(status)
}
