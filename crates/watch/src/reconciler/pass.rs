//! One pass of the daemon: the same plan, guards, order and verification as `apply`.
//!
//! Where `apply` rolls back after a failure, the daemon continues: it holds back the failed object and
//! all that depends on it until its back-off ends ([`evenkeel_plan::hold_back`]), and applies the rest.

mod admission;
mod apply;

use std::collections::BTreeSet;

use evenkeel_control::{EventKind, LockError, Mode, Trigger};
use evenkeel_engine::{Kernel, KernelError, not_in_proc};
use evenkeel_model::{Desired, Live};
use evenkeel_plan::{Object, Op, Plan};
use evenkeel_source::SpecText;

use super::Reconciler;
use super::host::{Observation, SyncBaseline};
use super::pass_error::PassError;

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

impl End {
    fn quiet(result: &'static str) -> Self {
        Self { result, changes: 0, needs_follow_up: false, is_reported: true, steps: Vec::new() }
    }
}

impl<K: Kernel> Reconciler<K> {
    pub(super) fn reconcile(&mut self, trigger: Trigger) -> End {
        if matches!(trigger, Trigger::Resync | Trigger::Address) {
            match self.is_unchanged_since_sync() {
                Ok(true) => {
                    self.report.succeeded(self.schedule.clock.wall());
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

    /// Whether a probe finds the host as it was when it was last in sync, and there is no newer spec.
    fn is_unchanged_since_sync(&mut self) -> Result<bool, KernelError> {
        if self.specs.newest().is_some() {
            return Ok(false);
        }
        self.host.is_unchanged_since_sync(self.schedule.clock.now())
    }

    fn full_pass(&mut self) -> Result<End, PassError> {
        self.host.forget_baseline();
        let is_read_only = self.is_read_only();
        let _lock = if is_read_only { None } else { Some(self.lock()?) };
        let now = self.schedule.clock.wall();
        self.host.read_journal(&self.options.state, is_read_only, now)?;
        let specs = [self.specs.newest(), self.specs.active()];
        let desired = specs.iter().flatten().map(|spec| &*spec.desired);
        let observation = self.host.observe(desired)?;
        self.gate.begin_pass();
        self.report.begin_pass();
        let live = &observation.live;
        if !is_read_only {
            self.restore_spec_record(live);
        }
        self.admit_newest(live)?;
        let spec = match self.options.mode {
            // No spec becomes active; the status reports what would be done.
            Mode::Observe => self.specs.newest().or_else(|| self.specs.active()),
            Mode::Enforce => self.specs.active(),
        };
        let Some(spec) = spec else {
            return Ok(End::quiet(if self.gate.held().is_some() { "held" } else { "no_spec" }));
        };
        let (plan, last) = self.plan(&spec, live)?;
        self.report.planned(&plan);
        self.forget(&plan);
        if plan.is_in_sync() {
            self.is_in_sync(&spec, is_read_only)?;
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
        self.apply_plan(plan, &spec, last.as_ref(), (observation.live, held_back))
    }

    fn lock(&mut self) -> Result<K::LockGuard, PassError> {
        match K::try_lock() {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) => {}
            Err(error) => return Err(PassError::of(&error)),
        }
        if self.report.should_find_lock_holder() {
            return K::lock().map_err(|error| match error {
                LockError::Held(_) => PassError::Locked(error.to_string()),
                _ => PassError::of(&error),
            });
        }
        Err(self.report.locked())
    }

    /// Stores the baseline that the next probes compare with.
    fn remember(&mut self, observation: Observation, spec: &SpecText) {
        let Observation { live, table_digest, request } = observation;
        let Some(table_digest) = table_digest else { return };
        let not_in_proc = not_in_proc(&spec.desired, &live);
        let until = self.schedule.clock.now() + self.options.full_interval;
        self.host.set_baseline(SyncBaseline { table_digest, live, not_in_proc, request, until });
    }

    fn plan(&mut self, spec: &SpecText, live: &Live) -> Result<(Plan, Option<Desired>), PassError> {
        let Self { host, specs, .. } = self;
        let (plan, history) = host.plan(&spec.desired, live, |ops| specs.history(spec, ops))?;
        Ok((plan, history.last))
    }

    fn forget(&mut self, plan: &Plan) {
        let planned: BTreeSet<Object> = match self.retries.is_empty() && self.conflicts.is_empty() {
            true => BTreeSet::new(),
            false => plan.steps.iter().map(Op::object).collect(),
        };
        self.retries.retain(&planned);
        self.conflicts.forget(&planned, self.schedule.clock.now());
    }

    fn is_in_sync(&mut self, spec: &SpecText, is_read_only: bool) -> Result<(), PassError> {
        self.report.succeeded(self.schedule.clock.wall());
        if is_read_only {
            return Ok(());
        }
        self.specs.set_reached();
        self.gate.end_grant();
        let mut journal = self.host.journal().clone();
        journal.set_active_spec(&spec.desired);
        let updated = self.host.update_journal(&self.options.state, journal);
        updated.map_err(|error| PassError::of(&error))
    }
}

#[cfg(test)]
mod tests;
