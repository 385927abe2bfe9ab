//! Routers in front of directors: whether they send packets for a VIP to the director's MAC address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_model::{
    Director, DirectorMac, FORWARDING_IPV6, Family, HostObject, HostValue, MacAddress, Neighbour,
    NeighbourValue, Owner,
};

use super::list;
use super::neighbours::{answers, not_asked};
use crate::{Answers, Code, Facts, Finding, NotChecked, Question, RouteLookup};

pub(super) fn check(facts: &Facts, findings: &mut Vec<Finding>) {
    routes(facts, findings);
    entries(facts, findings);
    directors(facts, findings);
    forwarding(facts, findings);
}

pub(super) fn not_checked(facts: &Facts, found: &mut Vec<NotChecked>) {
    let codes = BTreeSet::from([Code::NoAnswer, Code::OtherMac]);
    let asked = questions(facts);
    found.extend(asked.iter().filter_map(|question| not_asked(facts, question, codes.clone())));
}

/// Returns the addresses of directors that a gateway asks for.
pub(super) fn questions(facts: &Facts) -> BTreeSet<Question> {
    asked(facts).into_values().flatten().collect()
}

/// The directors with the MAC addresses and interfaces of the entries for their VIPs, and what is asked there.
fn asked(facts: &Facts) -> BTreeMap<(&str, MacAddress, &str), BTreeSet<Question>> {
    let mut asked: BTreeMap<_, BTreeSet<Question>> = BTreeMap::new();
    for (Neighbour { address: _, interface }, mac) in facts.gateway_entries() {
        for director in facts.cluster.iter().flat_map(|it| &it.directors) {
            let Director { name, addresses, mac: of_director } = director;
            // One that was learned is what the director answered when the spec was read.
            if *of_director != Some(DirectorMac::Given(mac)) || !facts.has_neighbours(interface) {
                continue;
            }
            let near =
                addresses.iter().filter(|it| facts.interfaces_near(**it).contains(&**interface));
            let question =
                |address: &IpAddr| Question { address: *address, interface: interface.clone() };
            asked.entry((&**name, mac, &**interface)).or_default().extend(near.map(question));
        }
    }
    asked
}

fn directors(facts: &Facts, findings: &mut Vec<Finding>) {
    for ((name, mac, interface), questions) in asked(facts) {
        let answers: Option<Vec<&BTreeSet<MacAddress>>> = questions
            .iter()
            .map(|question| match answers(facts, question) {
                Some(Answers::From(hosts)) => Some(hosts),
                Some(Answers::NotAsked(_)) | None => None,
            })
            .collect();
        let Some(answers) = answers.filter(|it| !it.is_empty()) else { continue };
        let hosts: BTreeSet<MacAddress> = answers.into_iter().flatten().copied().collect();
        let addresses = list(questions.iter().map(|it| it.address));
        if hosts.is_empty() {
            let what = format!("director {name} does not answer for {addresses} on {interface}");
            let remedy = format!("start {name}, or connect it to the network of {interface}");
            findings.push(Finding::of(Code::NoAnswer, [], what, remedy));
        } else if !hosts.contains(&mac) {
            let found = list(&hosts);
            let what = format!(
                "director {name} answers for {addresses} with {found}, and its `mac` in the spec is {mac}"
            );
            let remedy =
                "write the right `mac` to the director, and apply the spec here".to_owned();
            findings.push(Finding::of(Code::OtherMac, [], what, remedy));
        }
    }
}

fn routes(facts: &Facts, findings: &mut Vec<Finding>) {
    let of_directors: BTreeSet<IpAddr> = facts
        .cluster
        .iter()
        .flat_map(|it| &it.directors)
        .flat_map(|it| &it.addresses)
        .copied()
        .collect();
    let near_director = |interface: &str| {
        of_directors.iter().any(|address| facts.interfaces_near(*address).contains(interface))
    };
    for (Neighbour { address: vip, interface }, _) in facts.gateway_entries() {
        let found = match facts.routes.get(vip) {
            None => continue,
            Some(RouteLookup::Local) => "it is an address of this gateway itself".to_owned(),
            Some(RouteLookup::Unreachable) => "this gateway has no route to it".to_owned(),
            Some(RouteLookup::Route(route)) => match route.gateway {
                Some(router) if of_directors.contains(&router) => continue,
                Some(router) => format!("this gateway routes it through {router}"),
                None if route.interface == *interface || near_director(&route.interface) => {
                    continue;
                }
                None => format!("this gateway routes it to {}", route.interface),
            },
        };
        let what =
            format!("packets for VIP {vip} do not leave by {interface} to the director: {found}");
        let remedy = match facts.routes.get(vip) {
            Some(RouteLookup::Local) => "remove the address from this gateway".to_owned(),
            _ => format!("`ip route add {vip} dev {interface}`, or remove what leads elsewhere"),
        };
        findings.push(Finding::of(Code::GatewayRoute, facts.services_of_vip(*vip), what, remedy));
    }
}

fn entries(facts: &Facts, findings: &mut Vec<Finding>) {
    for (entry, wanted) in facts.gateway_entries() {
        let object = HostObject::from(entry.clone());
        let live = facts.live.host_objects.get(&object);
        // An apply edits those of evenkeel.
        let live = live.filter(|live| live.owner == Owner::Other).map(|live| &live.value);
        let Some(HostValue::Neighbour(NeighbourValue { mac })) = live else { continue };
        if *mac == wanted {
            continue;
        }
        let Neighbour { address: vip, interface } = entry;
        let what = format!(
            "packets for VIP {vip} leave by {interface} to {mac}, and its director has {wanted}"
        );
        let remedy = format!(
            "`ip neighbour del {vip} dev {interface}`, and `evenkeel apply` adds the right entry"
        );
        findings.push(Finding::of(Code::GatewayEntry, facts.services_of_vip(*vip), what, remedy));
    }
}

fn forwarding(facts: &Facts, findings: &mut Vec<Finding>) {
    let families = facts.gateway_entries().map(|(entry, _)| Family::from(entry.address));
    let families: BTreeSet<Family> = families.collect();
    for family in families {
        // Clients may be behind any interface.
        let (is_off, key) = match family {
            Family::Ipv4 => {
                let interfaces = facts.links.keys().filter(|name| ***name != *"lo");
                let mut values = interfaces.map(|name| facts.of_interface(name, "forwarding"));
                (values.all(|value| value == Some(0)), "net.ipv4.ip_forward")
            }
            Family::Ipv6 => (facts.number(FORWARDING_IPV6) == Some(0), FORWARDING_IPV6),
        };
        if is_off {
            let what = format!("this gateway forwards no packets of {family}");
            let remedy = format!("`sysctl -w {key}=1`, and let the host set it at boot");
            findings.push(Finding::of(Code::GatewayNotForwarding, [], what, remedy));
        }
    }
}
