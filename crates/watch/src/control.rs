//! The control socket: commands and queries to the running daemon.
//!
//! It is an abstract unix socket with a fixed name, like the engine's lock, and for the same reasons:
//! its reach is the network namespace that the daemon manages, its existence shows that a daemon runs,
//! and the kernel removes it with the process. Since any process in the namespace can bind the name,
//! each side checks its peer: the daemon answers root and its own user only, and clients trust a
//! daemon of root or of their own user only.
//!
//! The protocol is one line of JSON in each direction.

mod client;
mod server;

use serde::{Deserialize, Serialize};

use crate::status::Status;

pub use client::{AskError, ask};
pub use server::{BindError, Command, Socket};

/// The name, without the zero byte that makes it abstract.
const NAME: &[u8] = b"evenkeel/watch";

/// A query or a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Returns the status.
    Status,
    /// Lets the held plan with this id be applied.
    Approve {
        /// As [`crate::Held::id`].
        id: String,
    },
    /// Pauses the daemon: it changes nothing for this long.
    Pause {
        /// Seconds; `None` until [`Self::Resume`].
        seconds: Option<u64>,
    },
    /// Ends the pause.
    Resume,
    /// Asks whether the spec at these paths may be applied beside the daemon.
    MayApply {
        /// Absolute paths, in order.
        sources: Vec<String>,
    },
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The daemon's status.
    Status(Box<Status>),
    /// The request was executed; a message for the user.
    Done(String),
    /// The request was refused; the reason.
    Refused(String),
}

#[cfg(test)]
mod tests;
