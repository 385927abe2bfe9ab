//! Whole numbers within bounds.

use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{Deserialize, Deserializer, Error, Expected, Unexpected, Visitor};

use super::parse_str::{InvalidText, schema};
use crate::scalar::whole_number;

#[derive(Clone, Copy)]
struct Number {
    expected: &'static str,
    least: u64,
    most: u64,
}

impl Visitor<'_> for Number {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
        if !(self.least..=self.most).contains(&number) {
            return Err(E::invalid_value(Unexpected::Unsigned(number), &self));
        }
        Ok(number)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<u64, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<u64, E> {
        let text = number.to_string();
        Err(not_a_number(Unexpected::Float(number), &text, self.expected, self.least..=self.most))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
        Err(not_a_number(Unexpected::Str(text), text, self.expected, self.least..=self.most))
    }
}

/// The error of a text, or of a number with a fraction, where a whole number is expected. `expected` names the
/// kind of value and, after a comma, how it is written; the remedy is the number that was meant, if it
/// is accepted.
pub(super) fn not_a_number<E: Error>(
    found: Unexpected<'_>,
    text: &str,
    expected: &str,
    accepted: RangeInclusive<u64>,
) -> E {
    match whole_number(text).filter(|number| accepted.contains(number)) {
        Some(number) => E::invalid_type(found, &Instead { expected, number }),
        None => E::invalid_type(found, &expected),
    }
}

/// The number that was meant in place of a text.
struct Instead<'a> {
    expected: &'a str,
    number: u64,
}

impl Expected for Instead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.expected.split_once(", ").map_or(self.expected, |(what, _)| what);
        write!(f, "{what}, {}", self.number)
    }
}

macro_rules! number {
    ($(#[$meta:meta])* $name:ident($repr:ty), $least:literal..=$most:expr, $expected:literal) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) struct $name(pub(crate) $repr);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let (least, most) = ($least, u64::from($most));
                let number = Number { expected: $expected, least, most };
                let value = deserializer.deserialize_any(number)?;
                let narrow = <$repr>::try_from(value).map(Self);
                narrow.map_err(|_| D::Error::invalid_value(Unexpected::Unsigned(value), &number))
            }
        }

        schema!($name, { "type": "integer", "minimum": $least, "maximum": u64::from($most) });
    };
}

number! {
    /// A port; 0 means every port, or the packet's own.
    Port(u16), 0..=u16::MAX, "a port, a number from 0 to 65535"
}
number! {
    /// A weight; 0 is a valid weight.
    Weight(u32), 0..=evenkeel_model::MAX_WEIGHT, "a weight, a number from 0 to 2147483647"
}
number! {
    /// A number of connections; 0 means no limit.
    Threshold(u32), 0..=u32::MAX, "a threshold, a number of connections from 0 (no limit) to 4294967295"
}
number! {
    /// A firewall mark; unmarked packets have 0.
    Fwmark(u32), 1..=u32::MAX, "a firewall mark, a number from 1 to 4294967295"
}
number! {
    /// A number of connections.
    Connections(u32), 0..=u32::MAX, "a number of connections, a number from 0 to 4294967295"
}
number! {
    /// A number of services, or of real servers.
    Objects(u32), 1..=u32::MAX, "a number of services or real servers, a number from 1 to 4294967295"
}

number! {
    /// The id that separates the sync daemons of several clusters.
    SyncId(u8), 0..=u8::MAX, "a sync id, a number from 0 to 255"
}
number! {
    /// The largest message of a sync daemon, in bytes; 0 would mean the kernel's choice.
    MessageLength(u16), 1..=u16::MAX, "a length, a number of bytes from 1 to 65507 (a backup's from 1024)"
}
number! {
    /// The port of a sync daemon; 0 would mean the kernel's choice.
    SyncPort(u16), 1..=u16::MAX, "a port of sync daemons, a number from 1 to 65535"
}
number! {
    /// How many routers a multicast packet may pass; 0 would mean the kernel's choice.
    Ttl(u8), 1..=u8::MAX, "a TTL, a number from 1 to 255"
}
number! {
    /// The port of a check.
    CheckPort(u16), 1..=u16::MAX, "a port of a check, a number from 1 to 65535"
}
number! {
    /// How many results in a row change a verdict.
    Results(u32), 1..=u32::MAX, "a number of results, a number from 1 to 4294967295"
}
number! {
    /// How many changes of a verdict are flapping. With 1, all that comes back would be kept out.
    Changes(u32), 2..=u32::MAX, "a number of changes, a number from 2 to 4294967295"
}
number! {
    /// For how many days a certificate must be valid.
    Days(u16), 0..=u16::MAX, "a number of days, a number from 0 to 65535"
}
number! {
    /// A hysteresis, in the unit of its quorum.
    Hysteresis(u32), 0..=u32::MAX, "a hysteresis, a number of servers or of percent from 0 to 4294967295"
}

/// The version of the spec; 1 is the only one so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version;

struct VersionVisitor;

impl Visitor<'_> for VersionVisitor {
    type Value = Version;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a version, 1")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Version, E> {
        match number {
            1 => Ok(Version),
            other => Err(InvalidText::new(
                format!("version {other} is not known: this evenkeel reads version 1"),
                "write `version: 1`, or use the evenkeel that this spec was written for",
            )
            .into_error()),
        }
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(VersionVisitor)
    }
}

schema!(Version, { "const": 1 });
