//! Persistence, written as a map or as its timeout alone.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Unexpected, Visitor};

use super::parse_str::InvalidText;
use super::{Duration, PersistenceKeys};
use crate::recovering_de::Field;

/// `{ timeout: 5m, netmask: 24 }`, or `5m`.
#[derive(Debug)]
pub(crate) struct PersistenceText {
    pub(crate) keys: Box<PersistenceKeys>,
    /// Whether it was written as the timeout alone, so that a problem of the timeout has no key of
    /// its own.
    pub(crate) short: bool,
}

struct TimeoutOrMap;

fn timeout_alone(timeout: Duration) -> PersistenceText {
    let keys = PersistenceKeys { timeout: Field::Value(timeout), ..PersistenceKeys::default() };
    PersistenceText { keys: Box::new(keys), short: true }
}

impl<'de> Visitor<'de> for TimeoutOrMap {
    type Value = PersistenceText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("persistence, a duration such as 5m or a map such as `{ timeout: 5m }`")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<PersistenceText, E> {
        match u32::try_from(number) {
            Ok(seconds) => Ok(timeout_alone(Duration(seconds))),
            Err(_) => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_str<E: Error>(self, written: &str) -> Result<PersistenceText, E> {
        Duration::parse(written).map(timeout_alone).map_err(InvalidText::into_error)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PersistenceText, A::Error> {
        let keys = PersistenceKeys::read_map(map)?;
        Ok(PersistenceText { keys: Box::new(keys), short: false })
    }
}

impl<'de> Deserialize<'de> for PersistenceText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TimeoutOrMap)
    }
}

impl schemars::JsonSchema for PersistenceText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Persistence".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let timeout = generator.subschema_for::<Duration>();
        let keys = generator.subschema_for::<PersistenceKeys>();
        schemars::json_schema!({ "anyOf": [timeout, keys] })
    }
}
