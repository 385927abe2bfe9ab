//! Whole numbers within bounds.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

use super::parse_str::{InvalidText, schema};

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

/// The version of the spec; 1 is the only one so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version;

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a version, a number";
        match deserializer.deserialize_any(Number { expected, least: 0, most: u64::MAX })? {
            1 => Ok(Self),
            other => Err(InvalidText::new(
                format!("version {other} is not known: this evenkeel reads version 1"),
                "write `version: 1`, or use the evenkeel that this spec was written for",
            )
            .into_error()),
        }
    }
}

schema!(Version, { "const": 1 });
