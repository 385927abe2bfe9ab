//! Applies a spec to a host.

use std::io;

use evenkeel_engine::{
    ApplyOptions as Execution, Clock, ExecutionWarning, Journal, Kernel, OnFailure,
    ParameterValues, PartialApplies, Pass, Report, StateDir, error_chain, execute_journalled,
};
use evenkeel_model::{Desired, Names};
use evenkeel_plan::{ClockReading, Guard, Op, staleness_diff};
use evenkeel_source::absolute_name;
use evenkeel_spec::Source;

use crate::adoption::{Adoption, SpecRecord};
use crate::check::{Blocked, check_plan};
use crate::confirm::{self, PendingUpdate};
use crate::daemon::{DaemonUse, check_no_conflict, is_daemon_enforcing};
use crate::error::WorkflowError;
use crate::event::{EventSink, Progress};
use crate::host::{Access, Host, Session};
use crate::last_applied::NewSpec;
use crate::planning::PlannedHost;
use crate::saved_plan::SavedPlan;

/// What is to be applied. Everything that it needs of files was read before.
#[derive(Debug, Clone)]
pub struct ApplyRequest<'a> {
    /// What the spec asks for.
    pub desired: Desired,
    /// The texts of the spec.
    pub texts: Vec<Source>,
    /// The values of the parameters in them.
    pub parameters: ParameterValues,
    /// The services that the apply is limited to; empty for all.
    pub selectors: Vec<String>,
    /// The saved plan that the fresh plan must match.
    pub saved: Option<SavedPlan>,
    /// What is checked with a running daemon.
    pub daemon_use: DaemonUse<'a>,
}

/// How it is applied.
pub struct ApplyOptions<'a> {
    /// The guards that are overridden.
    pub allow: &'a [Guard],
    /// The steps that a user has reviewed: if they are no longer the ones to execute, nothing is
    /// changed. `None` executes whatever the plan is now.
    pub reviewed: Option<&'a [Op]>,
    /// What to do if a step fails.
    pub on_failure: OnFailure,
    /// Whether drains are waited for.
    pub wait: bool,
    /// Rolls the apply back unless it is confirmed in time.
    pub confirm: Option<ConfirmOptions<'a>>,
}

/// The confirm timeout of an apply.
pub struct ConfirmOptions<'a> {
    /// The timeout, in seconds from the last step.
    pub seconds: u32,
    /// Starts the process that rolls the apply with this id back, and returns its process id once it
    /// is ready.
    pub start_watchdog: &'a mut dyn FnMut(&str) -> io::Result<u32>,
}

/// An apply that has ended.
pub struct ApplyResult<K> {
    /// The plan, with its inputs. The steps of an executed plan are in the report.
    pub planned: PlannedHost,
    /// How it ended.
    pub outcome: ApplyOutcome,
    /// The kernel, to follow drains.
    pub kernel: K,
}

/// How an apply ended.
#[derive(Debug)]
pub enum ApplyOutcome {
    /// The plan must not be executed; nothing was changed.
    Blocked(Blocked),
    /// The plan is no longer the reviewed one; nothing was changed. Holds the difference.
    Changed(String),
    /// There was nothing to do.
    InSync,
    /// The plan was executed.
    Applied(Box<Applied>),
}

/// An execution.
#[derive(Debug)]
pub struct Applied {
    /// The outcome of each step.
    pub report: Report,
    /// Whether a daemon continues the drains.
    pub is_daemon_enforcing: bool,
    /// What became of the confirm timeout.
    pub pending: PendingUpdate,
}

/// Plans an apply without the lock, for a user to review.
///
/// # Errors
/// [`WorkflowError`]; as [`apply`].
pub fn review_apply<K: Kernel>(
    host: &mut Host<'_, K>,
    request: &ApplyRequest<'_>,
    allow: &[Guard],
    events: &mut dyn EventSink,
) -> Result<(PlannedHost, Option<Blocked>), WorkflowError> {
    let mut session = host.open(Access::Review, events)?;
    let planned = planned(&mut session, request, &Clock::start().now(), events)?;
    let blocked = check_plan(&mut session.kernel, &planned.plan, allow)?;
    Ok((planned, blocked))
}

/// Applies a spec. Holds the lock from the reading of the journal to the last step.
///
/// # Errors
/// [`WorkflowError`]; nothing was changed.
pub fn apply<K: Kernel>(
    host: &mut Host<'_, K>,
    request: &ApplyRequest<'_>,
    options: ApplyOptions<'_>,
    progress: &mut dyn Progress,
    events: &mut dyn EventSink,
) -> Result<ApplyResult<K>, WorkflowError> {
    let mut session = host.open(Access::Write, events)?;
    let mut planned = planned(&mut session, request, &progress.now(), events)?;
    let outcome = match obstacle(&mut session.kernel, &planned, &options)? {
        Some(obstacle) => obstacle,
        None => execute(&mut session, &mut planned, request, options, progress)?,
    };
    Ok(ApplyResult { planned, outcome, kernel: session.kernel })
}

fn planned<K: Kernel>(
    session: &mut Session<K>,
    request: &ApplyRequest<'_>,
    now: &ClockReading,
    events: &mut dyn EventSink,
) -> Result<PlannedHost, WorkflowError> {
    let ApplyRequest { desired, texts, parameters, selectors, saved, daemon_use } = request;
    check_no_conflict(daemon_use, session.state.owner())?;
    let new = NewSpec { texts, parameters };
    let planned = PlannedHost::for_host(session, desired.clone(), new, selectors, now, events)?;
    if let Some(saved) = saved {
        saved.check(&planned.plan.steps, &planned.desired, planned.last.as_ref())?;
    }
    Ok(planned)
}

/// Returns why the plan is not executed.
fn obstacle(
    kernel: &mut dyn Kernel,
    planned: &PlannedHost,
    options: &ApplyOptions<'_>,
) -> Result<Option<ApplyOutcome>, WorkflowError> {
    let PlannedHost { plan, desired, last, .. } = planned;
    if let Some(reviewed) = options.reviewed
        && let Some(difference) = staleness_diff(reviewed, &plan.steps, desired, last.as_ref())
    {
        return Ok(Some(ApplyOutcome::Changed(difference)));
    }
    Ok(check_plan(kernel, plan, options.allow)?.map(ApplyOutcome::Blocked))
}

fn execute<K: Kernel>(
    session: &mut Session<K>,
    planned: &mut PlannedHost,
    request: &ApplyRequest<'_>,
    options: ApplyOptions<'_>,
    progress: &mut dyn Progress,
) -> Result<ApplyOutcome, WorkflowError> {
    let Session { kernel, state, journal, health: _, lock: _ } = session;
    let PlannedHost { plan, desired, overlays, live, last, targeted, real_server } = planned;
    let ApplyOptions { on_failure, wait, confirm, allow: _, reviewed: _ } = options;
    let record = journal.record.clone();
    // A part of a spec does not become the last applied spec.
    let is_complete = request.selectors.is_empty();
    let asked = PartialApplies::new(targeted, desired);
    let before = journal.clone();
    journal.record.real_server.clone_from(real_server);
    if is_complete {
        let named: Vec<(String, &Source)> =
            request.texts.iter().map(|source| (absolute_name(&source.name), source)).collect();
        let texts: Vec<(&str, &[u8])> =
            named.iter().map(|(name, source)| (&**name, &*source.text)).collect();
        let parameters = &request.parameters;
        let last = last.as_ref();
        SpecRecord { texts: &texts, parameters, desired, live, last }.record(state, journal)?;
    } else {
        let attempt = journal.next.take();
        let adoption = Adoption { desired, live, last: last.as_ref(), attempt, services: targeted };
        adoption.record(state, journal);
    }
    if plan.is_in_sync() {
        journal.record.note_foreign_vips(desired, live, &journal.addresses);
        if is_complete {
            journal.record.settle_overlays(desired, overlays, live);
            journal.record.forget_filled(desired, live);
        }
        // A spec without changes still becomes the applied one.
        match is_complete {
            true => journal.set_active_spec(desired),
            false => journal.targeted_is_applied(asked),
        }
        if *journal != before {
            state.write(journal)?;
        }
        return Ok(ApplyOutcome::InSync);
    }
    let steps = std::mem::take(&mut plan.steps);
    let is_confirmed_later = confirm.is_some();
    if let Some(ConfirmOptions { seconds, start_watchdog }) = confirm {
        let begun = (&*steps, &before.record.real_server);
        confirm::begin(seconds, begun, desired, state, journal, start_watchdog)?;
    }
    let is_daemon_enforcing = is_daemon_enforcing(state.owner())?;
    progress.begin(&steps, Names { desired, last: last.as_ref() });
    let pass = Pass {
        desired,
        last: last.as_ref(),
        overlays,
        // A pending apply does not make the spec the applied one yet.
        is_complete: is_complete && !is_confirmed_later,
        record,
        live: std::mem::take(live),
        steps,
    };
    let execution =
        Execution { on_failure, wait: wait && !is_daemon_enforcing, ..Execution::default() };
    let mut report = execute_journalled(kernel, pass, execution, progress, state, journal)?;
    if report.rollback.is_some() {
        restore_role(state, journal, &before, &mut report);
    }
    let pending = confirm::finish(&report, &asked, state, journal);
    if !is_confirmed_later && !asked.is_empty() && report.is_success() {
        journal.targeted_is_applied(asked);
        if let Err(error) = state.write(journal) {
            let error = error_chain(&error);
            report.warnings.push(ExecutionWarning::SelectionNotRecorded { error });
        }
    }
    Ok(ApplyOutcome::Applied(Box::new(Applied { report, is_daemon_enforcing, pending })))
}

/// Records that a rollback has restored the services of this real server: nothing leaves.
fn restore_role(state: &StateDir, journal: &mut Journal, before: &Journal, report: &mut Report) {
    journal.record.real_server.clone_from(&before.record.real_server);
    if let Err(error) = state.write(journal) {
        let error = error_chain(&error);
        report.warnings.push(ExecutionWarning::OutcomeNotRecorded { error });
    }
}
