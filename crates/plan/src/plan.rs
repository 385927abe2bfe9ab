//! From two states to a plan.

use std::collections::BTreeMap;

use evenkeel_model::{Desired, Drain, Live, Owner, Scope, ServiceKey};
use serde::Serialize;

use crate::cause::causes;
use crate::connection_sysctls::{ConnectionSysctls, NODEST};
use crate::diff::difference;
use crate::difference::Difference;
use crate::guard::{marked_warnings, refusals};
use crate::impact_analysis::impacts;
use crate::order::order;
use crate::precondition::unmet_preconditions;
use crate::render::count;
use crate::resource::timeouts::left_timeouts;
use crate::resource::vip::foreign_labels;
use crate::{
    Cause, Counts, DrainRecords, Effect, Guard, GuardRefusal, Impact, Inputs, Op, Unchanged,
    UnmetPrecondition, Verb,
};

/// What it takes to bring a host from its live to its desired state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The operations in the order of their execution; every prefix is a state that serves.
    pub steps: Vec<Op>,
    /// The wider scope, where the spec governs more than the one in force. Nothing is done for it
    /// by itself, but what it newly covers may be deleted by this plan or a later one.
    pub wider_scope: Option<WiderScope>,
    /// Why each step is needed, in the same order; empty where no last applied spec is known.
    pub causes: Vec<Cause>,
    /// What steps mean for connections, by the place of the step; a step that is not there means
    /// nothing for them.
    pub impacts: BTreeMap<usize, Impact>,
    /// The guards that refuse this plan.
    pub refusals: Vec<GuardRefusal>,
    /// What would make operations fail.
    pub unmet_preconditions: Vec<UnmetPrecondition>,
    /// Worth knowing, in the way of nothing.
    pub warnings: Vec<String>,
    /// How many objects are as they shall be.
    pub unchanged: Unchanged,
    /// How many live services are none of the spec's business.
    pub out_of_scope: usize,
}

/// A scope that governs more than the one in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WiderScope {
    /// The scope in force.
    pub before: Scope,
    /// That of the spec.
    pub after: Scope,
    /// How many live services it newly covers.
    pub services: usize,
}

/// Plans. The same inputs give the same plan.
pub fn plan(inputs: Inputs<'_>) -> Plan {
    let Inputs { desired, live, record, last: _, cut_off: _, lost_files: _, statistics: _ } =
        inputs;
    let Difference { added, readded, ops, unchanged, out_of_scope } = difference(&inputs);
    let mut warnings = warnings(desired, live);
    warnings.extend(foreign_labels(desired, live));
    warnings.extend(reordered(desired, &readded));
    let steps = order(added, readded, ops);
    warnings.extend(dropping_drains(ConnectionSysctls::new(live, &steps), &steps, &in_the_spec()));
    warnings.extend(marked_warnings(&inputs, &steps));
    warnings.extend(left_timeouts(desired, live, record.timeouts));
    let takes = |op: &Op| matches!(op.verb(), Verb::Drain | Verb::Delete | Verb::Unbind);
    if steps.iter().any(takes) {
        warnings.extend(inputs.judging_guards().postponed());
    }
    Plan {
        wider_scope: wider_scope(&inputs),
        refusals: refusals(&inputs, &steps),
        unmet_preconditions: unmet_preconditions(desired, live, &steps),
        warnings,
        causes: causes(&inputs, &steps),
        impacts: impacts(&inputs, &steps),
        steps,
        unchanged,
        out_of_scope,
    }
}

impl Plan {
    /// Whether live is as desired, and the spec governs no more than the one in force.
    pub fn is_in_sync(&self) -> bool {
        self.steps.is_empty() && self.wider_scope.is_none()
    }

    /// Has the impacts of drains that go on say how much of their time is left, at that time in
    /// seconds since 1970.
    pub fn set_time_left(&mut self, drains: &DrainRecords, now: u64) {
        for (place, impact) in &mut self.impacts {
            let Some(Op::DrainRealServer { service, key, .. }) = self.steps.get(*place) else {
                continue;
            };
            let Some(begun) = drains.0.get(&(*service, *key)) else { continue };
            if let Effect::Drain { limit, is_begun: true, left } = &mut impact.effect {
                // A start in the future is a clock that was set back.
                let gone = u32::try_from(now.saturating_sub(begun.since)).unwrap_or(u32::MAX);
                *left = Some(Drain(limit.0.saturating_sub(gone)));
            }
        }
    }

    /// The operations by verb; a wider scope is an edit.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::of(&self.steps);
        counts.edit += usize::from(self.wider_scope.is_some());
        counts
    }

    /// The refusals that `allowed` does not lift.
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

/// Where real servers stand that are added again for it.
pub(crate) const SPEC_ORDER: &str = "in the spec's order";

/// What adding real servers again costs, per service.
fn reordered(desired: &Desired, readded: &[Op]) -> Vec<String> {
    let deleted = readded.iter().filter_map(|op| match op {
        Op::DeleteRealServer { service, .. } => Some(*service),
        _ => None,
    });
    let mut counts: BTreeMap<ServiceKey, usize> = BTreeMap::new();
    for service in deleted {
        *counts.entry(service).or_default() += 1;
    }
    let words = counts.into_iter().map(|(service, number)| {
        format!(
            "{}: {} deleted and added again, to stand {SPEC_ORDER}; packets of their \
             connections are dropped in between, and with net.ipv4.vs.expire_nodest_conn=1 the \
             connections end",
            desired.label(&service),
            count(number, "real server"),
        )
    });
    words.collect()
}

/// What a drain leaves behind where the kernel keeps connections whose real server is gone:
/// measured are 8 seconds of silence until a client gave up that used its source port again.
pub(crate) fn dropping_drains(
    connection_sysctls: ConnectionSysctls,
    steps: &[Op],
    remedy: &str,
) -> Option<String> {
    let drains = steps.iter().any(|op| matches!(op, Op::DrainRealServer { .. }));
    let dropping = connection_sysctls.nodest == Some(false);
    (drains && dropping).then(|| {
        format!(
            "{NODEST} is 0: when a drain is over, clients that use a source port again, and \
             connections that are left, go on to the deleted real server and are dropped in \
             silence; {remedy}"
        )
    })
}

/// What a spec can do about that.
pub(crate) fn in_the_spec() -> String {
    format!("write `{NODEST}: 1` under `sysctls`")
}

fn warnings(desired: &Desired, live: &Live) -> Vec<String> {
    let mut found = Vec::new();
    for binding in desired.vips.keys() {
        let foreign = live.addresses.iter().find(|(other, owner)| {
            **owner == Owner::Other && other.same_place(binding) && *other != binding
        });
        if let Some((foreign, _)) = foreign.filter(|_| !live.addresses.contains_key(binding)) {
            found.push(format!(
                "{} is bound as /{} by someone else and is used as it is; the spec says /{}",
                foreign.address, foreign.prefix, binding.prefix
            ));
        }
        let link = live.links.as_ref().and_then(|links| links.get(&binding.interface));
        // One of evenkeel's own is brought up.
        if link.is_some_and(|link| !link.up && link.owner == Owner::Other) {
            found.push(format!(
                "interface {} is down: {} gets no traffic through it until it is up",
                binding.interface, binding.address
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests;
