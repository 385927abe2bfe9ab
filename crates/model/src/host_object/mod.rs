//! Host objects: parts of the host's network configuration that evenkeel adds and removes for VIPs,
//! such as routes and neighbour entries.
//!
//! Every kind has an identity, a value and an owner. A new kind is a file here, and one variant in
//! each of the three enums below; all states, the journal and snapshots hold every kind in the same
//! maps.

mod neighbour;
mod route;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::Owner;

pub use neighbour::{InvalidMac, MacAddress, Neighbour, NeighbourValue};
pub use route::{HostRoute, RouteValue};

/// The identity of a host object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostObject {
    /// A route of the main table to a single address.
    Route(HostRoute),
    /// A neighbour entry.
    Neighbour(Neighbour),
}

/// The value of a host object, of the same kind as its identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostValue {
    /// The value of a route.
    Route(RouteValue),
    /// The value of a neighbour entry.
    Neighbour(NeighbourValue),
}

/// A kind of host object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostObjectKind {
    /// Routes of the main table to single addresses.
    Route,
    /// Neighbour entries that a program added; those of the kernel's cache are none.
    Neighbour,
}

impl HostObjectKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Route, Self::Neighbour];

    /// Returns its name, as plans show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Neighbour => "neighbour",
        }
    }
}

impl HostObject {
    /// Returns its kind.
    pub fn kind(&self) -> HostObjectKind {
        match self {
            Self::Route(_) => HostObjectKind::Route,
            Self::Neighbour(_) => HostObjectKind::Neighbour,
        }
    }

    /// Returns its address, by which the scope and a selection of services apply to it: the VIP of a route.
    pub fn address(&self) -> IpAddr {
        match self {
            Self::Route(route) => route.destination,
            Self::Neighbour(neighbour) => neighbour.address,
        }
    }

    /// Returns the address for which the kernel accepts a single object of this kind; `None` if it
    /// accepts one on each interface. An object makes room for another one of the same address.
    pub fn exclusive_address(&self) -> Option<IpAddr> {
        match self {
            Self::Route(route) => Some(route.destination),
            Self::Neighbour(_) => None,
        }
    }

    /// Whether connections to real servers may depend on it: it then stays while one of them drains. A
    /// neighbour may be a real server, or the gateway to any of them.
    pub fn reaches_real_servers(&self) -> bool {
        match self {
            Self::Route(_) => false,
            Self::Neighbour(_) => true,
        }
    }

    /// Returns the interface without which it cannot exist.
    pub fn interface(&self) -> &str {
        match self {
            Self::Route(route) => &route.interface,
            Self::Neighbour(neighbour) => &neighbour.interface,
        }
    }
}

impl fmt::Display for HostObject {
    /// Writes its identity without its kind.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route(route) => route.fmt(f),
            Self::Neighbour(neighbour) => neighbour.fmt(f),
        }
    }
}

/// A host object of a live state, apart from its identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveHostObject {
    /// Who added it.
    pub owner: Owner,
    /// Its value.
    pub value: HostValue,
}

impl LiveHostObject {
    /// An object of that value that evenkeel added.
    pub fn of_evenkeel(value: HostValue) -> Self {
        Self { owner: Owner::Evenkeel, value }
    }
}

/// The host objects of a live state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveHostObjects {
    /// The kinds that were read: of other kinds nothing is known. A kind is read only where a spec
    /// or the journal lists one of its objects.
    pub read: BTreeSet<HostObjectKind>,
    /// The objects of these kinds, of any owner.
    pub objects: BTreeMap<HostObject, LiveHostObject>,
}

impl LiveHostObjects {
    /// Exactly these objects, added by evenkeel.
    pub fn of_evenkeel(objects: BTreeMap<HostObject, HostValue>) -> Self {
        let read = objects.keys().map(HostObject::kind).collect();
        let live = |(object, value)| (object, LiveHostObject::of_evenkeel(value));
        Self { read, objects: objects.into_iter().map(live).collect() }
    }

    /// Returns one of them if it exists.
    pub fn get(&self, object: &HostObject) -> Option<&LiveHostObject> {
        self.objects.get(object)
    }

    /// Whether this one is known to be absent.
    pub fn is_gone(&self, object: &HostObject) -> bool {
        self.read.contains(&object.kind()) && !self.objects.contains_key(object)
    }

    /// The objects that evenkeel added.
    pub fn owned(&self) -> impl Iterator<Item = (&HostObject, &HostValue)> {
        let ours = self.objects.iter().filter(|(_, live)| live.owner == Owner::Evenkeel);
        ours.map(|(object, live)| (object, &live.value))
    }
}
