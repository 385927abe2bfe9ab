//! The document of `confirm`.

use evenkeel_workflow::Aborted;
use serde_json::{Map, Value, json};

use super::execution::rollback;
use super::fields;

/// The apply was confirmed.
pub(crate) fn kept() -> Map<String, Value> {
    fields([("result", json!("confirmed")), ("rollback", Value::Null)])
}

/// The apply was rolled back.
pub(crate) fn aborted(aborted: &Aborted) -> Map<String, Value> {
    let result = match aborted.rollback.is_clean() {
        true => "rolled_back",
        false => "partly_rolled_back",
    };
    let rollback = rollback(&aborted.rollback, aborted.names());
    fields([("result", json!(result)), ("rollback", rollback)])
}
