//! Sessions of programs on the host over VIPs that leave it, for the guard `unbind-in-use`.
//!
//! A session that belongs to a service is no matter of this file: IPVS counts it on a director, also where the
//! real server is the host itself, and a real server waits for it by the drain of its service.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use evenkeel_model::{Live, LocalSession, ServiceKey};

use crate::impact_analysis::{drained_services, marked, rebound, vanishing};
use crate::{Inputs, Op, Warning};

/// Returns the addresses that these steps take from the host, if only for a moment: a plan with such steps
/// depends on the sessions over them ([`Inputs::sessions`]).
pub fn interrupted_addresses(live: &Live, steps: &[Op]) -> BTreeSet<IpAddr> {
    let mut addresses = vanishing(live, steps);
    addresses.extend(rebound(live, steps));
    addresses
}

/// Returns the sessions of programs on this host that unbinding a VIP breaks.
pub(super) fn over(inputs: &Inputs<'_>, vip: IpAddr, ops: &[Op]) -> Vec<LocalSession> {
    let Some(read) = inputs.sessions else { return Vec::new() };
    let mut on_it = read.sessions.iter().filter(|it| it.local.ip() == vip).peekable();
    if on_it.peek().is_none() || is_under_way(inputs, vip, ops) || serves_marked(inputs, vip) {
        return Vec::new();
    }
    let services = services(inputs);
    let is_of_service = |session: &LocalSession| {
        [session.local, session.remote].iter().any(|end| {
            [end.port(), 0].into_iter().any(|port| {
                let (address, protocol) = (end.ip(), session.protocol);
                services.contains(&ServiceKey::Address { address, port, protocol })
            })
        })
    };
    let mut found: Vec<LocalSession> = on_it.filter(|it| !is_of_service(it)).copied().collect();
    // Both ends may be on this host.
    let all: BTreeSet<(SocketAddr, SocketAddr)> =
        found.iter().map(|it| (it.local, it.remote)).collect();
    found.retain(|it| it.local <= it.remote || !all.contains(&(it.remote, it.local)));
    found
}

/// Warns of sessions that could not be read, once for each reason.
pub(crate) fn unread_warnings(inputs: &Inputs<'_>, steps: &[Op]) -> Vec<Warning> {
    let Some(read) = inputs.sessions else { return Vec::new() };
    let vips = interrupted_addresses(inputs.live, steps);
    if read.unread.is_empty() || vips.is_empty() {
        return Vec::new();
    }
    let reasons: BTreeSet<&String> = read.unread.values().collect();
    let warning = |why: &String| Warning::SessionsUnread { vips: vips.clone(), why: why.clone() };
    reasons.into_iter().map(warning).collect()
}

/// Whether the removal of a VIP was judged when it began: all its services drain already, or it stays only
/// until a service has left.
fn is_under_way(inputs: &Inputs<'_>, vip: IpAddr, ops: &[Op]) -> bool {
    let Inputs { live, record, .. } = inputs;
    let leaves = |part: &crate::LeavingPart| part.part.vips.keys().any(|it| it.address == vip);
    // Another service of the real server that leaves now kept the VIP until now.
    let mut parts = record.real_server.in_force.values();
    let is_kept_by_another = parts.any(|it| it.vips.keys().any(|it| it.address == vip));
    if record.real_server.leaving.values().any(leaves) {
        return !is_kept_by_another;
    }
    let drained = drained_services(live, ops);
    let has_begun = |key: &ServiceKey| {
        let begun = |(service, _): &(ServiceKey, _)| service == key;
        drained.contains(key) && record.drains.0.keys().any(begun)
    };
    let mut on_it = live.services.keys().filter(|key| key.vip() == Some(vip)).peekable();
    on_it.peek().is_some() && on_it.all(has_begun)
}

/// Whether sessions over a VIP may be those of a fwmark service with a real server on this host: their ports
/// are not known.
fn serves_marked(inputs: &Inputs<'_>, vip: IpAddr) -> bool {
    let Inputs { live, .. } = inputs;
    let is_here = |address: IpAddr| live.addresses.keys().any(|it| it.address == address);
    let is_local = |key: &ServiceKey| {
        live.services[key].real_servers.iter().any(|(key, _)| is_here(key.address))
    };
    marked(live, vip).any(is_local) || parts(inputs).any(|key| key.is_marked_in(vip))
}

/// Returns the services that this host has, had before, or gets.
fn services(inputs: &Inputs<'_>) -> BTreeSet<ServiceKey> {
    let Inputs { desired, live, last, .. } = inputs;
    let last = last.iter().flat_map(|it| it.services.keys());
    let all = live.services.keys().chain(desired.services.keys()).chain(last);
    all.chain(parts(inputs)).copied().collect()
}

/// Returns the services of which this host is, was or becomes a real server.
fn parts<'a>(inputs: &Inputs<'a>) -> impl Iterator<Item = &'a ServiceKey> {
    let Inputs { desired, record, last, .. } = *inputs;
    let records = &record.real_server;
    let last = last.into_iter().flat_map(|it| it.real_server.keys());
    let recorded = records.in_force.keys().chain(records.leaving.keys());
    desired.real_server.keys().chain(recorded).chain(last)
}
