//! What the answers of other hosts show: real servers and directors that do not answer, and VIPs for which
//! others answer. They are asked only if the user wants it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_model::{MacAddress, ServiceKey};

use super::list;
use crate::{Answers, Code, Facts, Finding, NotChecked, Question, RouteLookup};

/// What a question is for.
#[derive(Debug, Clone, Default)]
struct Purpose {
    /// The codes that its answers decide.
    codes: BTreeSet<Code>,
    /// The services whose packets go to the address, if it is that of a real server or of a router to one,
    /// with those real servers.
    to: BTreeMap<IpAddr, BTreeSet<ServiceKey>>,
    /// Set if it is a VIP of this host: how many hosts may answer for it.
    vip: Option<usize>,
}

/// Returns what is to be asked about real servers and VIPs.
pub(super) fn questions(facts: &Facts) -> BTreeSet<Question> {
    purposes(facts).into_keys().collect()
}

pub(super) fn check(facts: &Facts, findings: &mut Vec<Finding>) {
    for (question, Purpose { codes: _, to, vip }) in purposes(facts) {
        let Some(Answers::From(hosts)) = answers(facts, &question) else { continue };
        if hosts.is_empty() {
            findings.extend(
                to.into_iter().map(|(address, services)| no_answer(&question, address, services)),
            );
        }
        if vip.is_some_and(|allowed| hosts.len() > allowed) {
            findings.push(contested(facts, &question, hosts));
        }
    }
}

pub(super) fn not_checked(facts: &Facts, found: &mut Vec<NotChecked>) {
    for (question, Purpose { codes, .. }) in purposes(facts) {
        found.extend(not_asked(facts, &question, codes));
    }
}

/// Says that a question was not asked, if it was not.
pub(super) fn not_asked(
    facts: &Facts,
    question: &Question,
    codes: BTreeSet<Code>,
) -> Option<NotChecked> {
    let reason = match answers(facts, question) {
        Some(Answers::From(_)) => return None,
        Some(Answers::NotAsked(reason)) => {
            format!("no neighbour is asked on {}: {reason}", question.interface)
        }
        None => "no neighbour is asked without `--probe`".to_owned(),
    };
    Some(NotChecked { codes, reason })
}

/// The answers to a question; `None` if none was asked.
pub(super) fn answers<'a>(facts: &'a Facts, question: &Question) -> Option<&'a Answers> {
    facts.answers.as_ref()?.get(question)
}

fn purposes(facts: &Facts) -> BTreeMap<Question, Purpose> {
    let mut purposes: BTreeMap<Question, Purpose> = BTreeMap::new();
    real_servers(facts, &mut purposes);
    vips(facts, &mut purposes);
    purposes
}

/// The next hops to real servers that get connections.
fn real_servers(facts: &Facts, purposes: &mut BTreeMap<Question, Purpose>) {
    for (key, _, service) in facts.services() {
        for (real_server, _) in service.real_servers.iter().filter(|(_, it)| it.weight > 0) {
            let address = real_server.address;
            let Some(RouteLookup::Route(route)) = facts.routes.get(&address) else { continue };
            let question = Question {
                address: route.gateway.unwrap_or(address),
                interface: route.interface.clone(),
            };
            if facts.has_neighbours(&route.interface)
                && !facts.static_neighbours.contains(&question)
            {
                let purpose = purposes.entry(question).or_default();
                purpose.codes.insert(Code::NoAnswer);
                purpose.to.entry(address).or_default().insert(*key);
            }
        }
    }
}

/// The VIPs that this host has. With gateways, the packets of clients reach the director whichever hosts answer.
fn vips(facts: &Facts, purposes: &mut BTreeMap<Question, Purpose>) {
    if facts.has_gateways() {
        return;
    }
    let mut ask = |vip: IpAddr, interface: &str, allowed: usize| {
        let question = Question { address: vip, interface: interface.into() };
        let purpose = purposes.entry(question).or_default();
        purpose.codes.insert(Code::ContestedVip);
        purpose.vip = Some(allowed);
    };
    let directed = facts.directed_vips();
    for bound in facts.live.addresses.keys() {
        let vip = bound.address;
        if directed.contains(&vip) {
            // Nothing but this host is to answer.
            match facts.has_neighbours(&bound.interface) {
                true => ask(vip, &bound.interface, 0),
                false => facts.interfaces_near(vip).iter().for_each(|it| ask(vip, it, 0)),
            }
        } else if facts.desired.real_server.values().any(|part| part.vips.contains(bound)) {
            // The director answers, or no host if the VIP is on the director's `lo`.
            facts.interfaces_near(vip).iter().for_each(|it| ask(vip, it, 1));
        }
    }
}

fn no_answer(question: &Question, address: IpAddr, services: BTreeSet<ServiceKey>) -> Finding {
    let Question { address: asked, interface } = question;
    let (what, remedy) = match *asked == address {
        true => (
            format!("real server {address} does not answer on {interface}"),
            format!("start it, connect it to the network of {interface}, or set its weight to 0"),
        ),
        false => (
            format!(
                "router {asked} does not answer on {interface}, and packets to real server {address} go to it"
            ),
            format!("start it, connect it to the network of {interface}, or change the route"),
        ),
    };
    Finding::of(Code::NoAnswer, services, what, remedy)
}

fn contested(facts: &Facts, question: &Question, hosts: &BTreeSet<MacAddress>) -> Finding {
    let Question { address: vip, interface } = question;
    let hosts = list(hosts);
    let what = match facts.directed_vips().contains(vip) {
        true => format!("VIP {vip} of this host is answered for on {interface} by {hosts}, too"),
        false => format!("VIP {vip} is answered for on {interface} by several hosts: {hosts}"),
    };
    let remedy = "find the hosts with these MAC addresses, and run `evenkeel doctor` there, or remove the \
                  address from them";
    Finding::of(Code::ContestedVip, facts.services_of_vip(*vip), what, remedy.to_owned())
}
