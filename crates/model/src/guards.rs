//! The thresholds of guards, which refuse plans that look like a mistake.

use serde::{Deserialize, Serialize};

/// From which numbers on a guard refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guards {
    /// `mass-delete`: the share of the live services, and of the live real servers, that must be
    /// left, in percent; 0 refuses nothing.
    pub mass_delete: u8,
    /// `mass-delete`: with fewer live ones than this, deleting most of them is everyday work.
    pub mass_delete_from: u32,
    /// `unbind-in-use`: how many connections through a VIP may break when it is unbound.
    pub unbind_in_use: u32,
}

impl Default for Guards {
    fn default() -> Self {
        Self { mass_delete: 50, mass_delete_from: 4, unbind_in_use: 0 }
    }
}
