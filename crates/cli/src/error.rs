//! Errors as they end a command: what was wrong, what caused it, and what to do.

use std::io;
use std::path::PathBuf;

use evenkeel_engine::{JournalError, KernelError, LockError, MissingCapabilities, Unconfirmed};
use evenkeel_watch::DaemonError;
use evenkeel_watch::control::{AskError, BindError};
use thiserror::Error;

use crate::exit_code::Status;
use crate::saved_plan::SavedPlanError;

/// Why a command could not do what it was asked to.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// A spec cannot be read. The text was rendered with its places.
    #[error("{0}")]
    BadSpec(String),
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A directory has no spec in it.
    #[error("there is no *.yaml or *.yml file in {}", path.display())]
    NoSpecInDirectory { path: PathBuf },
    /// A saved plan cannot be read.
    #[error("cannot read the saved plan {}", path.display())]
    UnreadablePlan {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Unwritable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A saved plan is not applied.
    #[error(transparent)]
    SavedPlanError(#[from] SavedPlanError),
    /// The command line asks for something that does not go together.
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Someone else is changing this network namespace, or nobody can tell.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// An apply waits for its confirmation.
    #[error(transparent)]
    Unconfirmed(#[from] Unconfirmed),
    /// What is to be done takes capabilities that this process does not have.
    #[error(transparent)]
    NotPermitted(#[from] MissingCapabilities),
    /// The network namespace cannot be told or entered.
    #[error(transparent)]
    Namespace(evenkeel_host::Error),
    /// No apply waits.
    #[error("no apply waits for its confirmation")]
    NothingPending,
    /// An apply with --confirm has nobody to take it back.
    #[error("cannot start the watchdog that --confirm needs")]
    Watchdog(#[source] io::Error),
    /// What was taken back is still on record as waiting.
    #[error("what waited for its confirmation is taken back, but that cannot be written down")]
    Unrecorded(#[source] JournalError),
    /// What was applied cannot be marked as waiting for its confirmation.
    #[error("the apply cannot be made to wait for its confirmation")]
    PendingNotUpdated(#[source] JournalError),
    /// The process cannot listen for signals.
    #[error("cannot listen for Ctrl-C")]
    Signal(#[source] io::Error),
    /// A running watch keeps this host on something else.
    #[error("{0}")]
    Watched(String),
    /// The running watch does not answer, or there is none.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The endpoint of the watch cannot be had.
    #[error("cannot listen on {address}")]
    Listen {
        address: String,
        #[source]
        source: io::Error,
    },
    /// The watch cannot begin, or had to end.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The answer cannot be written to stdout.
    #[error("cannot write the answer")]
    Output(#[source] io::Error),
}

impl Error {
    /// The exit status it ends with.
    pub(crate) fn status(&self) -> Status {
        match self {
            Self::BadSpec(_) | Self::Unreadable { .. } | Self::NoSpecInDirectory { .. } => {
                Status::BadSpec
            }
            Self::Usage(_) => Status::Usage,
            Self::SavedPlanError(_) => Status::Refused,
            Self::Lock(LockError::Held(_)) => Status::LockHeld,
            Self::Daemon(DaemonError::Control(BindError::Taken(_))) => Status::LockHeld,
            Self::Unconfirmed(_) | Self::NothingPending | Self::Watched(_) => Status::Refused,
            Self::NotPermitted(_)
            | Self::Kernel(KernelError::NotPermitted { .. })
            | Self::Namespace(evenkeel_host::Error::NotPermitted { .. }) => Status::NotPermitted,
            Self::Kernel(_)
            | Self::Journal(_)
            | Self::UnreadablePlan { .. }
            | Self::Unwritable { .. }
            | Self::Lock(LockError::Failed(_))
            | Self::Namespace(_)
            | Self::Watchdog(_)
            | Self::PendingNotUpdated(_)
            | Self::Unrecorded(_)
            | Self::Ask(_)
            | Self::Listen { .. }
            | Self::Daemon(_)
            | Self::Signal(_)
            | Self::Output(_) => Status::Failed,
        }
    }

    /// What to do about it, where that is known.
    pub(crate) fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unreadable { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "name a file, a directory with *.yaml files, or `-` for stdin".to_owned()
            }
            Self::UnreadablePlan { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "name a file that `evenkeel plan --out FILE` wrote".to_owned()
            }
            Self::Namespace(evenkeel_host::Error::Io { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                "`ip netns` lists the names that --netns takes".to_owned()
            }
            Self::SavedPlanError(_) => {
                "nothing was changed; make the plan again with `evenkeel plan --out FILE`, and \
                 review it"
                    .to_owned()
            }
            Self::PendingNotUpdated(_) => {
                "its watchdog takes back what was applied; make the state directory writable"
                    .to_owned()
            }
            Self::NoSpecInDirectory { .. } => {
                "an empty directory is never taken for an empty spec; put a spec there or name \
                 another place"
                    .to_owned()
            }
            Self::Kernel(KernelError::NotPermitted { capability, .. }) => format!(
                "run as root, or give the process {capability} in the initial user namespace; \
                 `plan --live FILE` and `plan --live none` need no privileges"
            ),
            Self::Kernel(KernelError::NoIpvs(_)) => {
                "load the module with `modprobe ip_vs`; in a container, on the host; if the \
                 kernel has no such module, install one that does"
                    .to_owned()
            }
            Self::Journal(error) => format!("nothing was changed; {}", error.remedy()),
            Self::Lock(LockError::Held(_)) => {
                "nothing was changed; run this again when it has ended".to_owned()
            }
            Self::Unconfirmed(_) => "nothing was changed".to_owned(),
            Self::Watched(_) => {
                "nothing was changed; change the files that it follows, or stop it first".to_owned()
            }
            Self::Ask(AskError::NoDaemon) => {
                "`evenkeel watch` is one; with --netns it is asked in that namespace".to_owned()
            }
            Self::Listen { .. } => {
                "nothing was changed; name another address with --listen, or `--listen none`"
                    .to_owned()
            }
            Self::NotPermitted(_) => {
                "nothing was changed; run as root, or give the process that".to_owned()
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_comes_with_what_to_name_instead() {
        let source = || io::Error::from(io::ErrorKind::NotFound);
        let plan = Error::UnreadablePlan { path: "nosuch".into(), source: source() };
        assert!(plan.hint().is_some_and(|hint| hint.contains("plan --out FILE")));
        let entered = evenkeel_host::Namespace::enter("nosuch").expect_err("there is none");
        let hint = Error::Namespace(entered).hint();
        assert!(hint.is_some_and(|hint| hint.contains("`ip netns`")));
    }
}
