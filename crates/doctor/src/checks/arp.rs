//! Who answers ARP: of the hosts with a VIP only the director, and of several interfaces only one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_model::{
    ArpRules, ArpRulesValue, Binding, HostObject, HostValue, RealServerPart, ServiceKey,
};
use ipnet::Ipv4Net;

use super::list;
use crate::{Code, Facts, Finding};

/// The values of `arp_ignore` with which only the addresses of the interface itself are answered for, or
/// none.
const ONLY_OWN: [i64; 3] = [1, 2, 8];

/// The value of `arp_announce` with which requests never name an address of another network.
const BEST_LOCAL: i64 = 2;

pub(super) fn check(facts: &Facts, findings: &mut Vec<Finding>) {
    quiet_real_server(facts, findings);
    answered_elsewhere(facts, findings);
    several_answer(facts, findings);
}

/// The interfaces with IPv4 addresses on which hosts may ask for addresses.
fn asked(facts: &Facts) -> BTreeSet<&str> {
    let bindings = facts.live.addresses.keys().filter(|it| it.address.is_ipv4());
    let interfaces = bindings.map(|it| &*it.interface);
    interfaces
        .filter(|name| facts.links.get(*name).is_some_and(|it| it.is_up && it.has_neighbours))
        .collect()
}

fn quiet_real_server(facts: &Facts, findings: &mut Vec<Finding>) {
    // Where the spec asks for neither, something else keeps the real server quiet.
    let by_sysctl = |name: &str| {
        let is_asked = |key: &str| key.rsplit('.').next() == Some(name);
        served(facts, |part, vip| {
            part.sysctls.iter().any(|key| is_asked(key)) && is_bound(facts, vip)
        })
    };
    let by_rules = |lets_pass: fn(&ArpRulesValue) -> bool| {
        served(facts, |part, vip| lacks_rule(facts, part, vip, lets_pass) && is_bound(facts, vip))
    };
    let rules = "`evenkeel apply` adds the ARP rules";
    let answering = [
        Concerned { services: by_sysctl("arp_ignore"), remedy: remedy("arp_ignore", 1) },
        Concerned { services: by_rules(|rules| !rules.drops_incoming), remedy: rules.to_owned() },
    ];
    let announcing = [
        Concerned {
            services: by_sysctl("arp_announce"),
            remedy: remedy("arp_announce", BEST_LOCAL),
        },
        Concerned { services: by_rules(|rules| rules.source.is_none()), remedy: rules.to_owned() },
    ];
    let mut find = |code: Code, Concerned { services, remedy }: &Concerned, what: String| {
        if !services.is_empty() {
            findings.push(Finding::of(code, services.iter().copied(), what, remedy.clone()));
        }
    };
    for interface in asked(facts) {
        let ignore = facts.larger(interface, "arp_ignore");
        if ignore.is_some_and(|value| !ONLY_OWN.contains(&value)) {
            let what = format!("this real server answers ARP requests for its VIPs on {interface}");
            answering.iter().for_each(|it| find(Code::AnswersArp, it, what.clone()));
        }
        let announce = facts.larger(interface, "arp_announce");
        if announce.is_some_and(|value| value != BEST_LOCAL) {
            let what = format!("ARP requests of this real server on {interface} name its VIPs");
            announcing.iter().for_each(|it| find(Code::AnnouncesVip, it, what.clone()));
        }
    }
}

/// What a finding concerns.
struct Concerned {
    services: BTreeSet<ServiceKey>,
    remedy: String,
}

fn remedy(name: &str, value: i64) -> String {
    format!("set net.ipv4.conf.all.{name} to {value}; `evenkeel apply` does so")
}

fn is_bound(facts: &Facts, vip: &Binding) -> bool {
    vip.address.is_ipv4() && facts.is_bound(vip.address)
}

/// Whether the spec asks for rules that hide a VIP, and there are none, or those that there are let packets
/// pass.
fn lacks_rule(
    facts: &Facts,
    part: &RealServerPart,
    vip: &Binding,
    lets_pass: fn(&ArpRulesValue) -> bool,
) -> bool {
    let IpAddr::V4(address) = vip.address else { return false };
    let rules = HostObject::from(ArpRules { address });
    part.host_objects.contains(&rules)
        && match facts.live.host_objects.get(&rules).map(|live| &live.value) {
            Some(HostValue::ArpRules(value)) => lets_pass(value),
            Some(_) => false,
            None => facts.live.host_objects.is_gone(&rules),
        }
}

/// The services for which this host is a real server, with such a VIP.
fn served(
    facts: &Facts,
    is_wanted: impl Fn(&RealServerPart, &Binding) -> bool,
) -> BTreeSet<ServiceKey> {
    let parts = facts.desired.real_server.iter();
    let wanted = parts.filter(|(_, part)| part.vips.iter().any(|vip| is_wanted(part, vip)));
    wanted.map(|(key, _)| *key).collect()
}

fn answered_elsewhere(facts: &Facts, findings: &mut Vec<Finding>) {
    let parts = facts.desired.real_server.values();
    let vips: BTreeSet<IpAddr> = parts.flat_map(|part| &part.vips).map(|it| it.address).collect();
    for bound in facts.live.addresses.keys().filter(|it| vips.contains(&it.address)) {
        let has_neighbours = facts.links.get(&bound.interface).is_some_and(|it| it.has_neighbours);
        // A director that is also a real server binds its own VIPs there.
        let is_wanted = facts.desired.vips.keys().any(|vip| vip.same_place(bound));
        if is_wanted || !has_neighbours {
            continue;
        }
        let (vip, interface) = (bound.address, &bound.interface);
        let services = served(facts, |_, binding| binding.address == vip);
        let what =
            format!("VIP {vip} is bound on {interface}, where this real server answers for it");
        let remedy = format!("`ip address delete {vip}/{} dev {interface}`", bound.prefix);
        findings.push(Finding::of(Code::AnsweredElsewhere, services, what, remedy));
    }
}

fn several_answer(facts: &Facts, findings: &mut Vec<Finding>) {
    let asked = asked(facts);
    let mut networks: BTreeMap<Ipv4Net, BTreeSet<&str>> = BTreeMap::new();
    for binding in facts.live.addresses.keys().filter(|it| asked.contains(&*it.interface)) {
        if let IpAddr::V4(address) = binding.address
            && let Ok(net) = Ipv4Net::new(address, binding.prefix)
            && net.prefix_len() < 32
        {
            networks.entry(net.trunc()).or_default().insert(&binding.interface);
        }
    }
    let answers_for_all = |interface: &&str| {
        let ignore = facts.larger(interface, "arp_ignore");
        ignore.is_some_and(|value| !ONLY_OWN.contains(&value))
            && facts.larger(interface, "arp_filter") == Some(0)
    };
    for (network, interfaces) in networks {
        if interfaces.len() < 2 || !interfaces.iter().any(answers_for_all) {
            continue;
        }
        let in_network = |vip: IpAddr| matches!(vip, IpAddr::V4(it) if network.contains(&it));
        let vips = facts.vips().into_iter().filter(|vip| in_network(*vip));
        let services: BTreeSet<ServiceKey> =
            vips.flat_map(|vip| facts.services_of_vip(vip)).collect();
        let what = format!(
            "{} are on {network}, and each answers ARP requests for the addresses of the others",
            list(interfaces)
        );
        let remedy =
            "set net.ipv4.conf.all.arp_ignore to 1 and net.ipv4.conf.all.arp_announce to 2";
        findings.push(Finding::of(Code::SeveralAnswer, services, what, remedy.to_owned()));
    }
}
