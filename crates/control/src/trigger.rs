//! What triggers a pass. Every trigger leads to the same pass; the trigger is only reported.

use serde::{Deserialize, Serialize};

/// Why a pass is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The daemon started.
    Start,
    /// The files of the spec changed.
    Spec,
    /// An address or an interface changed (rtnetlink).
    Address,
    /// The resync timer: IPVS sends no notifications of its changes.
    Resync,
    /// The back-off of something that failed or was held back has ended.
    Retry,
    /// The check of a running drain is due.
    Drain,
    /// A verdict of the health checks changed, or what follows from one is due.
    Health,
    /// SIGHUP, or `systemctl reload`.
    Signal,
    /// `evenkeel approve`, `pause` or `resume`.
    Command,
}

impl Trigger {
    /// Returns the name in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Spec => "spec",
            Self::Address => "address",
            Self::Resync => "resync",
            Self::Retry => "retry",
            Self::Drain => "drain",
            Self::Health => "health",
            Self::Signal => "signal",
            Self::Command => "command",
        }
    }
}
