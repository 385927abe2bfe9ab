//! The scope: the part of the table that a spec governs.

use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Unexpected, Visitor};

use evenkeel_model::ServiceKey;

use super::Network;
use super::keyword::WhenLeftWord;
use super::number::not_a_number;
use super::parse_str::{InvalidText, schema, text};
use crate::recovering_de::{List, keys};
use crate::scalar::whole_number;
use crate::suggest::quote;

/// `all`, or lists.
#[derive(Debug)]
pub(crate) enum ScopeText {
    All,
    Limited(Box<ScopeKeys>),
}

keys! {
    /// A part of the table. If at least one list is given, an absent list means none.
    #[schemars(extend("minProperties" = 1))]
    ScopeKeys, "a scope", {
        /// Networks or addresses: services on them are in scope.
        vips: List<Network>,
        /// Firewall marks, in both families.
        fwmarks: List<MarkRange>,
        /// Single services, which are in scope whatever else is on their VIPs.
        services: List<ServiceText>,
        /// What becomes of what evenkeel manages and a narrower scope no longer covers: `remove` deletes it,
        /// `keep` leaves it to another program. Without this key such a plan is refused.
        left: WhenLeftWord,
    }
}

/// A service as plans show it: `192.0.2.1:80/tcp`, `[2001:db8::1]:53/udp` or `fwmark-7/ipv4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ServiceText(pub(crate) ServiceKey);

/// `7` or `1-99`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MarkRange(pub(crate) RangeInclusive<u32>);

struct AllOrLists;

impl<'de> Visitor<'de> for AllOrLists {
    type Value = ScopeText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scope, `all` or a map with `vips`, `fwmarks` or `services`")
    }

    fn visit_str<E: Error>(self, written: &str) -> Result<ScopeText, E> {
        if written == "all" {
            return Ok(ScopeText::All);
        }
        let message = format!("{} is not a scope", quote(written));
        let remedy = "write `all`, or a map with `vips`, `fwmarks` or `services`";
        Err(InvalidText::new(message, remedy).into_error())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ScopeText, A::Error> {
        ScopeKeys::read_map(map).map(|keys| ScopeText::Limited(Box::new(keys)))
    }
}

/// What a firewall mark or a range of them is, and how it is written.
const MARKS: &str = "a firewall mark, a number from 1 to 4294967295 or a range such as 1-99";

struct MarkOrRange;

impl Visitor<'_> for MarkOrRange {
    type Value = MarkRange;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MARKS)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<MarkRange, E> {
        match u32::try_from(number) {
            Ok(mark @ 1..) => Ok(MarkRange(mark..=mark)),
            _ => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_str<E: Error>(self, written: &str) -> Result<MarkRange, E> {
        if whole_number(written).is_some() {
            let found = Unexpected::Str(written);
            return Err(not_a_number(found, written, MARKS, 1..=u32::MAX.into()));
        }
        let mark = |digits: &str| match digits.bytes().all(|byte| byte.is_ascii_digit()) {
            true => digits.parse::<u32>().ok().filter(|mark| *mark > 0),
            false => None,
        };
        let range = written.split_once('-').and_then(|(first, last)| {
            Some(mark(first)?..=mark(last)?).filter(|range| !range.is_empty())
        });
        range.map(MarkRange).ok_or_else(|| {
            let message = format!("{} is not a range of firewall marks", quote(written));
            InvalidText::new(message, "write a mark such as 7, or a range such as 1-99")
                .into_error()
        })
    }
}

impl<'de> Deserialize<'de> for ScopeText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AllOrLists)
    }
}

impl<'de> Deserialize<'de> for MarkRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MarkOrRange)
    }
}

impl<'de> Deserialize<'de> for ServiceText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "a service, one such as 192.0.2.1:80/tcp";
        text(deserializer, EXPECTED, |written| {
            ServiceKey::parse(written).map(Self).ok_or_else(|| {
                let message = format!("{} is not a service", quote(written));
                let remedy = "write it as plans show it: 192.0.2.1:80/tcp, \
                              [2001:db8::1]:53/udp or fwmark-7/ipv4";
                InvalidText::new(message, remedy)
            })
        })
    }
}

impl schemars::JsonSchema for ScopeText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scope".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let lists = generator.subschema_for::<ScopeKeys>();
        schemars::json_schema!({ "anyOf": [{ "const": "all" }, lists] })
    }
}

schema!(ServiceText, { "type": "string", "pattern": "^.+/[a-z0-9-]+$" });

schema!(MarkRange, {
    "anyOf": [
        { "type": "integer", "minimum": 1, "maximum": u32::MAX },
        { "type": "string", "pattern": "^[0-9]+-[0-9]+$" },
    ],
});
