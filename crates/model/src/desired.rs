//! The desired state: what a spec asks for, after defaults.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    Binding, DesiredTimeouts, Drain, Family, Guards, HostObject, HostRoles, HostValue, Ignore,
    LeftScope, Override, OwnerName, RealServer, RealServerKey, Scope, Service, ServiceHealth,
    ServiceKey, SourceNat, SyncDaemon, SyncState, Vip, WhenLeft,
};

/// The desired state of one host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// The owner that the spec names; the one without a name if it names none.
    #[serde(default, skip_serializing_if = "OwnerName::is_unnamed")]
    pub owner: OwnerName,
    /// What the host is in the cluster.
    #[serde(default)]
    pub roles: HostRoles,
    /// What the spec places on other directors.
    #[serde(default, skip_serializing_if = "Elsewhere::is_empty")]
    pub elsewhere: Elsewhere,
    /// What its role as a real server adds, for each service of which it is one.
    #[serde(default)]
    pub real_server: BTreeMap<ServiceKey, RealServerPart>,
    /// The part of the table this governs.
    pub scope: Scope,
    /// What becomes of what leaves the scope; `None` if the spec does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_left: Option<WhenLeft>,
    /// What left the scope and stays. No spec lists it: it is found on the host before a plan is made.
    #[serde(default, skip_serializing_if = "LeftScope::is_empty")]
    pub kept: LeftScope,
    /// What left the scope and is removed; found as [`Self::kept`] is.
    #[serde(default, skip_serializing_if = "LeftScope::is_empty")]
    pub removed: LeftScope,
    /// The services, one for each address, port and protocol of the spec.
    pub services: BTreeMap<ServiceKey, NamedService>,
    /// The addresses that evenkeel binds.
    pub vips: BTreeMap<Binding, Vip>,
    /// The host objects that evenkeel adds, such as routes to VIPs.
    #[serde(default)]
    pub host_objects: BTreeMap<HostObject, HostValue>,
    /// The addresses of directors to one of which the default route of a family must lead, because this
    /// host is a real server behind NAT whose spec asks for no route. A plan only warns of another one.
    #[serde(default)]
    pub expected_gateways: BTreeMap<Family, BTreeSet<IpAddr>>,
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
    /// The overrides of the spec; those of commands are stored elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Override>,
    /// The directory whose files name real servers in maintenance, an absolute path; `None`: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_dir: Option<Box<Path>>,
}

/// What a spec places on other directors than this host. It leaves this host at once, without a drain: two
/// hosts with one address serve neither well.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// The services.
    pub services: BTreeSet<ServiceKey>,
    /// The VIPs.
    pub vips: BTreeSet<IpAddr>,
}

impl Elsewhere {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.vips.is_empty()
    }
}

/// What a real server needs for one service. The values are those of the whole state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealServerPart {
    /// The `name` of the spec's service; empty if it is not known.
    #[serde(default)]
    pub name: Box<str>,
    /// The drain of the service: for so long, directors may send connections after it no longer lists
    /// this real server.
    pub drain: Drain,
    /// The addresses that are bound.
    pub vips: BTreeSet<Binding>,
    /// The host objects that are added.
    pub host_objects: BTreeSet<HostObject>,
    /// The keys of the sysctls that are set.
    pub sysctls: BTreeSet<Box<str>>,
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
    /// Its health checks; `None`: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Arc<ServiceHealth>>,
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
            health: None,
            service,
        }
    }

    /// The real servers of the service and of its fallback pool, which needs them as hosts alike.
    pub fn with_fallback(&self) -> impl Iterator<Item = (&RealServerKey, &RealServer)> {
        let fallback = self.health.iter().filter_map(|health| health.fallback.as_ref());
        let fallback = fallback.flat_map(|it| it.real_servers.iter());
        self.service.real_servers.iter().chain(fallback)
    }
}

impl Desired {
    /// Whether neither a service nor a VIP nor a host object is desired.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.vips.is_empty() && self.host_objects.is_empty()
    }

    /// Whether that service is deleted unless the spec lists it: it is in scope, or left the scope to be
    /// removed.
    pub fn governs(&self, service: &ServiceKey) -> bool {
        self.scope.contains(service) || self.removed.services.contains(service)
    }

    /// Whether that VIP is unbound unless the spec lists it.
    pub fn governs_vip(&self, vip: &Binding) -> bool {
        self.scope.contains_address(vip.address) || self.removed.vips.contains(vip)
    }

    /// Whether that host object is deleted unless the spec lists it.
    pub fn governs_host_object(&self, object: &HostObject) -> bool {
        let is_in_scope = object.is_in(&self.scope) && !self.kept.host_objects.contains(object);
        is_in_scope || self.removed.host_objects.contains(object)
    }

    /// Whether the connections of a service to that real server get another source address: full NAT.
    pub fn is_full_nat(&self, service: &ServiceKey, real_server: &RealServerKey) -> bool {
        let source_nat = SourceNat { service: *service, real_server: *real_server };
        // Most specs have no such object.
        !self.host_objects.is_empty() && self.host_objects.contains_key(&source_nat.into())
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
    /// The name of a service, of which the host is a director or a real server; `None` where neither spec
    /// lists it.
    pub fn name(&self, key: &ServiceKey) -> Option<&'a str> {
        let Self { desired, last } = *self;
        let mut specs = [Some(desired), last].into_iter().flatten();
        specs.find_map(|spec| {
            let service = spec.services.get(key).map(|service| &*service.name);
            let part = || spec.real_server.get(key).map(|part| &*part.name);
            service.or_else(part).filter(|name| !name.is_empty())
        })
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
