//! Rules of the packet filter that rely on connection tracking, from which IPVS keeps its connections unless
//! `net.ipv4.vs.conntrack` is 1.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_model::{
    CONNECTION_TRACKING, Family, Forward, HostObject, Protocol, RealServerKey, ServiceKey,
};

use crate::facts::families_with_packet_filter;
use crate::{Code, Facts, Finding, NotChecked, PacketFilter, RouteLookup};

/// Actions that drop a packet.
const REFUSE: [&str; 2] = ["DROP", "REJECT"];
/// Actions of the table `nat` that replace the source of a packet.
const REPLACE_SOURCE: [&str; 3] = ["MASQUERADE", "SNAT", "NETMAP"];

/// The real servers under NAT, with their services.
type NatRealServers = BTreeMap<RealServerKey, BTreeSet<ServiceKey>>;

pub(super) fn check(facts: &Facts, findings: &mut Vec<Finding>) {
    findings.extend(full_nat(facts));
    for family in families_with_packet_filter(&facts.desired, &facts.sysctls) {
        let Some(PacketFilter::Rules(lines)) = facts.packet_filters.get(&family) else { continue };
        let nat_real_servers = nat_real_servers(facts, family);
        let remedy = facts.to_set(&[CONNECTION_TRACKING], "1");
        findings.extend(source_rules(lines, &nat_real_servers, &remedy));
        findings.extend(state_rules(lines, &nat_real_servers, family, remedy));
    }
}

pub(super) fn not_checked(facts: &Facts, found: &mut Vec<NotChecked>) {
    for family in families_with_packet_filter(&facts.desired, &facts.sysctls) {
        let reason = match facts.packet_filters.get(&family) {
            Some(PacketFilter::Rules(_)) => continue,
            Some(PacketFilter::NotRead(reason)) => reason.to_string(),
            None => "the rules of the packet filter were not read".to_owned(),
        };
        found.push(NotChecked { codes: [Code::Untracked].into(), reason });
    }
}

/// Full NAT, whose rules replace the source of tracked connections only.
fn full_nat(facts: &Facts) -> Option<Finding> {
    let services = facts.desired.host_objects.keys().filter_map(|object| match object {
        HostObject::SourceNat(source_nat) => Some(source_nat.service),
        _ => None,
    });
    let services: BTreeSet<ServiceKey> = services.collect();
    if services.is_empty() || facts.number(CONNECTION_TRACKING) != Some(0) {
        return None;
    }
    let what = format!(
        "full NAT replaces no source of packets that IPVS forwards, as {CONNECTION_TRACKING} is 0"
    );
    let remedy = facts.to_set(&[CONNECTION_TRACKING], "1");
    Some(Finding::of(Code::Untracked, services, what, remedy))
}

/// The real servers under NAT of a family that are other hosts.
fn nat_real_servers(facts: &Facts, family: Family) -> NatRealServers {
    let mut nat_real_servers = NatRealServers::new();
    for (key, real_server, it) in facts.real_servers() {
        let address = real_server.address;
        let is_other = facts.routes.get(&address) != Some(&RouteLookup::Local);
        if it.forward == Forward::Nat && Family::from(address) == family && is_other {
            nat_real_servers.entry(*real_server).or_default().insert(*key);
        }
    }
    nat_real_servers
}

/// A rule in the order of its words: `-A CHAIN` is not among them.
struct Rule<'a> {
    words: Vec<&'a str>,
}

impl<'a> Rule<'a> {
    /// The word after an option.
    fn value(&self, option: &str) -> Option<&'a str> {
        let at = self.words.iter().position(|word| *word == option)?;
        self.words.get(at + 1).copied()
    }

    fn is_negated(&self) -> bool {
        self.words.contains(&"!")
    }

    /// Whether it has a match extension.
    fn matches_by(&self, extension: &str) -> bool {
        self.words.windows(2).any(|pair| pair == ["-m", extension])
    }

    /// The states of connections of a rule that looks at nothing else; `None` for other rules.
    fn states(&self) -> Option<BTreeSet<&'a str>> {
        let states = match *self.words.as_slice() {
            ["-m", "conntrack", "--ctstate", states, "-j", ..] => states,
            ["-m", "state", "--state", states, "-j", ..] => states,
            _ => return None,
        };
        Some(states.split(',').collect())
    }
}

/// The rules of a chain in a table, in their order, and what becomes of packets that none matches.
struct Chain<'a> {
    policy: &'a str,
    rules: Vec<Rule<'a>>,
}

fn chain<'a>(lines: &'a [Box<str>], table: &str, name: &str) -> Chain<'a> {
    let mut found = Chain { policy: "ACCEPT", rules: Vec::new() };
    let mut is_in = false;
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [first, ..] if first.starts_with('*') => is_in = first[1..] == *table,
            [first, policy, ..] if is_in && first.strip_prefix(':') == Some(name) => {
                found.policy = policy
            }
            ["-A", chain, rest @ ..] if is_in && *chain == name => {
                found.rules.push(Rule { words: rest.to_vec() });
            }
            _ => {}
        }
    }
    found
}

/// Rules that are to replace the source of packets to real servers.
fn source_rules(
    lines: &[Box<str>],
    nat_real_servers: &NatRealServers,
    remedy: &str,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in chain(lines, "nat", "POSTROUTING").rules {
        let is_wanted = rule.value("-j").is_some_and(|it| REPLACE_SOURCE.contains(&it));
        if !is_wanted || rule.is_negated() {
            continue;
        }
        let services: BTreeSet<ServiceKey> = match rule.matches_by("ipvs") {
            true => nat_real_servers.values().flatten().copied().collect(),
            false => services_of(&rule, nat_real_servers),
        };
        if services.is_empty() {
            continue;
        }
        let what = format!(
            "the rule `-A POSTROUTING {}` replaces no source of packets that IPVS forwards, as {CONNECTION_TRACKING} is 0",
            rule.words.join(" ")
        );
        findings.push(Finding::of(Code::Untracked, services, what, remedy.to_owned()));
    }
    findings
}

/// The services with a real server whose address and port are what a rule matches, alone.
fn services_of(rule: &Rule<'_>, nat_real_servers: &NatRealServers) -> BTreeSet<ServiceKey> {
    let destination = rule.value("-d").and_then(|text| text.split('/').next());
    let address = destination.and_then(|text| text.parse::<IpAddr>().ok());
    let is_host =
        rule.value("-d").and_then(|text| text.split_once('/')).is_none_or(|(_, prefix)| {
            prefix == if address.is_some_and(|it| it.is_ipv4()) { "32" } else { "128" }
        });
    let port = rule.value("--dport").and_then(|text| text.parse().ok());
    let (Some(address), Some(port), true) = (address, port, is_host) else {
        return BTreeSet::new();
    };
    let services = nat_real_servers.get(&RealServerKey { address, port }).into_iter().flatten();
    let protocol = rule.value("-p");
    let is_of = |key: &&ServiceKey| match key {
        ServiceKey::Address { protocol: own, .. } => protocol == Some(&*own.to_string()),
        ServiceKey::Fwmark { .. } => false,
    };
    services.filter(is_of).copied().collect()
}

/// Rules of states that drop the answers of real servers: the first packet of an answer opens no connection
/// that connection tracking knows. Only the rules before which no other one may accept the answers.
fn state_rules(
    lines: &[Box<str>],
    nat_real_servers: &NatRealServers,
    family: Family,
    remedy: String,
) -> Option<Finding> {
    // Packets that such rules exempt from tracking have a state of their own.
    if !chain(lines, "raw", "PREROUTING").rules.is_empty() {
        return None;
    }
    let Chain { policy, rules } = chain(lines, "filter", "FORWARD");
    let (mut refusing, mut accepts_known) = (None, false);
    for rule in &rules {
        let states = rule.states()?;
        match rule.value("-j")? {
            // UDP has no packets that are invalid.
            action if REFUSE.contains(&action) && states.contains("INVALID") => {
                refusing = Some(format!("the rule `-A FORWARD {}`", rule.words.join(" ")));
                break;
            }
            "ACCEPT" if states.iter().all(|it| ["ESTABLISHED", "RELATED"].contains(it)) => {
                accepts_known = true;
            }
            _ => return None,
        }
    }
    let is_policy = refusing.is_none() && accepts_known && REFUSE.contains(&policy);
    let refusing = match is_policy {
        true => format!("the policy {policy} of FORWARD"),
        false => refusing?,
    };
    let is_refused = |key: &&ServiceKey| match key {
        ServiceKey::Address { protocol, .. } => {
            is_policy || [Protocol::Tcp, Protocol::Sctp].contains(protocol)
        }
        ServiceKey::Fwmark { .. } => is_policy,
    };
    let services: BTreeSet<ServiceKey> =
        nat_real_servers.values().flatten().filter(is_refused).copied().collect();
    let what = format!(
        "{refusing} drops the answers of real servers ({family}), which belong to no known connection, as \
         {CONNECTION_TRACKING} is 0"
    );
    (!services.is_empty()).then(|| Finding::of(Code::Untracked, services, what, remedy))
}
