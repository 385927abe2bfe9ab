//! `unbind-in-use`: a VIP would leave the host while a service needs it, or connections that
//! nothing lets end.

use std::collections::BTreeSet;
use std::net::IpAddr;

use evenkeel_model::ServiceKey;

use super::{labels, some_of};
use crate::assess::{drained_services, open, vanishing};
use crate::render::count;
use crate::{Inputs, Op};

pub(super) fn refusal(inputs: &Inputs<'_>, ops: &[Op]) -> Option<String> {
    let gone = vanishing(inputs.live, ops);
    if gone.is_empty() {
        return None;
    }
    let deleted: BTreeSet<ServiceKey> = ops
        .iter()
        .filter(|op| matches!(op, Op::DeleteService { .. }))
        .filter_map(Op::service)
        .collect();
    let drained = drained_services(inputs.live, ops);
    let parts: Vec<String> = gone
        .into_iter()
        .filter_map(|vip| {
            needed(inputs, vip, &deleted).or_else(|| connected(inputs, vip, &drained))
        })
        .collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Services that stay on it, or come to it; those out of scope are somebody's too.
fn needed(inputs: &Inputs<'_>, vip: IpAddr, deleted: &BTreeSet<ServiceKey>) -> Option<String> {
    let Inputs { desired, live, .. } = inputs;
    let on_it = |key: &&ServiceKey| key.vip() == Some(vip) && !deleted.contains(key);
    let staying: BTreeSet<ServiceKey> =
        live.services.keys().chain(desired.services.keys()).filter(on_it).copied().collect();
    (!staying.is_empty()).then(|| {
        let need = if staying.len() == 1 { "needs it" } else { "need it" };
        format!(
            "unbinding {vip} takes it from this host, but {} {need}; keep it under `vips`, or \
             take what is on it out",
            some_of(&labels(desired, &staying)),
        )
    })
}

/// Connections to services that go at once.
fn connected(inputs: &Inputs<'_>, vip: IpAddr, drained: &BTreeSet<ServiceKey>) -> Option<String> {
    let Inputs { desired, live, statistics, .. } = *inputs;
    let on_it = |key: &&ServiceKey| key.vip() == Some(vip) && !drained.contains(key);
    let cut: Vec<&ServiceKey> = live.services.keys().filter(on_it).collect();
    let number: u64 = cut.iter().filter_map(|key| open(statistics, key, None)).sum();
    let allowed = desired.guards.unbind_in_use;
    (number > u64::from(allowed)).then(|| {
        format!(
            "unbinding {vip} would break {} to {}, where {allowed} may break; give the service a \
             `drain` and apply that before you take it out",
            count(usize::try_from(number).unwrap_or(usize::MAX), "connection"),
            some_of(&labels(desired, cut)),
        )
    })
}
