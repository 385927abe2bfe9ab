//! What is known of a host. It is read once, by another crate.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_model::{
    Binding, CONNECTION_TRACKING, Cluster, Desired, FORWARDING_IPV6, Family, Forward, HostObject,
    HostValue, Live, MacAddress, NamedService, Neighbour, Protocol, RealServer, RealServerKey,
    Service, ServiceKey,
};
use evenkeel_plan::Op;
use ipnet::IpNet;

/// What is known of a host.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// What the spec asks of this host.
    pub desired: Desired,
    /// What the kernel has.
    pub live: Live,
    /// The operations that would bring the one to the other.
    pub steps: Vec<Op>,
    /// The VIPs that are left to another program, which has released them.
    pub released_vips: BTreeSet<Binding>,
    /// The hosts that the spec lists; `None` if it lists no directors.
    pub cluster: Option<Cluster>,
    /// Every interface, by name.
    pub links: BTreeMap<Box<str>, LinkFacts>,
    /// How packets of this host reach [`destinations`].
    pub routes: BTreeMap<IpAddr, RouteLookup>,
    /// The gateways of the default routes that the kernel uses; absent without one, or with several next hops.
    pub default_gateways: BTreeMap<Family, IpAddr>,
    /// The values of [`sysctl_keys`]; one that does not exist is absent.
    pub sysctls: BTreeMap<Box<str>, Box<str>>,
    /// The kernel modules that are loaded, built in, or installed for the running kernel; `None` if the
    /// list of installed ones cannot be read, as in most containers.
    pub modules: Option<BTreeSet<Box<str>>>,
    /// The programs that run and are known to change the same objects.
    pub writers: BTreeSet<Writer>,
    /// The ports of TCP and UDP on which sockets accept packets to every address of the host.
    pub listeners: BTreeMap<Port, Listener>,
    /// The rules of the packet filter for each family of [`families_with_packet_filter`]; another one is absent.
    pub packet_filters: BTreeMap<Family, PacketFilter>,
    /// The addresses of IPv4 in a subnet that another address of their interface had before (`IFA_F_SECONDARY`).
    pub secondary: BTreeSet<Binding>,
    /// The addresses whose MAC address a program has set, with the interfaces: the host asks no neighbour
    /// for them.
    pub static_neighbours: BTreeSet<Question>,
    /// The answers to [`crate::questions`]; `None` if none was asked.
    pub answers: Option<BTreeMap<Question, Answers>>,
}

/// A port of a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The number.
    pub number: u16,
}

/// The rules of iptables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PacketFilter {
    /// The lines of iptables-save without comments; all that there are.
    Rules(Vec<Box<str>>),
    /// They could not be read, or not all of them, for this reason.
    NotRead(Box<str>),
}

/// A question to the hosts on the network of an interface: who has this address?
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// The address.
    pub address: IpAddr,
    /// The interface's name.
    pub interface: Box<str>,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answers {
    /// Hosts with these MAC addresses said that they have the address; this host is not among them.
    From(BTreeSet<MacAddress>),
    /// It was not asked, for this reason.
    NotAsked(Box<str>),
}

/// What is known of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkFacts {
    /// Whether it is administratively up.
    pub is_up: bool,
    /// Whether it is up and has a carrier.
    pub is_running: bool,
    /// Whether hosts on its network may ask for addresses on it (ARP): false for `lo`, dummy devices and
    /// tunnel devices.
    pub has_neighbours: bool,
    /// The largest packet in bytes.
    pub mtu: u32,
}

/// How packets of this host reach an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteLookup {
    /// It is an address of this host.
    Local,
    /// They leave through an interface.
    Route(RouteFacts),
    /// The kernel has no route, or one that refuses packets.
    Unreachable,
}

/// A route as the kernel looked it up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteFacts {
    /// The name of the interface.
    pub interface: Box<str>,
    /// The next router; `None` on a network of this host.
    pub gateway: Option<IpAddr>,
    /// The MTU of the route, in bytes; `None` if it is that of the interface.
    pub mtu: Option<u32>,
}

/// A program that changes IPVS or addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Writer {
    /// kube-proxy in its IPVS mode.
    KubeProxy,
    /// keepalived.
    Keepalived,
    /// ldirectord.
    Ldirectord,
    /// Pacemaker.
    Pacemaker,
    /// kube-vip.
    KubeVip,
    /// vrrpd.
    Vrrpd,
    /// systemd-networkd.
    Networkd,
}

impl Writer {
    /// Whether it moves VIPs between hosts.
    pub(crate) fn moves_vips(self) -> bool {
        match self {
            Self::Keepalived | Self::Pacemaker | Self::KubeVip | Self::Vrrpd => true,
            Self::KubeProxy | Self::Ldirectord | Self::Networkd => false,
        }
    }
}

/// The sockets on a port that accept packets to every address of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// Whether they accept those of IPv4.
    pub ipv4: bool,
    /// Whether they accept those of IPv6.
    pub ipv6: bool,
}

impl Listener {
    /// Whether they accept packets to an address.
    pub(crate) fn accepts(self, address: IpAddr) -> bool {
        if address.is_ipv4() { self.ipv4 } else { self.ipv6 }
    }
}

/// The sysctls of each interface of IPv4, and of `all`, that checks read.
const OF_INTERFACES: [&str; 7] = [
    "arp_announce",
    "arp_filter",
    "arp_ignore",
    "forwarding",
    "promote_secondaries",
    "rp_filter",
    "send_redirects",
];

/// The other sysctls that checks read.
const OTHERS: [&str; 4] = [FORWARDING_IPV6, EXPIRE_NODEST, EXPIRE_QUIESCENT, CONNECTION_TRACKING];

pub(crate) const EXPIRE_NODEST: &str = "net.ipv4.vs.expire_nodest_conn";
pub(crate) const EXPIRE_QUIESCENT: &str = "net.ipv4.vs.expire_quiescent_template";

/// Returns the keys of the sysctls that checks read, on a host with these interfaces.
pub fn sysctl_keys<'a>(interfaces: impl IntoIterator<Item = &'a str>) -> BTreeSet<Box<str>> {
    let places = ["all"].into_iter().chain(interfaces);
    let of_places =
        places.flat_map(|place| OF_INTERFACES.map(|name| interface_key(place, name).into()));
    of_places.chain(OTHERS.map(Into::into)).collect()
}

/// Returns the addresses to which the routes are to be looked up: on a director its real servers and
/// VIPs, on a gateway the VIPs.
pub fn destinations(desired: &Desired) -> BTreeSet<IpAddr> {
    let services = desired.services.iter().flat_map(|(key, named)| {
        let real_servers = named.service.real_servers.iter().map(|(it, _)| it.address);
        key.vip().into_iter().chain(real_servers)
    });
    let entries = desired.host_objects.keys().filter_map(|it| match it {
        HostObject::Neighbour(entry) if desired.roles.gateway.is_some() => Some(entry.address),
        _ => None,
    });
    services.chain(entries).collect()
}

/// Returns the families whose packet filters concern the packets of IPVS: those with real servers under NAT,
/// while IPVS keeps its connections from connection tracking.
pub fn families_with_packet_filter(
    desired: &Desired,
    sysctls: &BTreeMap<Box<str>, Box<str>>,
) -> BTreeSet<Family> {
    if sysctls.get(CONNECTION_TRACKING).is_none_or(|value| **value != *"0") {
        return BTreeSet::new();
    }
    let services = desired.services.values();
    let real_servers = services.flat_map(|named| named.service.real_servers.iter());
    let under_nat = real_servers.filter(|(_, it)| it.forward == Forward::Nat);
    under_nat.map(|(key, _)| Family::from(key.address)).collect()
}

/// Returns the key of a sysctl of an interface, or of `all`.
pub(crate) fn interface_key(interface: &str, name: &str) -> String {
    format!("net.ipv4.conf.{}.{name}", interface.replace('.', "/"))
}

impl Facts {
    /// Returns a sysctl as a number; `None` if it does not exist.
    pub(crate) fn number(&self, key: &str) -> Option<i64> {
        self.sysctls.get(key)?.parse().ok()
    }

    /// Returns what to do for sysctls to get a value: what the spec asks for, an apply sets.
    pub(crate) fn to_set(&self, keys: &[&str], value: &str) -> String {
        let is_asked =
            |key: &&&str| self.desired.sysctls.get(**key).is_some_and(|it| **it == *value);
        let missing = keys.iter().filter(|key| !is_asked(key));
        let missing: Vec<String> = missing.map(|key| format!("`{key}: {value}`")).collect();
        match missing.is_empty() {
            true => format!("`evenkeel apply` sets {} to {value}", keys.join(" and ")),
            false => format!("write {} under `sysctls`", missing.join(" and ")),
        }
    }

    /// Returns a sysctl of an interface alone.
    pub(crate) fn of_interface(&self, interface: &str, name: &str) -> Option<i64> {
        self.number(&interface_key(interface, name))
    }

    /// Returns the larger one of the values of `all` and of an interface, as the kernel uses it for some
    /// sysctls (`IN_DEV_MAXCONF`) and, where the values are 0 and 1, for others (`IN_DEV_ORCONF`). `None`
    /// if the interface has none.
    pub(crate) fn larger(&self, interface: &str, name: &str) -> Option<i64> {
        let all = self.of_interface("all", name).unwrap_or_default();
        Some(self.of_interface(interface, name)?.max(all))
    }

    /// The services of the spec of which this host is a director, as they are live, or as the spec asks
    /// while they are not.
    pub(crate) fn services(&self) -> impl Iterator<Item = (&ServiceKey, &NamedService, &Service)> {
        self.desired
            .services
            .iter()
            .map(|(key, named)| (key, named, self.live.services.get(key).unwrap_or(&named.service)))
    }

    /// The real servers of the spec of which this host is a director.
    pub(crate) fn real_servers(
        &self,
    ) -> impl Iterator<Item = (&ServiceKey, &RealServerKey, &RealServer)> {
        let services = self.desired.services.iter();
        services.flat_map(|(key, named)| {
            named.service.real_servers.iter().map(move |(address, it)| (key, address, it))
        })
    }

    /// The real servers of one method that are other hosts, with the routes to them.
    pub(crate) fn forwarded(
        &self,
        is_wanted: impl Fn(Forward) -> bool,
    ) -> impl Iterator<Item = (&ServiceKey, &RealServerKey, &RouteFacts)> {
        let wanted = self.real_servers().filter(move |(_, _, it)| is_wanted(it.forward));
        wanted.filter_map(|(key, address, _)| match self.routes.get(&address.address)? {
            RouteLookup::Route(route) => Some((key, address, route)),
            RouteLookup::Local | RouteLookup::Unreachable => None,
        })
    }

    /// The services of this address, of which this host is a director or a real server.
    pub(crate) fn services_of_vip(&self, vip: IpAddr) -> BTreeSet<ServiceKey> {
        let directed = self.desired.services.keys().filter(|key| key.vip() == Some(vip));
        let parts = self.desired.real_server.iter();
        let served = parts.filter(|(_, part)| part.vips.iter().any(|it| it.address == vip));
        directed.chain(served.map(|(key, _)| key)).copied().collect()
    }

    /// The VIPs of this host with the interfaces on which they are bound, or are to be bound.
    pub(crate) fn vip_places(&self) -> BTreeSet<(IpAddr, &str)> {
        let vips: BTreeSet<IpAddr> = self.vips();
        let wanted = self.desired.vips.keys();
        let bound = self.live.addresses.keys().filter(|it| vips.contains(&it.address));
        wanted.chain(bound).map(|it| (it.address, &*it.interface)).collect()
    }

    /// The VIPs of this host: those that evenkeel binds, and those of its services.
    pub(crate) fn vips(&self) -> BTreeSet<IpAddr> {
        let wanted = self.desired.vips.keys().map(|it| it.address);
        let of_services = self.desired.services.keys().filter_map(ServiceKey::vip);
        wanted.chain(of_services).collect()
    }

    /// The entries that this host, as a gateway, has for VIPs, with their MAC addresses.
    pub(crate) fn gateway_entries(&self) -> impl Iterator<Item = (&Neighbour, MacAddress)> {
        let is_gateway = self.desired.roles.gateway.is_some();
        let objects = self.desired.host_objects.iter().filter(move |_| is_gateway);
        objects.filter_map(|(object, value)| match (object, value) {
            (HostObject::Neighbour(entry), HostValue::Neighbour(value)) => Some((entry, value.mac)),
            _ => None,
        })
    }

    /// Whether the spec lists gateways, which send packets for VIPs to the directors whichever hosts answer.
    pub(crate) fn has_gateways(&self) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| !cluster.gateways.is_empty())
    }

    /// Whether hosts may be asked for addresses on an interface: it is up, and has neighbours.
    pub(crate) fn has_neighbours(&self, interface: &str) -> bool {
        self.links.get(interface).is_some_and(|link| link.is_up && link.has_neighbours)
    }

    /// The interfaces with neighbours that have another address in the network of this one.
    pub(crate) fn interfaces_near(&self, address: IpAddr) -> BTreeSet<&str> {
        let near = self.live.addresses.keys().filter(|own| {
            own.address != address
                && IpNet::new(own.address, own.prefix).is_ok_and(|net| net.contains(&address))
        });
        near.map(|own| &*own.interface).filter(|name| self.has_neighbours(name)).collect()
    }

    /// The VIPs of which this host is the director.
    pub(crate) fn directed_vips(&self) -> BTreeSet<IpAddr> {
        if !self.desired.roles.is_director() {
            return BTreeSet::new();
        }
        let parts = || self.desired.real_server.values();
        let bound = self.desired.vips.keys();
        let bound = bound.filter(|it| !parts().any(|part| part.vips.contains(*it)));
        let of_services = self.desired.services.keys().filter_map(ServiceKey::vip);
        bound.map(|it| it.address).chain(of_services).collect()
    }

    /// Whether this address is bound on an interface.
    pub(crate) fn is_bound(&self, address: IpAddr) -> bool {
        self.live.addresses.keys().any(|it| it.address == address)
    }
}
