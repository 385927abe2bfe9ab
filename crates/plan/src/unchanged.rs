//! How many objects need no change.

use serde::Serialize;

/// Objects that are as they shall be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Unchanged {
    /// Services.
    pub services: usize,
    /// Real servers.
    pub real_servers: usize,
    /// VIPs.
    pub vips: usize,
}
