//! One pass of the daemon: the same plan, guards, order and verification as `apply`.
//!
//! Where `apply` rolls back after a failure, the daemon continues: it holds back the failed object and
//! all that depends on it until its back-off ends ([`evenkeel_plan::hold_back`]), and applies the rest.

mod admission;
mod apply;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_control::{EventKind, LockError, Mode, Trigger};
use evenkeel_engine::{Journal, Kernel, KernelError, error_chain, not_in_proc};
use evenkeel_model::{Claims, Desired, Live, Overlays, ServiceKey};
use evenkeel_plan::{
    LaidOverlays, Leaving, LeavingInputs, Object, Op, OverlayInputs, Plan, foreign_vips,
    lay_overlays, leaving,
};
use evenkeel_source::SpecText;
use evenkeel_workflow::find_left;

use self::admission::removed_objects;
use self::apply::Wanted;
use super::Reconciler;
use super::host::{Observation, SyncBaseline};
use super::pass_error::PassError;
use crate::lost_vips::PassLock;

/// How a pass ended.
pub(super) struct End {
    /// The name in logs and metrics.
    pub(super) result: &'static str,
    /// The number of operations that were applied.
    pub(super) changes: usize,
    /// Another pass at once can do what this one left.
    pub(super) needs_follow_up: bool,
    /// It read the whole kernel.
    pub(super) is_reported: bool,
    /// The applied steps, as events; none are made without subscribers.
    pub(super) steps: Vec<EventKind>,
}

/// A plan for a spec.
struct Planned {
    plan: Plan,
    /// What the spec asks for, with what left its scope.
    desired: Arc<Desired>,
    /// What the spec before it asks for, if that matters.
    last: Option<Desired>,
    /// What stays beside it for services that this real server leaves.
    leaving: Leaving,
    /// What operators and health hold.
    overlays: Overlays,
    /// The services with checks that have their quorum.
    with_quorum: BTreeSet<ServiceKey>,
}

/// A host that is in sync with a spec under overlays.
struct Settled<'a> {
    desired: &'a Desired,
    overlays: &'a Overlays,
    live: &'a Live,
}

impl End {
    fn quiet(result: &'static str) -> Self {
        Self { result, changes: 0, needs_follow_up: false, is_reported: true, steps: Vec::new() }
    }
}

impl<K: Kernel> Reconciler<K> {
    pub(super) fn reconcile(&mut self, trigger: Trigger) -> End {
        let now = self.schedule.clock.both();
        let followed = self.followed_spec().map(|spec| Arc::clone(&spec.desired));
        let followed = followed.unwrap_or_default();
        if self.overrides.refresh(&self.options.state, &followed, &now) {
            // A probe does not see that.
            self.host.forget_baseline();
        }
        if matches!(trigger, Trigger::Resync | Trigger::Address) {
            match self.is_unchanged_since_sync() {
                Ok(true) => {
                    self.bound_vips.shared().publish_again(self.rebinds());
                    self.report.succeeded(self.schedule.clock.steady());
                    return End { is_reported: false, ..End::quiet("unchanged") };
                }
                Ok(false) => {}
                Err(error) => return self.record_failure(PassError::of(&error)),
            }
        }
        let end = self.full_pass();
        // The approval was for this pass, unless none could be made.
        if !matches!(end, Err(PassError::Locked(_))) {
            self.gate.end_approval();
        }
        match end {
            Ok(end) => {
                self.report.pass_made();
                end
            }
            Err(pass_error) => self.record_failure(pass_error),
        }
    }

    fn record_failure(&mut self, pass_error: PassError) -> End {
        self.host.forget_baseline();
        let result = match &pass_error {
            PassError::Locked(_) => "locked",
            PassError::Other(_) => {
                self.host.disconnect();
                "failed"
            }
        };
        self.report.pass_failed(pass_error);
        End::quiet(result)
    }

    /// Whether a probe finds the host as it was when it was last in sync, and there is no newer spec and no
    /// pending apply.
    fn is_unchanged_since_sync(&mut self) -> Result<bool, KernelError> {
        if self.specs.newest().is_some() || self.host.journal().pending.is_some() {
            return Ok(false);
        }
        self.host.is_unchanged_since_sync(self.schedule.clock.now())
    }

    /// The spec that a pass compares the host with.
    fn followed_spec(&self) -> Option<Arc<SpecText>> {
        match self.options.mode {
            // No spec becomes active; the status reports what would be done.
            Mode::Observe => self.specs.newest().or_else(|| self.specs.active()),
            Mode::Enforce => self.specs.active(),
        }
    }

    fn full_pass(&mut self) -> Result<End, PassError> {
        self.host.forget_baseline();
        if self.is_read_only() {
            self.bound_vips.shared().clear();
            return self.locked_pass(None);
        }
        let lock = self.lock()?;
        self.bound_vips.await_observation();
        let end = self.locked_pass(lock.guard());
        // While the lock is held: no other writer has been there.
        let (kept, state) = (self.bound_vips.shared(), &self.options.state);
        // Also those that were withdrawn for steps of a pass that failed.
        if end.is_ok() || self.bound_vips.are_observed() {
            kept.publish(self.rebinds(), state);
        } else {
            let desired = self.specs.desired();
            kept.keep(|binding| desired.vips.contains_key(binding), state);
        }
        end
    }

    /// Makes a pass with the lock, or without it one that changes nothing.
    fn locked_pass(&mut self, lock: Option<&K::LockGuard>) -> Result<End, PassError> {
        let is_read_only = lock.is_none();
        let now = self.schedule.clock.wall();
        let unrecorded = self.host.read_journal(&self.options.state, lock, now)?;
        self.follow_recorded_macs();
        let specs = [self.specs.newest(), self.specs.active()];
        let desired = specs.iter().flatten().map(|spec| &*spec.desired);
        let observation = self.host.observe(desired)?;
        self.gate.begin_pass();
        self.report.begin_pass();
        if let Some(error) = unrecorded {
            self.report.prevented(error_chain(&error));
        }
        if let Some(problem) = self.overrides.problem() {
            self.report.prevented(problem.to_owned());
        }
        let live = &observation.live;
        self.bound_vips.begin_pass();
        // No spec becomes active while another one may become the applied one.
        let journal = self.host.journal();
        let pending = journal.pending.as_ref().map(|pending| pending.description(now));
        let pending = pending.or_else(|| journal.pending_elsewhere());
        if pending.is_none() {
            if !is_read_only {
                self.restore_spec_record(live);
            }
            self.admit_newest(live)?;
        }
        let Some(spec) = self.followed_spec() else {
            return Ok(End::quiet(if self.gate.held().is_some() { "held" } else { "no_spec" }));
        };
        if let Some(overlap) = self.host.journal().record.others.overlap(&spec.desired) {
            // Another owner applied its spec while this one was not in force, as after a reboot.
            if self.specs.newest().is_none() {
                self.report.prevented(format!("{overlap}; {}", overlap.remedy()));
            }
            return Ok(End::quiet("failed"));
        }
        self.observe_health(&spec, live)?;
        self.overrides.read_standing(&spec.desired, &self.schedule.clock.both());
        let Planned { plan, desired, last, leaving, overlays, with_quorum } =
            self.plan(&spec, live)?;
        self.health.set_quorum(with_quorum);
        self.bound_vips.observed(&spec.desired, live);
        self.report.planned(&plan);
        self.forget(&plan);
        self.note_others(&desired, live, is_read_only);
        if let Some(pending) = pending.filter(|_| !is_read_only) {
            self.report.prevented(pending);
            self.record_leaving(&leaving);
            let desired = leaving.desired(&desired);
            let wanted = Wanted { spec: &spec, desired, overlays: &overlays, last: last.as_ref() };
            return self.repair_beside_pending(plan, wanted, observation.live);
        }
        if plan.is_in_sync() {
            let settled = Settled { desired: &desired, overlays: &overlays, live };
            self.is_in_sync(settled, &leaving, is_read_only)?;
            self.remember(observation, &spec);
            return Ok(End::quiet("in_sync"));
        }
        if is_read_only {
            // A newer spec that waits for the end of a pause has set the pending steps already.
            if self.report.pending_steps().is_empty() {
                self.report.set_pending(&plan, self.specs.names(&spec));
            }
            return Ok(End::quiet("drifted"));
        }
        let held_back = self.held_by_drift(&plan, &spec);
        if plan.steps.is_empty() {
            // Only what an earlier scope left behind, which is forgotten.
            if self.gate.held().is_some() {
                return Ok(End::quiet("held"));
            }
            let settled = Settled { desired: &desired, overlays: &overlays, live };
            self.is_in_sync(settled, &leaving, is_read_only)?;
            return Ok(End::quiet("in_sync"));
        }
        self.record_leaving(&leaving);
        let desired = leaving.desired(&desired);
        let wanted = Wanted { spec: &spec, desired, overlays: &overlays, last: last.as_ref() };
        self.apply_plan(plan, wanted, (observation.live, held_back))
    }

    /// Repairs what is no part of the pending apply. What that touched, and what depends on it, stays as it
    /// is; so does everything that a repair would remove something from if a guard refuses the repair.
    fn repair_beside_pending(
        &mut self,
        plan: Plan,
        wanted: Wanted<'_>,
        live: Live,
    ) -> Result<End, PassError> {
        let mut held_back = self.host.pending_objects();
        if !plan.refusals.is_empty() {
            held_back.extend(removed_objects(&plan));
        }
        self.apply_plan(plan, wanted, (live, held_back))
    }

    fn lock(&mut self) -> Result<PassLock<K::LockGuard>, PassError> {
        let lock = &self.lock;
        let finds_holder = self.report.should_find_lock_holder();
        let take = || if finds_holder { K::lock(lock).map(Some) } else { K::try_lock(lock) };
        match self.bound_vips.shared().lock_for_pass::<K>(&self.options.state, take) {
            Ok(Some(lock)) => Ok(lock),
            Ok(None) => Err(self.report.locked()),
            Err(error @ LockError::Held(_)) => Err(PassError::Locked(error.to_string())),
            Err(error) => Err(PassError::of(&error)),
        }
    }

    /// Stores the baseline that the next probes compare with.
    fn remember(&mut self, observation: Observation, spec: &SpecText) {
        let Observation { live, table_digest, request } = observation;
        let Some(table_digest) = table_digest else { return };
        let not_in_proc = not_in_proc(&spec.desired, &live);
        let now = self.schedule.clock.now();
        // A probe does not see that a service has left.
        let left = self.host.next_left(&self.schedule.clock.both());
        let until = now + self.options.full_interval.min(left.unwrap_or(Duration::MAX));
        self.host.set_baseline(SyncBaseline { table_digest, live, not_in_proc, request, until });
    }

    fn plan(&mut self, spec: &SpecText, live: &Live) -> Result<Planned, PassError> {
        let desired = self.with_left(spec, live);
        let leaving = self.leaving(&desired, live);
        let mut overrides = self.overrides.unread(&desired, live);
        overrides.extend(self.overrides.active());
        let LaidOverlays { overlays, with_quorum } = lay_overlays(OverlayInputs {
            desired: &desired,
            overrides: &overrides,
            health: self.health.facts(),
            live,
        });
        let Self { host, specs, .. } = self;
        let history = |ops: &[Op]| specs.history(spec, ops);
        let (plan, history) = host.plan(&desired, live, &leaving, &overlays, history)?;
        Ok(Planned { plan, desired, last: history.last, leaving, overlays, with_quorum })
    }

    /// Makes the checks of this spec from now on, and takes what is known of its real servers.
    fn observe_health(&mut self, spec: &SpecText, live: &Live) -> Result<(), PassError> {
        self.health.follow(&spec.desired, live);
        let Self { health, host, .. } = self;
        host.observe_health(health, &spec.desired, live)?;
        if let Some(problem) = self.health.problem() {
            self.report.prevented(problem);
        }
        Ok(())
    }

    /// Returns what a spec asks for, with what left its scope. Of an active spec, that was recorded when it
    /// became active.
    fn with_left(&self, spec: &SpecText, live: &Live) -> Arc<Desired> {
        let journal = self.host.journal();
        let active = self.specs.active().filter(|active| !active.is_same(spec));
        let active = active.as_ref().map(|active| &*active.desired);
        let left = find_left(&self.options.state, journal, &spec.desired, live, active);
        if left.is_empty() {
            return Arc::clone(&spec.desired);
        }
        let mut desired = Desired::clone(&spec.desired);
        left.add_to(&mut desired);
        Arc::new(desired)
    }

    /// Determines what stays for services that this real server leaves.
    fn leaving(&self, desired: &Desired, live: &Live) -> Leaving {
        leaving(&LeavingInputs {
            desired,
            live,
            record: &self.host.journal().record,
            now: self.schedule.clock.both(),
            interval: self.options.interval,
        })
    }

    /// Records what stays before anything is changed.
    fn record_leaving(&mut self, leaving: &Leaving) {
        let mut journal = self.host.journal().clone();
        journal.record.real_server.clone_from(&leaving.records);
        if let Err(error) = self.host.update_journal(&self.options.state, journal) {
            // What begins to leave stays until the journal can be written.
            self.report.prevented(error_chain(&error));
        }
    }

    /// Reports which VIPs are another program's, and records that and what else others did.
    fn note_others(&mut self, desired: &Desired, live: &Live, is_read_only: bool) {
        let record = &self.host.journal().record;
        self.report.set_foreign_vips(foreign_vips(desired, live, record));
        let mut record = record.clone();
        let bound = &self.host.journal().addresses;
        let is_changed = record.note_foreign_vips(desired, live, bound);
        let is_changed = record.forget_filled(desired, live) || is_changed;
        let is_linked = desired.sync.is_some() && record.note_sync_links(live, &[]);
        let is_changed = is_linked || is_changed;
        // After a reboot no other owner knows what this spec asks for.
        let is_unclaimed = record.claims.is_empty() && !Claims::of(desired).is_empty();
        if is_unclaimed {
            record.inherit(desired);
            record.claims = Claims::of(desired);
        }
        let is_changed = is_changed || is_unclaimed;
        // While an apply is not confirmed, what it bound is not yet this spec's.
        if is_read_only || !is_changed || self.host.journal().pending.is_some() {
            return;
        }
        let journal = Journal { record, ..self.host.journal().clone() };
        if let Err(error) = self.host.update_journal(&self.options.state, journal) {
            self.report.prevented(error_chain(&error));
        }
    }

    fn forget(&mut self, plan: &Plan) {
        let planned: BTreeSet<Object> = match self.retries.is_empty() && self.conflicts.is_empty() {
            true => BTreeSet::new(),
            false => plan.steps.iter().map(Op::object).collect(),
        };
        self.retries.retain(&planned);
        self.conflicts.forget(&planned, self.schedule.clock.now());
    }

    fn is_in_sync(
        &mut self,
        Settled { desired, overlays, live }: Settled<'_>,
        leaving: &Leaving,
        is_read_only: bool,
    ) -> Result<(), PassError> {
        self.report.succeeded(self.schedule.clock.steady());
        if is_read_only {
            return Ok(());
        }
        self.specs.set_reached();
        self.conflicts.in_sync();
        self.gate.end_grant();
        let mut journal = self.host.journal().clone();
        journal.record.real_server.clone_from(&leaving.records);
        journal.record.settle_overlays(desired, overlays, live);
        journal.set_active_spec(desired);
        let updated = self.host.update_journal(&self.options.state, journal);
        updated.map_err(|error| PassError::of(&error))
    }
}

#[cfg(test)]
mod tests;
