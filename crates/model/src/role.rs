//! The role of a host in a cluster.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The part that a host has in a cluster; it decides what a spec means for the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Distributes connections: has the IPVS table and the VIPs.
    Director,
    /// Serves the connections that a director sends it: has the VIPs without announcing them.
    RealServer,
    /// Routes packets of clients to the directors: has the directors' MAC addresses as those of the VIPs.
    Gateway,
}

/// The role of a host that is no director. Once a host has had it, it does not become a director by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FormerRole {
    /// [`Role::RealServer`].
    RealServer,
    /// [`Role::Gateway`].
    Gateway,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Director, Self::RealServer, Self::Gateway];

    /// Its name on the command line and in saved plans.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Director => "director",
            Self::RealServer => "real-server",
            Self::Gateway => "gateway",
        }
    }

    /// The role of that name; `None` where there is none.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

impl FormerRole {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::RealServer, Self::Gateway];

    /// The one of that name ([`Role::as_str`]); `None` where there is none.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|former| former.role().as_str() == name)
    }

    /// The same as a role.
    pub fn role(self) -> Role {
        match self {
            Self::RealServer => Role::RealServer,
            Self::Gateway => Role::Gateway,
        }
    }

    /// What a host with that role is in a sentence: `a real server`.
    pub fn phrase(self) -> &'static str {
        match self {
            Self::RealServer => "a real server",
            Self::Gateway => "a gateway",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
