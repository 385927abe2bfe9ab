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

use std::collections::BTreeSet;
use std::net::IpAddr;

use evenkeel_model::{LocalSession, Protocol, ServiceKey};

use super::{Advice, Reason, labels, sessions, some_of};
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
    // The director that the spec places it on binds it anyway, and takes over its traffic.
    let moved = &inputs.desired.elsewhere.vips;
    let unbound =
        gone.into_iter().filter(|vip| !moved.contains(vip)).flat_map(|vip| {
            match needed(inputs, vip, &deleted) {
                Some(reason) => vec![reason],
                None => connected(inputs, vip, &drained, ops),
            }
        });
    let interrupted = rebound.into_iter().filter_map(|vip| interrupted(inputs, vip, ops));
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
fn connected(
    inputs: &Inputs<'_>,
    vip: IpAddr,
    drained: &BTreeSet<ServiceKey>,
    ops: &[Op],
) -> Vec<Reason> {
    let mut cut = Users::new(inputs, vip, ops);
    cut.services.retain(|key| !drained.contains(key));
    let number = cut.connections(inputs);
    let guards = inputs.judging_guards();
    if cut.are_few(inputs) {
        return Vec::new();
    }
    let allowed = guards.unbind_in_use_text();
    let mut reasons = Vec::new();
    if number > 0 {
        let connections = count(number, "connection");
        let services = some_of(&labels(inputs, cut.services));
        let (what, advice) = match cut.is_marked {
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
    if !cut.sessions.is_empty() {
        let sessions = sessions_text(&cut.sessions);
        let what = format!("unbinding {vip} would break {sessions} ({allowed})");
        reasons.push(Reason { what, advice: Some(Advice::EndSessions) });
    }
    reasons
}

/// Refuses to unbind a VIP for a moment, to change its label, while connections use it.
fn interrupted(inputs: &Inputs<'_>, vip: IpAddr, ops: &[Op]) -> Option<Reason> {
    let users = Users::new(inputs, vip, ops);
    if users.are_few(inputs) {
        return None;
    }
    let number = users.connections(inputs);
    let mut broken = Vec::new();
    if number > 0 {
        let some = if users.is_marked { "some of " } else { "" };
        let services = some_of(&labels(inputs, users.services));
        broken.push(format!("{some}{} to {services}", count(number, "connection")));
    }
    if !users.sessions.is_empty() {
        broken.push(sessions_text(&users.sessions));
    }
    let what = format!(
        "changing the label of {vip} unbinds it for a moment, which may break {} ({})",
        broken.join(" and "),
        inputs.judging_guards().unbind_in_use_text(),
    );
    Some(Reason { what, advice: Some(Advice::KeepLabel) })
}

/// What uses a VIP.
struct Users<'a> {
    services: Vec<&'a ServiceKey>,
    /// Whether the VIP has no service of its own, so that these are all fwmark services of its family.
    is_marked: bool,
    sessions: Vec<LocalSession>,
}

impl<'a> Users<'a> {
    fn new(inputs: &Inputs<'a>, vip: IpAddr, ops: &[Op]) -> Self {
        let mut services: Vec<&ServiceKey> = on_it(inputs, vip).collect();
        let is_marked = services.is_empty();
        if is_marked {
            services.extend(marked(inputs.live, vip));
        }
        Self { services, is_marked, sessions: sessions::over(inputs, vip, ops) }
    }

    /// The number of connections of the services.
    fn connections(&self, inputs: &Inputs<'_>) -> u64 {
        self.services.iter().filter_map(|key| open(inputs.statistics, key, None)).sum()
    }

    /// Whether no more connections of all kinds use it than may break.
    fn are_few(&self, inputs: &Inputs<'_>) -> bool {
        let sessions = u64::try_from(self.sessions.len()).unwrap_or(u64::MAX);
        let all = self.connections(inputs).saturating_add(sessions);
        all <= u64::from(inputs.judging_guards().judging.unbind_in_use)
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
    let warning = |vip: IpAddr| {
        on_it(inputs, vip).next()?;
        let all: Vec<&ServiceKey> = marked(live, vip)
            .filter(|key| !drained.contains(key) && open(statistics, key, None) > Some(0))
            .collect();
        let number: u64 = all.iter().filter_map(|key| open(statistics, key, None)).sum();
        let services = some_of(&labels(inputs, all));
        (number > 0).then_some(Warning::MarkedConnections { vip, connections: number, services })
    };
    gone.into_iter().filter_map(warning).collect()
}

/// Returns the live services on an address.
fn on_it<'a>(inputs: &Inputs<'a>, vip: IpAddr) -> impl Iterator<Item = &'a ServiceKey> {
    inputs.live.services_on(vip).map(|(key, _)| key)
}
