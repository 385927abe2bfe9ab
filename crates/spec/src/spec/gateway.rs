//! The gateway of real servers.

use std::net::IpAddr;

use serde::de::{Deserialize, Deserializer};

use super::parse_str::{InvalidText, schema, text};
use crate::suggest::quote;

/// Where real servers send their answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Gateway {
    /// The only director.
    Director,
    /// The director of that name.
    Named(Box<str>),
    /// An address.
    Address(IpAddr),
}

impl<'de> Deserialize<'de> for Gateway {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, "a gateway: `director`, a director's name, or an address", |written| {
            if written == "director" {
                return Ok(Self::Director);
            }
            if let Ok(address) = written.parse() {
                return Ok(Self::Address(address));
            }
            let all = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            if (1..=64).contains(&written.len()) && written.bytes().all(all) {
                return Ok(Self::Named(written.into()));
            }
            Err(InvalidText::new(
                format!("{} cannot be a gateway", quote(written)),
                "write `director`, the name of a director, or an address",
            ))
        })
    }
}

schema!(Gateway, { "type": "string", "pattern": "^[0-9A-Za-z._:-]{1,64}$" });
