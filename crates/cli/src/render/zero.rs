//! The document of `zero`.

use evenkeel_engine::{Exception, Replies, explain_zero};
use evenkeel_plan::render::json_service;
use evenkeel_workflow::ZeroSelection;
use serde_json::{Map, Value, json};

use super::fields;

/// What a reset means for monitoring.
pub(crate) const RESTART: &str = "the counters in monitoring restart at 0: rate() and increase() of \
     Prometheus take that into account, but graphs of plain counters drop";

pub(crate) fn zero(selection: &ZeroSelection, replies: &Replies) -> Map<String, Value> {
    let names = selection.names();
    let services = selection.services.iter().enumerate().map(|(place, key)| {
        let (outcome, failure) = match replies.exceptions.get(&place) {
            None => ("reset", Value::Null),
            Some(Exception::Refused(refused)) => (
                "failed",
                json!({
                    "errno": refused.errno.raw_os_error(),
                    "kernel_message": refused.message,
                    "message": explain_zero(refused),
                }),
            ),
            Some(Exception::Lost) => ("unknown", Value::Null),
            Some(Exception::NotSent | Exception::LeftToKernel) => ("skipped", Value::Null),
        };
        json!({ "service": json_service(key, names), "outcome": outcome, "failure": failure })
    });
    let absent = selection.absent.iter().map(|key| json_service(key, names));
    let restart = (!selection.services.is_empty()).then(|| RESTART.to_owned());
    let warnings = restart.into_iter().chain(replies.warnings.iter().map(ToString::to_string));
    fields([
        ("services", services.collect()),
        ("absent", absent.collect()),
        ("warnings", json!(warnings.collect::<Vec<_>>())),
    ])
}
