//! Values that are written as text and parsed by a function of their own.

use std::fmt;

use serde::de::{Deserializer, Error, Unexpected, Visitor};

/// Why a text is not a valid value.
pub(crate) struct InvalidText {
    pub(crate) message: String,
    pub(crate) remedy: String,
}

impl InvalidText {
    pub(crate) fn new(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { message: message.into(), remedy: remedy.into() }
    }

    /// Converts it to serde's error, which is a single text: the remedy is its second line.
    pub(crate) fn into_error<E: Error>(self) -> E {
        let Self { message, remedy } = self;
        E::custom(format_args!("{message}\n{remedy}"))
    }

    /// Splits the text made by [`Self::into_error`].
    pub(crate) fn split(text: &str) -> (&str, Option<&str>) {
        match text.split_once('\n') {
            Some((message, remedy)) => (message, Some(remedy)),
            None => (text, None),
        }
    }
}

/// Reads a scalar as text, whatever type YAML would give it, and passes it to `parse`.
pub(crate) fn text<'de, T, D: Deserializer<'de>>(
    deserializer: D,
    expected: &'static str,
    parse: impl FnOnce(&str) -> Result<T, InvalidText>,
) -> Result<T, D::Error> {
    deserializer.deserialize_str(Text { expected, parse })
}

struct Text<F> {
    expected: &'static str,
    parse: F,
}

impl<T, F: FnOnce(&str) -> Result<T, InvalidText>> Visitor<'_> for Text<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        // serde_yaml returns this null as its text.
        if text == "~" {
            return Err(E::invalid_type(Unexpected::Unit, &self));
        }
        (self.parse)(text).map_err(InvalidText::into_error)
    }
}

/// Implements `JsonSchema` for a value whose schema is written inline where it is used.
macro_rules! schema {
    ($name:ty, $($schema:tt)*) => {
        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($($schema)*)
            }
        }
    };
}
pub(crate) use schema;
