//! The document of `validate`.

use evenkeel_model::Desired;
use evenkeel_spec::Problems;
use serde_json::{Map, Value, json};

use super::fields;
use super::problem::problem;

/// A valid spec. Its warnings are in the field that all documents have.
pub(crate) fn valid(desired: &Desired, real_servers: usize) -> Map<String, Value> {
    fields([
        ("valid", json!(true)),
        ("problems", json!([])),
        ("problems_left_out", json!(0)),
        ("services", json!(desired.services.len())),
        ("real_servers", json!(real_servers)),
        ("vips", json!(desired.vips.len())),
    ])
}

/// An invalid spec, with all that is wrong with it.
pub(crate) fn invalid(problems: &Problems) -> Map<String, Value> {
    fields([
        ("valid", json!(false)),
        ("problems", problems.iter().map(problem).collect()),
        ("problems_left_out", json!(problems.left_out())),
        ("services", Value::Null),
        ("real_servers", Value::Null),
        ("vips", Value::Null),
    ])
}
