//! Plans, and what became of their steps.

use std::collections::BTreeMap;

use evenkeel_engine::{
    Done, KernelError, Outcome, Refused, Report, Rollback, error_chain, explain,
};
use evenkeel_model::{Names, RealServerKey, ServiceKey};
use evenkeel_plan::render::{
    json_held, json_left_scope, json_refusal, json_service, json_staying, json_step,
};
use evenkeel_plan::{Counts, Object, Op, Plan, WiderScope};
use evenkeel_workflow::Blocked;
use serde_json::{Map, Value, json};

use super::fields;

/// What the plan is about, without its steps.
pub(super) fn plan(plan: &Plan, counts: Counts, names: Names<'_>) -> Value {
    let scope = plan.wider_scope.as_ref().map(|WiderScope { before, after, services }| {
        json!({
            "before": before.to_string(),
            "after": after.to_string(),
            "newly_covered": services,
        })
    });
    let left_scope = (!plan.kept.is_empty()).then(|| json_left_scope(plan, names));
    json!({
        "counts": counts,
        "unchanged": plan.unchanged,
        "out_of_scope": plan.out_of_scope,
        "scope": scope,
        "left_scope": left_scope,
        "held": plan.held.iter().map(|it| json_held(it, names)).collect::<Vec<_>>(),
        "staying": plan.staying.iter().map(|it| json_staying(it, names)).collect::<Vec<_>>(),
    })
}

/// The fields of an execution.
pub(super) fn execution(report: &Report, names: Names<'_>) -> Map<String, Value> {
    let steps: Vec<Value> = report.iter().map(|done| step(done, names)).collect();
    let of_drains = |drains: &BTreeMap<(ServiceKey, RealServerKey), u64>| -> Value {
        let each = drains.iter().map(|((service, key), connections)| {
            let mut value = real_server(service, key, names);
            value.insert("connections".to_owned(), json!(connections));
            Value::Object(value)
        });
        each.collect()
    };
    let added = report.added_by_others.iter();
    let added = added.map(|(service, key)| Value::Object(real_server(service, key, names)));
    let Report { cut, deleted_by_others, mismatches, error, interrupted, rollback, .. } = report;
    fields([
        ("steps", json!(steps)),
        ("counts", counts(report.iter().map(|done| done.outcome))),
        ("cut", of_drains(cut)),
        ("deleted_by_others", of_drains(deleted_by_others)),
        ("added_by_others", added.collect()),
        ("mismatches", mismatches.iter().map(|op| json_step(op, names)).collect()),
        ("kernel_error", kernel_error(error.as_ref())),
        ("interrupted", json!(interrupted)),
        ("rollback", rollback.as_ref().map_or(Value::Null, |it| self::rollback(it, names))),
        ("refusals", json!([])),
        ("unmet_preconditions", json!([])),
    ])
}

/// The same fields of a plan of which nothing was executed.
pub(super) fn not_executed(
    plan: &Plan,
    blocked: Option<&Blocked>,
    names: Names<'_>,
) -> Map<String, Value> {
    let outcome = &Outcome::Skipped;
    let steps = plan.steps.iter().map(|op| step(Done { op, outcome }, names));
    let mut value = execution(&Report::default(), names);
    value.insert("steps".to_owned(), steps.collect());
    value.insert("counts".to_owned(), counts(plan.steps.iter().map(|_| outcome)));
    match blocked {
        Some(Blocked::Guards(refusals)) => {
            value.insert("refusals".to_owned(), refusals.iter().map(json_refusal).collect());
        }
        Some(Blocked::Preconditions(unmet)) => {
            let unmet = unmet.iter().map(|it| json!(it.to_string()));
            value.insert("unmet_preconditions".to_owned(), unmet.collect());
        }
        None => {}
    }
    value
}

/// A rollback, and what it did not restore.
pub(super) fn rollback(rollback: &Rollback, names: Names<'_>) -> Value {
    let Rollback { remaining, refused, foreign, traces, broken, error } = rollback;
    let values = |object: &Object| traces.get(object).map(ToString::to_string);
    let remaining = remaining.iter().map(|op| {
        let mut value = json_step(op, names);
        value.insert("values".to_owned(), json!(values(&op.object())));
        Value::Object(value)
    });
    let refused = refused.iter().map(|(op, refused)| {
        let mut value = json_step(op, names);
        value.insert("failure".to_owned(), failure(op, refused));
        Value::Object(value)
    });
    let foreign = foreign.iter().map(
        |object| json!({ "object": object.named(names).to_string(), "values": values(object) }),
    );
    json!({
        "complete": rollback.is_clean(),
        "connections_broken": broken,
        "remaining": remaining.collect::<Vec<_>>(),
        "refused": refused.collect::<Vec<_>>(),
        "changed_by_others": foreign.collect::<Vec<_>>(),
        "kernel_error": kernel_error(error.as_ref()),
    })
}

fn step(done: Done<'_>, names: Names<'_>) -> Value {
    let Done { op, outcome } = done;
    let mut value = json_step(op, names);
    value.insert("outcome".to_owned(), json!(outcome_key(outcome)));
    if let Outcome::Failed(refused) = outcome {
        value.insert("failure".to_owned(), failure(op, refused));
    }
    Value::Object(value)
}

fn failure(op: &Op, refused: &Refused) -> Value {
    json!({
        "errno": refused.errno.raw_os_error(),
        "kernel_message": refused.message,
        "message": explain(op, refused),
    })
}

fn kernel_error(error: Option<&KernelError>) -> Value {
    json!(error.map(|error| error_chain(error)))
}

fn real_server(service: &ServiceKey, key: &RealServerKey, names: Names<'_>) -> Map<String, Value> {
    let RealServerKey { address, port } = key;
    fields([
        ("service", json_service(service, names)),
        ("real_server", json!({ "address": address, "port": port })),
    ])
}

/// How many steps have each outcome.
fn counts<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> Value {
    const KEYS: [&str; 8] = [
        "applied",
        "already_in_place",
        "left_to_kernel",
        "failed",
        "skipped",
        "draining",
        "undone",
        "unknown",
    ];
    let mut counts: BTreeMap<&str, usize> = KEYS.map(|key| (key, 0)).into();
    for outcome in outcomes {
        *counts.entry(outcome_key(outcome)).or_default() += 1;
    }
    json!(counts)
}

fn outcome_key(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Applied => "applied",
        Outcome::AlreadyInPlace => "already_in_place",
        Outcome::LeftToKernel => "left_to_kernel",
        Outcome::Failed(_) => "failed",
        Outcome::Skipped => "skipped",
        Outcome::Draining => "draining",
        Outcome::Undone => "undone",
        Outcome::Unknown => "unknown",
    }
}

/// The warnings of a plan and of its execution.
pub(super) fn warnings(plan: &Plan, report: Option<&Report>) -> Value {
    let of_plan = plan.warnings.iter().map(ToString::to_string);
    let of_report = report.into_iter().flat_map(|report| &report.warnings);
    json!(of_plan.chain(of_report.map(ToString::to_string)).collect::<Vec<_>>())
}
