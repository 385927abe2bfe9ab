//! What the kernel answered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Binding, Service, ServiceKey};

/// The configuration of one network namespace, as read. Statistics are kept apart in
/// [`crate::statistics::Statistics`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// The IPVS table.
    pub services: BTreeMap<ServiceKey, Service>,
    /// Every address of the namespace, VIP or not.
    pub addresses: BTreeMap<Binding, LiveAddress>,
    /// Every interface, by name.
    pub links: BTreeMap<Box<str>, Link>,
}

/// An address that is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveAddress {
    /// Its prefix length.
    pub prefix: u8,
    /// Whether evenkeel bound it. Only such an address may be unbound.
    pub ours: bool,
}

/// An interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether it is a dummy device.
    pub dummy: bool,
}
