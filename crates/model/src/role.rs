//! The role of a host in a cluster.

use std::fmt;

/// The part that a host has in a cluster; it decides what a spec means for the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Distributes connections: has the IPVS table and the VIPs.
    Director,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 1] = [Self::Director];

    /// Its name on the command line and in saved plans.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Director => "director",
        }
    }

    /// The role of that name; `None` where there is none.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
