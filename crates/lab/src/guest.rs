//! Process 1 of a guest: makes the system ready, runs the one command, leaves its status, halts.

mod command;
mod files;
mod modules;

use std::convert::Infallible;
use std::io::Write;
use std::path::Path;

use rustix::system::{RebootCommand, reboot};

use crate::error::Error;
use crate::guest_protocol::{GuestCommand, GuestStatus};

/// Runs a guest from start to end. Never returns, because a kernel panics when process 1 does.
pub(crate) fn init(order: &Path) -> Result<Infallible, Error> {
    match GuestCommand::read(order) {
        Ok(order) => {
            let status =
                serve(&order).unwrap_or_else(|error| GuestStatus::Refused(in_words(&error)));
            if let Err(error) = status.write(&order.run) {
                say(&error);
            }
        }
        Err(error) => say(&error),
    }
    rustix::fs::sync();
    loop {
        if let Err(errno) = reboot(RebootCommand::PowerOff) {
            say(&Error::Step { what: "cannot halt".to_owned(), source: errno.into() });
        }
        std::thread::park();
    }
}

fn serve(order: &GuestCommand) -> Result<GuestStatus, Error> {
    files::make_ready(order)?;
    modules::load(&order.job.modules)?;
    command::run(order)
}

/// Writes to the console, the only output while no folder of the host can be written.
fn say(error: &Error) {
    // A console that does not work cannot be reported anywhere.
    drop(writeln!(std::io::stderr(), "lab: {}", in_words(error)));
}

/// An error and its causes in one line.
fn in_words(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
