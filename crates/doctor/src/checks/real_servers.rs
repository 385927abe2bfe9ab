//! Real servers that the director cannot reach as their forwarding method needs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_model::{Forward, RealServer, RealServerKey, ServiceKey};

use crate::{Code, Facts, Finding, RouteLookup};

pub(super) fn check(facts: &Facts, findings: &mut Vec<Finding>) {
    not_on_network(facts, findings);
    no_route(facts, findings);
    mapped_ports(facts, findings);
}

fn not_on_network(facts: &Facts, findings: &mut Vec<Finding>) {
    let mut behind: BTreeMap<(IpAddr, IpAddr), BTreeSet<ServiceKey>> = BTreeMap::new();
    for (key, address, route) in facts.forwarded(|forward| forward == Forward::Dr) {
        // A route by the real server itself leads to it.
        if let Some(gateway) = route.gateway.filter(|gateway| *gateway != address.address) {
            behind.entry((address.address, gateway)).or_default().insert(*key);
        }
    }
    for ((address, gateway), services) in behind {
        let what = format!(
            "real server {address} is reached through the router {gateway}, and direct routing needs it on \
             a network of this host"
        );
        let remedy = format!(
            "connect this host to the network of {address}, or use `forward: tun` or `nat`"
        );
        findings.push(Finding::of(Code::NotOnNetwork, services, what, remedy));
    }
}

fn no_route(facts: &Facts, findings: &mut Vec<Finding>) {
    let mut unreachable: BTreeMap<IpAddr, BTreeSet<ServiceKey>> = BTreeMap::new();
    for (key, address, _) in facts.real_servers() {
        if facts.routes.get(&address.address) == Some(&RouteLookup::Unreachable) {
            unreachable.entry(address.address).or_default().insert(*key);
        }
    }
    for (address, services) in unreachable {
        let what = format!("there is no route to real server {address}");
        let remedy = format!("add one; `ip route get {address}` shows what the kernel finds");
        findings.push(Finding::of(Code::NoRoute, services, what, remedy));
    }
}

fn mapped_ports(facts: &Facts, findings: &mut Vec<Finding>) {
    let live = facts.live.services.iter();
    let live = live.filter(|(key, _)| facts.desired.services.contains_key(*key));
    let live = live.flat_map(|(key, service)| {
        service.real_servers.iter().map(move |(address, it)| (key, address, it))
    });
    let mapped: BTreeSet<(ServiceKey, RealServerKey, &str)> = facts
        .real_servers()
        .chain(live)
        .filter(|(key, address, it)| is_mapped(key, address, it))
        .map(|(key, address, it)| (*key, *address, it.forward.name()))
        .collect();
    for (key, address, method) in mapped {
        let what = format!(
            "real server {address} is to get packets on another port than {}, and `{method}` does not \
             change ports",
            key.port()
        );
        let remedy = format!("use port {}, or `forward: nat`", key.port());
        findings.push(Finding::of(Code::PortMapped, [key], what, remedy));
    }
}

/// Whether packets do not get the port of the real server. A service on a mark, or on port 0, takes
/// packets of any port.
fn is_mapped(key: &ServiceKey, address: &RealServerKey, real_server: &RealServer) -> bool {
    let is_unchanged = matches!(real_server.forward, Forward::Dr | Forward::Tun(_));
    is_unchanged && key.port() != 0 && address.port != key.port()
}
