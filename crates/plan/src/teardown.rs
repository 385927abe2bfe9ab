//! Removes evenkeel's objects from a host, and nothing else.
//!
//! These are: the services, real servers and sync daemons that the last applied spec lists and that
//! are not adopted ([`crate::Adopted`]), the changes to those that are, the addresses that evenkeel
//! bound in its scope, the dummy devices it created, and the values of sysctls it set. Timeouts
//! stay, as their earlier values are not recorded.

mod remaining;

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{Binding, DesiredTimeouts, LeftScope, Live, Owner};

use crate::guard::Advice;
use crate::order::Phase;
use crate::resource::dummy::is_link_local;
use crate::warning::KeptTimeout;
use crate::{Guard, Op, OtherOwners, Plan, PriorState, UnmetPrecondition, Warning};

pub use remaining::{Remaining, StayingService, Stays, TeardownInputs, remaining};

/// Makes a teardown of a plan for [`remaining`]: the dummy devices that evenkeel created are
/// deleted once nothing is bound on them. Of the guards, only `unbind-in-use` applies: a teardown is
/// meant to delete.
///
/// Warnings and advice that concern a spec are replaced.
pub fn teardown(
    plan: Plan,
    live: &Live,
    record: &PriorState,
    dummies: &BTreeSet<Box<str>>,
) -> Plan {
    let Plan {
        mut steps,
        wider_scope: _,
        kept: _,
        causes: _,
        impacts,
        mut refusals,
        mut unmet_preconditions,
        mut warnings,
        unchanged,
        out_of_scope,
        // A teardown removes it at once.
        staying: _,
        held: _,
    } = plan;
    // The step fails and the rest is undone.
    unmet_preconditions.retain(|it| !matches!(it, UnmetPrecondition::SecondariesStay { .. }));
    refusals.retain(|refusal| refusal.guard == Guard::UnbindInUse);
    for reason in refusals.iter_mut().flat_map(|refusal| &mut refusal.reasons) {
        reason.advice = reason.advice.map(Advice::for_teardown);
    }
    // No spec follows: timeouts that it does not name are none of a teardown's, nor are services that stay,
    // because evenkeel only adopted them.
    warnings.retain(|it| {
        use Warning::{
            AllHeld, ConnectionsHang, MaintenanceNames, MaintenanceUnread, NoServers, NotLocal,
            OverrideExpired, PersistentClientsStay, TimeoutStays, VipWithheld,
        };
        !matches!(
            it,
            TimeoutStays { .. }
                | NotLocal(_)
                | NoServers(_)
                | AllHeld(_)
                | OverrideExpired { .. }
                | MaintenanceNames { .. }
                | MaintenanceUnread { .. }
                | VipWithheld { .. }
                | ConnectionsHang(_)
                | PersistentClientsStay(_)
        )
    });
    for warning in &mut warnings {
        if let Warning::Reordered { is_teardown, .. } | Warning::DroppingDrains { is_teardown } =
            warning
        {
            *is_teardown = true;
        }
    }
    warnings.extend(kept_timeouts(live, record.timeouts));
    let devices = deleted_dummies(&steps, live, dummies, &record.others, &mut warnings);
    let first = steps.iter().position(|op| op.phase() > Phase::DeleteDummies);
    let first = first.unwrap_or(steps.len());
    let impacts = impacts
        .into_iter()
        .map(|(place, impact)| (if place < first { place } else { place + devices.len() }, impact));
    let impacts = impacts.collect();
    steps.splice(first..first, devices);
    Plan {
        steps,
        wider_scope: None,
        kept: LeftScope::default(),
        causes: Vec::new(),
        impacts,
        refusals,
        unmet_preconditions,
        warnings,
        unchanged,
        out_of_scope,
        staying: Vec::new(),
        held: Vec::new(),
    }
}

/// Reports the timeouts that the last spec named.
fn kept_timeouts(live: &Live, last: DesiredTimeouts) -> Option<Warning> {
    let live = live.timeouts?;
    let fields = [
        ("tcp", last.tcp, live.tcp),
        ("tcp_fin", last.tcp_fin, live.tcp_fin),
        ("udp", last.udp, live.udp),
    ];
    let kept: Vec<KeptTimeout> = fields
        .into_iter()
        .filter(|(_, last, _)| last.is_some())
        .map(|(field, _, seconds)| KeptTimeout { field, seconds })
        .collect();
    (!kept.is_empty()).then_some(Warning::TimeoutsKept(kept))
}

/// Deletes the dummy devices that are empty after those steps; adds a warning for each of the
/// others.
fn deleted_dummies(
    steps: &[Op],
    live: &Live,
    dummies: &BTreeSet<Box<str>>,
    others: &OtherOwners,
    warnings: &mut Vec<Warning>,
) -> Vec<Op> {
    let unbound: BTreeSet<_> = steps
        .iter()
        .filter_map(|op| match op {
            Op::Unbind { binding, .. } => Some(binding),
            _ => None,
        })
        .collect();
    let links = live.links.as_ref();
    let is_there = |name: &str| {
        let link = links.and_then(|it| it.get(name));
        link.is_some_and(|it| it.dummy) && !others.have_dummy(name)
    };
    // The first address that stays on each interface.
    let mut staying: BTreeMap<&str, &Binding> = BTreeMap::new();
    for (binding, owner) in &live.addresses {
        if !(unbound.contains(binding) || *owner == Owner::Other && is_link_local(binding.address))
        {
            staying.entry(&binding.interface).or_insert(binding);
        }
    }
    let mut deleted = Vec::new();
    for interface in dummies.iter().filter(|name| is_there(name)) {
        match staying.get(&**interface) {
            None => deleted.push(Op::DeleteDummy { interface: interface.clone() }),
            Some(bound) => warnings.push(Warning::DeviceStays {
                interface: interface.clone(),
                bound: (*bound).clone(),
            }),
        }
    }
    deleted
}

#[cfg(test)]
mod tests;
