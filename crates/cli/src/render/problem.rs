//! Problems of a spec.

use evenkeel_spec::{Position, Problem};
use serde_json::{Map, Value, json};

use super::fields;

/// A problem with its position: `file`, `line` and `column` are null if no place has it.
pub(crate) fn problem(problem: &Problem) -> Value {
    let Problem { severity, place, context, message, remedy, related } = problem;
    let related = related.iter().map(|related| {
        let mut value = position(Some(&related.place));
        value.insert("label".to_owned(), json!(related.label));
        Value::Object(value)
    });
    let mut value = position(place.as_ref());
    value.extend(fields([
        ("severity", json!(severity.to_string())),
        ("context", json!(context)),
        ("message", json!(message)),
        ("remedy", json!(remedy)),
        ("related", related.collect()),
    ]));
    Value::Object(value)
}

fn position(place: Option<&Position>) -> Map<String, Value> {
    fields([
        ("file", json!(place.map(|place| &*place.name))),
        ("line", json!(place.map(|place| place.line))),
        ("column", json!(place.map(|place| place.column))),
    ])
}
