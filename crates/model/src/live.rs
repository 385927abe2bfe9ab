//! The live state, as read from the kernel.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Binding, Service, ServiceKey, SyncDaemon, SyncState, Timeouts};

/// The configuration of one network namespace, as read. Statistics are kept apart in
/// [`crate::statistics::Statistics`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// The IPVS table.
    pub services: BTreeMap<ServiceKey, Service>,
    /// Every address of the namespace, VIP or not.
    pub addresses: BTreeMap<Binding, Owner>,
    /// Every interface, by name; `None` if unknown, as for the empty host of `--live none`.
    pub links: Option<BTreeMap<Box<str>, Link>>,
    /// The timeouts; `None` if unknown.
    pub timeouts: Option<Timeouts>,
    /// The sync daemons that run.
    pub sync: BTreeMap<SyncState, SyncDaemon>,
    /// The values of the requested sysctls; one that does not exist is absent.
    pub sysctls: BTreeMap<Box<str>, Box<str>>,
    /// The kernel modules of IPVS that are loaded or built in; `None` if unknown.
    pub modules: Option<BTreeSet<Box<str>>>,
}

/// Who bound an address, or made an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// evenkeel; only such an address may be unbound, and only such an interface brought up.
    Evenkeel,
    /// Another program or a person. It is used where a spec names it, and never changed or removed.
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
