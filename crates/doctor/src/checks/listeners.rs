//! Programs of a director that clients reach through a VIP.

use std::collections::BTreeSet;
use std::net::IpAddr;

use evenkeel_model::{HostObject, Protocol, ServiceKey};

use super::list;
use crate::{Code, Facts, Finding, Listener, NotChecked, Port};

/// The UDP ports of DHCP clients, which need them on every address.
const DHCP_CLIENT: [u16; 2] = [68, 546];

pub(super) fn check(facts: &Facts, findings: &mut Vec<Finding>) {
    if !facts.desired.roles.is_director() {
        return;
    }
    for (port, listener) in wildcard(facts) {
        let is_reached = |vip: &IpAddr| is_reachable(facts, port, listener, *vip);
        let vips = facts.vips().into_iter().filter(is_reached);
        let vips: Vec<IpAddr> = vips.collect();
        if vips.is_empty() {
            continue;
        }
        let what = format!(
            "a program of this host accepts packets to every address on {} port {}, and so to {}",
            port.protocol.to_string().to_uppercase(),
            port.number,
            list(vips)
        );
        let option = if port.protocol == Protocol::Udp { "-lnup" } else { "-lntp" };
        let remedy = format!(
            "let it listen on the host's own address, or filter the port; `ss {option}` names it"
        );
        findings.push(Finding::of(Code::WildcardListener, [], what, remedy));
    }
}

/// Says that nothing is known of the packets that get a firewall mark.
pub(super) fn not_checked(facts: &Facts, found: &mut Vec<NotChecked>) {
    let is_director = facts.desired.roles.is_director();
    let accepts = |vip: &IpAddr| wildcard(facts).any(|(_, it)| it.accepts(*vip));
    let is_unknown = |vip: &IpAddr| facts.is_bound(*vip) && is_marked(facts, *vip) && accepts(vip);
    let unknown: BTreeSet<IpAddr> =
        facts.vips().into_iter().filter(is_unknown).filter(|_| is_director).collect();
    if !unknown.is_empty() {
        let reason = format!("which packets to {} get a firewall mark is not known", list(unknown));
        found.push(NotChecked { codes: [Code::WildcardListener].into(), reason });
    }
}

/// The sockets on every address that are programs': not those of DHCP clients, nor the kernel's for tunnels.
fn wildcard(facts: &Facts) -> impl Iterator<Item = (Port, Listener)> {
    let ports = facts.live.host_objects.objects.keys().filter_map(|object| match object {
        HostObject::FouPort(port) => Some(port.port),
        _ => None,
    });
    let tunnels: BTreeSet<u16> = ports.chain(DHCP_CLIENT).collect();
    let is_program =
        move |port: &Port| port.protocol != Protocol::Udp || !tunnels.contains(&port.number);
    facts.listeners.iter().map(|(port, it)| (*port, *it)).filter(move |(port, _)| is_program(port))
}

/// Whether packets to that VIP may belong to a service by a firewall mark, and to no other one.
fn is_marked(facts: &Facts, vip: IpAddr) -> bool {
    let mut keys = facts.desired.services.keys();
    let is_own = |key: &ServiceKey| key.vip() == Some(vip);
    !keys.clone().any(is_own) && keys.any(|key| key.is_marked_in(vip))
}

/// Whether packets to that VIP reach the socket, as no service takes them. Nothing is known of the packets
/// that get a firewall mark, so a VIP without a service of its own is left out if there are such services.
fn is_reachable(facts: &Facts, port: Port, listener: Listener, vip: IpAddr) -> bool {
    if !listener.accepts(vip) || !facts.is_bound(vip) || is_marked(facts, vip) {
        return false;
    }
    !facts.desired.services.keys().any(|key| match *key {
        ServiceKey::Address { address, port: taken, protocol } => {
            address == vip && protocol == port.protocol && [port.number, 0].contains(&taken)
        }
        ServiceKey::Fwmark { .. } => false,
    })
}
