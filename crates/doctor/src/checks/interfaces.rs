//! Interfaces that are down or have no carrier.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{ServiceKey, TunnelDriver};

use crate::{Code, Facts, Finding};

const LOOPBACK: &str = "lo";

pub(super) fn check(facts: &Facts, findings: &mut Vec<Finding>) {
    let is_loopback_down = facts.links.get(LOOPBACK).is_some_and(|lo| !lo.is_up);
    if is_loopback_down && !facts.desired.is_empty() {
        findings.push(Finding::of(
            Code::LoopbackDown,
            [],
            "interface lo is down".to_owned(),
            "`ip link set lo up`".to_owned(),
        ));
    }
    for (interface, services) in needed(facts) {
        let Some(link) = facts.links.get(interface) else { continue };
        if !link.is_up {
            let what = format!("interface {interface} is down");
            // One that another program brings up is not taken for evenkeel's.
            let remedy = match TunnelDriver::of_device(interface) {
                Some(_) => "`evenkeel apply` brings it up".to_owned(),
                None => format!("`ip link set {interface} up`"),
            };
            findings.push(Finding::of(Code::InterfaceDown, services, what, remedy));
        } else if !link.is_running {
            let what = format!("interface {interface} is up, but has no carrier");
            let remedy =
                format!("restore the link of {interface}; `ip link show {interface}` shows it");
            findings.push(Finding::of(Code::NoCarrier, services, what, remedy));
        }
    }
}

/// The interfaces that traffic needs, with the services whose traffic it is: those of VIPs, those that
/// lead to real servers or, on a gateway, to directors, and those with the own address of a real server.
fn needed(facts: &Facts) -> BTreeMap<&str, BTreeSet<ServiceKey>> {
    let mut needed: BTreeMap<&str, BTreeSet<ServiceKey>> = BTreeMap::new();
    for (vip, interface) in facts.vip_places() {
        needed.entry(interface).or_default().extend(facts.services_of_vip(vip));
    }
    for (key, _, route) in facts.forwarded(|_| true) {
        needed.entry(&route.interface).or_default().insert(*key);
    }
    for (entry, _) in facts.gateway_entries() {
        let services = facts.services_of_vip(entry.address);
        needed.entry(&entry.interface).or_default().extend(services);
    }
    let own = &facts.desired.roles.real_server;
    for binding in facts.live.addresses.keys().filter(|it| own.contains(&it.address)) {
        let services = facts.desired.real_server.keys();
        needed.entry(&binding.interface).or_default().extend(services);
    }
    needed.remove(LOOPBACK);
    needed
}
