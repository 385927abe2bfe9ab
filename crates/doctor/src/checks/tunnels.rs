//! Tunnels: room for the packets on the way, and what the real server does with them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_model::{Checksum, Family, Forward, ServiceKey, Tunnel, TunnelDriver, TunnelKind};

use crate::{Code, Facts, Finding};

pub(super) fn check(facts: &Facts, findings: &mut Vec<Finding>) {
    narrow_ways(facts, findings);
    filters(facts, findings);
}

fn narrow_ways(facts: &Facts, findings: &mut Vec<Finding>) {
    let mut narrow: BTreeMap<(IpAddr, u32, u32), BTreeSet<ServiceKey>> = BTreeMap::new();
    for (key, address, route) in facts.forwarded(|it| matches!(it, Forward::Tun(_))) {
        let service = facts.desired.services.get(key).map(|named| &named.service);
        let real_server = service.and_then(|service| service.real_servers.get(address));
        let Some(Forward::Tun(tunnel)) = real_server.map(|it| it.forward) else { continue };
        let of_interface = || facts.links.get(&route.interface).map(|link| link.mtu);
        let Some(mtu) = route.mtu.or_else(of_interface) else { continue };
        let outer = address.address.into();
        let needed = smallest(key.family(), outer) + overhead(tunnel, outer);
        if mtu < needed {
            narrow.entry((address.address, mtu, needed)).or_default().insert(*key);
        }
    }
    for ((address, mtu, needed), services) in narrow {
        let what = format!(
            "the way to real server {address} has an MTU of {mtu}, and packets in the tunnel need {needed}"
        );
        let remedy = "raise the MTU of the interface or of the route to the real server".to_owned();
        findings.push(Finding::of(Code::TunnelMtu, services, what, remedy));
    }
}

/// The smallest room for packets in a tunnel. Where less remains, the kernel drops every packet
/// (`__ip_vs_get_out_rt` and its counterpart for IPv6, which compare with the smallest MTU of the outer
/// protocol), and hosts send IPv6 packets of 1280 bytes whatever the MTU of the way.
fn smallest(inner: Family, outer: Family) -> u32 {
    match (inner, outer) {
        (Family::Ipv4, Family::Ipv4) => 68,
        (Family::Ipv6, _) | (_, Family::Ipv6) => 1280,
    }
}

/// The bytes that a tunnel adds to a packet.
fn overhead(tunnel: Tunnel, outer: Family) -> u32 {
    let outer = match outer {
        Family::Ipv4 => 20,
        Family::Ipv6 => 40,
    };
    let header = match tunnel.kind {
        TunnelKind::Ipip | TunnelKind::Other(_) => 0,
        TunnelKind::Gre if tunnel.checksum == Checksum::None => 4,
        TunnelKind::Gre => 8,
        // The UDP header, that of GUE, and its field of remote checksum offload.
        TunnelKind::Gue if tunnel.checksum == Checksum::Remote => 8 + 4 + 8,
        TunnelKind::Gue => 8 + 4,
    };
    outer + header
}

fn filters(facts: &Facts, findings: &mut Vec<Finding>) {
    let mut filtering: BTreeMap<&str, BTreeSet<ServiceKey>> = BTreeMap::new();
    for (key, part) in &facts.desired.real_server {
        for binding in part.vips.iter().filter(|binding| binding.address.is_ipv4()) {
            let is_tunnel = TunnelDriver::of_device(&binding.interface).is_some();
            if is_tunnel && facts.larger(&binding.interface, "rp_filter") == Some(1) {
                filtering.entry(&binding.interface).or_default().insert(*key);
            }
        }
    }
    for (device, services) in filtering {
        let what = format!(
            "packets that {device} unpacks are dropped: the maximum of `rp_filter` of `all` and {device} is 1"
        );
        let remedy = format!(
            "set net.ipv4.conf.all.rp_filter and net.ipv4.conf.{device}.rp_filter to 0; `evenkeel apply` \
             does so"
        );
        findings.push(Finding::of(Code::FiltersTunnel, services, what, remedy));
    }
}
