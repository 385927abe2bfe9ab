//! The `evenkeel` program: arguments, commands, output and exit statuses.
//!
//! The only crate that prints. stdout carries the answer of a command, stderr everything else.

mod adoption;
mod args;
mod commands;
mod confirmation;
mod consent;
mod error;
mod fresh;
mod handover;
mod history;
mod input;
mod live;
mod logging;
mod memory;
mod onlooker;
mod origin;
mod output;
mod parameters;
mod report;
mod saved_plan;
mod status;
mod texts;
mod watcher;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Arguments;
use crate::output::Output;
use crate::status::Status;

fn main() -> ExitCode {
    memory::keep();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let mut output = Output::new(arguments.global.color);
    logging::start(&arguments, output.colors_errors());
    let status = match commands::run(&arguments, &mut output) {
        Ok(status) => status,
        Err(error) => output.error(&error),
    };
    status.into()
}

/// Help and version are answers; anything else that clap has to say is a wrong use.
fn usage(error: &clap::Error) -> ExitCode {
    // A closed pipe is no error worth a word.
    let _shown = error.print();
    if error.use_stderr() { Status::Usage.into() } else { Status::Done.into() }
}
