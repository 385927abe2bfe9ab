//! Errors that end a command: what was wrong, what caused it, and what to do.

use std::io;
use std::sync::Arc;

use evenkeel_control::{AskError, EndReason, LockError};
use evenkeel_engine::{JournalError, KernelError, MissingCapabilities, Unconfirmed};
use evenkeel_host::TooFewDescriptors;
use evenkeel_plan::Overlap;
use evenkeel_source::SourceError;
use evenkeel_spec::Problems;
use evenkeel_watch::{BindError, DaemonError};
use evenkeel_workflow::{HealthProblem, PlanFileError, SavedPlanError, WorkflowError};
use thiserror::Error;

use crate::exit_code::CommandExit;

/// Why a command failed.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// A spec is invalid.
    #[error("the spec is wrong")]
    BadSpec(Box<BadSpec>),
    /// The texts of a spec cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The file of a saved plan was not read, not written, or is not applied.
    #[error(transparent)]
    PlanFile(#[from] PlanFileError),
    /// The command line is contradictory or incomplete.
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Another process is changing this network namespace, or the lock cannot be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// An apply is pending.
    #[error(transparent)]
    Unconfirmed(#[from] Unconfirmed),
    /// The command needs capabilities that this process does not have.
    #[error(transparent)]
    NotPermitted(#[from] MissingCapabilities),
    /// The network namespace cannot be identified or entered.
    #[error(transparent)]
    Namespace(evenkeel_host::Error),
    /// The addresses of this host, which decide its role, cannot be read.
    #[error("the role of this host cannot be determined: {0}")]
    Role(String),
    /// The spec overlaps with what another owner has in force.
    #[error(transparent)]
    Overlap(Box<Overlap>),
    /// No apply is pending.
    #[error("no apply is waiting for confirmation")]
    NothingPending,
    /// The process that would roll back an apply with --confirm did not start.
    #[error("cannot start the watchdog that --confirm needs")]
    Watchdog(#[source] io::Error),
    /// An apply was rolled back, but the journal still records it as pending.
    #[error("the unconfirmed apply was rolled back, but the journal could not be updated")]
    Unrecorded(#[source] JournalError),
    /// The journal of a pending apply could not be updated after its last step.
    #[error("the apply was made, but the journal could not be updated")]
    PendingNotUpdated(#[source] Arc<JournalError>),
    /// The process cannot listen for signals.
    #[error("cannot listen for Ctrl-C")]
    Signal(#[source] io::Error),
    /// A running daemon enforces another spec.
    #[error("{0}")]
    Watched(String),
    /// The daemon does not answer, or there is none.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The events of `status --follow` are incomplete.
    #[error("the daemon ended the output of its events: {}", EndReason::TooSlow)]
    MissedEvents,
    /// The daemon's endpoint cannot be bound.
    #[error("cannot listen on {address}")]
    Listen {
        address: String,
        #[source]
        source: io::Error,
    },
    /// The daemon cannot start, or had to stop.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The process may open fewer files than a change needs.
    #[error(transparent)]
    Descriptors(#[from] TooFewDescriptors),
    /// The answer to a question cannot be read from stdin.
    #[error("cannot read the answer")]
    Prompt(#[source] io::Error),
    /// The scope of a command is that of a spec, and none is known.
    #[error("{0}")]
    NoSpec(String),
    /// The health checks cannot be made.
    #[error(transparent)]
    Health(#[from] HealthProblem),
    /// The output cannot be written to stdout.
    #[error("cannot write the answer")]
    Output(#[source] io::Error),
}

/// What is wrong with a spec.
#[derive(Debug)]
pub(crate) struct BadSpec {
    pub(crate) problems: Problems,
    /// The problems as text, with excerpts of the spec.
    pub(crate) rendered: String,
}

impl From<SavedPlanError> for Error {
    fn from(error: SavedPlanError) -> Self {
        Self::PlanFile(error.into())
    }
}

impl From<WorkflowError> for Error {
    fn from(error: WorkflowError) -> Self {
        match error {
            WorkflowError::Kernel(error) => error.into(),
            WorkflowError::Journal(error) => error.into(),
            WorkflowError::Lock(error) => error.into(),
            WorkflowError::Unconfirmed(error) => error.into(),
            WorkflowError::NotPermitted(error) => error.into(),
            WorkflowError::UnknownSelection(unknown) => Self::Usage(unknown.to_string()),
            WorkflowError::OutOfScope { .. } => Self::Usage(error.to_string()),
            WorkflowError::NoSpec | WorkflowError::SpecUnavailable(_) => {
                Self::NoSpec(error.to_string())
            }
            WorkflowError::Overlap(overlap) => Self::Overlap(overlap),
            WorkflowError::NothingPending => Self::NothingPending,
            WorkflowError::Watchdog(error) => Self::Watchdog(error),
            WorkflowError::Unrecorded(error) => Self::Unrecorded(error),
            WorkflowError::Watched(message) => Self::Watched(message),
            WorkflowError::Ask(error) => error.into(),
            WorkflowError::Health(error) => Self::Health(error),
            WorkflowError::SavedPlan(error) => error.into(),
        }
    }
}

impl Error {
    /// The exit status of the command.
    pub(crate) fn status(&self) -> CommandExit {
        match self {
            Self::BadSpec(_) | Self::Source(_) => CommandExit::BadSpec,
            Self::Usage(_) | Self::NoSpec(_) => CommandExit::Usage,
            Self::PlanFile(PlanFileError::Refused(_)) => CommandExit::Refused,
            Self::Lock(LockError::Held(_)) => CommandExit::LockHeld,
            Self::Daemon(DaemonError::Control(BindError::Taken(_))) => CommandExit::LockHeld,
            Self::Unconfirmed(_)
            | Self::Overlap(_)
            | Self::NothingPending
            | Self::Watched(_)
            | Self::Ask(AskError::Refused(_)) => CommandExit::Refused,
            Self::NotPermitted(_)
            | Self::Lock(LockError::NotPermitted)
            | Self::Kernel(KernelError::NotPermitted { .. })
            | Self::Namespace(evenkeel_host::Error::NotPermitted { .. }) => {
                CommandExit::NotPermitted
            }
            Self::Kernel(_)
            | Self::Journal(_)
            | Self::PlanFile(_)
            | Self::Lock(LockError::Failed(_))
            | Self::Namespace(_)
            | Self::Role(_)
            | Self::Watchdog(_)
            | Self::Health(_)
            | Self::PendingNotUpdated(_)
            | Self::Unrecorded(_)
            | Self::Ask(_)
            | Self::MissedEvents
            | Self::Listen { .. }
            | Self::Daemon(_)
            | Self::Descriptors(_)
            | Self::Signal(_)
            | Self::Prompt(_)
            | Self::Output(_) => CommandExit::Failed,
        }
    }

    /// What the user can do; `None` where that is not known.
    pub(crate) fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Source(SourceError::Unreadable { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                "name a file, a directory with *.yaml files, or `-` for stdin".to_owned()
            }
            Self::Source(SourceError::NotRegular { .. }) => {
                "name a regular file; a pipe without a name, such as `<(...)`, or `-` for stdin is \
                 read too"
                    .to_owned()
            }
            Self::PlanFile(PlanFileError::Unreadable { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                "name a file that `evenkeel plan --out FILE` wrote".to_owned()
            }
            Self::Namespace(evenkeel_host::Error::Io { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                "`ip netns` lists the names that --netns takes".to_owned()
            }
            Self::PlanFile(PlanFileError::Refused(_)) => {
                "nothing was changed; make the plan again with `evenkeel plan --out FILE`, and \
                 review it"
                    .to_owned()
            }
            Self::PendingNotUpdated(_) => {
                "its watchdog rolls it back; make the state directory writable".to_owned()
            }
            Self::Source(SourceError::NoSpecInDirectory { .. }) => {
                "an empty directory does not count as an empty spec; put a spec there or name \
                 another path"
                    .to_owned()
            }
            Self::Kernel(KernelError::NotPermitted { capability, .. }) => format!(
                "run as root, or grant {capability} in the initial user namespace; \
                 `plan --live FILE` and `plan --live none` need no privileges"
            ),
            Self::Kernel(KernelError::NoIpvs(_)) => {
                "load the module with `modprobe ip_vs`; in a container, on the host; if the \
                 kernel has no such module, install one that does"
                    .to_owned()
            }
            Self::Journal(error) => format!("nothing was changed; {}", error.remedy()),
            Self::Lock(LockError::Held(_)) => {
                "nothing was changed; try again when it has ended".to_owned()
            }
            Self::Lock(LockError::NotPermitted) => {
                "nothing was changed; run as root, or grant CAP_NET_ADMIN".to_owned()
            }
            Self::Unconfirmed(_) => "nothing was changed".to_owned(),
            Self::Overlap(overlap) => format!("nothing was changed; {}", overlap.remedy()),
            Self::Watched(_) => {
                "nothing was changed; edit the files that the daemon follows, or stop it first"
                    .to_owned()
            }
            Self::Ask(AskError::NoDaemon) => {
                "start it with `evenkeel watch`; use --netns for a daemon in another namespace"
                    .to_owned()
            }
            Self::MissedEvents => {
                "run it again; if its output goes through a pipe, the reader has to keep up"
                    .to_owned()
            }
            Self::Ask(AskError::OtherVersion(_)) => {
                "restart the daemon, so that both are of the same version of evenkeel".to_owned()
            }
            Self::Descriptors(_) | Self::Daemon(DaemonError::Descriptors(_)) => {
                "nothing was changed; raise the limit of open files: `ulimit -n`, or `LimitNOFILE=` of the \
                 unit"
                    .to_owned()
            }
            Self::Listen { .. } => {
                "nothing was changed; name another address with --listen, or `--listen none`"
                    .to_owned()
            }
            Self::NotPermitted(_) => {
                "nothing was changed; run as root, or grant the missing capability".to_owned()
            }
            Self::NoSpec(_) => {
                "nothing was changed; name the spec whose scope counts with --spec".to_owned()
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_or_namespace_has_a_hint() {
        let source = || io::Error::from(io::ErrorKind::NotFound);
        let path = "nosuch".into();
        let plan = PlanFileError::Unreadable { path, source: source() };
        assert!(Error::from(plan).hint().is_some_and(|hint| hint.contains("plan --out FILE")));
        let entered = evenkeel_host::Namespace::enter("nosuch").expect_err("there is none");
        let hint = Error::Namespace(entered).hint();
        assert!(hint.is_some_and(|hint| hint.contains("`ip netns`")));
    }
}
