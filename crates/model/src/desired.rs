//! The desired state: what a spec asks for, after defaults.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    Binding, DesiredTimeouts, Drain, Guards, HostObject, HostValue, Ignore, Scope, Service,
    ServiceKey, SyncDaemon, SyncState, Vip,
};

/// The desired state of one host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// The part of the table this governs.
    pub scope: Scope,
    /// The services, one for each address, port and protocol of the spec.
    pub services: BTreeMap<ServiceKey, NamedService>,
    /// The addresses that evenkeel binds.
    pub vips: BTreeMap<Binding, Vip>,
    /// The host objects that evenkeel adds, such as routes to VIPs.
    #[serde(default)]
    pub host_objects: BTreeMap<HostObject, HostValue>,
    /// The timeouts; none of them unless the spec names it.
    pub timeouts: DesiredTimeouts,
    /// The sync daemons; `None` leaves them alone, an empty map means that none shall run.
    pub sync: Option<BTreeMap<SyncState, SyncDaemon>>,
    /// Values of sysctls by key (`net.ipv4.vs.expire_nodest_conn`).
    pub sysctls: BTreeMap<Box<str>, Box<str>>,
    /// The thresholds of guards.
    pub guards: Guards,
    /// The drain, in seconds, of services that no spec lists any more and that are in no record
    /// (`defaults.drain`).
    pub drain: Drain,
}

/// A service together with the settings that exist only in the spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedService {
    /// The `name` of the spec's service; several expanded services may share it.
    pub name: Arc<str>,
    /// The fields left to other programs.
    pub ignore: Ignore,
    /// Whether the kernel's list of real servers is kept in the order of the spec, so that
    /// schedulers that depend on it choose alike on every director; where needed, real servers are
    /// deleted and added again.
    #[serde(default)]
    pub canonical_order: bool,
    /// The drain of a real server that is removed from this service, or deleted with it.
    pub drain: Drain,
    /// The desired kernel configuration.
    pub service: Service,
}

impl NamedService {
    /// A service of that name without ignored fields and without a drain.
    pub fn new(name: impl Into<Arc<str>>, service: Service) -> Self {
        Self {
            name: name.into(),
            ignore: Ignore::NOTHING,
            canonical_order: false,
            drain: Drain::NONE,
            service,
        }
    }
}

impl Desired {
    /// Whether neither a service nor a VIP nor a host object is desired.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.vips.is_empty() && self.host_objects.is_empty()
    }

    /// How a service is shown to people: `web/192.0.2.1:80/tcp`, or the key alone where the spec
    /// does not list it.
    pub fn label(&self, key: &ServiceKey) -> Label<'_> {
        Names::from(self).label(key)
    }
}

/// Names of services: from this spec or, for services that it no longer lists, from the one
/// that was applied last.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// The spec.
    pub desired: &'a Desired,
    /// The one before; `None` where it is not known.
    pub last: Option<&'a Desired>,
}

impl<'a> Names<'a> {
    /// The name of a service; `None` where neither spec lists it.
    pub fn name(&self, key: &ServiceKey) -> Option<&'a str> {
        let Self { desired, last } = *self;
        let mut specs = [Some(desired), last].into_iter().flatten();
        specs.find_map(|spec| Some(&*spec.services.get(key)?.name))
    }

    /// How a service is shown to people: `web/192.0.2.1:80/tcp`, or the key alone where it has no
    /// name.
    pub fn label(&self, key: &ServiceKey) -> Label<'a> {
        Label { name: self.name(key), key: *key }
    }
}

impl<'a> From<&'a Desired> for Names<'a> {
    fn from(desired: &'a Desired) -> Self {
        Self { desired, last: None }
    }
}

impl<'a> From<&'a Arc<Desired>> for Names<'a> {
    fn from(desired: &'a Arc<Desired>) -> Self {
        Self::from(&**desired)
    }
}

/// A service's name and key, to be displayed.
#[derive(Debug, Clone, Copy)]
pub struct Label<'a> {
    name: Option<&'a str>,
    key: ServiceKey,
}

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => write!(f, "{name}/{}", self.key),
            None => write!(f, "{}", self.key),
        }
    }
}
