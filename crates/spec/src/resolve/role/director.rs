//! What a director gets: the services, its VIPs, and the sysctls that NAT needs.

use std::net::IpAddr;

use evenkeel_model::{
    Binding, CONNECTION_TRACKING, Desired, Elsewhere, FORWARDING, FORWARDING_IPV6, Forward,
    HostInputs, HostObjectKind, HostRoles, ServiceKey,
};

use super::ClusterSpec;
use crate::resolve::ListedServers;

impl ClusterSpec {
    /// Returns the desired state of a director.
    pub(super) fn director(&self, roles: &HostRoles, inputs: &HostInputs) -> Desired {
        let mut desired = self.whole.clone();
        let Some(name) = roles.director_name() else {
            set_connection_tracking(&mut desired);
            return desired;
        };
        let is_anothers = |binding: &Binding| self.on.get(binding).is_some_and(|on| **on != *name);
        // A service belongs to the director that binds its VIP: elsewhere, packets that a director
        // forwards would be scheduled again.
        let is_elsewhere = |vip: IpAddr| {
            let mut bindings = self.whole.vips.keys().filter(|it| it.address == vip).peekable();
            bindings.peek().is_some() && bindings.all(is_anothers)
        };
        let services = self.whole.services.keys();
        let services =
            services.filter(|key| key.vip().is_some_and(is_elsewhere)).copied().collect();
        let vips = self.whole.vips.keys().map(|binding| binding.address);
        let vips = vips.filter(|vip| is_elsewhere(*vip)).collect();
        desired.elsewhere = Elsewhere { services, vips };
        desired.services.retain(|key, _| !desired.elsewhere.services.contains(key));
        desired.vips.retain(|binding, _| !is_anothers(binding));
        let is_elsewhere = |key: &ServiceKey| desired.elsewhere.services.contains(key);
        desired.host_objects.retain(|object, _| {
            !object.service().is_some_and(is_elsewhere)
                && !self.on.keys().any(|binding| is_anothers(binding) && object.is_on(binding))
        });
        let mut overrides = std::mem::take(&mut desired.overrides);
        if !overrides.is_empty() {
            let own = ListedServers::new(&desired.services);
            overrides.retain(|it| own.has(&it.target));
        }
        desired.overrides = overrides;
        set_forwarding(&mut desired, inputs);
        set_connection_tracking(&mut desired);
        desired
    }
}

/// Lets the kernel's connection tracking know the connections of IPVS, which source NAT needs.
fn set_connection_tracking(desired: &mut Desired) {
    if desired.host_objects.keys().any(|it| it.kind() == HostObjectKind::SourceNat) {
        let value = desired.sysctls.entry(CONNECTION_TRACKING.into());
        value.or_insert_with(|| "1".into());
    }
}

/// Lets the host forward packets where real servers under NAT need it, and not send redirects to hosts
/// that have a shorter way to each other: answers must pass the director. A sysctl that the spec names
/// keeps that value.
fn set_forwarding(desired: &mut Desired, inputs: &HostInputs) {
    let own = inputs.own();
    let mut real_servers: Vec<IpAddr> = Vec::new();
    for named in desired.services.values() {
        let nat = named.with_fallback().filter(|(_, it)| it.forward == Forward::Nat);
        real_servers.extend(nat.map(|(key, _)| key.address).filter(|it| !own.contains(it)));
    }
    let is_forwarding_written = FORWARDING.iter().any(|key| desired.sysctls.contains_key(*key));
    let mut set = |key: String, value: &str| {
        desired.sysctls.entry(key.into()).or_insert_with(|| value.into());
    };
    if real_servers.iter().any(IpAddr::is_ipv4) {
        if !is_forwarding_written {
            set("net.ipv4.ip_forward".to_owned(), "1");
        }
        // The kernel sends redirects where `all` or the interface allows it (`IN_DEV_TX_REDIRECTS`).
        set("net.ipv4.conf.all.send_redirects".to_owned(), "0");
        for own in &inputs.addresses {
            let faces_real_server = real_servers.iter().any(|it| own.network.contains(it));
            if faces_real_server && !own.interface.is_empty() {
                let interface = own.interface.replace('.', "/");
                set(format!("net.ipv4.conf.{interface}.send_redirects"), "0");
            }
        }
    }
    if real_servers.iter().any(IpAddr::is_ipv6) {
        set(FORWARDING_IPV6.to_owned(), "1");
    }
}
