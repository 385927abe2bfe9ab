//! How long real servers drain.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How long a removed real server may keep its connections, in seconds; 0 deletes it at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Drain(pub u32);

impl Drain {
    /// Deleted at once, with its connections.
    pub const NONE: Self = Self(0);
}

impl fmt::Display for Drain {
    /// As specs write it: `0s`, `90s`, `2m`, `1h`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0s"),
            hours if hours % 3600 == 0 => write!(f, "{}h", hours / 3600),
            minutes if minutes % 60 == 0 => write!(f, "{}m", minutes / 60),
            seconds => write!(f, "{seconds}s"),
        }
    }
}

impl Default for Drain {
    /// The default of a spec: 30 seconds.
    fn default() -> Self {
        Self(30)
    }
}
