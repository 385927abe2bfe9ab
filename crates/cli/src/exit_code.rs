//! Exit statuses; docs/commands.md and `--help` describe each.

use std::process::ExitCode;

use evenkeel_control::{Mode, State};

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
    /// `status`: no daemon runs.
    NotRunning,
    /// `status`: the daemon has made no pass yet.
    Starting,
    /// `status`: the daemon only observes, and the host is as its spec asks.
    Observing,
    /// `status`: the daemon only observes, and the host differs from its spec.
    Drifted,
    /// `status`: the daemon is paused.
    Paused,
    /// `status`: a guard holds a plan.
    Held,
    /// `status`: the newest spec or a part of it is not in force.
    Degraded,
}

impl CommandExit {
    /// The number that the process ends with.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Changes => 2,
            Self::Refused => 3,
            Self::RolledBack => 4,
            // Those of `status` alone. A monitor can tell them from every failure to ask.
            Self::NotRunning => 10,
            Self::Starting => 11,
            Self::Observing => 12,
            Self::Drifted => 13,
            Self::Paused => 14,
            Self::Held => 15,
            Self::Degraded => 16,
            Self::Usage => 64,
            Self::BadSpec => 65,
            Self::LockHeld => 75,
            Self::NotPermitted => 77,
        }
    }

    /// The name in documents.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Changes => "changes",
            Self::Refused => "refused",
            Self::RolledBack => "rolled_back",
            Self::NotRunning => "not_running",
            Self::Starting => "starting",
            Self::Observing => "observing",
            Self::Drifted => "drifted",
            Self::Paused => "paused",
            Self::Held => "held",
            Self::Degraded => "degraded",
            Self::Usage => "usage",
            Self::BadSpec => "bad_spec",
            Self::LockHeld => "lock_held",
            Self::NotPermitted => "not_permitted",
        }
    }

    /// The exit status of `status` for a daemon: [`Self::Done`] only if it keeps the host on its spec
    /// and has nothing left to do but to wait for drains.
    pub(crate) fn of_daemon(mode: Mode, state: State) -> Self {
        match (state, mode) {
            (State::Ok, Mode::Enforce) => Self::Done,
            (State::Ok, Mode::Observe) => Self::Observing,
            (State::Starting, _) => Self::Starting,
            (State::Drifted, _) => Self::Drifted,
            (State::Paused, _) => Self::Paused,
            (State::Held, _) => Self::Held,
            (State::Degraded, _) => Self::Degraded,
        }
    }
}

impl From<CommandExit> for ExitCode {
    fn from(status: CommandExit) -> Self {
        Self::from(status.code())
    }
}
