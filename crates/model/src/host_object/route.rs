//! Host routes: a VIP through the interface that it is bound on.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{HostObject, HostValue};
use crate::Binding;

/// The identity of a route to a single address through an interface, in the main table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostRoute {
    /// The address that it leads to.
    pub destination: IpAddr,
    /// The interface's name.
    pub interface: Box<str>,
}

/// What the kernel stores of a host route beyond its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RouteValue {
    /// The source address of packets that take it; `None` leaves the choice to the kernel.
    pub source: Option<IpAddr>,
}

impl HostRoute {
    /// Returns the route to a VIP through its interface.
    pub fn of(binding: &Binding) -> Self {
        Self { destination: binding.address, interface: binding.interface.clone() }
    }

    /// Returns the VIP that it leads to.
    pub fn binding(&self) -> Binding {
        Binding::host(self.destination, &self.interface)
    }

    /// Returns the value that evenkeel gives it: the VIP is the source.
    pub fn value(&self) -> HostValue {
        HostValue::Route(RouteValue { source: Some(self.destination) })
    }
}

impl From<RouteValue> for HostValue {
    fn from(value: RouteValue) -> Self {
        Self::Route(value)
    }
}

impl From<HostRoute> for HostObject {
    fn from(route: HostRoute) -> Self {
        Self::Route(route)
    }
}

impl fmt::Display for HostRoute {
    /// `192.0.2.1 dev eth0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dev {}", self.destination, self.interface)
    }
}
