//! The fields of an object in text and in JSON.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::field::{Field, FieldChange, FieldValue};

/// Writes the fields that change: `: weight 1 -> 2`.
pub(crate) fn arrows(f: &mut fmt::Formatter<'_>, changes: Vec<FieldChange>) -> fmt::Result {
    for (number, change) in changes.into_iter().enumerate() {
        let gap = if number == 0 { ": " } else { ", " };
        write!(f, "{gap}{change}")?;
    }
    Ok(())
}

/// Writes the fields that are set after a colon, and nothing without such a field. A weight of 0 is a
/// value.
pub(crate) fn write_fields(
    f: &mut fmt::Formatter<'_>,
    fields: impl IntoIterator<Item = Field>,
) -> fmt::Result {
    write_list(f, ": ", fields)
}

/// Writes the fields that are set, without the leading colon.
pub(crate) fn list(
    f: &mut fmt::Formatter<'_>,
    fields: impl IntoIterator<Item = Field>,
) -> fmt::Result {
    write_list(f, "", fields)
}

fn write_list(
    f: &mut fmt::Formatter<'_>,
    start: &str,
    fields: impl IntoIterator<Item = Field>,
) -> fmt::Result {
    let says = |(field, value): &Field| match value {
        FieldValue::None | FieldValue::Switch(false) => false,
        FieldValue::Words(words) => !words.is_empty(),
        FieldValue::Number(number) => *field == "weight" || *field == "persistence" || *number > 0,
        FieldValue::Word(_) | FieldValue::Name(_) | FieldValue::Switch(true) => true,
    };
    for (number, (field, value)) in fields.into_iter().filter(says).enumerate() {
        let gap = if number == 0 { start } else { ", " };
        write!(f, "{gap}{field} {value}")?;
    }
    Ok(())
}

/// Adds the values before and after an edit, and the fields that change.
pub(crate) fn write_edit(
    step: &mut Map<String, Value>,
    before: impl IntoIterator<Item = Field>,
    after: impl IntoIterator<Item = Field>,
    changes: Vec<FieldChange>,
) {
    step.insert("before".to_owned(), json_fields(before));
    step.insert("after".to_owned(), json_fields(after));
    step.insert("changes".to_owned(), json!(changes));
}

/// Returns the fields of an object as a JSON object.
pub(crate) fn json_fields(fields: impl IntoIterator<Item = Field>) -> Value {
    fields.into_iter().map(|(field, value)| (field.to_owned(), json!(value))).collect()
}
