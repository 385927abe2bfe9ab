//! What a real server gets: the VIPs of its services without announcing them, and what its host needs
//! to accept the packets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use evenkeel_model::{
    ArpRules, ArpRulesValue, Binding, DefaultRoute, DefaultRouteValue, Desired, Family, Forward,
    FouPort, HostObject, HostRoles, HostRoute, HostValue, NamedService, RealServerPart, ServiceKey,
    Tunnel, TunnelDevice, TunnelDeviceValue, TunnelKind,
};

use super::ClusterSpec;
use super::service_entry::OnRealServers;
use crate::spec::ArpMethod;

/// The interface of VIPs under DR: the kernel answers no ARP and no NDP for its addresses on others.
const LOOPBACK: &str = "lo";

/// Returns the interface that a real server with that address binds a VIP on; `None` where it needs no
/// VIP.
pub(super) fn device(forward: Forward, vip: IpAddr, real_server: IpAddr) -> Option<&'static str> {
    match forward {
        Forward::Dr => Some(LOOPBACK),
        Forward::Tun(tunnel) => Some(tunnel_device(tunnel, vip, real_server)?.0.driver()?.device()),
        Forward::Nat | Forward::Local | Forward::Bypass | Forward::Other(_) => None,
    }
}

fn tunnel_device(
    tunnel: Tunnel,
    vip: IpAddr,
    real_server: IpAddr,
) -> Option<(TunnelDevice, TunnelDeviceValue)> {
    TunnelDevice::for_tunnel(tunnel.kind, Family::from(vip), Family::from(real_server))
}

impl ClusterSpec {
    /// Adds what the host needs as a real server.
    pub(super) fn add_real_server(&self, roles: &HostRoles, desired: &mut Desired) {
        if roles.real_server.is_empty() {
            return;
        }
        for (key, named) in &self.whole.services {
            let empty = RealServerPart {
                name: (*named.name).into(),
                drain: named.drain,
                ..RealServerPart::default()
            };
            let mut part = empty.clone();
            let own = named.with_fallback();
            for (it, real_server) in own.filter(|(it, _)| roles.real_server.contains(&it.address)) {
                if !self.whole.is_full_nat(key, it) {
                    self.add(key, real_server.forward, it.address, &mut part, desired);
                }
            }
            if part != empty {
                desired.real_server.insert(*key, part);
            }
        }
    }

    /// Returns the gateways of a family that the addresses of the host have, if they are several.
    pub(super) fn competing_gateways(&self, desired: &Desired) -> Option<BTreeSet<IpAddr>> {
        let mut gateways: BTreeMap<Family, BTreeSet<IpAddr>> = BTreeMap::new();
        for (key, side) in &self.on_real_servers {
            let is_own = |address: &IpAddr| desired.roles.real_server.contains(address);
            let services =
                self.whole.services.get(key).filter(|_| !desired.services.contains_key(key));
            let listed = services.into_iter().flat_map(NamedService::with_fallback);
            let nat = listed.filter(|(real_server, it)| {
                it.forward == Forward::Nat && !self.whole.is_full_nat(key, real_server)
            });
            let nat = nat.map(|(it, _)| it.address);
            for gateway in nat.filter(is_own).filter_map(|address| side.gateway(address)) {
                gateways.entry(Family::from(gateway)).or_default().insert(gateway);
            }
        }
        gateways.into_values().find(|of_family| of_family.len() > 1)
    }

    /// Adds what one of the host's addresses needs for a service.
    fn add(
        &self,
        key: &ServiceKey,
        forward: Forward,
        address: IpAddr,
        part: &mut RealServerPart,
        desired: &mut Desired,
    ) {
        let side = self.on_real_servers.get(key);
        // A director delivers to itself without any other address, and sends its answers itself.
        if desired.services.contains_key(key) {
            return;
        }
        if forward == Forward::Nat {
            self.add_return_path(side, address, part, desired);
            return;
        }
        let marked = side.map(|side| &side.vips).into_iter().flatten().copied();
        for vip in key.vip().into_iter().chain(marked) {
            let Some(device) = device(forward, vip, address) else { continue };
            let binding = Binding::host(vip, device);
            let label = side.and_then(|side| side.label.clone()).filter(|_| vip.is_ipv4());
            let vip_value = desired.vips.entry(binding.clone()).or_default();
            vip_value.label = vip_value.label.take().or(label);
            if side.is_some_and(|side| side.route) {
                add_route(&binding, part, desired);
            }
            part.vips.insert(binding);
            if let Forward::Tun(tunnel) = forward {
                add_tunnel(tunnel, vip, address, part, desired);
            }
            let IpAddr::V4(vip) = vip else { continue };
            let arp = side.map(|side| side.arp).unwrap_or_default();
            let rules_for = match (arp, address) {
                (ArpMethod::Arptables, IpAddr::V4(address)) => Some(address),
                (ArpMethod::Arptables, IpAddr::V6(_)) | (ArpMethod::Sysctls, _) => None,
            };
            if let Some(address) = rules_for {
                add_arp_rules(vip, address, part, desired);
            }
            for interface in ["all", device] {
                // The kernel answers ARP only for addresses of the interface that is asked, and asks with
                // an address of the network: neighbours never learn that this host has the VIP.
                if rules_for.is_none() {
                    set(desired, part, interface, "arp_ignore", "1");
                    set(desired, part, interface, "arp_announce", "2");
                }
                if device != LOOPBACK {
                    // What a tunnel unpacks has a source that is reached another way. The kernel
                    // takes the maximum of `all` and the device.
                    set(desired, part, interface, "rp_filter", "0");
                }
            }
        }
    }
}

/// Adds the rules that hide a VIP. Of several addresses of the host that are real servers of the VIP,
/// neighbours learn the first one.
fn add_arp_rules(
    vip: Ipv4Addr,
    address: Ipv4Addr,
    part: &mut RealServerPart,
    desired: &mut Desired,
) {
    let object = HostObject::from(ArpRules { address: vip });
    let value = ArpRulesValue::with_source(address);
    desired.host_objects.entry(object.clone()).or_insert(value.into());
    part.host_objects.insert(object);
}

/// Adds the route of a VIP. The kernel has one route to an address: of several devices with the VIP, the
/// first one gets it.
fn add_route(binding: &Binding, part: &mut RealServerPart, desired: &mut Desired) {
    let mut routes = desired.host_objects.keys().filter(|it| matches!(it, HostObject::Route(_)));
    let object = match routes.find(|it| it.address() == Some(binding.address)) {
        Some(first) => first.clone(),
        None => {
            let route = HostRoute::of(binding);
            let value = route.value();
            let object = HostObject::from(route);
            desired.host_objects.insert(object.clone(), value);
            object
        }
    };
    part.host_objects.insert(object);
}

/// Adds the device that unpacks the packets, and for GUE the port that they come to.
fn add_tunnel(
    tunnel: Tunnel,
    vip: IpAddr,
    address: IpAddr,
    part: &mut RealServerPart,
    desired: &mut Desired,
) {
    let Some((device, value)) = tunnel_device(tunnel, vip, address) else { return };
    let object = HostObject::from(device);
    part.host_objects.insert(object.clone());
    let value = match desired.host_objects.get(&object) {
        Some(HostValue::TunnelDevice(other)) => value.and(*other),
        _ => value,
    };
    desired.host_objects.insert(object, value.into());
    if tunnel.kind == TunnelKind::Gue {
        let port = FouPort { port: tunnel.port, family: Family::from(address) };
        let object = HostObject::from(port);
        desired.host_objects.insert(object.clone(), port.value());
        part.host_objects.insert(object);
    }
}

impl ClusterSpec {
    /// Adds the default route of a real server under NAT; without a gateway, the check of the route that
    /// is there.
    fn add_return_path(
        &self,
        side: Option<&OnRealServers>,
        address: IpAddr,
        part: &mut RealServerPart,
        desired: &mut Desired,
    ) {
        let family = Family::from(address);
        match side.and_then(|side| side.gateway(address)) {
            Some(gateway) => {
                let object = HostObject::from(DefaultRoute { family });
                desired
                    .host_objects
                    .insert(object.clone(), DefaultRouteValue::Gateway(gateway).into());
                part.host_objects.insert(object);
            }
            None => {
                let directors = self.cluster.directors.iter().flat_map(|it| &it.addresses);
                let gateways = directors.filter(|it| Family::from(**it) == family);
                desired.expected_gateways.entry(family).or_default().extend(gateways);
            }
        }
    }
}

fn set(desired: &mut Desired, part: &mut RealServerPart, interface: &str, name: &str, value: &str) {
    let key: Box<str> = format!("net.ipv4.conf.{interface}.{name}").into();
    part.sysctls.insert(key.clone());
    desired.sysctls.entry(key).or_insert_with(|| value.into());
}
