//! Who made an object of the host.

use serde::{Deserialize, Serialize};

/// Who bound an address, or made an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// evenkeel; only such an address may be unbound, and only such an interface brought up.
    Evenkeel,
    /// Another program or a person. It is used where a spec names it, and never changed or removed.
    Other,
}
