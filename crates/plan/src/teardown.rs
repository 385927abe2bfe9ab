//! Removes evenkeel's objects from a host, and nothing else.
//!
//! These are: the services, real servers and sync daemons that the last applied spec lists and that
//! are not adopted ([`crate::Adopted`]), the changes to those that are, the addresses that evenkeel
//! bound in its scope, the dummy devices it created, and the values of sysctls it set. Timeouts
//! stay, as their earlier values are not recorded.

mod remaining;

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{Desired, DesiredTimeouts, Live, Owner};

use crate::connection_sysctls::{ConnectionSysctls, NODEST};
use crate::guard::{DRAIN, KEEP, MARKED};
use crate::plan::{SPEC_ORDER, dropping_drains, in_the_spec};
use crate::resource::timeouts::left_timeouts;
use crate::rollback_plan::is_link_local;
use crate::{Guard, GuardRefusal, Op, Plan, PriorState};

pub use remaining::{Remaining, StayingService, Stays, TeardownInputs, remaining};

/// Makes a teardown of a plan for [`remaining`]: the dummy devices that evenkeel created are
/// deleted once nothing is bound on them, and sysctls are restored last, as drains may depend on
/// them. Of the guards, only `unbind-in-use` applies: a teardown is meant to delete.
///
/// Messages of the plan that mention a spec are replaced.
pub fn teardown(
    plan: Plan,
    live: &Live,
    record: &PriorState,
    dummies: &BTreeSet<Box<str>>,
) -> Plan {
    let Plan {
        steps,
        wider_scope: _,
        causes: _,
        mut impacts,
        mut refusals,
        unmet_preconditions,
        mut warnings,
        unchanged,
        out_of_scope,
    } = plan;
    refusals.retain(|refusal| refusal.guard == Guard::UnbindInUse);
    for GuardRefusal { guard: _, message } in &mut refusals {
        *message = without_a_spec(message);
    }
    let no_longer_asked: BTreeSet<String> =
        left_timeouts(&Desired::default(), live, record.timeouts).into_iter().collect();
    let dropping = dropping_drains(ConnectionSysctls::new(live, &steps), &steps, &in_the_spec());
    warnings.retain(|it| !no_longer_asked.contains(it) && dropping.as_ref() != Some(it));
    for warning in &mut warnings {
        *warning = warning.replace(SPEC_ORDER, "in their earlier order");
    }
    warnings.extend(kept_timeouts(live, record.timeouts));
    let is_sysctl = |(_, op): &(usize, Op)| matches!(op, Op::EditSysctl { .. });
    // Drains and all later steps run with the present sysctls.
    let connection_sysctls = ConnectionSysctls::new(live, &[]);
    impacts.values_mut().for_each(|impact| impact.connection_sysctls = connection_sysctls);
    let (sysctls, first): (Vec<_>, Vec<_>) = steps.into_iter().enumerate().partition(is_sysctl);
    let devices = deleted_dummies(first.iter().map(|(_, op)| op), live, dummies, &mut warnings);
    let keep_place = |(place, op)| (Some(place), op);
    let placed = first.into_iter().map(keep_place);
    let placed = placed.chain(devices.into_iter().map(|op| (None, op)));
    let mut ordered = Vec::new();
    let mut moved = BTreeMap::new();
    for (place, op) in placed.chain(sysctls.into_iter().map(keep_place)) {
        if let Some(impact) = place.and_then(|place| impacts.remove(&place)) {
            moved.insert(ordered.len(), impact);
        }
        ordered.push(op);
    }
    let remedy = format!("set {NODEST} to 1 during the teardown");
    warnings.extend(dropping_drains(connection_sysctls, &ordered, &remedy));
    Plan {
        steps: ordered,
        wider_scope: None,
        causes: Vec::new(),
        impacts: moved,
        refusals,
        unmet_preconditions,
        warnings,
        unchanged,
        out_of_scope,
    }
}

/// Reports the timeouts that the last spec named.
fn kept_timeouts(live: &Live, last: DesiredTimeouts) -> Option<String> {
    let live = live.timeouts?;
    let fields = [
        ("tcp", last.tcp, live.tcp),
        ("tcp_fin", last.tcp_fin, live.tcp_fin),
        ("udp", last.udp, live.udp),
    ];
    let kept = fields.iter().filter(|(_, last, _)| last.is_some());
    let kept: Vec<String> = kept.map(|(field, _, live)| format!("{field} at {live} s")).collect();
    (!kept.is_empty()).then(|| {
        format!(
            "timeouts stay, {}: their earlier values are not recorded; `ipvsadm --set` changes them",
            kept.join(", ")
        )
    })
}

/// Replaces advice in a refusal that mentions a spec.
fn without_a_spec(message: &str) -> String {
    let others = format!("; {}", "move them to another VIP, or delete them, first");
    let connections = "; wait until they have ended";
    message.replace(KEEP, &others).replace(DRAIN, connections).replace(MARKED, connections)
}

/// Deletes the dummy devices that are empty after those steps; adds a warning for each of the
/// others.
fn deleted_dummies<'a>(
    steps: impl Iterator<Item = &'a Op>,
    live: &Live,
    dummies: &BTreeSet<Box<str>>,
    warnings: &mut Vec<String>,
) -> Vec<Op> {
    let unbound: BTreeSet<_> = steps
        .filter_map(|op| match op {
            Op::Unbind { binding, .. } => Some(binding),
            _ => None,
        })
        .collect();
    let links = live.links.as_ref();
    let is_there = |name: &str| links.and_then(|it| it.get(name)).is_some_and(|it| it.dummy);
    let mut deleted = Vec::new();
    for interface in dummies.iter().filter(|name| is_there(name)) {
        let mut left = live.addresses.iter().filter(|(binding, owner)| {
            binding.interface == *interface
                && !unbound.contains(binding)
                && !(**owner == Owner::Other && is_link_local(binding.address))
        });
        match left.next() {
            None => deleted.push(Op::DeleteDummy { interface: interface.clone() }),
            Some((binding, _)) => warnings.push(format!(
                "dummy device {interface} stays: another program bound {}/{} on it",
                binding.address, binding.prefix
            )),
        }
    }
    deleted
}

#[cfg(test)]
mod tests;
