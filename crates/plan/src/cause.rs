//! Why a step is needed: the spec changed, or the host did.

use serde::{Deserialize, Serialize};

/// Why a step is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The spec asks for something else than the last applied one did.
    SpecChanged,
    /// The spec asks for what it asked for before, and the host no longer has it.
    Drift,
}
