//! VIPs: addresses that clients use, and where they are bound.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::Family;

/// An address on an interface: the identity of a binding. The same address may be bound on
/// several interfaces of a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Binding {
    /// The VIP.
    pub address: IpAddr,
    /// The interface's name.
    pub interface: Box<str>,
}

/// What a spec says of a binding beyond its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Vip {
    /// The prefix length; a whole address (/32, /128) unless the spec writes another.
    pub prefix: u8,
    /// The interface is a dummy device, created when it is not there.
    pub dummy: bool,
}

impl Vip {
    /// A whole address on an interface that is there.
    pub fn host(address: IpAddr) -> Self {
        Self { prefix: Family::from(address).host_prefix(), dummy: false }
    }
}

impl fmt::Display for Binding {
    /// `192.0.2.1 on eth0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.address, self.interface)
    }
}
