//! Rolls a pending apply back because a user asks for it.

use evenkeel_engine::Kernel;

use super::rollback::{Aborted, abort_in};
use super::{check_pending, wait_for_watchdog};
use crate::error::WorkflowError;
use crate::event::EventSink;
use crate::host::{Access, Host, Session};

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
    check_pending(&session)?;
    let Session { kernel, state, journal, health: _, lock: _ } = &mut session;
    let aborted = abort_in(kernel, state, journal)?;
    wait_for_watchdog(session);
    Ok(aborted)
}
