//! Resolves what the spec means for one host of the cluster.
//!
//! A spec is resolved for the whole cluster first, with all diagnostics, and then for a host. A role is
//! another desired state of the host, not another way to reach it.

mod director;
mod directors;
mod explain;
mod gateway_neighbours;
mod gateways;
mod own_addresses;
mod real_server;
mod return_path;
mod service;
mod service_entry;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_model::{
    Binding, Cluster, Desired, Forward, HostInputs, HostRoles, RoleProblem, ServiceKey, roles,
};

use crate::path::{At, Path};
use crate::resolve::{Diagnostics, SpecObject};
use crate::spec::Spec;

pub(crate) use self::directors::Directors;
pub(crate) use self::explain::{RoleMessage, ignored_message, role_message};
pub(crate) use self::gateways::Gateways;
pub(crate) use self::service::ServiceRoles;

/// A spec that is resolved for the whole cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ClusterSpec {
    /// The desired state of a director that has every VIP of the spec.
    pub(crate) whole: Desired,
    /// The hosts.
    pub(crate) cluster: Cluster,
    /// The directors of VIPs that name one.
    on: BTreeMap<Binding, Box<str>>,
    /// What real servers get for each service that says something about it.
    on_real_servers: BTreeMap<ServiceKey, service_entry::OnRealServers>,
}

/// The parts of a spec for the whole cluster.
pub(crate) struct ClusterParts {
    /// The desired state of a director that has every VIP of the spec.
    pub(crate) whole: Desired,
    pub(crate) directors: Directors,
    pub(crate) gateways: Gateways,
    /// The directors of VIPs that name one.
    pub(crate) on: BTreeMap<Binding, Box<str>>,
    pub(crate) services: ServiceRoles,
}

impl ClusterSpec {
    /// Combines the parts, and checks the rules between them. Without directors there are none.
    pub(crate) fn new(parts: ClusterParts, diagnostics: &mut Diagnostics) -> Self {
        let ClusterParts { whole, directors, gateways, on, services } = parts;
        let mut cluster = Cluster {
            directors: directors.list(),
            real_servers: BTreeSet::new(),
            gateways: gateways.list(),
        };
        if !cluster.directors.is_empty() {
            cluster.real_servers = addresses_of_real_servers(&whole);
            let bound = whole.vips.keys().map(|binding| binding.address);
            let vips: BTreeSet<IpAddr> = bound.chain(services.vips()).collect();
            directors.check_addresses(&vips, diagnostics);
            gateways.check_addresses(&vips, &cluster.real_servers, diagnostics);
        }
        let on_real_servers = services.finish(&whole, &cluster, &on, diagnostics);
        let spec = Self { whole, cluster, on, on_real_servers };
        let of_vips = spec.vips_with_directors().map(|(_, director)| &*director.name).collect();
        gateways.check_directors(&directors, &of_vips, diagnostics);
        spec
    }

    /// Lists the real servers of a spec without directors, for a host that may be one of them.
    pub(crate) fn list_real_servers(&mut self) {
        if self.cluster.real_servers.is_empty() {
            self.cluster.real_servers = addresses_of_real_servers(&self.whole);
        }
    }

    /// Records the origins of what a role adds: the services of a real server that need it, and the VIPs of
    /// the entries of a gateway.
    pub(crate) fn record_origins(&mut self, inputs: &HostInputs, diagnostics: &mut Diagnostics) {
        self.list_real_servers();
        let Ok(desired) = self.for_host(inputs) else { return };
        for (key, part) in &desired.real_server {
            let Some(path) = diagnostics.origin_of(&SpecObject::Service(*key)) else { continue };
            let vips = part.vips.iter().cloned().map(SpecObject::Vip);
            let objects = part.host_objects.iter().cloned().map(SpecObject::Host);
            let sysctls = part.sysctls.iter().cloned().map(SpecObject::Sysctl);
            for object in vips.chain(objects).chain(sysctls) {
                diagnostics.origin(object, || path.clone());
            }
        }
        if desired.roles.gateway.is_none() {
            return;
        }
        for object in desired.host_objects.keys() {
            let mut vips = self.whole.vips.keys();
            let vip = vips.find(|binding| object.address() == Some(binding.address));
            let Some(vip) = vip.cloned() else { continue };
            if let Some(path) = diagnostics.origin_of(&SpecObject::Vip(vip)) {
                diagnostics.origin(SpecObject::Host(object.clone()), || path);
            }
        }
    }

    /// Returns the desired state of the host with these inputs.
    ///
    /// # Errors
    /// Its roles are not known.
    pub(crate) fn for_host(&self, inputs: &HostInputs) -> Result<Desired, RoleProblem> {
        let HostInputs { requested, former, .. } = inputs;
        let roles = roles(&self.cluster, &inputs.own(), *requested, *former)?;
        let mut desired = self.desired(roles, inputs);
        self.add_neighbours(inputs, &mut desired)?;
        match self.competing_gateways(&desired) {
            Some(gateways) => Err(RoleProblem::SeveralGateways(gateways)),
            None => Ok(desired),
        }
    }

    fn desired(&self, roles: HostRoles, inputs: &HostInputs) -> Desired {
        let mut desired = match &roles.director {
            Some(_) => self.director(&roles, inputs),
            // Nothing in the table of a host that is no director is wanted.
            None => Desired {
                scope: self.whole.scope.clone(),
                guards: self.whole.guards,
                drain: self.whole.drain,
                ..Desired::default()
            },
        };
        desired.roles = roles.clone();
        self.add_real_server(&roles, &mut desired);
        desired
    }
}

/// The addresses of all real servers to which packets are sent.
fn addresses_of_real_servers(whole: &Desired) -> BTreeSet<IpAddr> {
    let mut addresses = BTreeSet::new();
    for named in whole.services.values() {
        let listed = named.with_fallback();
        let forwarded = listed
            .filter(|(_, it)| matches!(it.forward, Forward::Dr | Forward::Nat | Forward::Tun(_)));
        addresses.extend(forwarded.map(|(key, _)| key.address));
    }
    addresses
}

/// Where the directors are listed first; the root of the first source if there are none.
pub(crate) fn place(sources: &[(At<'_>, &Spec)]) -> Option<Path> {
    let listed = sources.iter().find(|(_, spec)| !spec.directors.is_absent());
    let listed = listed.map(|(root, _)| root.key("directors").path());
    listed.or_else(|| sources.first().map(|(root, _)| root.path()))
}
