//! Durations in whole seconds.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

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
        seconds(written).map(Self).map_err(|problem| match problem {
            InvalidDuration::TooLong => too_long(written),
            InvalidDuration::Malformed => InvalidText::new(
                format!("{} is not a duration", quote(written)),
                "write seconds, or numbers with s, m, h or d: 300, 90s, 5m, 1h30m",
            ),
        })
    }
}

pub(super) fn too_long(written: &str) -> InvalidText {
    let days = u32::MAX / DAY;
    InvalidText::new(
        format!("{} is too long", quote(written)),
        format!("write a shorter time, of at most {days} days"),
    )
}

/// The seconds of a day.
const DAY: u32 = 86_400;

/// Why a text is no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidDuration {
    /// It is written in another way.
    Malformed,
    /// It has more seconds than a `u32` holds, 136 years.
    TooLong,
}

/// A unit and what a number of it amounts to.
type Unit = (&'static str, u64);

/// The seconds of a duration as specs and the command line write it (`90`, `90s`, `5m`, `1h30m`): a number
/// of seconds, or the sum of numbers with units, each unit at most once, the largest first.
///
/// # Errors
/// [`InvalidDuration`].
pub fn seconds(written: &str) -> Result<u32, InvalidDuration> {
    const UNITS: [Unit; 4] = [("d", DAY as u64), ("h", 3_600), ("m", 60), ("s", 1)];
    let sum = if is_number(written) { number(written)? } else { sum_of(written, &UNITS)? };
    u32::try_from(sum).map_err(|_| InvalidDuration::TooLong)
}

/// The milliseconds of a duration that may be written with the unit `ms`, too: `500ms`, `1s500ms`. A number
/// alone is one of seconds.
pub(super) fn milliseconds(written: &str) -> Result<u64, InvalidDuration> {
    const UNITS: [Unit; 5] =
        [("d", DAY as u64 * 1_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
    let sum = match is_number(written) {
        true => number(written)?.checked_mul(1_000).ok_or(InvalidDuration::TooLong)?,
        false => sum_of(written, &UNITS)?,
    };
    if sum / 1_000 > u64::from(u32::MAX) { Err(InvalidDuration::TooLong) } else { Ok(sum) }
}

fn is_number(written: &str) -> bool {
    written.bytes().all(|byte| byte.is_ascii_digit())
}

fn number(digits: &str) -> Result<u64, InvalidDuration> {
    match digits.is_empty() {
        true => Err(InvalidDuration::Malformed),
        false => digits.parse().map_err(|_| InvalidDuration::TooLong),
    }
}

/// The sum of numbers with units, each unit at most once, in the order of `units`.
fn sum_of(written: &str, units: &[Unit]) -> Result<u64, InvalidDuration> {
    use InvalidDuration::{Malformed, TooLong};
    let (mut rest, mut units, mut sum) = (written, units, Some(0u64));
    while !rest.is_empty() {
        let is_digit = |character: char| character.is_ascii_digit();
        let end = rest.find(|character| !is_digit(character)).ok_or(Malformed)?;
        let (digits, behind) = rest.split_at(end);
        let (unit, behind) = behind.split_at(behind.find(is_digit).unwrap_or(behind.len()));
        let position = units.iter().position(|(name, _)| *name == unit).ok_or(Malformed)?;
        // The rest is read even if the sum is too large: it may be malformed.
        let part = match number(digits) {
            Ok(number) => number.checked_mul(units[position].1),
            Err(TooLong) => None,
            Err(Malformed) => return Err(Malformed),
        };
        sum = sum.zip(part).and_then(|(sum, part)| sum.checked_add(part));
        units = &units[position + 1..];
        rest = behind;
    }
    sum.ok_or(TooLong)
}

struct Seconds;

impl Visitor<'_> for Seconds {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Duration::EXPECTED)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Duration, E> {
        let seconds = u32::try_from(number);
        seconds.map(Duration).map_err(|_| too_long(&number.to_string()).into_error())
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

    use InvalidDuration::{Malformed, TooLong};

    #[test]
    fn a_duration_is_a_sum_of_numbers_with_units() {
        for (written, sum) in [
            ("0s", Ok(0)),
            ("90s", Ok(90)),
            ("5m", Ok(300)),
            ("1h30m", Ok(5_400)),
            ("31d", Ok(2_678_400)),
            ("", Err(Malformed)),
            ("5", Ok(5)),
            ("4294967295", Ok(u32::MAX)),
            ("4294967296", Err(TooLong)),
            ("1h30", Err(Malformed)),
            ("m", Err(Malformed)),
            ("5x", Err(Malformed)),
            ("5 m", Err(Malformed)),
            ("30m1h", Err(Malformed)),
            ("5m5m", Err(Malformed)),
            ("-5m", Err(Malformed)),
            ("99999999999s", Err(TooLong)),
            ("4294967295d", Err(TooLong)),
            ("49710d", Ok(4_294_944_000)),
            ("49710d7h", Err(TooLong)),
            ("99999999999d1x", Err(Malformed)),
            ("5µs", Err(Malformed)),
        ] {
            assert_eq!(seconds(written), sum, "{written}");
        }
    }

    #[test]
    fn a_finer_duration_may_have_milliseconds() {
        for (written, sum) in [
            ("500ms", Ok(500)),
            ("0ms", Ok(0)),
            ("1s500ms", Ok(1_500)),
            ("1m1ms", Ok(60_001)),
            ("2", Ok(2_000)),
            ("2s", Ok(2_000)),
            ("5m", Ok(300_000)),
            ("", Err(Malformed)),
            ("500ms1s", Err(Malformed)),
            ("500 ms", Err(Malformed)),
            ("ms", Err(Malformed)),
            ("0.5s", Err(Malformed)),
            ("-1ms", Err(Malformed)),
            ("500mss", Err(Malformed)),
            ("4294967296s", Err(TooLong)),
            ("18446744073709551616", Err(TooLong)),
            ("18446744073709551615", Err(TooLong)),
        ] {
            assert_eq!(milliseconds(written), sum, "{written}");
        }
    }
}
