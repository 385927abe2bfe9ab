//! `unbind-in-use`: a VIP would leave the host while a service needs it, or while connections use
//! it that do not drain.
//!
//! The VIP of a packet of a fwmark service is known only per connection, and is not counted. A VIP
//! without a service of its own exists for such packets, so all connections of the fwmark services
//! of its family count. For a VIP with services of its own, the plan only warns about them
//! ([`marked_warnings`]): a refusal would affect every host that has both.

use std::collections::BTreeSet;
use std::net::IpAddr;

use evenkeel_model::ServiceKey;

use super::{labels, some_of};
use crate::impact_analysis::{drained_services, marked, open, rebound, vanishing};
use crate::render::count;
use crate::{Inputs, Op};

/// The advice if services need the VIP.
pub(crate) const KEEP: &str = "; keep it under `vips`, or remove its services from the spec";
/// The advice if services of the VIP have connections.
pub(crate) const DRAIN: &str = "; give the service a `drain` and apply that before you remove it";
/// The advice if connections use a VIP that gets another label.
const RELABEL: &str = "; wait until they have ended, or keep the label that it has";
/// The advice if fwmark services have connections.
pub(crate) const MARKED: &str = "; keep it under `vips` until they have ended";

pub(super) fn refusal(inputs: &Inputs<'_>, ops: &[Op]) -> Option<String> {
    let gone = vanishing(inputs.live, ops);
    let rebound = rebound(inputs.live, ops);
    if gone.is_empty() && rebound.is_empty() {
        return None;
    }
    let deleted: BTreeSet<ServiceKey> = ops
        .iter()
        .filter(|op| matches!(op, Op::DeleteService { .. }))
        .filter_map(Op::service)
        .collect();
    let drained = drained_services(inputs.live, ops);
    let unbound = gone.into_iter().filter_map(|vip| {
        needed(inputs, vip, &deleted).or_else(|| connected(inputs, vip, &drained))
    });
    let interrupted = rebound.into_iter().filter_map(|vip| interrupted(inputs, vip));
    let parts: Vec<String> = unbound.chain(interrupted).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Refuses to unbind a VIP with services that stay on it or are added to it, including those that
/// are out of scope.
fn needed(inputs: &Inputs<'_>, vip: IpAddr, deleted: &BTreeSet<ServiceKey>) -> Option<String> {
    let Inputs { desired, live, .. } = inputs;
    let on_it = |key: &&ServiceKey| key.vip() == Some(vip) && !deleted.contains(key);
    let staying: BTreeSet<ServiceKey> =
        live.services.keys().chain(desired.services.keys()).filter(on_it).copied().collect();
    (!staying.is_empty()).then(|| {
        let need = if staying.len() == 1 { "needs it" } else { "need it" };
        format!(
            "unbinding {vip} takes it from this host, but {} {need}{KEEP}",
            some_of(&labels(inputs, &staying)),
        )
    })
}

/// Refuses to unbind a VIP with connections to services that do not drain.
fn connected(inputs: &Inputs<'_>, vip: IpAddr, drained: &BTreeSet<ServiceKey>) -> Option<String> {
    let Inputs { live, statistics, .. } = *inputs;
    let mut cut: Vec<&ServiceKey> = on_it(inputs, vip).collect();
    let is_marked = cut.is_empty();
    if is_marked {
        cut.extend(marked(live, vip));
    }
    cut.retain(|key| !drained.contains(key));
    let number: u64 = cut.iter().filter_map(|key| open(statistics, key, None)).sum();
    let guards = inputs.judging_guards();
    if number <= u64::from(guards.judging.unbind_in_use) {
        return None;
    }
    let connections = count(number, "connection");
    let services = some_of(&labels(inputs, cut));
    let allowed = guards.unbind_in_use_text();
    Some(match is_marked {
        false => {
            format!("unbinding {vip} would break {connections} to {services} ({allowed}){DRAIN}")
        }
        true => format!(
            "unbinding {vip}, which has no service of its own, could break up to {connections} to \
             {services} ({allowed}){MARKED}"
        ),
    })
}

/// Refuses to unbind a VIP for a moment, to change its label, while connections use it.
fn interrupted(inputs: &Inputs<'_>, vip: IpAddr) -> Option<String> {
    let Inputs { live, statistics, .. } = *inputs;
    let mut concerned: Vec<&ServiceKey> = on_it(inputs, vip).collect();
    let is_marked = concerned.is_empty();
    if is_marked {
        concerned.extend(marked(live, vip));
    }
    let number: u64 = concerned.iter().filter_map(|key| open(statistics, key, None)).sum();
    let guards = inputs.judging_guards();
    if number <= u64::from(guards.judging.unbind_in_use) {
        return None;
    }
    let some = if is_marked { "some of " } else { "" };
    Some(format!(
        "changing the label of {vip} unbinds it for a moment, which may break {some}{} to {} \
         ({}){RELABEL}",
        count(number, "connection"),
        some_of(&labels(inputs, concerned)),
        guards.unbind_in_use_text(),
    ))
}

/// Returns warnings for VIPs that leave with their services while fwmark services have connections.
pub(crate) fn marked_warnings(inputs: &Inputs<'_>, ops: &[Op]) -> Vec<String> {
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
        (number > 0).then(|| {
            format!(
                "{} to {}: those that use {vip} break when it is unbound",
                count(number, "connection"),
                some_of(&labels(inputs, all)),
            )
        })
    };
    gone.into_iter().filter_map(warning).collect()
}

/// Returns the live services on an address.
fn on_it<'a>(inputs: &Inputs<'a>, vip: IpAddr) -> impl Iterator<Item = &'a ServiceKey> {
    inputs.live.services.keys().filter(move |key| key.vip() == Some(vip))
}
