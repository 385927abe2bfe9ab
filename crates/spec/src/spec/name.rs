//! Names of services, pools and interfaces.

use evenkeel_model::OwnerName;
use serde::de::{Deserialize, Deserializer};

use super::parse_str::{InvalidText, schema, text};
use crate::suggest::quote;

/// The name of a service or a pool: suitable for `web/192.0.2.1:80/tcp`, for a label of a metric
/// and for an argument of a command.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name(pub(crate) Box<str>);

/// The name of an interface, as the kernel accepts it (`dev_valid_name`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InterfaceName(pub(crate) Box<str>);

/// The label of an address. What it has to begin with is its interface's name, so that
/// [`crate::resolve`] judges it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LabelText(pub(crate) Box<str>);

impl<'de> Deserialize<'de> for LabelText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, "a label, one such as eth0:1", |written| Ok(Self(written.into())))
    }
}

/// The name of an owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnerText(pub(crate) OwnerName);

impl<'de> Deserialize<'de> for OwnerText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, "the name of an owner, one such as web", |written| {
            let name = written.parse().map(Self);
            name.map_err(|_| {
                let message = format!("{} cannot be the name of an owner", quote(written));
                InvalidText::new(message, OwnerName::RULE)
            })
        })
    }
}

impl Name {
    const LONGEST: usize = 64;

    pub(crate) fn parse(written: &str) -> Result<Self, InvalidText> {
        if Self::is_valid(written) {
            return Ok(Self(written.into()));
        }
        Err(InvalidText::new(format!("{} cannot be a name", quote(written)), Self::RULE))
    }

    /// How a name is written, for remedies.
    pub(crate) const RULE: &'static str =
        "a name has 1 to 64 letters, digits, `.`, `_` or `-` and begins with a letter or digit";

    fn is_valid(written: &str) -> bool {
        let all = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        written.len() <= Self::LONGEST
            && written.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
            && written.bytes().all(all)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, "a name, one such as web", Self::parse)
    }
}

impl<'de> Deserialize<'de> for InterfaceName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, "the name of an interface, one such as eth0", |written| {
            let all = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':');
            let valid = (1..=15).contains(&written.len())
                && written.bytes().all(all)
                && !matches!(written, "." | "..");
            if valid {
                return Ok(Self(written.into()));
            }
            Err(InvalidText::new(
                format!("{} cannot be the name of an interface", quote(written)),
                "an interface has 1 to 15 visible characters without `/` and `:`, such as eth0",
            ))
        })
    }
}

schema!(Name, { "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" });
schema!(OwnerText, { "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$" });
schema!(LabelText, { "type": "string", "pattern": "^[^\\s:]{1,15}(:\\S+)?$", "maxLength": 15 });
schema!(InterfaceName, { "type": "string", "pattern": "^[!-.0-9;-~]{1,15}$" });
