//! Why a pass could not be made.

use std::error::Error;

use evenkeel_engine::error_chain;

/// Why a pass could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PassError {
    /// Another process is changing the namespace.
    Locked(String),
    /// Anything else, as a message.
    Other(String),
}

impl PassError {
    pub(super) fn of(error: &dyn Error) -> Self {
        Self::Other(error_chain(error))
    }
}

/// Why a pass could not be made, as far as it determines the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PassProblem {
    /// Another process has the lock.
    Locked,
    /// Anything else, so many times in a row.
    Failed(u32),
}
