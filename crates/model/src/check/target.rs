//! What is probed: an address and a port.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// A target of checks. All services that share a real server share its target, and with it its probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Target {
    /// The address.
    pub address: IpAddr,
    /// The port of the real server; a check may have another. 0 of servers of fwmark services, which
    /// have none: a check that needs a port then names it.
    pub port: u16,
}

impl Target {
    /// The target with another port.
    pub fn at_port(self, port: u16) -> Self {
        Self { port, ..self }
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self { address: address.ip(), port: address.port() }
    }
}

impl From<Target> for SocketAddr {
    fn from(target: Target) -> Self {
        Self::new(target.address, target.port)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::from(*self).fmt(f)
    }
}
