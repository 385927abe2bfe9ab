//! The netmask of persistence, before the family is known.

use std::fmt;
use std::net::Ipv4Addr;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

use super::number::not_a_number;
use super::parse_str::{InvalidText, schema};
use crate::scalar::whole_number;
use crate::suggest::quote;

/// `24` or `255.255.255.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NetmaskText {
    /// A prefix length, at most 128.
    Prefix(u8),
    /// A mask of IPv4 addresses.
    Mask(Ipv4Addr),
}

impl fmt::Display for NetmaskText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(length) => write!(f, "{length}"),
            Self::Mask(mask) => write!(f, "{mask}"),
        }
    }
}

/// What a netmask is, and how it is written.
const NETMASK: &str = "a netmask, a prefix length such as 24 or an IPv4 mask such as 255.255.255.0";

struct PrefixOrMask;

impl Visitor<'_> for PrefixOrMask {
    type Value = NetmaskText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NETMASK)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<NetmaskText, E> {
        match u8::try_from(number) {
            Ok(length @ 0..=128) => Ok(NetmaskText::Prefix(length)),
            _ => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_str<E: Error>(self, written: &str) -> Result<NetmaskText, E> {
        if whole_number(written).is_some() {
            return Err(not_a_number(Unexpected::Str(written), written, NETMASK, 0..=128));
        }
        written.parse().map(NetmaskText::Mask).map_err(|_| {
            let remedy = "write a prefix length such as 24, or an IPv4 mask such as 255.255.255.0";
            InvalidText::new(format!("{} is not a netmask", quote(written)), remedy).into_error()
        })
    }
}

impl<'de> Deserialize<'de> for NetmaskText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PrefixOrMask)
    }
}

schema!(NetmaskText, {
    "anyOf": [
        { "type": "integer", "minimum": 0, "maximum": 128 },
        { "type": "string", "format": "ipv4", "pattern": "^[0-9.]+$" },
    ],
});
