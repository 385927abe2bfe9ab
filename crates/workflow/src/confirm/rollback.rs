//! Rolls a pending apply back, for a caller that holds the lock. Every writer first rolls back one that its
//! watchdog did not.

use std::time::Duration;

use evenkeel_engine::{
    Journal, Kernel, Notice, PendingState, Rollback, StateDir, pending_request, roll_back_pending,
};
use evenkeel_model::{Desired, Names};
use evenkeel_plan::rollback_plan;

use crate::check::check_permitted;
use crate::error::WorkflowError;
use crate::last_applied::stored;
use crate::wall_clock::now;

/// A rollback of a pending apply.
#[derive(Debug)]
pub struct Aborted {
    /// Its result.
    pub rollback: Rollback,
    /// What the apply asked for, for the names of services; empty if that is not known.
    pub desired: Desired,
    /// What the last applied spec asks for.
    pub last: Option<Desired>,
}

impl Aborted {
    /// Returns the names of services.
    pub fn names(&self) -> Names<'_> {
        Names { desired: &self.desired, last: self.last.as_ref() }
    }
}

/// Rolls the pending apply back if it ended prematurely or was not confirmed in time, and returns a notice
/// of it. The caller holds the lock. If the rollback is incomplete, the apply stays pending.
///
/// # Errors
/// A capability is missing, the kernel cannot be read, or the journal cannot be updated
/// ([`WorkflowError::Unrecorded`]).
pub fn roll_back_due(
    kernel: &mut dyn Kernel,
    state: &StateDir,
    journal: &mut Journal,
) -> Result<Option<Notice>, WorkflowError> {
    let now = now();
    let Some(pending) = journal.pending.as_ref().filter(|pending| pending.is_due(now)) else {
        return Ok(None);
    };
    let begun = pending.begun;
    let is_unfinished = matches!(pending.state(now), PendingState::Unfinished);
    let is_complete = abort_in(kernel, state, journal)?.rollback.is_clean();
    Ok(Some(Notice::RolledBack { begun, is_unfinished, is_complete }))
}

/// Rolls the pending apply back, if there is one. If the rollback is incomplete, the apply
/// stays pending.
///
/// # Errors
/// A capability is missing, the kernel cannot be read, or the journal cannot be updated
/// ([`WorkflowError::Unrecorded`]).
pub(super) fn abort_in(
    kernel: &mut dyn Kernel,
    state: &StateDir,
    journal: &mut Journal,
) -> Result<Aborted, WorkflowError> {
    let mut live = kernel.observe(&pending_request(journal))?;
    if let Some(pending) = &journal.pending {
        check_permitted(kernel, &rollback_plan(&pending.steps, &live).steps)?;
    }
    // Read now, because the rollback removes it from the journal.
    let spec = journal.next.clone();
    let asked =
        spec.and_then(|spec| stored(state, &Journal { spec: Some(spec), ..journal.clone() }));
    let before = Journal { pending: None, next: None, ..journal.clone() };
    let last = before.targeted.over(stored(state, &before));
    let rollback = roll_back_pending(kernel, journal, &mut live);
    write_with_retries(state, journal)?;
    Ok(Aborted { rollback, desired: asked.unwrap_or_default(), last })
}

/// Writes the journal with a few retries, for a disk that is full for a moment: the rollback that it
/// records is already done.
fn write_with_retries(state: &StateDir, journal: &Journal) -> Result<(), WorkflowError> {
    const ATTEMPTS: usize = 5;
    for _ in 1..ATTEMPTS {
        if state.write(journal).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    state.write(journal).map_err(WorkflowError::Unrecorded)
}
