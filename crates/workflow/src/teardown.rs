//! Undoes everything that evenkeel did on a host, and nothing else. Adopted objects, which existed
//! before, stay and get their original values back.

use evenkeel_engine::{
    ApplyOptions as Execution, ExecutionWarning, Journal, JournalError, Kernel, LastApplied,
    OnFailure, Outcome, ParameterValues, PartialApplies, Pass, ReadRequest, Report,
    StoredOverrides, Wanted, error_chain, execute_journalled, plan_changes,
};
use evenkeel_model::{Desired, Live, Names, Overlays};
use evenkeel_plan::{
    Adopted, Guard, Op, Plan, PriorState, Remaining, Stays, TeardownInputs, remaining,
    staleness_diff, teardown,
};
use evenkeel_spec::Source;

use crate::adoption::attempted;
use crate::check::{Blocked, check_plan};
use crate::daemon::{DaemonUse, check_no_conflict};
use crate::error::WorkflowError;
use crate::event::{EventSink, Progress};
use crate::host::{Access, Host, Session};
use crate::last_applied::{NewSpec, compare};

/// How a teardown is made.
#[derive(Debug, Clone, Copy)]
pub struct TeardownOptions<'a> {
    /// Whether adopted objects are deleted too.
    pub adopted: bool,
    /// The guards that are overridden.
    pub allow: &'a [Guard],
    /// The steps that a user has reviewed, as for an apply.
    pub reviewed: Option<&'a [Op]>,
    /// Whether drains are waited for.
    pub wait: bool,
}

/// The plan of a teardown, with what stays.
#[derive(Debug)]
pub struct TeardownPlan {
    /// The plan. The steps of an executed plan are in the report.
    pub plan: Plan,
    /// What stays, because it is adopted or out of scope.
    pub stays: Stays,
    /// What remains of the spec.
    left: Desired,
    /// What the last applied spec asks for.
    last: Option<Desired>,
    /// What the spec of an unfinished attempt asks for.
    attempted: Option<Desired>,
    live: Live,
    record: PriorState,
    is_empty: bool,
}

/// A teardown that has ended.
#[derive(Debug)]
pub struct TeardownResult {
    /// The plan.
    pub planned: TeardownPlan,
    /// How it ended.
    pub outcome: TeardownOutcome,
}

/// How a teardown ended.
#[derive(Debug)]
pub enum TeardownOutcome {
    /// The plan must not be executed; nothing was changed.
    Blocked(Blocked),
    /// The plan is no longer the reviewed one; nothing was changed. Holds the difference.
    Changed(String),
    /// There was nothing to undo.
    NothingToUndo,
    /// The plan was executed.
    Executed(Box<Report>),
}

impl TeardownPlan {
    /// Whether there was nothing to undo when the plan was made.
    pub fn is_nothing_to_undo(&self) -> bool {
        self.is_empty
    }

    /// Returns the names of services.
    pub fn names(&self) -> Names<'_> {
        Names::from(self.last.as_ref().or(self.attempted.as_ref()).unwrap_or(&self.left))
    }
}

/// Plans a teardown without the lock, for a user to review.
///
/// # Errors
/// [`WorkflowError`]; as [`tear_down`].
pub fn review_teardown<K: Kernel>(
    host: &mut Host<'_, K>,
    options: &TeardownOptions<'_>,
    events: &mut dyn EventSink,
) -> Result<(TeardownPlan, Option<Blocked>), WorkflowError> {
    let mut session = host.open(Access::Review, events)?;
    let planned = planned(&mut session, options, events)?;
    let blocked = check_plan(&mut session.kernel, &planned.plan, options.allow)?;
    Ok((planned, blocked))
}

/// Executes a teardown. A failure does not bring back what was removed.
///
/// # Errors
/// [`WorkflowError`]; nothing was changed.
pub fn tear_down<K: Kernel>(
    host: &mut Host<'_, K>,
    options: &TeardownOptions<'_>,
    progress: &mut dyn Progress,
    events: &mut dyn EventSink,
) -> Result<TeardownResult, WorkflowError> {
    let mut session = host.open(Access::Write, events)?;
    let mut planned = planned(&mut session, options, events)?;
    let outcome = match obstacle(&mut session.kernel, &planned, options)? {
        Some(obstacle) => obstacle,
        None => execute(&mut session, &mut planned, options, progress)?,
    };
    Ok(TeardownResult { planned, outcome })
}

fn planned<K: Kernel>(
    session: &mut Session<K>,
    options: &TeardownOptions<'_>,
    events: &mut dyn EventSink,
) -> Result<TeardownPlan, WorkflowError> {
    check_no_conflict(&DaemonUse::Nothing("a teardown"), session.state.owner())?;
    let Session { kernel, state, journal, health: _, lock: _ } = session;
    // A teardown has no new spec.
    let (texts, parameters) = (Vec::<Source>::new(), ParameterValues::new());
    let none = NewSpec { texts: &texts, parameters: &parameters };
    let last = match journal.record.applied {
        true => compare(state, journal, none, &[], events).last,
        // A last spec on record was then applied in an earlier namespace of this name.
        false => journal.targeted.over(None),
    };
    let record = journal.record.clone();
    let live = kernel.observe(&ReadRequest::for_journal(journal))?;
    let attempted = journal.attempted.over(attempted(state, journal));
    let adopted = match options.adopted {
        true => Adopted::default(),
        false => journal.adopted.clone(),
    };
    let Remaining { desired: left, stays } = remaining(TeardownInputs {
        last: last.as_ref(),
        attempted: attempted.as_ref(),
        live: &live,
        drains: &record.drains,
        overlaid: &record.overlaid,
        removed: &record.left,
        adopted: &adopted,
    });
    let known = |_: &[Op]| LastApplied { last: last.clone(), ..LastApplied::default() };
    let (plan, _) = plan_changes(kernel, Wanted::exactly(&left, &live, &record), known)?;
    let plan = teardown(plan, &live, &record, &journal.dummies);
    let is_empty = plan.is_in_sync();
    Ok(TeardownPlan { plan, stays, left, last, attempted, live, record, is_empty })
}

/// Returns why the plan is not executed.
fn obstacle(
    kernel: &mut dyn Kernel,
    planned: &TeardownPlan,
    options: &TeardownOptions<'_>,
) -> Result<Option<TeardownOutcome>, WorkflowError> {
    let TeardownPlan { plan, left, last, .. } = planned;
    if let Some(reviewed) = options.reviewed
        && let Some(difference) = staleness_diff(reviewed, &plan.steps, left, last.as_ref())
    {
        return Ok(Some(TeardownOutcome::Changed(difference)));
    }
    Ok(check_plan(kernel, plan, options.allow)?.map(TeardownOutcome::Blocked))
}

fn execute<K: Kernel>(
    session: &mut Session<K>,
    planned: &mut TeardownPlan,
    options: &TeardownOptions<'_>,
    progress: &mut dyn Progress,
) -> Result<TeardownOutcome, WorkflowError> {
    let Session { kernel, state, journal, health: _, lock: _ } = session;
    if planned.plan.is_in_sync() {
        forget(journal, &planned.live);
        state.write(journal)?;
        StoredOverrides::remove(state).map_err(JournalError::from)?;
        return Ok(TeardownOutcome::NothingToUndo);
    }
    let steps = std::mem::take(&mut planned.plan.steps);
    progress.begin(&steps, planned.names());
    let pass = Pass {
        desired: &planned.left,
        last: planned.last.as_ref(),
        // Overrides are of services that the spec lists.
        overlays: Overlays::none(),
        is_complete: false,
        record: planned.record.clone(),
        live: planned.live.clone(),
        steps,
    };
    let execution =
        Execution { on_failure: OnFailure::Keep, wait: options.wait, ..Execution::default() };
    let mut report = execute_journalled(kernel, pass, execution, progress, state, journal)?;
    if is_complete(&report) {
        forget(journal, &planned.live);
        // Overrides are of real servers of the spec that is gone.
        let removed = StoredOverrides::remove(state).map_err(JournalError::from);
        if let Err(error) = state.write(journal).and(removed) {
            let error = error_chain(&error);
            report.warnings.push(ExecutionWarning::OutcomeNotRecorded { error });
        }
    }
    Ok(TeardownOutcome::Executed(Box::new(report)))
}

/// Whether nothing remains for another teardown.
fn is_complete(report: &Report) -> bool {
    let draining = report.count(Outcome::Draining.as_str());
    report.is_success() && !report.interrupted && draining == 0
}

/// Resets the journal: nothing is applied here any more. Objects that evenkeel created and may not
/// remove now, such as an address out of scope, stay on record as its own.
fn forget(journal: &mut Journal, live: &Live) {
    journal.leave_to_others(&Desired::default());
    // What was handed over keeps its mark in the kernel.
    let PriorState { handed_over, others, .. } = std::mem::take(&mut journal.record);
    journal.record = PriorState { handed_over, others, ..PriorState::default() };
    journal.spec = None;
    journal.targeted = PartialApplies::default();
    journal.next = None;
    journal.attempted = PartialApplies::default();
    journal.adopted = Adopted::default();
    journal.addresses.retain(|binding| live.addresses.contains_key(binding));
    journal.host_objects.retain(|object| !live.host_objects.is_given_up(object));
    let links = live.links.as_ref();
    journal.dummies.retain(|name| links.is_none_or(|links| links.contains_key(name)));
}
