//! The client of the daemon in this network namespace.

use std::path::{Path, PathBuf};

use evenkeel_control::{Answer, AskError, Client, Request, Subscription};

use crate::args::GlobalArgs;
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::host_session::enter;
use crate::output::Output;

/// Sends a request to the daemon in the network namespace of `--netns`.
pub(crate) fn query(request: &Request, global: &GlobalArgs) -> Result<Answer, Error> {
    enter(global)?;
    Ok(Client::of_namespace().ask(request)?)
}

/// Subscribes to the events of the daemon in the network namespace of `--netns`.
pub(crate) fn subscribe(global: &GlobalArgs) -> Result<Subscription, Error> {
    enter(global)?;
    Ok(Client::of_namespace().subscribe()?)
}

/// Sends a command to the daemon and prints its answer.
pub(crate) fn send_command(
    request: Request,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    match query(&request, global)? {
        Answer::Refused(message) => {
            output.refusal(&message);
            Ok(CommandExit::Refused)
        }
        Answer::Done(message) => {
            output.answer(format_args!("{message}.\n"))?;
            Ok(CommandExit::Done)
        }
        Answer::Status(_) => Ok(CommandExit::Done),
    }
}

/// What a command does where a daemon may run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum DaemonUse<'a> {
    /// It applies the spec at these paths.
    Spec(&'a [PathBuf]),
    /// Something that is not possible while a daemon runs, described for the message.
    Nothing(&'a str),
}

/// Checks that a command does not conflict with a running daemon: only the daemon's own spec may be
/// applied.
///
/// # Errors
/// A daemon runs and enforces another spec.
pub(crate) fn check_no_conflict(daemon_use: DaemonUse<'_>) -> Result<(), Error> {
    let sources = match daemon_use {
        DaemonUse::Spec(places) => absolute(places),
        DaemonUse::Nothing(_) => Vec::new(),
    };
    let answer = Client::of_namespace().ask(&Request::MayApply { sources });
    match (answer, daemon_use) {
        (Ok(Answer::Refused(message)), DaemonUse::Spec(_)) => Err(Error::Watched(message)),
        (Ok(Answer::Refused(message)), DaemonUse::Nothing(what)) => {
            Err(Error::Watched(format!("{what} is not possible while the daemon runs: {message}")))
        }
        (Ok(_) | Err(AskError::NoDaemon), _) => Ok(()),
        (Err(error), _) => Err(error.into()),
    }
}

/// The paths of a spec in the form in which the daemon reports and compares them.
pub(crate) fn absolute(places: &[PathBuf]) -> Vec<String> {
    // Symbolic links are not resolved: their targets may be replaced at any time.
    let absolute = |place: &PathBuf| match place.as_path() == Path::new("-") {
        true => place.clone(),
        false => std::path::absolute(place).unwrap_or_else(|_| place.clone()),
    };
    places.iter().map(|place| absolute(place).display().to_string()).collect()
}
