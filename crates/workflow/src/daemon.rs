//! What a use case may do beside a running daemon.

use evenkeel_control::{Answer, AskError, Client, Mode, Request};

use crate::error::WorkflowError;

/// What a use case does where a daemon may run.
#[derive(Debug, Clone)]
pub enum DaemonUse<'a> {
    /// It applies the spec at these absolute paths.
    Spec(Vec<String>),
    /// Something that is not possible while a daemon runs, described for the message.
    Nothing(&'a str),
}

/// Checks that a use case does not conflict with a running daemon: only the daemon's own spec may be
/// applied.
///
/// # Errors
/// A daemon runs and enforces another spec, or does not answer.
pub fn check_no_conflict(daemon_use: &DaemonUse<'_>) -> Result<(), WorkflowError> {
    let sources = match daemon_use {
        DaemonUse::Spec(places) => places.clone(),
        DaemonUse::Nothing(_) => Vec::new(),
    };
    let answer = Client::of_namespace().ask(&Request::MayApply { sources });
    match (answer, daemon_use) {
        (Ok(Answer::Refused(message)), DaemonUse::Spec(_)) => Err(WorkflowError::Watched(message)),
        (Ok(Answer::Refused(message)), DaemonUse::Nothing(what)) => Err(WorkflowError::Watched(
            format!("{what} is not possible while the daemon runs: {message}"),
        )),
        (Ok(_) | Err(AskError::NoDaemon), _) => Ok(()),
        (Err(error), _) => Err(error.into()),
    }
}

/// Whether a daemon enforces a spec in this network namespace and is not paused.
///
/// # Errors
/// A daemon runs and does not answer.
pub fn is_daemon_enforcing() -> Result<bool, WorkflowError> {
    match Client::of_namespace().ask(&Request::Status) {
        Ok(Answer::Status(status)) => Ok(status.mode == Mode::Enforce && status.paused.is_none()),
        Ok(_) | Err(AskError::NoDaemon) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
