//! How long real servers drain.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Span;

/// How long a removed real server may keep its connections, in seconds; 0 deletes it at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Drain(pub u32);

impl Drain {
    /// Deleted at once, with its connections.
    pub const NONE: Self = Self(0);
}

impl fmt::Display for Drain {
    /// As a [`Span`]: `0s`, `1m30s`, `1h`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Span(u64::from(self.0)).fmt(f)
    }
}

impl Default for Drain {
    /// The default of a spec: 30 seconds.
    fn default() -> Self {
        Self(30)
    }
}
