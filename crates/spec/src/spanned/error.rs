//! The error of a node that cannot be read.

use std::fmt;

use serde::de::{Error, Expected, Unexpected};

use crate::scalar::{is_number, is_zero_padded};
use crate::spec::parse_str::InvalidText;
use crate::suggest::{self, quote};

/// Why a value was refused; the caller knows its position.
#[derive(Debug)]
pub(crate) enum NodeError {
    /// The value itself is wrong.
    Value { message: String, remedy: Option<String> },
    /// A number is not `what`, which is written as `form`; the scalar's reader knows how the number is
    /// written ([`Self::of_number`]).
    Number { what: String, form: String },
    /// A value of this form is missing.
    Empty { form: String },
    /// The key of the value is wrong.
    Key { message: String, remedy: Option<String> },
    /// An error that the tree has reported itself: a repeated key, of which it knows both
    /// positions, or a parameter without a value.
    Reported,
}

impl NodeError {
    /// The error of a number that is written like this.
    pub(super) fn of_number(self, text: &str) -> Self {
        match self {
            Self::Number { what, form } => Self::Value {
                message: format!("`{text}` is not {what}"),
                remedy: Some(format!("write {form}")),
            },
            other => other,
        }
    }
}

impl Error for NodeError {
    fn custom<T: fmt::Display>(text: T) -> Self {
        let text = text.to_string();
        let (message, remedy) = InvalidText::split(&text);
        Self::Value { message: message.to_owned(), remedy: remedy.map(str::to_owned) }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        // `expecting` names the kind of value and, after a comma, how it is written.
        let expected = expected.to_string();
        let (what, form) = expected.split_once(", ").unwrap_or((&expected, &expected));
        let message = match found {
            Unexpected::Unit | Unexpected::Option => return Self::Empty { form: form.to_owned() },
            // YAML reads these as texts, with and without quotes.
            Unexpected::Str(text) if is_zero_padded(text) => {
                format!("`{text}` has a leading zero and is a text, not {what}")
            }
            Unexpected::Str(text) if is_number(text) => {
                let remedy = match form == text {
                    true => "remove the quotes".to_owned(),
                    false => format!("write {form}"),
                };
                let message = format!("`\"{text}\"` in quotes is a text, not {what}");
                return Self::Value { message, remedy: Some(remedy) };
            }
            Unexpected::Str(text) => format!("{} is not {what}", quote(text)),
            Unexpected::Seq => format!("a list is not {what}"),
            Unexpected::Map => format!("a map is not {what}"),
            Unexpected::Bool(value) => format!("`{value}` is not {what}"),
            Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => {
                return Self::Number { what: what.to_owned(), form: form.to_owned() };
            }
            other => format!("{other} is not {what}"),
        };
        Self::Value { message, remedy: Some(format!("write {form}")) }
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        if key == "<<" {
            return Self::Key {
                message: "merge keys are not supported".to_owned(),
                remedy: Some("write the keys out, or use `defaults` and `pools`".to_owned()),
            };
        }
        let remedy = match suggest::key(key, known) {
            None if ["source", "gateway"].contains(&key) => "it belongs to a service".to_owned(),
            None if ["drain", "arp", "health"].contains(&key) => {
                "it belongs to a service, or in `defaults`".to_owned()
            }
            None if key == "check" => {
                "it belongs to a service, a pool or a real server, or in `defaults`".to_owned()
            }
            None if known.is_empty() => "remove it: there are no keys here".to_owned(),
            Some(value_of) => format!("did you mean `{value_of}`?"),
            None => format!("the keys here are {}", known.join(", ")),
        };
        Self::Key { message: format!("unknown key {}", quote(key)), remedy: Some(remedy) }
    }

    fn duplicate_field(_: &'static str) -> Self {
        Self::Reported
    }
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value { message, .. } | Self::Key { message, .. } => f.write_str(message),
            Self::Number { what, .. } => write!(f, "this number is not {what}"),
            Self::Empty { form } => write!(f, "no value, but {form}"),
            Self::Reported => f.write_str("this has been reported"),
        }
    }
}

impl std::error::Error for NodeError {}
