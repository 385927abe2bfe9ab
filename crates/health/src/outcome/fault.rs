//! What is wrong on this host.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why a probe found nothing out: something on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The process or the host has no file descriptors left.
    Descriptors,
    /// The kernel has no buffers left.
    Buffers,
    /// No memory is left.
    Memory,
    /// No local port is left for the target.
    Ports,
    /// The source address is not on this host.
    Source,
    /// A capability is missing, or a local packet rule rejects the probe.
    NotPermitted,
    /// The device of the route is down.
    LinkDown,
    /// The kernel does not have the address family or protocol.
    Unsupported,
    /// The event loop was late: the deadline passed long before it was noticed.
    Late {
        /// How long before.
        by: Duration,
    },
    /// No process could be started.
    NoProcess {
        /// The kernel's error.
        error: String,
    },
    /// The program of an `exec` check was ended by a signal that evenkeel did not send.
    Signal {
        /// The signal's number.
        signal: i32,
    },
    /// A file or program of this host that the check names cannot be used.
    Setup {
        /// What is wrong, and where.
        error: String,
    },
    /// Another local error of the kernel.
    Local {
        /// The error.
        error: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Descriptors => f.write_str("no file descriptors are left on this host"),
            Self::Buffers => f.write_str("the kernel has no buffers left"),
            Self::Memory => f.write_str("no memory is left"),
            Self::Ports => f.write_str("no local port is left for this target"),
            Self::Source => f.write_str("the source address is not on this host"),
            Self::NotPermitted => {
                f.write_str("not permitted: a capability is missing, or a packet rule rejects it")
            }
            Self::LinkDown => f.write_str("the link to the target is down"),
            Self::Unsupported => f.write_str("the kernel lacks the address family or protocol"),
            Self::Late { by } => write!(f, "the check was served {by:?} late"),
            Self::NoProcess { error } => write!(f, "cannot start a process: {error}"),
            Self::Signal { signal } => write!(f, "the program was ended by signal {signal}"),
            Self::Setup { error } | Self::Local { error } => f.write_str(error),
        }
    }
}
