//! The way of answers under NAT: through the director, which forwards them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_model::{
    DefaultRoute, DefaultRouteValue, FORWARDING_IPV6, Family, Forward, HostObject, HostObjectKind,
    HostValue, ServiceKey, SourceNatValue,
};

use super::list;
use crate::facts::interface_key;
use crate::{Code, Facts, Finding, NotChecked};

pub(super) fn check(facts: &Facts, findings: &mut Vec<Finding>) {
    not_forwarding(facts, findings);
    redirects(facts, findings);
    return_paths(facts, findings);
    through_director(facts, findings);
    missing_sources(facts, findings);
}

/// Answers from a VIP that go to the director, which has it as an address of its own. Where the real server is
/// behind NAT, too, its default route has to lead there.
fn through_director(facts: &Facts, findings: &mut Vec<Finding>) {
    let directors = facts.cluster.as_ref().map_or(&[][..], |cluster| &cluster.directors);
    let [director] = directors else { return };
    let is_route = |object: &HostObject| object.kind() == HostObjectKind::DefaultRoute;
    if facts.desired.roles.is_director()
        || !facts.desired.expected_gateways.is_empty()
        || facts.desired.host_objects.keys().any(is_route)
    {
        return;
    }
    for (family, gateway) in &facts.default_gateways {
        let parts = facts.desired.real_server.iter();
        let served = parts.filter(|(_, part)| {
            part.vips.iter().any(|binding| Family::from(binding.address) == *family)
        });
        let services: BTreeSet<ServiceKey> = served.map(|(key, _)| *key).collect();
        if services.is_empty() || !director.addresses.contains(gateway) {
            continue;
        }
        let what = format!(
            "the default route {family} leads to {gateway}, a director, which drops answers from its VIPs"
        );
        let remedy = "let the default route lead to a router".to_owned();
        findings.push(Finding::of(Code::ThroughDirector, services, what, remedy));
    }
}

/// Sources of full NAT that this host does not have.
fn missing_sources(facts: &Facts, findings: &mut Vec<Finding>) {
    let mut missing: BTreeMap<IpAddr, BTreeSet<ServiceKey>> = BTreeMap::new();
    for (object, value) in &facts.desired.host_objects {
        if let HostObject::SourceNat(source_nat) = object
            && let HostValue::SourceNat(SourceNatValue::Address(source)) = value
            && !facts.live.addresses.keys().any(|binding| binding.address == *source)
        {
            missing.entry(*source).or_default().insert(source_nat.service);
        }
    }
    for (source, services) in missing {
        let what = format!("the source {source} of full NAT is no address of this host");
        let remedy =
            "bind it under `vips`, or write another `source` or none in its place".to_owned();
        findings.push(Finding::of(Code::SourceMissing, services, what, remedy));
    }
}

fn is_nat(forward: Forward) -> bool {
    forward == Forward::Nat
}

fn not_forwarding(facts: &Facts, findings: &mut Vec<Finding>) {
    let mut interfaces: BTreeMap<&str, BTreeSet<ServiceKey>> = BTreeMap::new();
    let mut ipv6 = BTreeSet::new();
    for (key, address, route) in facts.forwarded(is_nat) {
        match address.address {
            // The kernel looks at the interface on which the packet arrived (`IN_DEV_FORWARD`).
            IpAddr::V4(_) if facts.of_interface(&route.interface, "forwarding") == Some(0) => {
                interfaces.entry(&route.interface).or_default().insert(*key);
            }
            IpAddr::V6(_) if facts.number(FORWARDING_IPV6) == Some(0) => {
                ipv6.insert(*key);
            }
            IpAddr::V4(_) | IpAddr::V6(_) => {}
        }
    }
    for (interface, services) in interfaces {
        let what = format!("answers that arrive on {interface} are not forwarded to clients");
        // A value that is set already rewrites no interface.
        let key = match facts.of_interface("all", "forwarding") {
            Some(1) => interface_key(interface, "forwarding"),
            _ => "net.ipv4.ip_forward".to_owned(),
        };
        let remedy = facts.to_set(&[&key], "1");
        findings.push(Finding::of(Code::NotForwarding, services, what, remedy));
    }
    if !ipv6.is_empty() {
        let what = "answers of IPv6 are not forwarded to clients".to_owned();
        let remedy = facts.to_set(&[FORWARDING_IPV6], "1");
        findings.push(Finding::of(Code::NotForwarding, ipv6, what, remedy));
    }
}

fn redirects(facts: &Facts, findings: &mut Vec<Finding>) {
    let mut interfaces: BTreeMap<&str, BTreeSet<ServiceKey>> = BTreeMap::new();
    for (key, address, route) in facts.forwarded(is_nat) {
        // Under full NAT, real servers know no other address to answer to.
        if address.address.is_ipv6() || facts.desired.is_full_nat(key, address) {
            continue;
        }
        // Clients come by the interface of the VIP.
        let is_shared =
            facts.live.addresses.keys().any(|bound| {
                Some(bound.address) == key.vip() && bound.interface == route.interface
            });
        if is_shared && facts.larger(&route.interface, "send_redirects") == Some(1) {
            interfaces.entry(&route.interface).or_default().insert(*key);
        }
    }
    for (interface, services) in interfaces {
        let what = format!(
            "clients and real servers are reached through {interface}, and the host redirects real \
             servers past itself"
        );
        let of_interface = interface_key(interface, "send_redirects");
        let remedy = facts.to_set(&["net.ipv4.conf.all.send_redirects", &of_interface], "0");
        findings.push(Finding::of(Code::Redirects, services, what, remedy));
    }
}

pub(super) fn not_checked(facts: &Facts, found: &mut Vec<NotChecked>) {
    let is_read = facts.live.host_objects.read.contains(&HostObjectKind::DefaultRoute);
    let is_route = |object: &HostObject| object.kind() == HostObjectKind::DefaultRoute;
    let is_wanted = !facts.desired.expected_gateways.is_empty()
        || facts.desired.host_objects.keys().any(is_route);
    if is_wanted && !is_read {
        let reason = "the default routes were not read".to_owned();
        found.push(NotChecked { codes: [Code::ReturnPath].into(), reason });
    }
}

/// Where the default route of a family has to lead.
struct ReturnPath {
    /// One of these.
    gateways: BTreeSet<IpAddr>,
    /// The services whose answers take it, as far as they are known.
    services: BTreeSet<ServiceKey>,
    /// Whether the spec asks for the route.
    is_asked: bool,
}

fn return_paths(facts: &Facts, findings: &mut Vec<Finding>) {
    // Nothing is known of routes that were not read.
    if !facts.live.host_objects.read.contains(&HostObjectKind::DefaultRoute) {
        return;
    }
    let unasked = facts.desired.expected_gateways.iter().map(|(family, gateways)| {
        (
            *family,
            ReturnPath { gateways: gateways.clone(), services: BTreeSet::new(), is_asked: false },
        )
    });
    let mut expected: BTreeMap<Family, ReturnPath> = unasked.collect();
    for (object, value) in &facts.desired.host_objects {
        let (
            HostObject::DefaultRoute(DefaultRoute { family }),
            HostValue::DefaultRoute(DefaultRouteValue::Gateway(gateway)),
        ) = (object, value)
        else {
            continue;
        };
        let parts = facts.desired.real_server.iter();
        let services = parts.filter(|(_, part)| part.host_objects.contains(object));
        let services = services.map(|(key, _)| *key).collect();
        expected
            .insert(*family, ReturnPath { gateways: [*gateway].into(), services, is_asked: true });
    }
    for (family, ReturnPath { gateways, services, is_asked }) in expected {
        let route = facts.live.host_objects.get(&HostObject::from(DefaultRoute { family }));
        let found = route.and_then(|live| match &live.value {
            HostValue::DefaultRoute(value) => value.gateway(),
            _ => None,
        });
        if found.is_some_and(|found| gateways.contains(&found)) {
            continue;
        }
        let what = match (found, route) {
            (Some(found), _) => format!("the default route {family} leads to {found}"),
            (None, Some(_)) => format!("the default route {family} has no single gateway"),
            (None, None) => format!("there is no default route {family}"),
        };
        let wanted = list(&gateways).replace(" and ", " or ");
        let what = format!("{what}, and answers behind NAT have to return through {wanted}");
        let remedy = match is_asked {
            true => "`evenkeel apply` sets the default route",
            false => "write `gateway: director` in the service, and apply it here",
        };
        findings.push(Finding::of(Code::ReturnPath, services, what, remedy.to_owned()));
    }
}
