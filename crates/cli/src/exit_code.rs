//! Exit statuses; the README and `--help` document each.

use std::process::ExitCode;

/// The exit status of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Done, or in sync.
    Done,
    /// Something failed.
    Failed,
    /// There are changes; `plan --detailed-exitcode` only.
    Changes,
    /// Refused by a guard or by a pending apply, declined at the prompt, or an outdated saved plan.
    Refused,
    /// Something failed, and everything touched was restored.
    RolledBack,
    /// The command line is wrong (`EX_USAGE` of sysexits.h).
    Usage,
    /// The spec is invalid or missing (`EX_DATAERR`).
    BadSpec,
    /// Another process is changing the network namespace (`EX_TEMPFAIL`): try again.
    LockHeld,
    /// A capability is missing (`EX_NOPERM`).
    NotPermitted,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(match status {
            Status::Done => 0,
            Status::Failed => 1,
            Status::Changes => 2,
            Status::Refused => 3,
            Status::RolledBack => 4,
            Status::Usage => 64,
            Status::BadSpec => 65,
            Status::LockHeld => 75,
            Status::NotPermitted => 77,
        })
    }
}
