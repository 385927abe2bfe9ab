//! Durations in milliseconds, of health checks and what follows from them.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::duration::{InvalidDuration, milliseconds, too_long};
use super::parse_str::{InvalidText, schema};
use crate::suggest::quote;

/// `500ms`, `2s`, `1m30s`, or a number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FineDuration(pub(crate) Duration);

impl FineDuration {
    fn parse(written: &str) -> Result<Self, InvalidText> {
        match milliseconds(written) {
            Ok(milliseconds) => Ok(Self(Duration::from_millis(milliseconds))),
            Err(InvalidDuration::TooLong) => Err(too_long(written)),
            Err(InvalidDuration::Malformed) => Err(InvalidText::new(
                format!("{} is not a duration", quote(written)),
                "write seconds, or numbers with ms, s, m, h or d: 500ms, 2s, 1m30s",
            )),
        }
    }
}

struct SecondsOrText;

impl Visitor<'_> for SecondsOrText {
    type Value = FineDuration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration, seconds or one such as 500ms, 2s or 5m")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<FineDuration, E> {
        FineDuration::parse(&number.to_string()).map_err(InvalidText::into_error)
    }

    fn visit_str<E: Error>(self, written: &str) -> Result<FineDuration, E> {
        FineDuration::parse(written).map_err(InvalidText::into_error)
    }
}

impl<'de> Deserialize<'de> for FineDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecondsOrText)
    }
}

schema!(FineDuration, {
    "anyOf": [
        { "type": "integer", "minimum": 0, "maximum": u32::MAX },
        {
            "type": "string",
            "pattern":
                "^([0-9]+|(?=.)([0-9]+d)?([0-9]+h)?([0-9]+m(?!s))?([0-9]+s)?([0-9]+ms)?)$",
        },
    ],
});
