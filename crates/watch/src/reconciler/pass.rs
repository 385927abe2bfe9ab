//! One pass of the daemon: the same plan, guards, order and verification as `apply`.
//!
//! Where `apply` rolls back after a failure, the daemon continues: it holds back the failed object and
//! all that depends on it until its back-off ends ([`evenkeel_plan::hold_back`]), and applies the rest.

mod admission;
mod apply;

use std::collections::BTreeSet;
use std::error::Error;

use evenkeel_control::{EventKind, LockError, Mode, Trigger};
use evenkeel_engine::{
    CONNECTION_SYSCTLS, Kernel, KernelError, ReadRequest, TableDigest, error_chain, not_in_proc,
    plan_changes,
};
use evenkeel_model::{Desired, Live};
use evenkeel_plan::{Object, Op, Plan, Warning};
use evenkeel_source::SpecText;
use tracing::{info, warn};

use super::{PassError, Reconciler, SyncBaseline};
use admission::lines;

/// Up to this number of services the table is read completely each time: that costs little, and
/// detects every change.
const SMALL: usize = 64;

/// After how many failures to take the lock its holder is determined.
const PATIENCE: u32 = 10;

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
                    self.last_success = Some(self.clock.wall());
                    return End { is_reported: false, ..End::quiet("unchanged") };
                }
                Ok(false) => {}
                Err(error) => return self.record_failure(PassError::of(&error)),
            }
        }
        let end = self.full_pass();
        // The approval was for this pass, unless none could be made.
        if !matches!(end, Err(PassError::Locked(_))) {
            self.approved = None;
        }
        match end {
            Ok(end) => {
                if self.pass_error.take().is_some() {
                    info!("passes succeed again");
                }
                self.consecutive_failures = 0;
                end
            }
            Err(pass_error) => self.record_failure(pass_error),
        }
    }

    fn record_failure(&mut self, pass_error: PassError) -> End {
        self.consecutive_failures = self.consecutive_failures.saturating_add(1);
        self.baseline = None;
        let result = match &pass_error {
            PassError::Locked(_) => "locked",
            PassError::Other(message) => {
                self.kernel = None;
                if self.consecutive_failures.is_power_of_two() {
                    warn!(times = self.consecutive_failures, "{message}");
                }
                "failed"
            }
        };
        self.pass_error = Some(pass_error);
        End::quiet(result)
    }

    /// Whether a probe finds the host as it was when it was last in sync. False, without a probe, if
    /// there is no baseline or it is too old.
    fn is_unchanged_since_sync(&mut self) -> Result<bool, KernelError> {
        let now = self.clock.now();
        let (Some(kernel), Some(baseline)) = (&mut self.kernel, &self.baseline) else {
            return Ok(false);
        };
        if baseline.until <= now || self.specs.newest().is_some() {
            return Ok(false);
        }
        let SyncBaseline { table_digest, live, not_in_proc, request, until: _ } = baseline;
        kernel.is_unchanged(table_digest, live, not_in_proc, request)
    }

    fn full_pass(&mut self) -> Result<End, PassError> {
        self.baseline = None;
        let is_read_only = self.is_read_only();
        let _lock = if is_read_only { None } else { Some(self.lock()?) };
        self.read_journal(is_read_only)?;
        let (live, table_digest, request) = self.observe()?;
        (self.held, self.unmet_preconditions, self.pending_steps) = (None, Vec::new(), Vec::new());
        if !is_read_only {
            self.restore_spec_record(&live);
        }
        self.admit_newest(&live)?;
        let spec = match self.options.mode {
            // No spec becomes active; the status reports what would be done.
            Mode::Observe => self.specs.newest().or_else(|| self.specs.active()),
            Mode::Enforce => self.specs.active(),
        };
        let Some(spec) = spec else {
            return Ok(End::quiet(if self.held.is_some() { "held" } else { "no_spec" }));
        };
        let (plan, last) = self.plan(&spec, &live)?;
        self.unmanaged = plan.out_of_scope;
        self.log_warnings(&plan.warnings);
        self.forget(&plan);
        if plan.is_in_sync() {
            self.is_in_sync(&spec, is_read_only)?;
            self.remember(live, table_digest, &spec, request);
            return Ok(End::quiet("in_sync"));
        }
        if is_read_only {
            // A newer spec that waits for the end of a pause has set the pending steps already.
            if self.pending_steps.is_empty() {
                self.pending_steps = lines(&plan, self.specs.names(&spec));
            }
            return Ok(End::quiet("drifted"));
        }
        let held_back = self.held_by_drift(&plan, &spec);
        self.apply_plan(plan, &spec, last.as_ref(), (live, held_back))
    }

    /// Stores the warnings of a plan, and logs the new ones.
    fn log_warnings(&mut self, warnings: &[Warning]) {
        for warning in warnings.iter().filter(|it| !self.warnings.contains(it)) {
            warn!("{warning}");
        }
        self.warnings = warnings.to_vec();
    }

    fn lock(&mut self) -> Result<K::LockGuard, PassError> {
        match K::try_lock() {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) => {}
            Err(error) => return Err(PassError::of(&error)),
        }
        if self.consecutive_failures == PATIENCE {
            return K::lock().map_err(|error| match error {
                LockError::Held(_) => PassError::Locked(error.to_string()),
                _ => PassError::of(&error),
            });
        }
        Err(match &self.pass_error {
            Some(locked @ PassError::Locked(_)) => locked.clone(),
            _ => {
                let message = "another process is changing this network namespace";
                PassError::Locked(message.to_owned())
            }
        })
    }

    fn read_journal(&mut self, is_read_only: bool) -> Result<(), PassError> {
        let (mut journal, warning) =
            self.options.state.read(!is_read_only).map_err(|error| PassError::of(&error))?;
        if let Some(warning) = warning {
            warn!("{warning}");
        }
        journal.drop_stale_pending();
        if !is_read_only {
            journal.check_writable(self.clock.wall()).map_err(|error| PassError::of(&error))?;
            let notices = std::mem::take(&mut journal.notices);
            for notice in &notices {
                warn!("{notice}");
            }
            if !notices.is_empty() {
                self.options.state.write(&journal).map_err(|error| PassError::of(&error))?;
            }
        }
        self.journal = journal;
        Ok(())
    }

    /// Reads the kernel. For a large table a probe is taken first: then the next probe detects a change
    /// between the two.
    fn observe(&mut self) -> Result<(Live, Option<TableDigest>, ReadRequest), PassError> {
        let addresses = self.journal.addresses.clone();
        let kernel = match &mut self.kernel {
            Some(kernel) => {
                kernel.set_journalled(addresses);
                kernel
            }
            None => {
                let connected = (self.connect)(addresses).map_err(|error| PassError::of(&error))?;
                self.kernel.insert(connected)
            }
        };
        let specs = [self.specs.newest(), self.specs.active()];
        let desired = specs.iter().flatten().map(|spec| &spec.desired);
        let is_large = desired.clone().any(|desired| desired.services.len() > SMALL);
        let journalled = ReadRequest::for_journal(&self.journal);
        let mut request = desired.fold(journalled, |request, desired| request.with_spec(desired));
        request.extend(CONNECTION_SYSCTLS.map(Into::into));
        let read = || -> Result<(Live, Option<TableDigest>), KernelError> {
            let table_digest = if is_large { Some(kernel.probe()?) } else { None };
            Ok((kernel.observe(&request)?, table_digest))
        };
        let (live, table_digest) = { read }().map_err(|error| PassError::of(&error))?;
        Ok((live, table_digest, request))
    }

    /// Stores the baseline that the next probes compare with.
    fn remember(
        &mut self,
        live: Live,
        table_digest: Option<TableDigest>,
        spec: &SpecText,
        request: ReadRequest,
    ) {
        let Some(table_digest) = table_digest else { return };
        let not_in_proc = not_in_proc(&spec.desired, &live);
        let until = self.clock.now() + self.options.full_interval;
        self.baseline = Some(SyncBaseline { table_digest, live, not_in_proc, request, until });
    }

    fn plan(&mut self, spec: &SpecText, live: &Live) -> Result<(Plan, Option<Desired>), PassError> {
        let Self { kernel, specs, journal, .. } = self;
        let kernel = connected(kernel)?;
        let known = |ops: &[Op]| specs.history(spec, ops);
        let (plan, history) = plan_changes(kernel, &spec.desired, live, &journal.record, known)
            .map_err(|error| PassError::of(&error))?;
        Ok((plan, history.last))
    }

    fn forget(&mut self, plan: &Plan) {
        let planned: BTreeSet<Object> = match self.failing.is_empty() && self.conflicts.is_empty() {
            true => BTreeSet::new(),
            false => plan.steps.iter().map(Op::object).collect(),
        };
        self.failing.retain(&planned);
        self.conflicts.forget(&planned, self.clock.now());
    }

    fn is_in_sync(&mut self, spec: &SpecText, is_read_only: bool) -> Result<(), PassError> {
        self.last_success = Some(self.clock.wall());
        if is_read_only {
            return Ok(());
        }
        self.specs.set_reached();
        self.granted = None;
        let mut journal = self.journal.clone();
        journal.set_active_spec(&spec.desired);
        if journal != self.journal {
            self.options.state.write(&journal).map_err(|error| PassError::of(&error))?;
            self.journal = journal;
        }
        Ok(())
    }
}

impl PassError {
    fn of(error: &dyn Error) -> Self {
        Self::Other(error_chain(error))
    }
}

/// Returns the kernel, to which every pass connects before it is used.
fn connected<K>(kernel: &mut Option<K>) -> Result<&mut K, PassError> {
    kernel.as_mut().ok_or_else(|| PassError::Other("the kernel is not connected".to_owned()))
}

#[cfg(test)]
mod tests;
