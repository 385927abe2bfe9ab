//! `unbind-in-use`: a VIP would leave the host while a service needs it, or while connections use
//! it that do not drain.
//!
//! A connection is one of a service, or a session of a program on the host ([`super::sessions`]), such as that
//! of an ssh to the VIP.
//!
//! The VIP of a packet of a fwmark service is known only per connection, and is not counted. A VIP
//! without a service of its own exists for such packets, so all connections of the fwmark services
//! of its family count. For a VIP with services of its own, the plan only warns about them
//! ([`marked_warnings`]): a refusal would affect every host that has both.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_model::{Family, LocalSession, Protocol, ServiceKey};

use super::sessions::Sessions;
use super::{Advice, Reason, labels, some_of};
use crate::impact_analysis::{drained_services, marked, open, rebound, vanishing};
use crate::render::count;
use crate::{Inputs, Op, Warning};

pub(super) fn refusal(inputs: &Inputs<'_>, ops: &[Op]) -> Vec<Reason> {
    let gone = vanishing(inputs.live, ops);
    let rebound = rebound(inputs.live, ops);
    if gone.is_empty() && rebound.is_empty() {
        return Vec::new();
    }
    let deleted: BTreeSet<ServiceKey> = ops
        .iter()
        .filter(|op| matches!(op, Op::DeleteService { .. }))
        .filter_map(Op::service)
        .collect();
    let drained = drained_services(inputs.live, ops);
    let sessions = Sessions::new(inputs, &drained);
    let staying = VipUsers::new(inputs, &sessions, Some(&drained));
    let all = VipUsers::new(inputs, &sessions, None);
    // The director that the spec places it on binds it anyway, and takes over its traffic.
    let moved = &inputs.desired.elsewhere.vips;
    let unbound =
        gone.into_iter().filter(|vip| !moved.contains(vip)).flat_map(|vip| {
            match needed(inputs, vip, &deleted) {
                Some(reason) => vec![reason],
                None => connected(inputs, vip, &staying),
            }
        });
    let interrupted = rebound.into_iter().filter_map(|vip| interrupted(inputs, vip, &all));
    unbound.chain(interrupted).collect()
}

/// Refuses to unbind a VIP with services that stay on it or are added to it, including those that
/// are out of scope.
fn needed(inputs: &Inputs<'_>, vip: IpAddr, deleted: &BTreeSet<ServiceKey>) -> Option<Reason> {
    let Inputs { desired, live, .. } = inputs;
    let desired = desired.services.range(ServiceKey::first_on(vip)..).map(|(key, _)| key);
    let desired = desired.take_while(|key| key.vip() == Some(vip));
    let on_it = live.services_on(vip).map(|(key, _)| key).chain(desired);
    let staying: BTreeSet<ServiceKey> =
        on_it.filter(|key| !deleted.contains(key)).copied().collect();
    (!staying.is_empty()).then(|| {
        let need = if staying.len() == 1 { "needs it" } else { "need it" };
        let services = some_of(&labels(inputs, &staying));
        Reason {
            what: format!("unbinding {vip} takes it from this host, but {services} {need}"),
            advice: Some(Advice::KeepVip),
        }
    })
}

/// Refuses to unbind a VIP with connections to services that do not drain, or with sessions of programs on
/// this host.
fn connected(inputs: &Inputs<'_>, vip: IpAddr, users: &VipUsers<'_>) -> Vec<Reason> {
    let Users { services: Using { connections: number, names: services }, is_marked, sessions } =
        users.of(vip);
    if users.are_few(number, &sessions) {
        return Vec::new();
    }
    let allowed = inputs.judging_guards().unbind_in_use_text();
    let mut reasons = Vec::new();
    if number > 0 {
        let connections = count(number, "connection");
        let (what, advice) = match is_marked {
            false => (
                format!("unbinding {vip} would break {connections} to {services} ({allowed})"),
                Advice::Drain,
            ),
            true => (
                format!(
                    "unbinding {vip}, which has no service of its own, could break up to {connections} \
                     to {services} ({allowed})"
                ),
                Advice::KeepMarked,
            ),
        };
        reasons.push(Reason { what, advice: Some(advice) });
    }
    if !sessions.is_empty() {
        let sessions = sessions_text(&sessions);
        let what = format!("unbinding {vip} would break {sessions} ({allowed})");
        reasons.push(Reason { what, advice: Some(Advice::EndSessions) });
    }
    reasons
}

/// Refuses to unbind a VIP for a moment, to change its label, while connections use it.
fn interrupted(inputs: &Inputs<'_>, vip: IpAddr, users: &VipUsers<'_>) -> Option<Reason> {
    let Users { services: Using { connections: number, names: services }, is_marked, sessions } =
        users.of(vip);
    if users.are_few(number, &sessions) {
        return None;
    }
    let mut broken = Vec::new();
    if number > 0 {
        let some = if is_marked { "some of " } else { "" };
        broken.push(format!("{some}{} to {services}", count(number, "connection")));
    }
    if !sessions.is_empty() {
        broken.push(sessions_text(&sessions));
    }
    let what = format!(
        "changing the label of {vip} unbinds it for a moment, which may break {} ({})",
        broken.join(" and "),
        inputs.judging_guards().unbind_in_use_text(),
    );
    Some(Reason { what, advice: Some(Advice::KeepLabel) })
}

/// What uses VIPs.
struct VipUsers<'a> {
    inputs: &'a Inputs<'a>,
    sessions: &'a Sessions<'a>,
    /// The services that are not counted.
    drained: Option<&'a BTreeSet<ServiceKey>>,
    /// The fwmark services of each family: every VIP without a service of its own has the same.
    marked: BTreeMap<Family, OnceCell<Using>>,
}

/// What uses a VIP.
struct Users {
    services: Using,
    /// Whether the VIP has no service of its own, so that these are all fwmark services of its family.
    is_marked: bool,
    sessions: Vec<LocalSession>,
}

/// The connections of some services.
#[derive(Debug, Clone)]
struct Using {
    connections: u64,
    /// Some of their names; empty without connections.
    names: String,
}

impl<'a> VipUsers<'a> {
    fn new(
        inputs: &'a Inputs<'a>,
        sessions: &'a Sessions<'a>,
        drained: Option<&'a BTreeSet<ServiceKey>>,
    ) -> Self {
        let marked = [Family::Ipv4, Family::Ipv6].map(|family| (family, OnceCell::new()));
        Self { inputs, sessions, drained, marked: marked.into() }
    }

    fn of(&self, vip: IpAddr) -> Users {
        let is_marked = on_it(self.inputs, vip).next().is_none();
        let marked = || self.using(marked(self.inputs.live, vip));
        let services = match self.marked.get(&vip.into()).filter(|_| is_marked) {
            Some(known) => known.get_or_init(marked).clone(),
            None => self.using(on_it(self.inputs, vip)),
        };
        Users { services, is_marked, sessions: self.sessions.over(vip) }
    }

    fn using<'k>(&self, keys: impl Iterator<Item = &'k ServiceKey>) -> Using {
        let is_counted =
            |key: &&ServiceKey| self.drained.is_none_or(|drained| !drained.contains(key));
        let keys: Vec<&ServiceKey> = keys.filter(is_counted).collect();
        let statistics = self.inputs.statistics;
        let connections = keys.iter().filter_map(|key| open(statistics, key, None)).sum();
        let names =
            if connections > 0 { some_of(&labels(self.inputs, keys)) } else { String::new() };
        Using { connections, names }
    }

    /// Whether no more connections of all kinds use a VIP than may break.
    fn are_few(&self, connections: u64, sessions: &[LocalSession]) -> bool {
        let sessions = u64::try_from(sessions.len()).unwrap_or(u64::MAX);
        let all = connections.saturating_add(sessions);
        all <= u64::from(self.inputs.judging_guards().judging.unbind_in_use)
    }
}

/// `2 connections of programs on this host, at ports 22/tcp and 5000/udp`.
fn sessions_text(sessions: &[LocalSession]) -> String {
    let ports: BTreeSet<(u16, Protocol)> =
        sessions.iter().map(|it| (it.local.port(), it.protocol)).collect();
    let ports: Vec<String> = ports.iter().map(|(port, of)| format!("{port}/{of}")).collect();
    let number = u64::try_from(sessions.len()).unwrap_or(u64::MAX);
    format!(
        "{} of {} on this host, at {} {}",
        count(number, "connection"),
        if number == 1 { "a program" } else { "programs" },
        if ports.len() == 1 { "port" } else { "ports" },
        some_of(&ports)
    )
}

/// Returns warnings for VIPs that leave with their services while fwmark services have connections.
pub(crate) fn marked_warnings(inputs: &Inputs<'_>, ops: &[Op]) -> Vec<Warning> {
    let Inputs { live, statistics, .. } = *inputs;
    let gone = vanishing(live, ops);
    if gone.is_empty() {
        return Vec::new();
    }
    let drained = drained_services(live, ops);
    let of_family = |address: IpAddr| {
        let all: Vec<&ServiceKey> = marked(live, address)
            .filter(|key| !drained.contains(key) && open(statistics, key, None) > Some(0))
            .collect();
        let connections: u64 = all.iter().filter_map(|key| open(statistics, key, None)).sum();
        Using { connections, names: some_of(&labels(inputs, all)) }
    };
    let families: BTreeMap<Family, IpAddr> = gone.iter().map(|it| ((*it).into(), *it)).collect();
    let families: BTreeMap<Family, Using> =
        families.into_iter().map(|(family, address)| (family, of_family(address))).collect();
    let warning = |vip: IpAddr| {
        on_it(inputs, vip).next()?;
        let Using { connections, names } = families.get(&vip.into())?.clone();
        (connections > 0).then_some(Warning::MarkedConnections {
            vip,
            connections,
            services: names,
        })
    };
    gone.into_iter().filter_map(warning).collect()
}

/// Returns the live services on an address.
fn on_it<'a>(inputs: &Inputs<'a>, vip: IpAddr) -> impl Iterator<Item = &'a ServiceKey> {
    inputs.live.services_on(vip).map(|(key, _)| key)
}
