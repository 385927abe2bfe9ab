//! Exit statuses; the README and `--help` document each.

use std::process::ExitCode;

/// The exit status of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommandExit {
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

impl From<CommandExit> for ExitCode {
    fn from(status: CommandExit) -> Self {
        Self::from(match status {
            CommandExit::Done => 0,
            CommandExit::Failed => 1,
            CommandExit::Changes => 2,
            CommandExit::Refused => 3,
            CommandExit::RolledBack => 4,
            CommandExit::Usage => 64,
            CommandExit::BadSpec => 65,
            CommandExit::LockHeld => 75,
            CommandExit::NotPermitted => 77,
        })
    }
}
