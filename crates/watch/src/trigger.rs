//! What wakes the keeper. Each reason leads to the same pass; it is told and counted, nothing more.

use serde::{Deserialize, Serialize};

/// Why a pass is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The daemon began.
    Start,
    /// The files of the spec changed.
    Spec,
    /// An address or an interface changed (rtnetlink).
    Address,
    /// The resync timer: IPVS tells nobody of its changes.
    Resync,
    /// Something failed, or was kept back, and its time has come.
    Retry,
    /// A drain goes on.
    Drain,
    /// SIGHUP, or `systemctl reload`.
    Signal,
    /// `evenkeel approve`, `pause` or `resume`.
    Command,
}

impl Trigger {
    /// The word in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Spec => "spec",
            Self::Address => "address",
            Self::Resync => "resync",
            Self::Retry => "retry",
            Self::Drain => "drain",
            Self::Signal => "signal",
            Self::Command => "command",
        }
    }
}
