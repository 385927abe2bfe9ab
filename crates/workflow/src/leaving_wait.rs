//! Waits until this real server has left services, and then removes what stayed for them.
//!
//! The lock is free meanwhile: other writers need not wait, and a daemon restores what is lost. A daemon
//! also removes what stayed; without one, this does.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_engine::{
    ApplyOptions as Execution, Journal, Kernel, OnFailure, Pass, Report, StoredSpec,
    execute_journalled,
};
use evenkeel_plan::{LeavingPart, Object, Op};

use crate::apply::ApplyRequest;
use crate::check::check_permitted;
use crate::daemon::is_daemon_enforcing;
use crate::error::WorkflowError;
use crate::event::{EventSink, Progress};
use crate::host::{Access, Host};
use crate::last_applied::NewSpec;
use crate::planning::PlannedHost;

/// The time between two readings of the journal.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// A wait for services that this real server leaves.
#[derive(Debug)]
pub struct LeavingWait {
    /// How it ended.
    pub end: LeavingEnd,
    /// The removals of what stayed, in their order; a daemon makes them by itself.
    pub removals: Vec<Report>,
}

/// How a wait for services that this real server leaves ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeavingEnd {
    /// There was nothing to wait for.
    NothingStays,
    /// All of it is removed.
    Left,
    /// The user interrupted the wait; the rest stays until a later pass removes it.
    Interrupted,
    /// Another spec was applied meanwhile, and decides what stays.
    OtherSpec,
    /// A removal failed; its report says why.
    Failed,
}

/// Waits until the services have left that no longer list this real server after this apply, and
/// removes what stayed for them if no daemon does.
///
/// # Errors
/// The journal or the kernel cannot be read, the lock is held, a daemon does not answer, or a capability
/// is missing. What stays is then removed by the next apply.
pub fn wait_for_leaving<K: Kernel>(
    host: &mut Host<'_, K>,
    request: &ApplyRequest<'_>,
    progress: &mut dyn Progress,
    events: &mut dyn EventSink,
) -> Result<LeavingWait, WorkflowError> {
    let mut wait = LeavingWait { end: LeavingEnd::NothingStays, removals: Vec::new() };
    loop {
        let (journal, _) = host.state.read(false)?;
        let (services, now) = (&journal.record.real_server, progress.now());
        let staying = services.staying(&request.desired, &now);
        let Some(left) = services.next_end(&now).filter(|_| !staying.is_empty()) else {
            return Ok(wait);
        };
        if !is_in_force(request, &journal) {
            return Ok(LeavingWait { end: LeavingEnd::OtherSpec, ..wait });
        }
        wait.end = LeavingEnd::Left;
        progress.staying(&staying);
        if progress.is_interrupted() {
            return Ok(LeavingWait { end: LeavingEnd::Interrupted, ..wait });
        }
        if !left.is_zero() || is_daemon_enforcing(host.state.owner())? {
            progress.pause(left.clamp(Duration::from_millis(1), POLL_INTERVAL));
            continue;
        }
        let Some(report) = remove(host, request, progress, events)? else { continue };
        let is_success = report.is_success();
        wait.removals.push(report);
        if !is_success {
            return Ok(LeavingWait { end: LeavingEnd::Failed, ..wait });
        }
    }
}

/// Whether the spec of the apply is still the last applied one.
fn is_in_force(request: &ApplyRequest<'_>, journal: &Journal) -> bool {
    let texts: Vec<(&str, &[u8])> =
        request.texts.iter().map(|source| (&*source.name, &*source.text)).collect();
    let own = StoredSpec::new(&texts, &request.parameters);
    let is_own = |spec: &StoredSpec| spec.digest == own.digest && spec.parameters == own.parameters;
    journal.next.is_none() && journal.spec.as_ref().is_some_and(is_own)
}

/// Removes what stayed for services whose time is over, and nothing else. Guards have judged this when
/// the spec was applied. `None` if nothing was to be removed.
fn remove<K: Kernel>(
    host: &mut Host<'_, K>,
    request: &ApplyRequest<'_>,
    progress: &mut dyn Progress,
    events: &mut dyn EventSink,
) -> Result<Option<Report>, WorkflowError> {
    let mut session = host.open(Access::Write, events)?;
    if !is_in_force(request, &session.journal) {
        return Ok(None);
    }
    let new = NewSpec { texts: &request.texts, parameters: &request.parameters };
    let desired = request.desired.clone();
    let planned = PlannedHost::for_host(&mut session, desired, new, &[], &progress.now(), events)?;
    let PlannedHost { plan, desired, overlays, live, last, targeted: _, real_server } = planned;
    let before = session.journal.record.real_server.leaving.iter();
    let over: BTreeSet<Object> = before
        .filter(|(service, _)| !real_server.leaving.contains_key(service))
        .flat_map(|(_, leaving): (_, &LeavingPart)| leaving.objects())
        .collect();
    let steps: Vec<Op> = plan.steps.into_iter().filter(|op| over.contains(&op.object())).collect();
    check_permitted(&mut session.kernel, &steps)?;
    session.journal.record.real_server = real_server;
    if steps.is_empty() {
        session.journal.set_active_spec(&desired);
        session.state.write(&session.journal)?;
        return Ok(None);
    }
    let record = session.journal.record.clone();
    let (overlays, last) = (&overlays, last.as_ref());
    let pass = Pass { desired: &desired, last, overlays, is_complete: true, record, live, steps };
    let execution = Execution { on_failure: OnFailure::Keep, wait: false, ..Execution::default() };
    let (kernel, journal) = (&mut session.kernel, &mut session.journal);
    Ok(Some(execute_journalled(kernel, pass, execution, progress, &session.state, journal)?))
}
