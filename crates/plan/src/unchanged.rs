//! How many objects need no change.

use serde::Serialize;

/// The number of objects that match the desired state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Unchanged {
    /// Services.
    pub services: usize,
    /// Real servers.
    pub real_servers: usize,
    /// VIPs.
    pub vips: usize,
}
