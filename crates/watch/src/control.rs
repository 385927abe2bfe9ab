//! What the daemon is asked and told over its control socket, and by whom.

use serde::{Deserialize, Serialize};

use crate::Status;

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
