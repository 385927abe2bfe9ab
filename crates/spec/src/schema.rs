//! The JSON Schema of the spec, from the types that read it.

use crate::spec::Spec;

/// JSON Schema (draft 2020-12) of version 1, for editors and other tools. It knows the keys and
/// what each value may be; the rules between values are [`crate::load`]'s.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Spec).to_value()
}

#[cfg(test)]
mod tests;
