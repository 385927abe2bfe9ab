//! MAC addresses, and whether the one of a director is learned.

use evenkeel_model::{DirectorMac, MacAddress};
use serde::de::{Deserialize, Deserializer};

use super::parse_str::{InvalidText, schema, text};
use crate::suggest::quote;

/// The MAC address of a single device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mac(pub(crate) MacAddress);

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, "a MAC address, one such as 02:00:00:00:00:01", |written| {
            device(written, "write six bytes of two hexadecimal digits, such as 02:00:00:00:00:01")
                .map(Self)
        })
    }
}

/// The `mac` of a director: a MAC address, or `learn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MacOfDirector(pub(crate) DirectorMac);

impl<'de> Deserialize<'de> for MacOfDirector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a MAC address, one such as 02:00:00:00:00:01, or `learn`";
        text(deserializer, expected, |written| match written {
            LEARN => Ok(Self(DirectorMac::Learned)),
            written => device(
                written,
                "write six bytes of two hexadecimal digits, such as 02:00:00:00:00:01, or `learn`",
            )
            .map(|mac| Self(DirectorMac::Given(mac))),
        })
    }
}

/// The word by which gateways learn the MAC address of a director.
const LEARN: &str = "learn";

/// Parses the MAC address of a device; `remedy` is for a text that is none.
fn device(written: &str, remedy: &str) -> Result<MacAddress, InvalidText> {
    match written.parse() {
        Ok(mac) if MacAddress::is_unicast(mac) => Ok(mac),
        Ok(mac) => Err(InvalidText::new(
            format!("{mac} is not the MAC address of a device"),
            "write a unicast address: the first byte is even, and not all bytes are zero",
        )),
        Err(_) => Err(InvalidText::new(format!("{} is not a MAC address", quote(written)), remedy)),
    }
}

schema!(Mac, { "type": "string", "pattern": "^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$" });
schema!(MacOfDirector, {
    "type": "string", "pattern": "^(learn|([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2})$"
});
