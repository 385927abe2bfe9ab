//! Sysctls: a map whose keys are those of the kernel.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::parse_str::{InvalidText, schema};
use crate::recovering_de::Field;
use crate::suggest::quote;

/// Keys and values in the order in which they are written. Keys are checked when they are merged
/// with those of other sources, where each has a position.
#[derive(Debug)]
pub(crate) struct Sysctls(pub(crate) Vec<(Box<str>, Field<SysctlValue>)>);

/// A value with white space reduced to single blanks. It is compared in this form, because the
/// kernel shows lists with tabs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SysctlValue(pub(crate) Box<str>);

/// The longest value: the kernel reads at most a page at once, its end included.
const LONGEST: usize = 4095;

struct SysctlMap;

impl<'de> Visitor<'de> for SysctlMap {
    type Value = Sysctls;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sysctls, a map such as `{ net.ipv4.ip_forward: 1 }`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sysctls, A::Error> {
        let mut all: Vec<(Box<str>, Field<SysctlValue>)> = Vec::new();
        let (mut seen, mut twice) = (BTreeSet::new(), false);
        while let Some(key) = map.next_key::<Box<str>>()? {
            if key.is_empty() {
                let remedy = "write one such as net.ipv4.ip_forward";
                return Err(InvalidText::new("a sysctl has no key", remedy).into_error());
            }
            if seen.insert(key.clone()) {
                all.push((key, map.next_value()?));
            } else {
                map.next_value::<IgnoredAny>()?;
                twice = true;
            }
        }
        // The position-keeping reading reports this error itself, at both positions.
        if twice { Err(A::Error::duplicate_field("sysctls")) } else { Ok(Sysctls(all)) }
    }
}

struct IntegerOrText;

impl Visitor<'_> for IntegerOrText {
    type Value = SysctlValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value of a sysctl, a whole number or a text")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<SysctlValue, E> {
        Ok(SysctlValue(number.to_string().into()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<SysctlValue, E> {
        Ok(SysctlValue(number.to_string().into()))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<SysctlValue, E> {
        let remedy = format!("write {}", u8::from(value));
        Err(InvalidText::new(format!("`{value}` is not the value of a sysctl"), remedy)
            .into_error())
    }

    fn visit_str<E: Error>(self, written: &str) -> Result<SysctlValue, E> {
        let refused = if written.chars().any(|it| it.is_control() && it != '\t') {
            "it is one line of visible characters"
        } else if written.len() > LONGEST {
            "it has at most 4095 bytes"
        } else {
            let words: Vec<&str> = written.split_whitespace().collect();
            return Ok(SysctlValue(words.join(" ").into()));
        };
        let message = format!("{} cannot be the value of a sysctl", quote(written));
        Err(InvalidText::new(message, refused).into_error())
    }
}

impl<'de> Deserialize<'de> for Sysctls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SysctlMap)
    }
}

impl<'de> Deserialize<'de> for SysctlValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IntegerOrText)
    }
}

schema!(Sysctls, {
    "type": "object",
    "propertyNames": { "pattern": "^net(\\.[A-Za-z0-9_@+/-]*[A-Za-z0-9_][A-Za-z0-9_@+/-]*)+$" },
    "additionalProperties": {
        "anyOf": [
            { "type": "integer" },
            { "type": "string", "maxLength": LONGEST, "pattern": "^[^\\x00-\\x08\\x0a-\\x1f\\x7f]*$" },
        ],
    },
});
