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
    /// As a span: `0s`, `2m`, `59m58s`, `1h30m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Span(self.0.into()).fmt(f)
    }
}

impl Default for Drain {
    /// The default of a spec: 30 seconds.
    fn default() -> Self {
        Self(30)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_is_written_as_every_span_is() {
        for (seconds, text) in [(0, "0s"), (120, "2m"), (3_598, "59m58s"), (5_400, "1h30m")] {
            assert_eq!(Drain(seconds).to_string(), text);
        }
    }
}
