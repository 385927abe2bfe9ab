//! VIPs: addresses that clients use, and where they are bound.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::Family;

/// An address on an interface: the identity of a binding. The same address may be bound on
/// several interfaces of a host, and in IPv4 with several prefix lengths on one of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Binding {
    /// The VIP.
    pub address: IpAddr,
    /// The interface's name.
    pub interface: Box<str>,
    /// The prefix length; a whole address (/32, /128) unless the spec writes another.
    pub prefix: u8,
}

impl Binding {
    /// A whole address on an interface.
    pub fn host(address: IpAddr, interface: &str) -> Self {
        Self { address, interface: interface.into(), prefix: Family::from(address).host_prefix() }
    }

    /// Whether both name the same address on the same interface, whatever the prefix length.
    pub fn same_place(&self, other: &Self) -> bool {
        self.address == other.address && self.interface == other.interface
    }
}

impl fmt::Display for Binding {
    /// `192.0.2.1/32 on eth0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} on {}", self.address, self.prefix, self.interface)
    }
}

/// The settings of a binding apart from its identity.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Vip {
    /// Whether the interface is created as a dummy device if it is missing.
    pub dummy: bool,
}
