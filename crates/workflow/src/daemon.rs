//! What a use case may do beside a running daemon.

use std::io;
use std::time::Duration;

use evenkeel_control::{Answer, AskError, Client, Mode, Request};
use evenkeel_model::OwnerName;

use crate::error::WorkflowError;

/// What a use case does where a daemon may run.
#[derive(Debug, Clone)]
pub enum DaemonUse<'a> {
    /// It applies the spec at these absolute paths.
    Spec(Vec<String>),
    /// Something that is not possible while a daemon runs, described for the message.
    Nothing(&'a str),
}

/// Checks that a use case of an owner does not conflict with a running daemon of that owner: only the
/// daemon's own spec may be applied. Daemons of other owners are no obstacle.
///
/// # Errors
/// A daemon runs and enforces another spec, or does not answer.
pub fn check_no_conflict(
    daemon_use: &DaemonUse<'_>,
    owner: &OwnerName,
) -> Result<(), WorkflowError> {
    let sources = match daemon_use {
        DaemonUse::Spec(places) => places.clone(),
        DaemonUse::Nothing(_) => Vec::new(),
    };
    let answer = Client::of_owner(owner.as_str()).ask(&Request::MayApply { sources });
    match (answer, daemon_use) {
        (Ok(Answer::Refused(message)), DaemonUse::Spec(_)) => Err(WorkflowError::Watched(message)),
        (Ok(Answer::Refused(message)), DaemonUse::Nothing(what)) => Err(WorkflowError::Watched(
            format!("{what} is not possible while the daemon runs: {message}"),
        )),
        (Ok(_) | Err(AskError::NoDaemon), _) => Ok(()),
        (Err(error), _) => Err(error.into()),
    }
}

/// Whether the daemon of an owner enforces a spec in this network namespace and is not paused.
///
/// # Errors
/// A daemon runs and does not answer.
pub fn is_daemon_enforcing(owner: &OwnerName) -> Result<bool, WorkflowError> {
    let client = Client::of_owner(owner.as_str());
    let answer = match client.ask(&Request::Status) {
        // One that ends while it is asked closes the connection.
        Err(AskError::Failed(error)) if has_ended(&error) => {
            std::thread::sleep(ENDING);
            client.ask(&Request::Status)
        }
        answer => answer,
    };
    match answer {
        Ok(Answer::Status(status)) => Ok(status.mode == Mode::Enforce && status.paused.is_none()),
        Ok(_) | Err(AskError::NoDaemon) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// How long a daemon takes to end after it has closed its connections.
const ENDING: Duration = Duration::from_millis(200);

fn has_ended(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}
