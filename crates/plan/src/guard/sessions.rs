//! Sessions of programs on the host over VIPs that leave it, for the guard `unbind-in-use`.
//!
//! A session that belongs to a service is no matter of this file: IPVS counts it on a director, also where the
//! real server is the host itself, and a real server waits for it by the drain of its service.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use evenkeel_model::{Family, Live, LocalSession, Service, ServiceKey};

use crate::impact_analysis::{rebound, vanishing};
use crate::{Inputs, Op, PartRecord, Warning};

/// Returns the addresses that these steps take from the host, if only for a moment: a plan with such steps
/// depends on the sessions over them ([`Inputs::sessions`]).
pub fn interrupted_addresses(live: &Live, steps: &[Op]) -> BTreeSet<IpAddr> {
    let mut addresses = vanishing(live, steps);
    addresses.extend(rebound(live, steps));
    addresses
}

/// The sessions of programs on this host, and what decides whether unbinding a VIP breaks them.
#[derive(Default)]
pub(super) struct Sessions<'a> {
    by_address: BTreeMap<IpAddr, Vec<&'a LocalSession>>,
    services: BTreeSet<ServiceKey>,
    /// The VIPs of services that leave this real server, and of those that it has.
    leaving: BTreeSet<IpAddr>,
    in_force: BTreeSet<IpAddr>,
    /// The families of which a fwmark service has a real server on this host: the sessions over any VIP may
    /// be those of such a service, as their ports are not known.
    marked: BTreeSet<Family>,
    /// The VIPs of which all services drain already.
    drained: BTreeSet<IpAddr>,
}

impl<'a> Sessions<'a> {
    /// Indexes the sessions, given the services whose real servers all drain in the plan.
    pub(super) fn new(inputs: &Inputs<'a>, drained: &BTreeSet<ServiceKey>) -> Self {
        let Inputs { live, record, sessions, .. } = *inputs;
        let mut by_address: BTreeMap<IpAddr, Vec<&LocalSession>> = BTreeMap::new();
        for session in sessions.iter().flat_map(|read| &read.sessions) {
            by_address.entry(session.local.ip()).or_default().push(session);
        }
        if by_address.is_empty() {
            return Self::default();
        }
        let addresses = |part: &PartRecord| -> Vec<IpAddr> {
            part.vips.keys().map(|binding| binding.address).collect()
        };
        let records = &record.real_server;
        let leaving = records.leaving.values().flat_map(|leaving| addresses(&leaving.part));
        let is_local = |service: &Service| {
            let mut real_servers = service.real_servers.iter();
            real_servers.any(|(key, _)| live.bound(key.address).next().is_some())
        };
        let marked = live.services.iter().filter(|(key, it)| key.vip().is_none() && is_local(it));
        let marked = marked.map(|(key, _)| key);
        let marked = marked.chain(parts(inputs).filter(|key| key.vip().is_none()));
        let has_begun = |key: &ServiceKey| {
            drained.contains(key) && record.drains.of_service(*key).next().is_some()
        };
        let on_vips = || live.services.keys().filter_map(|key| Some((key, key.vip()?)));
        let others = on_vips().filter(|(key, _)| !has_begun(key)).map(|(_, vip)| vip);
        let others: BTreeSet<IpAddr> = others.collect();
        let all_drained = on_vips().map(|(_, vip)| vip).filter(|vip| !others.contains(vip));
        Self {
            services: services(inputs),
            leaving: leaving.collect(),
            in_force: records.in_force.values().flat_map(addresses).collect(),
            marked: marked.map(ServiceKey::family).collect(),
            drained: all_drained.collect(),
            by_address,
        }
    }

    /// Returns those that unbinding a VIP breaks.
    pub(super) fn over(&self, vip: IpAddr) -> Vec<LocalSession> {
        let Some(on_it) = self.by_address.get(&vip) else { return Vec::new() };
        if self.is_under_way(vip) || self.marked.contains(&vip.into()) {
            return Vec::new();
        }
        let is_of_service = |session: &LocalSession| {
            [session.local, session.remote].iter().any(|end| {
                [end.port(), 0].into_iter().any(|port| {
                    let (address, protocol) = (end.ip(), session.protocol);
                    self.services.contains(&ServiceKey::Address { address, port, protocol })
                })
            })
        };
        let own = on_it.iter().filter(|it| !is_of_service(it));
        let mut found: Vec<LocalSession> = own.map(|it| **it).collect();
        // Both ends may be on this host.
        let all: BTreeSet<(SocketAddr, SocketAddr)> =
            found.iter().map(|it| (it.local, it.remote)).collect();
        found.retain(|it| it.local <= it.remote || !all.contains(&(it.remote, it.local)));
        found
    }

    /// Whether the removal of a VIP was judged when it began: all its services drain already, or it stays only
    /// until a service has left.
    fn is_under_way(&self, vip: IpAddr) -> bool {
        match self.leaving.contains(&vip) {
            // Another service of the real server that leaves now kept the VIP until now.
            true => !self.in_force.contains(&vip),
            false => self.drained.contains(&vip),
        }
    }
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
