//! Host objects: parts of the host's network configuration that evenkeel adds and removes for VIPs,
//! such as routes, neighbour entries, tunnel devices and packet rules.
//!
//! Every kind has an identity, a value and an owner. A new kind is a file here, and one variant in
//! each of the three enums below; all states, the journal and snapshots hold every kind in the same
//! maps.

mod arp_rules;
mod default_route;
mod neighbour;
mod route;
mod source_nat;
mod tunnel;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Binding, Owner, Scope, ServiceKey};

pub use arp_rules::{ArpRules, ArpRulesValue};
pub use default_route::{DefaultRoute, DefaultRouteValue, RecordedRoute, RouteMessage};
pub use neighbour::{InvalidMac, MacAddress, Neighbour, NeighbourValue};
pub use route::{HostRoute, RouteValue};
pub use source_nat::{SourceNat, SourceNatValue};
pub use tunnel::{
    FouEncapsulation, FouPort, FouPortValue, TunnelDevice, TunnelDeviceValue, TunnelDriver,
    TunnelMode,
};

/// The identity of a host object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostObject {
    /// A route of the main table to a single address.
    Route(HostRoute),
    /// A neighbour entry.
    Neighbour(Neighbour),
    /// The default route of a family.
    DefaultRoute(DefaultRoute),
    /// A tunnel device that is up.
    TunnelDevice(TunnelDevice),
    /// A UDP port whose packets the kernel unpacks.
    FouPort(FouPort),
    /// ARP rules that hide a VIP.
    ArpRules(ArpRules),
    /// Source NAT of the connections to a real server.
    SourceNat(SourceNat),
}

/// The value of a host object, of the same kind as its identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostValue {
    /// The value of a route.
    Route(RouteValue),
    /// The value of a neighbour entry.
    Neighbour(NeighbourValue),
    /// The value of a default route.
    DefaultRoute(DefaultRouteValue),
    /// The value of a tunnel device.
    TunnelDevice(TunnelDeviceValue),
    /// The value of a FOU port.
    FouPort(FouPortValue),
    /// What ARP rules do.
    ArpRules(ArpRulesValue),
    /// The source address of connections.
    SourceNat(SourceNatValue),
}

/// A kind of host object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostObjectKind {
    /// Routes of the main table to single addresses.
    Route,
    /// Neighbour entries that a program added; those of the kernel's cache are none.
    Neighbour,
    /// The default routes of the main table.
    DefaultRoute,
    /// Tunnel devices that accept the packets of every sender.
    TunnelDevice,
    /// UDP ports whose packets the kernel unpacks.
    FouPort,
    /// The ARP rules of evenkeel.
    ArpRules,
    /// The rules of evenkeel for source NAT.
    SourceNat,
}

impl HostObjectKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Route,
        Self::Neighbour,
        Self::DefaultRoute,
        Self::TunnelDevice,
        Self::FouPort,
        Self::ArpRules,
        Self::SourceNat,
    ];

    /// Returns its name, as plans show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Neighbour => "neighbour",
            Self::DefaultRoute => "default route",
            Self::TunnelDevice => "tunnel device",
            Self::FouPort => "fou port",
            Self::ArpRules => "arp rules",
            Self::SourceNat => "source nat",
        }
    }
}

impl HostObject {
    /// Returns its kind.
    pub fn kind(&self) -> HostObjectKind {
        match self {
            Self::Route(_) => HostObjectKind::Route,
            Self::Neighbour(_) => HostObjectKind::Neighbour,
            Self::DefaultRoute(_) => HostObjectKind::DefaultRoute,
            Self::TunnelDevice(_) => HostObjectKind::TunnelDevice,
            Self::FouPort(_) => HostObjectKind::FouPort,
            Self::ArpRules(_) => HostObjectKind::ArpRules,
            Self::SourceNat(_) => HostObjectKind::SourceNat,
        }
    }

    /// Returns its address, by which the scope and a selection of services apply to it: the VIP of a route.
    /// `None` if it belongs to no address: it is then in every scope.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Route(route) => Some(route.destination),
            Self::Neighbour(neighbour) => Some(neighbour.address),
            Self::ArpRules(rules) => Some(rules.address.into()),
            Self::SourceNat(source_nat) => source_nat.service.vip(),
            Self::DefaultRoute(_) | Self::TunnelDevice(_) | Self::FouPort(_) => None,
        }
    }

    /// Returns the service that it belongs to alone; `None` if it serves all services of its address.
    pub fn service(&self) -> Option<&ServiceKey> {
        match self {
            Self::SourceNat(source_nat) => Some(&source_nat.service),
            Self::Route(_)
            | Self::Neighbour(_)
            | Self::DefaultRoute(_)
            | Self::TunnelDevice(_)
            | Self::FouPort(_)
            | Self::ArpRules(_) => None,
        }
    }

    /// Whether that scope covers it.
    pub fn is_in(&self, scope: &Scope) -> bool {
        match self.service() {
            Some(service) => scope.contains(service),
            None => self.address().is_none_or(|address| scope.contains_address(address)),
        }
    }

    /// Whether it belongs to that binding: it has its address, and is on its interface.
    pub fn is_on(&self, binding: &Binding) -> bool {
        self.address() == Some(binding.address) && self.interface() == Some(&*binding.interface)
    }

    /// Returns the address for which the kernel accepts a single object of this kind; `None` if it
    /// accepts one on each interface. An object makes room for another one of the same address.
    pub fn exclusive_address(&self) -> Option<IpAddr> {
        match self {
            Self::Route(route) => Some(route.destination),
            Self::Neighbour(_)
            | Self::DefaultRoute(_)
            | Self::TunnelDevice(_)
            | Self::FouPort(_)
            | Self::ArpRules(_)
            | Self::SourceNat(_) => None,
        }
    }

    /// Whether connections to real servers may depend on it: it then stays while one of them drains. A
    /// neighbour may be a real server, or the gateway to any of them, as is that of a default route.
    pub fn reaches_real_servers(&self) -> bool {
        match self {
            Self::Route(_) | Self::TunnelDevice(_) | Self::FouPort(_) | Self::ArpRules(_) => false,
            Self::Neighbour(_) | Self::DefaultRoute(_) | Self::SourceNat(_) => true,
        }
    }

    /// Whether VIPs are bound on it, or their packets reach the host through it, or it hides them from
    /// neighbours: it is then added before sysctls are set and VIPs are bound, and deleted after they are
    /// unbound.
    pub fn carries_vips(&self) -> bool {
        match self {
            Self::Route(_) | Self::Neighbour(_) | Self::DefaultRoute(_) | Self::SourceNat(_) => {
                false
            }
            Self::TunnelDevice(_) | Self::FouPort(_) | Self::ArpRules(_) => true,
        }
    }

    /// Returns the interface that it is; `None` if it is none.
    pub fn device(&self) -> Option<&str> {
        match self {
            Self::TunnelDevice(device) => Some(&device.interface),
            Self::Route(_)
            | Self::Neighbour(_)
            | Self::DefaultRoute(_)
            | Self::FouPort(_)
            | Self::ArpRules(_)
            | Self::SourceNat(_) => None,
        }
    }

    /// Whether a VIP that is bound there depends on it. What a FOU port unpacks goes to any of the tunnel
    /// devices.
    pub fn carries(&self, binding: &Binding) -> bool {
        match self {
            Self::TunnelDevice(device) => device.interface == binding.interface,
            Self::FouPort(_) => TunnelDriver::of_device(&binding.interface).is_some(),
            Self::ArpRules(rules) => binding.address == rules.address,
            Self::Route(_) | Self::Neighbour(_) | Self::DefaultRoute(_) | Self::SourceNat(_) => {
                false
            }
        }
    }

    /// Returns the interface without which it cannot exist; `None` if it needs none.
    pub fn interface(&self) -> Option<&str> {
        match self {
            Self::Route(route) => Some(&route.interface),
            Self::Neighbour(neighbour) => Some(&neighbour.interface),
            // A tunnel device is an interface itself.
            Self::DefaultRoute(_)
            | Self::TunnelDevice(_)
            | Self::FouPort(_)
            | Self::ArpRules(_)
            | Self::SourceNat(_) => None,
        }
    }
}

impl HostValue {
    /// Returns who adds an object of this value: another program if the value is what evenkeel found and
    /// may restore, otherwise evenkeel.
    pub fn owner(&self) -> Owner {
        match self {
            Self::DefaultRoute(value) => value.owner(),
            Self::Route(_)
            | Self::Neighbour(_)
            | Self::TunnelDevice(_)
            | Self::FouPort(_)
            | Self::ArpRules(_)
            | Self::SourceNat(_) => Owner::Evenkeel,
        }
    }

    /// Whether setting it gives an object back to another program.
    pub fn is_restored(&self) -> bool {
        self.owner() == Owner::Other
    }

    /// Whether evenkeel sets such a value; otherwise it is what another program made of an object.
    pub fn can_be_set(&self) -> bool {
        match self {
            Self::ArpRules(value) => {
                value.source.is_some_and(|source| *value == ArpRulesValue::with_source(source))
            }
            Self::SourceNat(value) => *value != SourceNatValue::Other,
            Self::Route(_)
            | Self::Neighbour(_)
            | Self::DefaultRoute(_)
            | Self::TunnelDevice(_)
            | Self::FouPort(_) => true,
        }
    }

    /// Whether an edit to this value makes an object accept less than before: it then waits until the VIPs
    /// that may depend on it are unbound.
    pub fn accepts_less(&self) -> bool {
        matches!(self, Self::TunnelDevice(TunnelDeviceValue { mode }) if *mode != TunnelMode::Any)
    }
}

impl fmt::Display for HostObject {
    /// Writes its identity without its kind.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route(route) => route.fmt(f),
            Self::Neighbour(neighbour) => neighbour.fmt(f),
            Self::DefaultRoute(route) => route.fmt(f),
            Self::TunnelDevice(device) => device.fmt(f),
            Self::FouPort(port) => port.fmt(f),
            Self::ArpRules(rules) => rules.fmt(f),
            Self::SourceNat(source_nat) => source_nat.fmt(f),
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
    /// An object whose value evenkeel set: its own, or a restored one of another program.
    pub fn set_to(value: HostValue) -> Self {
        Self { owner: value.owner(), value }
    }

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
    /// The objects of these kinds, of any owner; and what the journal records of packet rules that cannot
    /// be read, without their values.
    pub objects: BTreeMap<HostObject, LiveHostObject>,
    /// The kinds that cannot be read or changed on this host, each with the reason and its remedy.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unavailable: BTreeMap<HostObjectKind, Box<str>>,
}

impl LiveHostObjects {
    /// Exactly these objects, added by evenkeel.
    pub fn of_evenkeel(objects: BTreeMap<HostObject, HostValue>) -> Self {
        let read = objects.keys().map(HostObject::kind).collect();
        let live = |(object, value)| (object, LiveHostObject::of_evenkeel(value));
        let objects = objects.into_iter().map(live).collect();
        Self { read, objects, ..Self::default() }
    }

    /// Returns one of them if it exists.
    pub fn get(&self, object: &HostObject) -> Option<&LiveHostObject> {
        self.objects.get(object)
    }

    /// Whether this one is known to be absent.
    pub fn is_gone(&self, object: &HostObject) -> bool {
        self.read.contains(&object.kind()) && !self.objects.contains_key(object)
    }

    /// Whether this one is known to be no longer evenkeel's: absent, or replaced by another program.
    pub fn is_given_up(&self, object: &HostObject) -> bool {
        let is_replaced = |live: &LiveHostObject| match &live.value {
            HostValue::DefaultRoute(DefaultRouteValue::Found(routes)) => {
                !routes.iter().any(|route| route.is_ours)
            }
            _ => false,
        };
        self.is_gone(object) || self.get(object).is_some_and(is_replaced)
    }

    /// The objects that evenkeel added.
    pub fn owned(&self) -> impl Iterator<Item = (&HostObject, &HostValue)> {
        let ours = self.objects.iter().filter(|(_, live)| live.owner == Owner::Evenkeel);
        ours.map(|(object, live)| (object, &live.value))
    }
}
