//! The `evenkeel` program: arguments, commands, output and exit statuses.
//!
//! This is the only crate that prints. stdout has the output of a command, stderr everything else.

mod args;
mod check_environment;
mod commands;
mod daemon_client;
mod error;
mod exit_code;
mod host;
mod input;
mod logging;
mod malloc;
mod output;
mod owner;
mod parameters;
mod places;
mod progress;
mod prompt;
mod render;
mod report;
#[cfg(test)]
mod wording;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Arguments;
use crate::check_environment::is_check_supervisor;
use crate::exit_code::CommandExit;
use crate::output::Output;

fn main() -> ExitCode {
    if is_check_supervisor() {
        return evenkeel_health::supervisor::run();
    }
    malloc::raise_mmap_threshold();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let command = &arguments.command;
    let mut output = Output::new(command.name(), command.answers(), arguments.global.color);
    logging::start(&arguments, output.colors_errors());
    let status = match commands::run(&arguments, &mut output) {
        Ok(status) => status,
        Err(error) => output.error(&error),
    };
    let _is_written = logging::flush();
    status.into()
}

/// Prints clap's message: help and version go to stdout, anything else is a usage error.
fn usage(error: &clap::Error) -> ExitCode {
    // A closed pipe is not worth an error.
    let _shown = error.print();
    if error.use_stderr() { CommandExit::Usage.into() } else { CommandExit::Done.into() }
}
