//! Exit statuses, each documented in the README and in `--help`.

use std::process::ExitCode;

/// What a command's exit status says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Done, or in sync.
    Done,
    /// Something failed.
    Failed,
    /// There are changes; `plan --detailed-exitcode` only.
    Changes,
    /// Refused by a guard, or declined at the question.
    Refused,
    /// Something failed, and what was touched is as it was before.
    RolledBack,
    /// The command line is wrong (`EX_USAGE` of sysexits.h).
    Usage,
    /// The spec is wrong or not there (`EX_DATAERR`).
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
