//! The use cases of evenkeel: plan, apply, confirm, teardown, snapshot, saved plans, waiting for drains,
//! resetting counters, examining a host.
//!
//! A use case returns values and emits [`Event`]s; it prints nothing and asks nothing, so a command,
//! a daemon, another front end and a test without a terminal use it alike. A front end that asks
//! before it acts calls the review of a use case first ([`review_apply`], [`review_teardown`],
//! [`review_zero`]), which needs no lock, and passes the reviewed steps to the use case. That one
//! takes the lock of the network namespace, makes the plan again, and acts only if the steps are
//! still the same. The lock is released when it returns: it is never held while someone is asked, an
//! answer is printed, or a spec is read.

mod adoption;
mod apply;
mod check;
mod confirm;
mod daemon;
mod doctor;
mod drain_handover;
mod error;
mod event;
mod health;
mod host;
mod last_applied;
mod leaving_wait;
mod left_scope;
mod overrides;
mod planning;
mod saved_plan;
mod selection;
mod snapshot;
mod teardown;
mod wall_clock;
#[cfg(test)]
mod wording;
mod zero;

pub use adoption::{Adoption, SpecRecord};
pub use apply::{
    Applied, ApplyOptions, ApplyOutcome, ApplyRequest, ApplyResult, ConfirmOptions, apply,
    review_apply,
};
pub use check::{Blocked, check_permitted, check_plan};
pub use confirm::PendingUpdate;
pub use confirm::{Aborted, TimeoutEnd, abort, keep, roll_back_at_timeout, roll_back_due};
pub use daemon::{DaemonUse, check_no_conflict, is_daemon_enforcing};
pub use doctor::{Examination, ExamineRequest, examine};
pub use drain_handover::{DrainEnd, wait_for_drains};
pub use error::WorkflowError;
pub use evenkeel_engine::PlanOrigin;
pub use event::{Event, EventSink, Progress};
pub use health::{
    CheckedServers, FactInputs, HealthClock, HealthMode, HealthProblem, RoundInputs, StoredHealth,
    check_round, health_facts, health_jobs, known_health, read_verdicts, write_verdicts,
};
pub use host::{Access, Host, Session};
pub use last_applied::{ComparedSpec, NewSpec, SpecTexts, compare, compare_texts, stored};
pub use leaving_wait::{LeavingEnd, LeavingWait, wait_for_leaving};
pub use left_scope::find_left;
pub use overrides::{
    OverrideError, StandingOverrides, active_overrides, begin_override, clear_overrides,
    overridable_spec, standing_overrides,
};
pub use planning::PlannedHost;
pub use saved_plan::{PlanFileError, SavedPlan, SavedPlanError};
pub use selection::select_live;
pub use snapshot::{SnapshotOptions, snapshot};
pub use teardown::{
    TeardownOptions, TeardownOutcome, TeardownPlan, TeardownResult, review_teardown, tear_down,
};
pub use wall_clock::now;
pub use zero::{ZeroOptions, ZeroOutcome, ZeroResult, ZeroSelection, review_zero, zero};
