//! The live state, as read from the kernel.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Binding, HostRoute, LiveRoute, Service, ServiceKey, SyncDaemon, SyncState, Timeouts};

/// The configuration of one network namespace, as read. Statistics are kept apart in
/// [`crate::statistics::Statistics`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// The IPVS table.
    pub services: BTreeMap<ServiceKey, Service>,
    /// Every address of the namespace, VIP or not.
    pub addresses: BTreeMap<Binding, Owner>,
    /// The labels of IPv4 addresses that are not the interface's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<Binding, Box<str>>,
    /// The routes of the main table to single addresses; `None` where nobody needed them, so that
    /// they were not read.
    pub routes: Option<BTreeMap<HostRoute, LiveRoute>>,
    /// Every interface, by name; `None` if unknown, as for the empty host of `--live none`.
    pub links: Option<BTreeMap<Box<str>, Link>>,
    /// The timeouts; `None` if unknown.
    pub timeouts: Option<Timeouts>,
    /// The sync daemons that run.
    pub sync: BTreeMap<SyncState, SyncDaemon>,
    /// The values of the sysctls that were asked for; one that does not exist is absent.
    pub sysctls: BTreeMap<Box<str>, Box<str>>,
    /// The kernel modules of IPVS that are there, loaded or built in; `None` where nothing is
    /// known of them.
    pub modules: Option<BTreeSet<Box<str>>>,
}

impl Live {
    /// The label of an address: the interface's name unless it has another one. IPv6 addresses
    /// have none.
    pub fn label<'a>(&'a self, binding: &'a Binding) -> Option<&'a str> {
        let label = self.labels.get(binding).unwrap_or(&binding.interface);
        binding.address.is_ipv4().then_some(label)
    }
}

/// Who bound an address, or made an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// evenkeel; only such an address may be unbound, and only such an interface brought up.
    Evenkeel,
    /// Anyone else. It is used where a spec names it, and never changed or removed.
    Other,
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
