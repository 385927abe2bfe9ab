//! The document of `apply`.

use evenkeel_model::Names;
use evenkeel_plan::Counts;
use evenkeel_workflow::{
    Applied, ApplyOutcome, DrainEnd, LeavingEnd, LeavingWait, PendingUpdate, PlannedHost,
};
use serde_json::{Map, Value, json};

use super::execution::{execution, not_executed, plan, warnings};
use super::fields;

/// An apply that has ended.
#[derive(Clone, Copy)]
pub(crate) struct ApplyEnd<'a> {
    pub(crate) planned: &'a PlannedHost,
    pub(crate) outcome: &'a ApplyOutcome,
    /// How the wait for the drains of the daemon ended; `None` if there was no such wait.
    pub(crate) drains: Option<DrainEnd>,
    /// The wait for services that this real server leaves; `None` if there was no such wait.
    pub(crate) leaving: Option<&'a LeavingWait>,
}

pub(crate) fn apply(end: ApplyEnd<'_>) -> Map<String, Value> {
    let ApplyEnd { planned, outcome, drains, leaving } = end;
    let names = Names { desired: &planned.desired, last: planned.last.as_ref() };
    let mut confirm = Value::Null;
    let mut is_daemon_enforcing = None;
    let (result, report, mut value) = match outcome {
        ApplyOutcome::Applied(applied) => {
            let Applied { report, is_daemon_enforcing: is_enforcing, pending } = &**applied;
            confirm = confirm_timeout(pending);
            is_daemon_enforcing = Some(*is_enforcing);
            ("executed", Some(report), execution(report, names))
        }
        ApplyOutcome::InSync => ("in_sync", None, not_executed(&planned.plan, None, names)),
        ApplyOutcome::Blocked(blocked) => {
            ("blocked", None, not_executed(&planned.plan, Some(blocked), names))
        }
        ApplyOutcome::Changed(_) => ("changed", None, not_executed(&planned.plan, None, names)),
    };
    let counts = match report {
        Some(report) => Counts::of(report.iter().map(|done| done.op)),
        None => planned.plan.counts(),
    };
    value.extend(fields([
        ("result", json!(result)),
        ("plan", plan(&planned.plan, counts, names)),
        ("warnings", warnings(&planned.plan, report)),
        ("confirm", confirm),
        ("daemon_continues_drains", json!(is_daemon_enforcing)),
        ("followed_drains", json!(drains.map(drain_end))),
        ("followed_leaving", json!(leaving.map(|wait| leaving_end(wait.end)))),
        ("removals", leaving.map_or(json!([]), |wait| removals(wait, names))),
    ]));
    value
}

fn confirm_timeout(pending: &PendingUpdate) -> Value {
    match pending {
        PendingUpdate::NotPending => Value::Null,
        PendingUpdate::Waiting { seconds, deadline } => {
            json!({ "state": "waiting", "seconds": seconds, "until": deadline })
        }
        PendingUpdate::Interrupted => {
            json!({ "state": "interrupted", "seconds": null, "until": null })
        }
        PendingUpdate::NotUpdated(_) => {
            json!({ "state": "not_recorded", "seconds": null, "until": null })
        }
    }
}

fn drain_end(end: DrainEnd) -> &'static str {
    match end {
        DrainEnd::NoDrains => "none",
        DrainEnd::Drained => "drained",
        DrainEnd::Interrupted => "interrupted",
        DrainEnd::DaemonStopped => "daemon_stopped",
    }
}

/// The executions that removed what stayed for services that this real server left.
fn removals(wait: &LeavingWait, names: Names<'_>) -> Value {
    wait.removals.iter().map(|report| Value::Object(execution(report, names))).collect()
}

fn leaving_end(end: LeavingEnd) -> &'static str {
    match end {
        LeavingEnd::NothingStays => "none",
        LeavingEnd::Left => "left",
        LeavingEnd::Interrupted => "interrupted",
        LeavingEnd::OtherSpec => "other_spec",
        LeavingEnd::Failed => "failed",
    }
}
