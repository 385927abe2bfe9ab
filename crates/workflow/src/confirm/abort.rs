//! Rolls a pending apply back.

use std::time::Duration;

use evenkeel_engine::{Journal, Kernel, Rollback, StateDir, pending_request, roll_back_pending};
use evenkeel_model::{Desired, Names};
use evenkeel_plan::rollback_plan;

use super::{check_pending, wait_for_watchdog};
use crate::check::check_permitted;
use crate::error::WorkflowError;
use crate::event::EventSink;
use crate::host::{Access, Host, Session};
use crate::last_applied::stored;

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

/// Rolls the pending apply back. If the rollback is incomplete, the apply stays pending.
///
/// # Errors
/// No apply is pending here, the lock is held, a capability is missing, the kernel cannot be read, or
/// the journal cannot be updated ([`WorkflowError::Unrecorded`]).
pub fn abort<K: Kernel>(
    host: &mut Host<'_, K>,
    events: &mut dyn EventSink,
) -> Result<Aborted, WorkflowError> {
    let mut session = host.open(Access::ConfirmPending, events)?;
    check_pending(&session.journal)?;
    let aborted = abort_in(&mut session)?;
    wait_for_watchdog(session);
    Ok(aborted)
}

/// Rolls the pending apply of a session back, as [`abort`].
///
/// # Errors
/// As [`abort`].
pub(super) fn abort_in<K: Kernel>(session: &mut Session<K>) -> Result<Aborted, WorkflowError> {
    let Session { kernel, state, journal, lock: _ } = session;
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
