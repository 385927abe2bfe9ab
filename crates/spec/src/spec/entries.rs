//! Maps whose keys the author of the spec chooses.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::parse_str::InvalidText;
use crate::recovering_de::Field;

/// A value of such a map.
pub(crate) trait Entry {
    /// What the map is and, after a comma, how it is written.
    const EXPECTED: &'static str;
    /// What a key is: `a check`.
    const KEY: &'static str;
    /// A pattern of its keys.
    const KEYS: &'static str;
}

/// Keys and values in the order in which they are written. The rules of keys are checked in
/// [`crate::resolve`], where each has a position.
#[derive(Debug)]
pub(crate) struct Entries<T>(pub(crate) Vec<(Box<str>, Field<T>)>);

struct EntryMap<T>(PhantomData<T>);

impl<'de, T: Entry + Deserialize<'de>> Visitor<'de> for EntryMap<T> {
    type Value = Entries<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<T>, A::Error> {
        let mut all: Vec<(Box<str>, Field<T>)> = Vec::new();
        let (mut seen, mut twice) = (BTreeSet::new(), false);
        while let Some(key) = map.next_key::<Box<str>>()? {
            if key.is_empty() {
                let message = format!("{} has an empty name", T::KEY);
                return Err(InvalidText::new(message, "give it a name").into_error());
            }
            if seen.insert(key.clone()) {
                all.push((key, map.next_value()?));
            } else {
                map.next_value::<IgnoredAny>()?;
                twice = true;
            }
        }
        // The position-keeping reading reports this error itself, at both positions.
        if twice { Err(A::Error::duplicate_field("entry")) } else { Ok(Entries(all)) }
    }
}

impl<'de, T: Entry + Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryMap(PhantomData))
    }
}

impl<T: Entry + JsonSchema> JsonSchema for Entries<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("EntriesOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<T>();
        schemars::json_schema!({
            "type": "object",
            "propertyNames": { "pattern": T::KEYS },
            "additionalProperties": value,
        })
    }
}
