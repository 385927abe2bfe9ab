//! Generates the JSON Schema of the spec from the types that read it.

use serde_json::{Map, Value, json};

use crate::spec::Spec;

/// The JSON Schema (draft 2020-12) of version 1, for editors and other tools. It describes the keys
/// and the form of each value; the rules between values are checked by [`crate::load`]. Any value
/// that is not a list or a map may also be a text with a parameter in it.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(Spec).to_value();
    admit_parameters(&mut schema);
    if let Some(definitions) = schema.get_mut("$defs").and_then(Value::as_object_mut) {
        definitions.values_mut().for_each(admit_parameters);
        let description = "A text with `${NAME}`, `${env:NAME}` or `${host:INTERFACE}` in it.";
        let parameter =
            json!({ "description": description, "type": "string", "pattern": "\\$\\{" });
        definitions.insert("Parameter".to_owned(), parameter);
    }
    schema
}

fn admit_parameters(schema: &mut Value) {
    let Value::Object(keys) = schema else { return };
    if is_scalar(keys) {
        let described = keys.remove("description");
        let scalar = std::mem::take(keys);
        keys.extend(described.map(|text| ("description".to_owned(), text)));
        keys.insert("anyOf".to_owned(), json!([scalar, reference()]));
        return;
    }
    if let Some(Value::Array(alternatives)) = keys.get_mut("anyOf") {
        let has_scalar = alternatives.iter().any(|it| it.as_object().is_some_and(is_scalar));
        let is_other = |it: &&mut Value| !it.as_object().is_some_and(is_scalar);
        alternatives.iter_mut().filter(is_other).for_each(admit_parameters);
        alternatives.extend(has_scalar.then(reference));
    }
    if let Some(Value::Object(properties)) = keys.get_mut("properties") {
        properties.values_mut().for_each(admit_parameters);
    }
    for items in ["items", "additionalProperties"] {
        keys.get_mut(items).into_iter().for_each(admit_parameters);
    }
}

fn is_scalar(keys: &Map<String, Value>) -> bool {
    let of_type = |name: &Value| matches!(name.as_str(), Some("integer" | "string" | "boolean"));
    keys.get("type").is_some_and(of_type) || keys.contains_key("enum") || keys.contains_key("const")
}

fn reference() -> Value {
    json!({ "$ref": "#/$defs/Parameter" })
}

#[cfg(test)]
mod tests;
