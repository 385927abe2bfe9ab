//! The way back to a host without evenkeel: what it put there goes, and nothing else.
//!
//! What is evenkeel's: the services, real servers and sync daemons that the last applied spec lists
//! and that are not adopted ([`crate::Adopted`]), the changes to those that are, the addresses that
//! evenkeel bound in its scope, the dummy devices it created, and the values of sysctls it set.
//! Timeouts stay, for nobody wrote down what they were before.

mod remaining;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_model::{Desired, DesiredTimeouts, Live, Owner};

use crate::connection_sysctls::{ConnectionSysctls, NODEST};
use crate::guard::{DRAIN, KEEP, MARKED};
use crate::plan::{SPEC_ORDER, dropping_drains, in_the_spec};
use crate::resource::timeouts::left_timeouts;
use crate::{Guard, GuardRefusal, Op, Plan, PriorState};

pub use remaining::{Remaining, StayingService, Stays, TeardownInputs, remaining};

/// Makes a teardown of a plan for [`remaining`]: the dummy devices that evenkeel created go when
/// nothing is bound on them any more, and sysctls go back last, for what drains may depend on
/// them. Of the guards, only `unbind-in-use` has something to say: who tears down means to delete.
///
/// What the plan has to say of a spec is said without one.
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
        *warning = warning.replace(SPEC_ORDER, "in the order of before");
    }
    warnings.extend(kept_timeouts(live, record.timeouts));
    let is_sysctl = |(_, op): &(usize, Op)| matches!(op, Op::EditSysctl { .. });
    // Drains, and what comes after them, go on with the sysctls as they are.
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
    let remedy = format!("set {NODEST} to 1 until it is done");
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

/// The timeouts that the last spec named.
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
            "timeouts stay, {}: what they were before is not on record; `ipvsadm --set` changes them",
            kept.join(", ")
        )
    })
}

/// A refusal whose advice does not speak of a spec.
fn without_a_spec(message: &str) -> String {
    let others = format!("; {}", "let them have another VIP, or delete them, first");
    let connections = "; wait until they have ended";
    message.replace(KEEP, &others).replace(DRAIN, connections).replace(MARKED, connections)
}

/// Deletions of the dummy devices with nothing on them after those steps; a warning for the
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
                && !(**owner == Owner::Other && is_of_the_link(binding.address))
        });
        match left.next() {
            None => deleted.push(Op::DeleteDummy { interface: interface.clone() }),
            Some((binding, _)) => warnings.push(format!(
                "dummy device {interface} stays, for {}/{} on it is not evenkeel's to unbind",
                binding.address, binding.prefix
            )),
        }
    }
    deleted
}

/// Whether the kernel gives it to every interface by itself.
fn is_of_the_link(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

#[cfg(test)]
mod tests;
