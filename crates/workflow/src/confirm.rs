//! Applies that wait for a confirmation: begun and finished with an apply, kept or rolled back later.

mod abort;
mod rollback;
mod timeout;

use std::io;
use std::sync::Arc;

use evenkeel_engine::{
    Clock, Journal, JournalError, Kernel, PartialApplies, Pending, Report, StateDir,
    steps_to_roll_back,
};
use evenkeel_model::Desired;
use evenkeel_plan::{Op, RealServerRecords, forget_removed};

use crate::error::WorkflowError;
use crate::event::EventSink;
use crate::host::{Access, Host, Session};
use crate::last_applied::stored;
use crate::wall_clock::now;

pub use abort::abort;
pub use rollback::{Aborted, roll_back_due};
pub use timeout::{TimeoutEnd, roll_back_at_timeout};

/// What became of the confirm timeout of an apply.
#[derive(Debug)]
pub enum PendingUpdate {
    /// The apply has none, or it failed and is no longer pending.
    NotPending,
    /// It is rolled back unless it is confirmed in time.
    Waiting {
        /// The timeout, from the last step on.
        seconds: u32,
        /// Its end, in seconds since 1970.
        deadline: u64,
    },
    /// It was interrupted, and its watchdog rolls it back.
    Interrupted,
    /// The journal could not be updated after the last step, so its watchdog rolls it back.
    NotUpdated(Arc<JournalError>),
}

/// Starts the watchdog and records it with the pending apply in the journal, before the first
/// change; `real_server` is the host as a real server until now, `desired` what is applied.
///
/// The watchdog rolls the apply back if it is not confirmed, or if this process ends prematurely.
pub(crate) fn begin(
    seconds: u32,
    (steps, real_server): (&[Op], &RealServerRecords),
    desired: &Desired,
    state: &StateDir,
    journal: &mut Journal,
    start_watchdog: &mut dyn FnMut(&str) -> io::Result<u32>,
) -> Result<(), WorkflowError> {
    let pending = Pending::begin(now(), seconds, steps.to_vec());
    let mut pending = pending.map_err(WorkflowError::Watchdog)?;
    pending.real_server = real_server.clone();
    pending.kept = desired.kept.clone();
    pending.removed = desired.removed.clone();
    // If the journal is not written, the watchdog ends as soon as the lock is free.
    pending.watchdog = Some(start_watchdog(&pending.id).map_err(WorkflowError::Watchdog)?);
    journal.pending = Some(pending);
    state.write(journal)?;
    Ok(())
}

/// Starts the timeout after a successful apply. A failed apply is no longer pending.
pub(crate) fn finish(
    report: &Report,
    asked: &PartialApplies,
    state: &StateDir,
    journal: &mut Journal,
) -> PendingUpdate {
    let Some(pending) = &mut journal.pending else { return PendingUpdate::NotPending };
    if report.interrupted {
        return PendingUpdate::Interrupted;
    }
    let update = if report.is_success() {
        pending.steps = steps_to_roll_back(report);
        pending.steps.iter().for_each(|op| forget_removed(&mut pending.removed, op));
        pending.targeted = asked.clone();
        pending.set_done(&Clock::start().now());
        let seconds = pending.timeout_seconds;
        PendingUpdate::Waiting { seconds, deadline: pending.deadline.unwrap_or_default() }
    } else {
        journal.pending = None;
        PendingUpdate::NotPending
    };
    match state.write(journal) {
        Ok(()) => update,
        Err(error) => PendingUpdate::NotUpdated(Arc::new(error)),
    }
}

/// Confirms the pending apply.
///
/// # Errors
/// No apply is pending here, the lock is held, or the journal cannot be read or written.
pub fn keep<K: Kernel>(
    host: &mut Host<'_, K>,
    events: &mut dyn EventSink,
) -> Result<(), WorkflowError> {
    let mut session = host.open(Access::ConfirmPending, events)?;
    check_pending(&session)?;
    let journal = &mut session.journal;
    // The texts of the pending spec, which become the last applied ones only now, say what it asks
    // for; without a pending spec they are those applied before.
    let spec = journal.next.clone().or_else(|| journal.spec.clone());
    let desired = stored(&session.state, &Journal { spec, ..journal.clone() });
    journal.commit_pending(desired.as_ref());
    session.state.write(journal)?;
    wait_for_watchdog(session);
    Ok(())
}

/// Releases the lock, and waits until the watchdog has noticed that its apply is no longer pending, so
/// that the next command finds no marker without an apply.
///
/// A watchdog that has not seen the apply in the journal before it was confirmed cannot tell it from one
/// that is still to be recorded, and takes the lock to find out. So a caller that waited while it held
/// the lock would wait in vain.
fn wait_for_watchdog<K: Kernel>(session: Session<K>) {
    let is_pending = session.journal.pending.is_some();
    drop(session);
    // After an incomplete rollback, the watchdog tries it again at the deadline.
    if is_pending {
        return;
    }
    // One that does not end is reported by the next command that changes something.
    let _ended = K::check_none_pending(None);
}

/// Checks that an apply is pending in this journal.
fn check_pending<K: Kernel>(session: &Session<K>) -> Result<(), WorkflowError> {
    if session.journal.pending.is_none() {
        // An apply may be pending in another journal.
        session.journal.check_writable::<K>(now(), session.lock.as_ref())?;
        return Err(WorkflowError::NothingPending);
    }
    Ok(())
}
