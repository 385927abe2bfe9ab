//! Makes a plan from two states.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{
    Desired, Drain, HostObject, LeftScope, Link, Live, Overlays, Owner, Scope, ServiceKey,
    TunnelDevice,
};
use serde::Serialize;

use crate::cause::causes;
use crate::connection_sysctls::ConnectionSysctls;
use crate::diff::difference;
use crate::difference::Difference;
use crate::foreign_vips::released_vips;
use crate::guard::{marked_warnings, refusals, unread_warnings};
use crate::health_warnings::health_warnings;
use crate::impact_analysis::impacts;
use crate::order::order;
use crate::overlay::{held_servers, with_live_fallback, without_withheld};
use crate::precondition::unmet_preconditions;
use crate::resource::host_object::{
    default_route_warnings, foreign_values, staying_devices, untranslated,
};
use crate::resource::timeouts::left_timeouts;
use crate::resource::vip::foreign_labels;
use crate::unreachable::unreachable_warnings;
use crate::{
    Cause, Counts, DrainRecords, Effect, Guard, GuardRefusal, HeldServer, Impact, Inputs, Op,
    StayingObject, Unchanged, UnmetPrecondition, Verb, Warning,
};

/// The steps that bring a host from its live to its desired state, with all that is reported about
/// them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The operations in the order of their execution; the state after every prefix serves.
    pub steps: Vec<Op>,
    /// The wider scope, if the spec governs more than the one in force. It changes nothing on its
    /// own, but this plan or a later one may delete objects that it newly covers.
    pub wider_scope: Option<WiderScope>,
    /// What left the scope and stays ([`crate::LeftObjects::kept`]). The apply of this plan forgets it.
    pub kept: LeftScope,
    /// The cause of each step, in the same order; empty if no last applied spec is known.
    pub causes: Vec<Cause>,
    /// The impacts on connections, by the index of the step; a step without an entry affects none.
    pub impacts: BTreeMap<usize, Impact>,
    /// The guards that refuse this plan.
    pub refusals: Vec<GuardRefusal>,
    /// Conditions that would make operations fail.
    pub unmet_preconditions: Vec<UnmetPrecondition>,
    /// Warnings, which do not prevent the plan.
    pub warnings: Vec<Warning>,
    /// The number of objects that match the desired state.
    pub unchanged: Unchanged,
    /// The number of live services outside the scope.
    pub out_of_scope: usize,
    /// What stays on a real server for services that it leaves ([`crate::Leaving::staying`]), as the
    /// caller found before it made the plan; no step removes it yet.
    pub staying: Vec<StayingObject>,
    /// The real servers of the spec that overlays hold, whether or not a step is needed for it.
    pub held: Vec<HeldServer>,
}

/// A scope that governs more than the one in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WiderScope {
    /// The scope in force.
    pub before: Scope,
    /// The scope of the spec.
    pub after: Scope,
    /// The number of live services that it newly covers.
    pub services: usize,
}

/// Makes a plan. The same inputs give the same plan.
pub fn plan(inputs: Inputs<'_>) -> Plan {
    let seen = inputs.record.others.disown(inputs.live, inputs.desired);
    let inputs = Inputs { live: &seen, ..inputs };
    let Inputs {
        desired,
        live,
        record,
        judged: _,
        overlays: _,
        last: _,
        cut_off: _,
        lost_files: _,
        statistics: _,
        sessions: _,
    } = inputs;
    let asked = inputs;
    let reduced = without_withheld(desired, inputs.overlays);
    let (desired, inputs) = (&*reduced, Inputs { desired: &reduced, ..inputs });
    let Difference { added, readded, ops, unchanged, out_of_scope } = difference(&inputs);
    let mut warnings = warnings(desired, live);
    let released = released_vips(desired, live, record);
    warnings.extend(released.iter().map(|vip| Warning::LeftToBinder { vip: (*vip).clone() }));
    warnings.extend(unreachable_warnings(&inputs, &released));
    warnings.extend(foreign_labels(desired, live));
    warnings.extend(foreign_values(desired, live));
    warnings.extend(default_route_warnings(&inputs));
    warnings.extend(reordered(desired, &readded));
    let steps = order(added, readded, ops, desired, live);
    warnings.extend(staying_devices(desired, live, &steps));
    warnings.extend(untranslated(desired, live, &steps));
    if drops_after_drains(ConnectionSysctls::new(live, &steps), &steps) {
        warnings.push(Warning::DroppingDrains { is_teardown: false });
    }
    warnings.extend(health_warnings(&inputs, &steps));
    warnings.extend(marked_warnings(&inputs, &steps));
    warnings.extend(unread_warnings(&inputs, &steps));
    warnings.extend(left_timeouts(desired, live, record.timeouts));
    let takes = |op: &Op| matches!(op.verb(), Verb::Drain | Verb::Delete | Verb::Unbind);
    if steps.iter().any(takes) || record.guards.is_some() {
        warnings.extend(inputs.judging_guards().postponed());
    }
    Plan {
        wider_scope: wider_scope(&inputs),
        kept: desired.kept.clone(),
        refusals: all_refusals(&asked, &steps),
        unmet_preconditions: unmet_preconditions(desired, live, &steps),
        warnings,
        causes: causes(&inputs, &steps),
        impacts: impacts(&inputs, &steps),
        steps,
        unchanged,
        out_of_scope,
        staying: Vec::new(),
        held: held_servers(&inputs),
    }
}

/// Returns the refusals of these steps without overlays, and of those that are put off because something leaves a real
/// server first: its removal is judged with the spec that causes it.
fn all_refusals(inputs: &Inputs<'_>, steps: &[Op]) -> Vec<GuardRefusal> {
    let refusals_of = |inputs: &Inputs<'_>| {
        let Difference { added, readded, ops, .. } = difference(inputs);
        let steps = order(added, readded, ops, inputs.desired, inputs.live);
        refusals(inputs, &steps)
    };
    // An operator may take out the last real server, and what a health check takes out is no commit's fault.
    let overlays = Overlays::none();
    let desired = with_live_fallback(inputs.desired, inputs.live);
    let mut all = match (inputs.overlays.is_empty(), &desired) {
        (true, Cow::Borrowed(_)) => refusals(inputs, steps),
        _ => refusals_of(&Inputs { desired: &desired, overlays, ..*inputs }),
    };
    if let Some(judged) = inputs.judged {
        let put_off = refusals_of(&Inputs { desired: judged, judged: None, overlays, ..*inputs });
        let is_new = |it: &GuardRefusal| all.iter().all(|refusal| refusal.guard != it.guard);
        let put_off: Vec<_> = put_off.into_iter().filter(is_new).collect();
        all.extend(put_off);
    }
    all
}

impl Plan {
    /// Whether the live state matches the desired state, the spec governs no more than the one in force,
    /// and nothing left its scope.
    pub fn is_in_sync(&self) -> bool {
        self.steps.is_empty() && self.wider_scope.is_none() && self.kept.is_empty()
    }

    /// Sets the remaining time of continuing drains, at the time `now` in seconds since 1970.
    pub fn set_time_left(&mut self, drains: &DrainRecords, now: u64) {
        for (place, impact) in &mut self.impacts {
            let Some(Op::DrainRealServer { service, key, .. }) = self.steps.get(*place) else {
                continue;
            };
            let Some(begun) = drains.0.get(&(*service, *key)) else { continue };
            if let Effect::Drain { limit, is_begun: true, left } = &mut impact.effect {
                // A start in the future means that the clock was set back.
                let gone = u32::try_from(now.saturating_sub(begun.since)).unwrap_or(u32::MAX);
                *left = Some(Drain(limit.0.saturating_sub(gone)));
            }
        }
    }

    /// Counts the operations by verb; a wider scope counts as an edit.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::of(&self.steps);
        counts.edit += usize::from(self.wider_scope.is_some());
        counts
    }

    /// Returns the refusals that `allowed` does not lift.
    pub fn refused<'a>(&'a self, allowed: &'a [Guard]) -> impl Iterator<Item = &'a GuardRefusal> {
        self.refusals.iter().filter(|refusal| !allowed.contains(&refusal.guard))
    }
}

fn wider_scope(inputs: &Inputs<'_>) -> Option<WiderScope> {
    let (before, after) = (inputs.scope_in_force()?, &inputs.desired.scope);
    if before.covers(after) {
        return None;
    }
    let services = inputs.live.services.keys();
    let newly = services.filter(|key| after.contains(key) && !before.contains(key));
    let (services, before, after) = (newly.count(), before.clone(), after.clone());
    Some(WiderScope { before, after, services })
}

/// Warns of the cost of adding real servers again, per service.
fn reordered(desired: &Desired, readded: &[Op]) -> Vec<Warning> {
    let deleted = readded.iter().filter_map(|op| match op {
        Op::DeleteRealServer { service, .. } => Some(*service),
        _ => None,
    });
    let mut counts: BTreeMap<ServiceKey, usize> = BTreeMap::new();
    for service in deleted {
        *counts.entry(service).or_default() += 1;
    }
    let warning = |(service, real_servers)| Warning::Reordered {
        service: desired.label(&service).to_string(),
        real_servers,
        is_teardown: false,
    };
    counts.into_iter().map(warning).collect()
}

/// Whether the kernel keeps connections whose drained real server is gone: a client that reused its
/// source port got no answer for 8 seconds (measured) before it gave up.
pub(crate) fn drops_after_drains(connection_sysctls: ConnectionSysctls, steps: &[Op]) -> bool {
    let drains = steps.iter().any(|op| matches!(op, Op::DrainRealServer { .. }));
    drains && connection_sysctls.nodest == Some(false)
}

fn warnings(desired: &Desired, live: &Live) -> Vec<Warning> {
    let mut found = Vec::new();
    // A device of evenkeel is brought up.
    let brought_up: BTreeSet<&str> =
        desired.host_objects.keys().filter_map(HostObject::device).collect();
    let is_down = |interface: &str| {
        let link = live.links.as_ref().and_then(|links| links.get(interface));
        let is_down = link.is_some_and(|link| !link.up && link.owner == Owner::Other);
        is_down && !brought_up.contains(interface)
    };
    let mut on_down = BTreeSet::new();
    for binding in desired.vips.keys() {
        let mut there = live.bound_at(binding);
        let foreign = there.find(|(it, owner)| **owner == Owner::Other && *it != binding);
        if let Some((foreign, _)) = foreign.filter(|_| !live.addresses.contains_key(binding)) {
            found.push(Warning::OtherPrefix { bound: foreign.clone(), desired: binding.prefix });
        }
        // A director announces the address wherever it has it.
        let answering = live.bound(binding.address).find(|(other, owner)| {
            let is_elsewhere = other.interface != binding.interface && **owner == Owner::Other;
            is_elsewhere && !desired.roles.is_director() && has_neighbours(live, &other.interface)
        });
        if let Some((bound, _)) = answering {
            found.push(Warning::AnsweredElsewhere { bound: bound.clone() });
        }
        if is_down(&binding.interface) {
            let (interface, vip) = (binding.interface.clone(), binding.address);
            on_down.insert((interface.clone(), vip));
            found.push(Warning::InterfaceDown { interface, vip });
        }
    }
    for object in desired.host_objects.keys() {
        let (Some(interface), Some(vip)) = (object.interface(), object.address()) else { continue };
        if !is_down(interface) {
            continue;
        }
        let interface: Box<str> = interface.into();
        // The route of a VIP is on the VIP's interface.
        if on_down.insert((interface.clone(), vip)) {
            found.push(Warning::InterfaceDown { interface, vip });
        }
    }
    found
}

/// Whether hosts may ask for the addresses of an interface on it.
fn has_neighbours(live: &Live, interface: &str) -> bool {
    let is_tunnel = TunnelDevice { interface: interface.into() }.driver().is_some();
    let is_dummy =
        |links: &BTreeMap<Box<str>, Link>| links.get(interface).is_some_and(|it| it.dummy);
    interface != "lo" && !is_tunnel && !live.links.as_ref().is_some_and(is_dummy)
}

#[cfg(test)]
mod tests;
