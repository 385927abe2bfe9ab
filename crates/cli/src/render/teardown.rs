//! The document of `teardown`.

use evenkeel_model::Names;
use evenkeel_plan::render::json_service;
use evenkeel_plan::{Counts, StayingService, Stays};
use evenkeel_workflow::{TeardownOutcome, TeardownPlan};
use serde_json::{Map, Value, json};

use super::execution::{execution, not_executed, plan, warnings};
use super::fields;

pub(crate) fn teardown(planned: &TeardownPlan, outcome: &TeardownOutcome) -> Map<String, Value> {
    let TeardownPlan { plan: made, stays, .. } = planned;
    let names = planned.names();
    let (result, report, mut value) = match outcome {
        TeardownOutcome::Executed(report) => {
            ("executed", Some(&**report), execution(report, names))
        }
        TeardownOutcome::NothingToUndo => {
            ("nothing_to_undo", None, not_executed(made, None, names))
        }
        TeardownOutcome::Blocked(blocked) => {
            ("blocked", None, not_executed(made, Some(blocked), names))
        }
        TeardownOutcome::Changed(_) => ("changed", None, not_executed(made, None, names)),
    };
    let counts = match report {
        Some(report) => Counts::of(report.iter().map(|done| done.op)),
        None => made.counts(),
    };
    value.extend(fields([
        ("result", json!(result)),
        ("plan", plan(made, counts, names)),
        ("warnings", warnings(made, report)),
        ("stays", self::stays(stays, names)),
    ]));
    value
}

/// The adopted objects that stay.
fn stays(stays: &Stays, names: Names<'_>) -> Value {
    let Stays { services, sync, changed } = stays;
    let services = services.iter().map(|StayingService { key, real_servers }| {
        json!({ "service": json_service(key, names), "real_servers": real_servers })
    });
    json!({
        "services": services.collect::<Vec<_>>(),
        "sync": sync.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "changed_by_others":
            changed.iter().map(|object| object.named(names).to_string()).collect::<Vec<_>>(),
    })
}
