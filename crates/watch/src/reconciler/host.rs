//! The host that the reconciler keeps: its kernel, its journal, and how it was when last in sync.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_engine::{
    ApplyOptions, CONNECTION_SYSCTLS, ExecutionWarning, Journal, JournalError, Journalled, Kernel,
    KernelError, LastApplied, NoopContext, OnFailure, Pass, ReadRequest, Recording, Report,
    StateDir, TableDigest, Wanted, error_chain, execute_journalled, plan_changes,
};
use evenkeel_model::{Binding, Desired, Live, Overlays, ServiceKey};
use evenkeel_plan::{ClockReading, Leaving, Object, Op, Plan};
use evenkeel_workflow::roll_back_due;
use tracing::{debug, warn};

use super::health::Health;
use super::pass_error::PassError;

/// Connects to a kernel, with what the journal records as evenkeel's.
pub(crate) type Connect<K> = Box<dyn FnMut(Journalled) -> Result<K, KernelError> + Send>;

/// Up to this number of services the table is read completely each time: that costs little, and
/// detects every change.
pub(super) const SMALL: usize = 64;

/// The host of one network namespace.
pub(super) struct Host<K> {
    connect: Connect<K>,
    kernel: Option<K>,
    /// The journal as last read or written; with `unwritten`, as it would be written.
    journal: Journal,
    /// Whether it was read since the daemon started.
    is_journal_read: bool,
    /// The file's content while the journal cannot be written. What a pass records is then known to the next
    /// ones, until the daemon ends.
    unwritten: Option<Journal>,
    /// The state of the host when it was last in sync.
    baseline: Option<SyncBaseline>,
}

/// What a pass read.
pub(super) struct Observation {
    pub(super) live: Live,
    /// A probe from before the reading, for a large table.
    pub(super) table_digest: Option<TableDigest>,
    pub(super) request: ReadRequest,
}

/// A host in sync, with what a probe compares to find out whether it still is.
pub(super) struct SyncBaseline {
    pub(super) table_digest: TableDigest,
    pub(super) live: Live,
    pub(super) not_in_proc: BTreeSet<ServiceKey>,
    pub(super) request: ReadRequest,
    /// When the whole of it is to be read again, even if a probe sees no change.
    pub(super) until: Duration,
}

impl<K: Kernel> Host<K> {
    pub(super) fn new(connect: Connect<K>) -> Self {
        Self {
            connect,
            kernel: None,
            journal: Journal::default(),
            is_journal_read: false,
            unwritten: None,
            baseline: None,
        }
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Reads the journal before the first pass and leaves it unchanged.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn load_journal(&mut self, state: &StateDir) -> Result<(), JournalError> {
        (self.journal, _) = state.read(false)?;
        self.is_journal_read = true;
        Ok(())
    }

    /// Reads the journal for a pass. With the lock, an apply that is overdue is rolled back first, and none may
    /// be pending in another journal.
    ///
    /// Returns why the journal cannot be read or written, if so: the pass then works with what the daemon
    /// knows, as far as nothing has to be recorded before.
    pub(super) fn read_journal(
        &mut self,
        state: &StateDir,
        lock: Option<&K::LockGuard>,
        now: u64,
    ) -> Result<Option<JournalError>, PassError> {
        let (mut journal, mut problem) = match state.read(lock.is_some()) {
            Ok((journal, warning)) => {
                if let Some(warning) = warning {
                    warn!("{warning}");
                }
                if self.unwritten.as_ref() == Some(&journal) {
                    (self.journal.clone(), None)
                } else {
                    self.unwritten = None;
                    (journal, None)
                }
            }
            // As long as the daemon runs, it knows what the journal had.
            Err(error @ JournalError::File(_)) if self.is_journal_read => {
                (self.journal.clone(), Some(error))
            }
            Err(error) => return Err(PassError::of(&error)),
        };
        self.is_journal_read = true;
        journal.drop_stale_pending();
        if lock.is_some() {
            if journal.pending.as_ref().is_some_and(|pending| pending.is_due(now)) {
                let kernel = self.connect(&journal)?;
                match roll_back_due(kernel, state, &mut journal) {
                    Ok(notice) => notice.iter().for_each(|notice| warn!("{notice}")),
                    // Drift of what the apply did not touch is repaired all the same.
                    Err(error) => warn!("{}", error_chain(&error)),
                }
            }
            if journal.pending_elsewhere().is_some() {
                let overdue =
                    state.overdue_elsewhere(now).map_err(|error| PassError::of(&error))?;
                for state in &overdue {
                    let (mut theirs, _) =
                        state.read(false).map_err(|error| PassError::of(&error))?;
                    let kernel = self.connect(&theirs)?;
                    match roll_back_due(kernel, state, &mut theirs) {
                        Ok(notice) => notice.iter().for_each(|notice| warn!("{notice}")),
                        Err(error) => warn!("{}", error_chain(&error)),
                    }
                }
                if !overdue.is_empty() {
                    (journal, _) = state.read(false).map_err(|error| PassError::of(&error))?;
                }
            }
            // What a pending apply of a journal touched is left alone; under another state directory it is not
            // known.
            if journal.pending.is_none() && journal.pending_elsewhere().is_none() {
                journal.check_writable::<K>(now, lock).map_err(|error| PassError::of(&error))?;
            }
            let on_disk = (!journal.notices.is_empty()).then(|| journal.clone());
            for notice in std::mem::take(&mut journal.notices) {
                warn!("{notice}");
            }
            if (on_disk.is_some() || self.unwritten.is_some()) && problem.is_none() {
                match state.write(&journal) {
                    Ok(()) => self.unwritten = None,
                    Err(error) => {
                        self.unwritten = self.unwritten.take().or(on_disk);
                        problem = Some(error);
                    }
                }
            }
        }
        self.journal = journal;
        Ok(problem)
    }

    /// Replaces the journal if it differs.
    ///
    /// # Errors
    /// It cannot be written; the one before is kept.
    pub(super) fn update_journal(
        &mut self,
        state: &StateDir,
        journal: Journal,
    ) -> Result<(), JournalError> {
        if journal != self.journal {
            state.write(&journal)?;
            self.journal = journal;
            self.unwritten = None;
        }
        Ok(())
    }

    /// Returns the objects that pending applies touched, of any owner; none without one.
    pub(super) fn pending_objects(&self) -> BTreeSet<Object> {
        let steps = self.journal.pending.iter().flat_map(|pending| &pending.steps);
        let others = self.journal.record.others.0.iter();
        let others = others.flat_map(|other| other.pending.iter().flatten().cloned());
        steps.map(Op::object).chain(others).collect()
    }

    /// Connects to the kernel, if that is not done, with what a journal records as evenkeel's.
    fn connect(&mut self, journal: &Journal) -> Result<&mut K, PassError> {
        let journalled = Journalled::from(journal);
        Ok(match &mut self.kernel {
            Some(kernel) => {
                kernel.set_journalled(journalled);
                kernel
            }
            empty => {
                let connected =
                    (self.connect)(journalled).map_err(|error| PassError::of(&error))?;
                empty.insert(connected)
            }
        })
    }

    /// Returns the kernel, to which every pass connects before it is used.
    pub(super) fn kernel(&mut self) -> Result<&mut K, PassError> {
        connected(&mut self.kernel)
    }

    /// Updates the facts of the health checks, with the connections of what is down.
    pub(super) fn observe_health(
        &mut self,
        health: &mut Health,
        desired: &Desired,
        live: &Live,
    ) -> Result<(), PassError> {
        let kernel = connected(&mut self.kernel)?;
        let observed = health.observe(kernel, desired, live, &self.journal.record.overlaid);
        observed.map(drop).map_err(|error| PassError::of(&error))
    }

    /// Closes the connection; the next pass connects again.
    pub(super) fn disconnect(&mut self) {
        self.kernel = None;
    }

    /// Reads the kernel for these specs. For a large table a probe is taken first: then the next probe
    /// detects a change between the two.
    pub(super) fn observe<'a>(
        &mut self,
        desired: impl Iterator<Item = &'a Desired> + Clone,
    ) -> Result<Observation, PassError> {
        let journal = std::mem::take(&mut self.journal);
        let result = self.connect(&journal).map(drop);
        self.journal = journal;
        result?;
        let kernel = connected(&mut self.kernel)?;
        let is_large = desired.clone().any(|desired| desired.services.len() > SMALL);
        let journalled = ReadRequest::for_journal(&self.journal);
        let mut request = desired.fold(journalled, |request, desired| request.with_spec(desired));
        request.extend(CONNECTION_SYSCTLS.map(Into::into));
        let read = || -> Result<(Live, Option<TableDigest>), KernelError> {
            let table_digest = if is_large { Some(kernel.probe()?) } else { None };
            Ok((kernel.observe(&request)?, table_digest))
        };
        let (live, table_digest) = { read }().map_err(|error| PassError::of(&error))?;
        Ok(Observation { live, table_digest, request })
    }

    /// Plans for a live state that was read before, and with what stays for services that leave.
    pub(super) fn plan(
        &mut self,
        spec: &Desired,
        live: &Live,
        leaving: &Leaving,
        overlays: &Overlays,
        known: impl FnOnce(&[Op]) -> LastApplied,
    ) -> Result<(Plan, LastApplied), PassError> {
        let kernel = connected(&mut self.kernel)?;
        let record = &self.journal.record;
        let known = |ops: &[Op]| {
            let mut known = known(ops);
            known.last.iter_mut().for_each(|last| record.real_server.add_leaving_to(last));
            known
        };
        let wanted = Wanted::new(spec, leaving, live, record).under(overlays);
        let planned = plan_changes(kernel, wanted, known);
        let (mut plan, known) = planned.map_err(|error| PassError::of(&error))?;
        plan.staying.clone_from(&leaving.staying);
        Ok((plan, known))
    }

    /// Returns the time until this real server has left the first service; `None` if it leaves none.
    pub(super) fn next_left(&self, now: &ClockReading) -> Option<Duration> {
        self.journal.record.real_server.next_end(now)
    }

    /// Applies steps, each retried later if it fails, and records them in the journal; in memory alone if it
    /// cannot be written.
    pub(super) fn execute(
        &mut self,
        state: &StateDir,
        pass: Pass<'_>,
    ) -> Result<Report, PassError> {
        let options = ApplyOptions {
            on_failure: OnFailure::Keep,
            wait: false,
            recording: Recording::WherePossible,
        };
        let kernel = connected(&mut self.kernel)?;
        let before = self.journal.clone();
        let journal = &mut self.journal;
        let report = execute_journalled(kernel, pass, options, &mut NoopContext, state, journal)
            .map_err(|error| PassError::of(&error))?;
        let is_unwritten = |warning: &ExecutionWarning| {
            matches!(warning, ExecutionWarning::OutcomeNotRecorded { .. })
        };
        if report.warnings.iter().any(is_unwritten) {
            self.unwritten.get_or_insert(before);
        } else if self.journal != before {
            self.unwritten = None;
        }
        Ok(report)
    }

    /// Announces VIPs on interfaces that came up.
    pub(super) fn reannounce(&mut self, vips: &[&Binding]) {
        match self.kernel.as_mut().map(|kernel| kernel.reannounce(vips)) {
            Some(Ok(failed)) => failed.iter().for_each(|message| warn!("{message}")),
            // The next pass fails with it too, and reports it.
            Some(Err(error)) => debug!("{error}"),
            None => {}
        }
    }

    /// Stores the state in sync that the next probes compare with.
    pub(super) fn set_baseline(&mut self, baseline: SyncBaseline) {
        self.baseline = Some(baseline);
    }

    /// Makes the next pass read the whole kernel.
    pub(super) fn forget_baseline(&mut self) {
        self.baseline = None;
    }

    /// Whether a probe finds the host as it was when it was last in sync. False, without a probe, if
    /// there is no baseline or it is too old.
    pub(super) fn is_unchanged_since_sync(&mut self, now: Duration) -> Result<bool, KernelError> {
        let (Some(kernel), Some(baseline)) = (&mut self.kernel, &self.baseline) else {
            return Ok(false);
        };
        if baseline.until <= now {
            return Ok(false);
        }
        let SyncBaseline { table_digest, live, not_in_proc, request, until: _ } = baseline;
        kernel.is_unchanged(table_digest, live, not_in_proc, request)
    }
}

/// Returns the kernel if it is connected. It takes the field alone, so that the journal can be borrowed
/// beside it.
fn connected<K>(kernel: &mut Option<K>) -> Result<&mut K, PassError> {
    kernel.as_mut().ok_or_else(|| PassError::Other("the kernel is not connected".to_owned()))
}

#[cfg(test)]
mod tests;
