//! Makes a plan against the current state of a host.

use std::collections::BTreeSet;

use evenkeel_engine::{
    CONNECTION_SYSCTLS, JournalError, Kernel, LastApplied, StoredOverrides, Wanted, plan_changes,
};
use evenkeel_host::KnownWriter;
use evenkeel_model::statistics::Statistics;
use evenkeel_model::{Desired, Live, Overlays, ServiceKey};
use evenkeel_plan::{
    ClockReading, DEFAULT_INTERVAL, Inputs, LaidOverlays, LeavingInputs, Op, OverlayInputs, Plan,
    PriorState, RealServerRecords, ServiceSelection, UnknownSelection, UnmetPrecondition, Warning,
    foreign_vips, guards_without_journal, has_end_mark, lay_overlays, leaving, plan,
    vip_manager_warning,
};

use crate::error::WorkflowError;
use crate::event::{Event, EventSink};
use crate::health::{RoundInputs, known_health};
use crate::host::Session;
use crate::last_applied::{NewSpec, SpecTexts, compare, stored};
use crate::left_scope::find_left;
use crate::overrides::{StandingOverrides, standing_overrides};

/// A plan and its inputs: the whole spec, or what concerns the services of `--target`.
#[derive(Debug)]
pub struct PlannedHost {
    /// The plan.
    pub plan: Plan,
    /// The desired state.
    pub desired: Desired,
    /// The overlays that the plan follows; none for a snapshot.
    pub overlays: Overlays,
    /// The live state.
    pub live: Live,
    /// What the last applied spec asked for, if it was read.
    pub last: Option<Desired>,
    /// The services that the plan is limited to; empty for all.
    pub targeted: BTreeSet<ServiceKey>,
    /// The services of this real server, to be recorded before the plan is executed; empty for a plan
    /// that was made without the journal.
    pub real_server: RealServerRecords,
}

impl PlannedHost {
    /// Plans for this host, at the time `now`.
    ///
    /// # Errors
    /// The kernel cannot be read, a selector names no service, or the spec overlaps with what another owner
    /// has in force.
    pub fn for_host<K: Kernel>(
        session: &mut Session<K>,
        mut desired: Desired,
        new: NewSpec<'_>,
        selectors: &[String],
        now: &ClockReading,
        events: &mut dyn EventSink,
    ) -> Result<Self, WorkflowError> {
        if let Some(overlap) = session.journal.record.others.overlap(&desired) {
            return Err(overlap.into());
        }
        // None may be taken for ended because it cannot be read.
        let overrides = StoredOverrides::read(&session.state).map_err(JournalError::from)?;
        let mut request = session.read_request(&desired);
        request.extend(CONNECTION_SYSCTLS.map(Into::into));
        let live = session.kernel.observe(&request)?;
        let Session { kernel, state, journal, health, lock: _ } = session;
        let of_host = RoundInputs {
            desired: &desired,
            live: &live,
            overlaid: &journal.record.overlaid,
            state,
        };
        let (facts, unknown) = known_health(health, of_host)?;
        unknown.into_iter().for_each(|it| events.emit(Event::CheckNotMade(Box::new(it))));
        let standing =
            standing_overrides(&desired, now.wall.as_secs(), &StandingOverrides::default());
        let mut asked = standing.overrides;
        // A command is above what stands in files.
        asked.extend(overrides.active(now));
        let LaidOverlays { overlays, with_quorum: _ } = lay_overlays(OverlayInputs {
            desired: &desired,
            overrides: &asked,
            health: &facts,
            live: &live,
        });
        let mut known = |ops: &[Op]| compare(state, journal, new, ops, events);
        let record = &journal.record;
        if selectors.is_empty() {
            find_left(state, journal, &desired, &live, None).add_to(&mut desired);
            let leaving = leaving(&LeavingInputs {
                desired: &desired,
                live: &live,
                record,
                now: *now,
                interval: DEFAULT_INTERVAL,
            });
            let known = |ops: &[Op]| {
                let mut known = known(ops);
                known.last.iter_mut().for_each(|last| record.real_server.add_leaving_to(last));
                known
            };
            let wanted = Wanted::new(&desired, &leaving, &live, record).under(&overlays);
            let (mut plan, LastApplied { last, .. }) = plan_changes(kernel, wanted, known)?;
            plan.set_time_left(&record.drains, now.wall.as_secs());
            let foreign = foreign_vips(&desired, &live, record);
            plan.warnings.extend(vip_manager_warning(&desired, &foreign, vip_managers()));
            plan.warnings.extend(standing.warnings);
            plan.staying = leaving.staying;
            return Ok(Self {
                plan,
                desired: leaving.desired.unwrap_or(desired),
                overlays,
                live,
                last,
                targeted: BTreeSet::new(),
                real_server: leaving.records,
            });
        }
        let LastApplied { last, .. } = known(&[]);
        let target = target(selectors, &desired, last.as_ref())
            // A service that was removed by `--target` since is only in the last whole spec.
            .or_else(|_| target(selectors, &desired, stored(state, journal).as_ref()))?;
        let services = &record.real_server;
        let warning = target.staying_parts(services, &desired);
        let real_server = services.with_services(target.services(), &desired);
        let live = target.narrow_live(live, services);
        let desired = target.narrow_desired(desired);
        let narrowed = |ops: &[Op]| {
            let LastApplied { last, cut_off, lost_files } = known(ops);
            let last = last.map(|last| target.narrow_desired(last));
            LastApplied { last, cut_off, lost_files }
        };
        let record = target.narrow_record(record);
        let wanted = Wanted::exactly(&desired, &live, &record).under(&overlays);
        let (mut plan, LastApplied { last, .. }) = plan_changes(kernel, wanted, narrowed)?;
        // A part of a spec does not change the scope.
        plan.wider_scope = None;
        plan.set_time_left(&record.drains, now.wall.as_secs());
        plan.refusals.retain(|refusal| !target.exempts(refusal.guard));
        plan.warnings.extend(warning);
        plan.warnings.extend(standing.warnings);
        let targeted = target.services().clone();
        Ok(Self { plan, desired, overlays, live, last, targeted, real_server })
    }

    /// Plans for the host of a snapshot, for which there is no journal and no override is known. Warns of the guards that
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
            live = target.narrow_live(live, &RealServerRecords::default());
            desired = target.narrow_desired(desired);
            exempts = Some(target);
        }
        let record = PriorState::for_snapshot();
        let statistics = statistics.as_ref();
        let inputs = Inputs { statistics, ..Inputs::new(&desired, &live, &record) };
        let mut plan = plan(inputs);
        // It records only the sysctls that evenkeel had to do with, not which ones the kernel has.
        plan.unmet_preconditions.retain(|it| !matches!(it, UnmetPrecondition::NoSysctl { .. }));
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
        let (targeted, real_server) = (BTreeSet::new(), RealServerRecords::default());
        let overlays = Overlays::default();
        Ok(Self { plan, desired, overlays, live, last: None, targeted, real_server })
    }
}

/// The programs on this host that move VIPs between hosts.
fn vip_managers() -> impl Iterator<Item = &'static str> {
    evenkeel_host::known_writers().into_iter().filter(|it| it.moves_vips()).map(KnownWriter::name)
}

fn target(
    selectors: &[String],
    desired: &Desired,
    last: Option<&Desired>,
) -> Result<ServiceSelection, UnknownSelection> {
    ServiceSelection::new(selectors, desired, last)
}
