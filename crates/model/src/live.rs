//! The live state, as read from the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{
    Binding, LiveHostObjects, Owner, Service, ServiceKey, SyncDaemon, SyncState, Timeouts,
    entries_of,
};

/// The configuration of one network namespace, as read. Statistics are kept apart in
/// [`crate::statistics::Statistics`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// The IPVS table.
    pub services: BTreeMap<ServiceKey, Service>,
    /// Every address of the namespace, VIP or not.
    pub addresses: BTreeMap<Binding, Owner>,
    /// The labels (`IFA_LABEL`) of IPv4 addresses that differ from the interface's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<Binding, Box<str>>,
    /// The IPv4 addresses that the kernel deletes together with another one: the secondaries of a
    /// subnet, each with its primary, on interfaces where `promote_secondaries` is 0. Empty if unknown.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secondaries: BTreeMap<Binding, Binding>,
    /// The requested addresses of services that the host accepts though no interface that is up has them, by a
    /// route of type `local` (AnyIP: `ip route add local 192.0.2.0/24 dev lo`). `None` if not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_by_route: Option<BTreeSet<IpAddr>>,
    /// The host objects of the kinds that were read.
    #[serde(default)]
    pub host_objects: LiveHostObjects,
    /// Every interface, by name; `None` if unknown, as for the empty host of `--live none`.
    pub links: Option<BTreeMap<Box<str>, Link>>,
    /// The timeouts; `None` if unknown.
    pub timeouts: Option<Timeouts>,
    /// The sync daemons that run.
    pub sync: BTreeMap<SyncState, SyncDaemon>,
    /// The kernel's numbers for the interfaces of the sync daemons that run or are asked for, of those that
    /// exist.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sync_links: BTreeMap<Box<str>, u32>,
    /// The values of the requested sysctls; one that does not exist is absent.
    pub sysctls: BTreeMap<Box<str>, Box<str>>,
    /// The requested sysctls that cannot be set, because `/proc/sys` is mounted read-only where they are, as
    /// in most containers.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub sysctls_read_only: BTreeSet<Box<str>>,
    /// The requested sysctls that exist and cannot be read, or never be set, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctl_obstacles: BTreeMap<Box<str>, SysctlObstacle>,
    /// The kernel modules of IPVS that are loaded or built in; `None` if unknown.
    pub modules: Option<BTreeSet<Box<str>>>,
}

impl Live {
    /// The label of an address: the interface's name unless it has another one. IPv6 addresses
    /// have none.
    pub fn label<'a>(&'a self, binding: &'a Binding) -> Option<&'a str> {
        let label = self.labels.get(binding).unwrap_or(&binding.interface);
        binding.address.is_ipv4().then_some(label)
    }

    /// The bindings of an address, on whichever interface, with their owners.
    pub fn bound(&self, address: IpAddr) -> impl Iterator<Item = (&Binding, &Owner)> {
        entries_of(&self.addresses, address)
    }

    /// The bindings of that address on that interface, with whatever prefix length, with their owners.
    pub fn bound_at<'a>(
        &'a self,
        place: &'a Binding,
    ) -> impl Iterator<Item = (&'a Binding, &'a Owner)> {
        self.bound(place.address).filter(|(it, _)| it.same_place(place))
    }

    /// The bindings of an address on interfaces that are up, with their owners: with one, the host accepts
    /// packets to it.
    pub fn bound_and_up(&self, address: IpAddr) -> impl Iterator<Item = (&Binding, &Owner)> {
        self.bound(address).filter(|(binding, _)| {
            let links = self.links.as_ref();
            links.is_none_or(|all| all.get(&binding.interface).is_some_and(|link| link.up))
        })
    }

    /// The services on that address.
    pub fn services_on(&self, vip: IpAddr) -> impl Iterator<Item = (&ServiceKey, &Service)> {
        let services = self.services.range(ServiceKey::first_on(vip)..);
        services.take_while(move |(key, _)| key.vip() == Some(vip))
    }

    /// The fwmark services to which packets with that address may belong.
    pub fn marked_services(
        &self,
        address: IpAddr,
    ) -> impl Iterator<Item = (&ServiceKey, &Service)> {
        let services = self.services.range(ServiceKey::first_marked(address.into())..);
        services.take_while(move |(key, _)| key.is_marked_in(address))
    }

    /// Whether everything that is not a service is the same.
    pub fn same_beside_services(&self, other: &Self) -> bool {
        let Self {
            services: _,
            addresses,
            labels,
            secondaries,
            local_by_route,
            host_objects,
            links,
            timeouts,
            sync,
            sync_links,
            sysctls,
            sysctls_read_only,
            sysctl_obstacles,
            modules,
        } = self;
        *addresses == other.addresses
            && *labels == other.labels
            && *secondaries == other.secondaries
            && *local_by_route == other.local_by_route
            && *host_objects == other.host_objects
            && *links == other.links
            && *timeouts == other.timeouts
            && *sync == other.sync
            && *sync_links == other.sync_links
            && *sysctls == other.sysctls
            && *sysctls_read_only == other.sysctls_read_only
            && *sysctl_obstacles == other.sysctl_obstacles
            && *modules == other.modules
    }
}

/// Why a sysctl that exists cannot be managed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SysctlObstacle {
    /// It is a directory of sysctls.
    Directory,
    /// The kernel does not show its value, which is then not among [`Live::sysctls`]; holds the kernel's error.
    Unreadable(Box<str>),
    /// The kernel only shows its value: it cannot be set.
    Fixed,
}

/// An interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether it is a dummy device.
    pub dummy: bool,
    /// Who made it. Only dummy devices are ever evenkeel's.
    pub owner: Owner,
}
