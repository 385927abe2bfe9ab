//! MAC addresses.

use evenkeel_model::MacAddress;
use serde::de::{Deserialize, Deserializer};

use super::parse_str::{InvalidText, schema, text};
use crate::suggest::quote;

/// The MAC address of a single device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mac(pub(crate) MacAddress);

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, "a MAC address, one such as 02:00:00:00:00:01", |written| match written
            .parse()
        {
            Ok(mac) if MacAddress::is_unicast(mac) => Ok(Self(mac)),
            Ok(mac) => Err(InvalidText::new(
                format!("{mac} is not the MAC address of a device"),
                "write a unicast address: the first byte is even, and not all bytes are zero",
            )),
            Err(_) => Err(InvalidText::new(
                format!("{} is not a MAC address", quote(written)),
                "write six bytes of two hexadecimal digits, such as 02:00:00:00:00:01",
            )),
        })
    }
}

schema!(Mac, { "type": "string", "pattern": "^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$" });
