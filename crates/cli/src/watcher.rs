//! The running watch of this network namespace, as other commands see it.

use std::path::{Path, PathBuf};

use evenkeel_watch::control::{Answer, AskError, Request, ask};

use crate::args::Global;
use crate::error::Error;
use crate::live::enter;
use crate::output::Output;
use crate::status::Status;

/// Asks it, in the network namespace of `--netns`.
pub(crate) fn question(request: &Request, global: &Global) -> Result<Answer, Error> {
    enter(global)?;
    Ok(ask(request)?)
}

/// Has it do something, and shows what it says.
pub(crate) fn order(
    request: Request,
    global: &Global,
    output: &mut Output,
) -> Result<Status, Error> {
    match question(&request, global)? {
        Answer::Refused(words) => {
            output.refusal(&words);
            Ok(Status::Refused)
        }
        Answer::Done(words) => {
            output.answer(format_args!("{words}.\n"))?;
            Ok(Status::Done)
        }
        Answer::Status(_) => Ok(Status::Done),
    }
}

/// What is to be done where a watch may run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Beside<'a> {
    /// The spec at those places is applied.
    Spec(&'a [PathBuf]),
    /// What no watch goes along with, in a few words.
    Nothing(&'a str),
}

/// Whether that may be done: beside a watch, only its own spec is applied.
///
/// # Errors
/// A watch runs and keeps the host on something else.
pub(crate) fn check_alone(beside: Beside<'_>) -> Result<(), Error> {
    let sources = match beside {
        Beside::Spec(places) => absolute(places),
        Beside::Nothing(_) => Vec::new(),
    };
    match (ask(&Request::MayApply { sources }), beside) {
        (Ok(Answer::Refused(words)), Beside::Spec(_)) => Err(Error::Watched(words)),
        (Ok(Answer::Refused(words)), Beside::Nothing(what)) => {
            Err(Error::Watched(format!("{what} does not go along with a watch: {words}")))
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
