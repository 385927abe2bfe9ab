//! Host routes: a VIP through the interface that it is bound on.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Binding, Owner};

/// The identity of a route to a single address through an interface, in the main table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostRoute {
    /// The address that it leads to.
    pub destination: IpAddr,
    /// The interface's name.
    pub interface: Box<str>,
}

impl HostRoute {
    /// The route to a VIP through its interface.
    pub fn of(binding: &Binding) -> Self {
        Self { destination: binding.address, interface: binding.interface.clone() }
    }

    /// The VIP that it leads to.
    pub fn binding(&self) -> Binding {
        Binding::host(self.destination, &self.interface)
    }
}

impl fmt::Display for HostRoute {
    /// `192.0.2.1 dev eth0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dev {}", self.destination, self.interface)
    }
}

/// What the kernel says of a host route beyond its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveRoute {
    /// Who added it.
    pub owner: Owner,
    /// The source address of packets that take it; `None` leaves the choice to the kernel.
    pub source: Option<IpAddr>,
}

impl LiveRoute {
    /// As evenkeel adds it.
    pub fn of_evenkeel(route: &HostRoute) -> Self {
        Self { owner: Owner::Evenkeel, source: Some(route.destination) }
    }
}
