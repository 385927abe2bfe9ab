//! What the daemon is asked and told over its control socket, and by whom.
//!
//! The socket is an abstract unix socket of a fixed name, as the engine's lock is, and for the same
//! reasons: it reaches as far as the network namespace that the daemon keeps, it is the sign that one
//! is there, and it is gone with it. Since anyone in the namespace can take the name, each side looks
//! at whom it has before it: the daemon answers root and its own user, the others ask nobody else.
//!
//! A line of JSON goes each way.

mod client;
mod server;

use serde::{Deserialize, Serialize};

use crate::Status;

pub use client::{AskError, ask};
pub use server::{BindError, Command, Socket};

/// The name, without the zero byte that makes it abstract.
const NAME: &[u8] = b"evenkeel/watch";

/// A question or an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How are you?
    Status,
    /// Let the held plan of that id through.
    Approve {
        /// As [`crate::Held::id`].
        id: String,
    },
    /// Change nothing for so many seconds; for ever without a number.
    Pause {
        /// Seconds.
        seconds: Option<u64>,
    },
    /// Go on.
    Resume,
    /// May someone apply the spec at these places? Absolute paths, in their order.
    MayApply {
        /// The places.
        sources: Vec<String>,
    },
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// How it is.
    Status(Box<Status>),
    /// It is done, in words.
    Done(String),
    /// It is not done, in words that say why.
    Refused(String),
}

#[cfg(test)]
mod tests;
