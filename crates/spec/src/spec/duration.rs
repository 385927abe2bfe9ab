//! Durations in whole seconds.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

use super::parse_str::{InvalidText, schema};
use crate::suggest::quote;

/// `300`, `300s`, `5m`, `2h`, `1d`, `1h30m`: seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Duration(pub(crate) u32);

impl Duration {
    /// The form of a duration, for messages.
    pub(crate) const EXPECTED: &'static str =
        "a duration, seconds or one such as 90s, 5m, 2h or 1d";

    pub(crate) fn parse(written: &str) -> Result<Self, InvalidText> {
        seconds(written).map(Self).ok_or_else(|| {
            InvalidText::new(
                format!("{} is not a duration", quote(written)),
                "write seconds, or numbers with s, m, h or d: 300, 90s, 5m, 1h30m",
            )
        })
    }
}

/// The seconds of a duration as specs and the command line write it (`90`, `90s`, `5m`, `1h30m`): a number
/// of seconds, or the sum of numbers with units, each unit at most once, the largest first; `None` if it
/// is not a duration.
pub fn seconds(written: &str) -> Option<u32> {
    const UNITS: [(char, u32); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];
    if written.bytes().all(|byte| byte.is_ascii_digit()) {
        return written.parse().ok();
    }
    let (mut rest, mut units, mut sum) = (written, UNITS.as_slice(), 0u32);
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit())?;
        let number: u32 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].chars().next()?;
        let position = units.iter().position(|(name, _)| *name == unit)?;
        sum = sum.checked_add(number.checked_mul(units[position].1)?)?;
        units = &units[position + 1..];
        rest = &rest[digits + 1..];
    }
    Some(sum)
}

struct Seconds;

impl Visitor<'_> for Seconds {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Duration::EXPECTED)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Duration, E> {
        let seconds = u32::try_from(number);
        seconds.map(Duration).map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_str<E: Error>(self, written: &str) -> Result<Duration, E> {
        Duration::parse(written).map_err(InvalidText::into_error)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Seconds)
    }
}

schema!(Duration, {
    "anyOf": [
        { "type": "integer", "minimum": 0, "maximum": u32::MAX },
        { "type": "string", "pattern": "^([0-9]+|(?=.)([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?)$" },
    ],
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_sum_of_numbers_with_units() {
        for (written, sum) in [
            ("0s", Some(0)),
            ("90s", Some(90)),
            ("5m", Some(300)),
            ("1h30m", Some(5_400)),
            ("31d", Some(2_678_400)),
            ("", None),
            ("5", Some(5)),
            ("4294967296", None),
            ("1h30", None),
            ("m", None),
            ("5x", None),
            ("5 m", None),
            ("30m1h", None),
            ("5m5m", None),
            ("-5m", None),
            ("99999999999s", None),
            ("4294967295d", None),
            ("5µs", None),
        ] {
            assert_eq!(seconds(written), sum, "{written}");
        }
    }
}
