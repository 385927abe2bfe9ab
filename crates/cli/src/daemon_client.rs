//! The running watch of this network namespace, as other commands see it.

use std::path::{Path, PathBuf};

use evenkeel_watch::control::{Answer, AskError, Request, ask};

use crate::args::Global;
use crate::error::Error;
use crate::exit_code::Status;
use crate::host_session::enter;
use crate::output::Output;

/// Asks it, in the network namespace of `--netns`.
pub(crate) fn query(request: &Request, global: &Global) -> Result<Answer, Error> {
    enter(global)?;
    Ok(ask(request)?)
}

/// Has it do something, and shows what it says.
pub(crate) fn send_command(
    request: Request,
    global: &Global,
    output: &mut Output,
) -> Result<Status, Error> {
    match query(&request, global)? {
        Answer::Refused(message) => {
            output.refusal(&message);
            Ok(Status::Refused)
        }
        Answer::Done(message) => {
            output.answer(format_args!("{message}.\n"))?;
            Ok(Status::Done)
        }
        Answer::Status(_) => Ok(Status::Done),
    }
}

/// What is to be done where a watch may run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum DaemonUse<'a> {
    /// The spec at those places is applied.
    Spec(&'a [PathBuf]),
    /// What no watch goes along with, in a few words.
    Nothing(&'a str),
}

/// Whether that may be done: beside a watch, only its own spec is applied.
///
/// # Errors
/// A watch runs and keeps the host on something else.
pub(crate) fn check_no_conflict(daemon_use: DaemonUse<'_>) -> Result<(), Error> {
    let sources = match daemon_use {
        DaemonUse::Spec(places) => absolute(places),
        DaemonUse::Nothing(_) => Vec::new(),
    };
    match (ask(&Request::MayApply { sources }), daemon_use) {
        (Ok(Answer::Refused(message)), DaemonUse::Spec(_)) => Err(Error::Watched(message)),
        (Ok(Answer::Refused(message)), DaemonUse::Nothing(what)) => {
            Err(Error::Watched(format!("{what} does not go along with a watch: {message}")))
        }
        (Ok(_) | Err(AskError::NoDaemon), _) => Ok(()),
        (Err(error), _) => Err(error.into()),
    }
}

/// The places of a spec as a watch tells and compares them.
pub(crate) fn absolute(places: &[PathBuf]) -> Vec<String> {
    // Symbolic links stay: what they lead to may be replaced at any time.
    let absolute = |place: &PathBuf| match place.as_path() == Path::new("-") {
        true => place.clone(),
        false => std::path::absolute(place).unwrap_or_else(|_| place.clone()),
    };
    places.iter().map(|place| absolute(place).display().to_string()).collect()
}
