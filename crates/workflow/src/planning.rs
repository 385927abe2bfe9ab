//! Makes a plan against the current state of a host.

use std::collections::BTreeSet;

use evenkeel_engine::{CONNECTION_SYSCTLS, Kernel, LastApplied, plan_changes};
use evenkeel_model::statistics::Statistics;
use evenkeel_model::{Desired, Live, ServiceKey};
use evenkeel_plan::{
    Inputs, Op, Plan, PriorState, ServiceSelection, UnknownSelection, Warning,
    guards_without_journal, has_end_mark, plan,
};

use crate::error::WorkflowError;
use crate::event::EventSink;
use crate::host::{Session, now};
use crate::last_applied::{NewSpec, SpecTexts, compare, stored};

/// A plan and its inputs: the whole spec, or what concerns the services of `--target`.
#[derive(Debug)]
pub struct PlannedHost {
    /// The plan.
    pub plan: Plan,
    /// The desired state.
    pub desired: Desired,
    /// The live state.
    pub live: Live,
    /// What the last applied spec asked for, if it was read.
    pub last: Option<Desired>,
    /// The services that the plan is limited to; empty for all.
    pub targeted: BTreeSet<ServiceKey>,
}

impl PlannedHost {
    /// Plans for this host.
    ///
    /// # Errors
    /// The kernel cannot be read, or a selector names no service.
    pub fn for_host<K: Kernel>(
        session: &mut Session<K>,
        desired: Desired,
        new: NewSpec<'_>,
        selectors: &[String],
        events: &mut dyn EventSink,
    ) -> Result<Self, WorkflowError> {
        let mut request = session.read_request(&desired);
        request.extend(CONNECTION_SYSCTLS.map(Into::into));
        let live = session.kernel.observe(&request)?;
        let Session { kernel, state, journal, lock: _ } = session;
        let mut known = |ops: &[Op]| compare(state, journal, new, ops, events);
        let record = &journal.record;
        if selectors.is_empty() {
            let (mut plan, LastApplied { last, .. }) =
                plan_changes(kernel, &desired, &live, record, known)?;
            plan.set_time_left(&record.drains, now());
            return Ok(Self { plan, desired, live, last, targeted: BTreeSet::new() });
        }
        let LastApplied { last, .. } = known(&[]);
        let target = target(selectors, &desired, last.as_ref())
            // A service that was removed by `--target` since is only in the last whole spec.
            .or_else(|_| target(selectors, &desired, stored(state, journal).as_ref()))?;
        let (desired, live) = (target.narrow_desired(desired), target.narrow_live(live));
        let narrowed = |ops: &[Op]| {
            let LastApplied { last, cut_off, lost_files } = known(ops);
            let last = last.map(|last| target.narrow_desired(last));
            LastApplied { last, cut_off, lost_files }
        };
        let record = target.narrow_record(record);
        let (mut plan, LastApplied { last, .. }) =
            plan_changes(kernel, &desired, &live, &record, narrowed)?;
        // A part of a spec does not change the scope.
        plan.wider_scope = None;
        plan.set_time_left(&record.drains, now());
        plan.refusals.retain(|refusal| !target.exempts(refusal.guard));
        let targeted = target.services().clone();
        Ok(Self { plan, desired, live, last, targeted })
    }

    /// Plans for the host of a snapshot, for which there is no journal. Warns of the guards that
    /// need it.
    ///
    /// # Errors
    /// A selector names no service.
    pub fn for_snapshot(
        (mut live, statistics): (Live, Option<Statistics>),
        mut desired: Desired,
        texts: &dyn SpecTexts,
        selectors: &[String],
    ) -> Result<Self, WorkflowError> {
        let mut exempts = None;
        if !selectors.is_empty() {
            let target = target(selectors, &desired, None)?;
            (desired, live) = (target.narrow_desired(desired), target.narrow_live(live));
            exempts = Some(target);
        }
        let record = PriorState::for_snapshot();
        let statistics = statistics.as_ref();
        let inputs = Inputs { statistics, ..Inputs::new(&desired, &live, &record) };
        let mut plan = plan(inputs);
        // Files that cannot be read again are not known to be complete.
        let is_complete = !plan.steps.is_empty()
            && texts.read().is_ok_and(|texts| texts.iter().all(|it| has_end_mark(&it.text)));
        let unjudged = guards_without_journal(&inputs, &plan.steps, is_complete);
        if !unjudged.is_empty() {
            plan.warnings.push(Warning::GuardsNotJudged(unjudged));
        }
        if let Some(target) = exempts {
            plan.refusals.retain(|refusal| !target.exempts(refusal.guard));
        }
        Ok(Self { plan, desired, live, last: None, targeted: BTreeSet::new() })
    }
}

fn target(
    selectors: &[String],
    desired: &Desired,
    last: Option<&Desired>,
) -> Result<ServiceSelection, UnknownSelection> {
    ServiceSelection::new(selectors, desired, last)
}
