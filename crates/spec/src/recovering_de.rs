//! Defines values that may be absent or invalid, and maps made of them.
//!
//! A deserialiser that continues after an error needs a substitute for an invalid value; [`Field`]
//! is that substitute. It requests recovery in a way that any deserialiser accepts: as a newtype of
//! a reserved name. An ordinary deserialiser (serde_yaml) passes the value through and stops at the
//! first error; the tolerant one of [`crate::spanned`] reports the error and returns a list, which
//! is empty if the value was invalid.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// The name by which a [`Field`] requests recovery from an invalid value.
pub(crate) const RECOVER: &str = "evenkeel::Field";

/// The value of a key or an item of a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Field<T> {
    /// Nothing was written.
    #[default]
    Absent,
    /// The written value is not a `T`. It has been reported, so its absence must not be reported
    /// as well.
    Bad,
    /// The written value.
    Value(T),
}

impl<T> Field<T> {
    pub(crate) fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Bad => None,
        }
    }

    pub(crate) fn into_value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Bad => None,
        }
    }

    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    pub(crate) fn is_bad(&self) -> bool {
        matches!(self, Self::Bad)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Recover<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Recover<T> {
            type Value = Field<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                deserializer: D,
            ) -> Result<Self::Value, D::Error> {
                T::deserialize(deserializer).map(Field::Value)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                Ok(seq.next_element()?.map_or(Field::Bad, Field::Value))
            }
        }

        deserializer.deserialize_newtype_struct(RECOVER, Recover(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Field<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A list that must be written explicitly: serde_yaml would accept a key without a value as an
/// empty list, and a forgotten list is an error here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct List<T>(pub(crate) Vec<Field<T>>);

impl<T> List<T> {
    /// The valid items with their index in the text.
    pub(crate) fn values(&self) -> impl Iterator<Item = (usize, &T)> {
        let indexed = self.0.iter().enumerate();
        indexed.filter_map(|(index, item)| Some((index, item.value()?)))
    }

    /// Whether an item was invalid.
    pub(crate) fn has_bad(&self) -> bool {
        self.0.iter().any(Field::is_bad)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
            type Value = List<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                // Large specs are thousands of short lists.
                items.shrink_to_fit();
                Ok(List(items))
            }
        }

        deserializer.deserialize_any(Items(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for List<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Vec::<T>::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Vec::<T>::json_schema(generator)
    }
}

/// Reads a key: its index among the known ones, or its text.
pub(crate) struct KeyOf(pub(crate) &'static [&'static str]);

impl<'de> DeserializeSeed<'de> for KeyOf {
    type Value = Result<usize, String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyOf {
    type Value = Result<usize, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|known| *known == key).ok_or_else(|| key.to_owned()))
    }
}

/// Why a key is not allowed where it occurs; its value is read only to be refused.
pub(crate) enum Refused {
    Unknown(String, &'static [&'static str]),
    Twice(&'static str),
}

impl Refused {
    /// Refuses the next value of `map`; continues if the deserialiser does.
    pub(crate) fn refuse<'de, A: MapAccess<'de>>(self, map: &mut A) -> Result<(), A::Error> {
        map.next_value_seed(Recovering(self))
    }
}

struct Recovering(Refused);

impl<'de> DeserializeSeed<'de> for Recovering {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_newtype_struct(RECOVER, self)
    }
}

impl<'de> Visitor<'de> for Recovering {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.0.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        seq.next_element_seed(self.0).map(|_: Option<()>| ())
    }
}

impl<'de> DeserializeSeed<'de> for Refused {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, _: D) -> Result<(), D::Error> {
        Err(match self {
            Self::Unknown(key, known) => D::Error::unknown_field(&key, known),
            Self::Twice(key) => D::Error::duplicate_field(key),
        })
    }
}

/// Declares a map of the spec: a struct of [`Field`]s, its reader and its schema. `read_map` serves
/// values that may also be written in a shorter form than a map. A function after `refuses` explains texts in the
/// place of the map.
macro_rules! keys {
    ($(#[$meta:meta])* $name:ident, $what:literal, {
        $($(#[$field_meta:meta])* $field:ident $(as $key:literal)?: $type:ty,)*
    } $(, refuses $refuse:path)?) => {
        #[derive(Debug, Default, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        $(#[$meta])*
        pub(crate) struct $name {
            $(
                $(#[$field_meta])*
                #[serde(default $(, rename = $key)?)]
                pub(crate) $field: $crate::recovering_de::Field<$type>,
            )*
        }

        impl $name {
            pub(crate) const KEYS: &'static [&'static str] =
                &[$($crate::recovering_de::key_name!($field $($key)?)),*];

            pub(crate) fn read_map<'de, A: serde::de::MapAccess<'de>>(
                mut map: A,
            ) -> Result<Self, A::Error> {
                use $crate::recovering_de::{KeyOf, Refused};
                let mut read = Self::default();
                let mut misspelt = Vec::new();
                while let Some(key) = map.next_key_seed(KeyOf(Self::KEYS))? {
                    let index = match key {
                        Ok(index) => index,
                        Err(key) => {
                            misspelt.extend($crate::suggest::key(&key, Self::KEYS));
                            Refused::Unknown(key, Self::KEYS).refuse(&mut map)?;
                            continue;
                        }
                    };
                    let known = Self::KEYS[index];
                    $(if known == $crate::recovering_de::key_name!($field $($key)?) {
                        if read.$field.is_absent() {
                            read.$field = map.next_value()?;
                        } else {
                            Refused::Twice(known).refuse(&mut map)?;
                        }
                        continue;
                    })*
                }
                // A key that was misspelt is not missing as well.
                for key in misspelt {
                    $(if key == $crate::recovering_de::key_name!($field $($key)?)
                        && read.$field.is_absent()
                    {
                        read.$field = $crate::recovering_de::Field::Bad;
                    })*
                }
                Ok(read)
            }

            /// The keys that are written, valid or not.
            #[allow(dead_code, reason = "only some maps depend on which keys are written")]
            pub(crate) fn written(&self) -> Vec<&'static str> {
                let mut written = Vec::new();
                $(if !self.$field.is_absent() {
                    written.push($crate::recovering_de::key_name!($field $($key)?));
                })*
                written
            }

            /// Takes over the fields of another part of the same map; `None` if both have one of them.
            #[allow(dead_code, reason = "only the whole spec is read in parts")]
            pub(crate) fn merge(&mut self, part: Self) -> Option<()> {
                $(if !part.$field.is_absent() {
                    if !self.$field.is_absent() {
                        return None;
                    }
                    self.$field = part.$field;
                })*
                Some(())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Keys;

                impl<'de> serde::de::Visitor<'de> for Keys {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($what)
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(
                        self,
                        map: A,
                    ) -> Result<$name, A::Error> {
                        $name::read_map(map)
                    }

                    $(fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        let found = serde::de::Unexpected::Str(text);
                        Err(match $refuse(text) {
                            Some(why) => why.into_error(),
                            None => E::invalid_type(found, &self),
                        })
                    })?
                }

                deserializer.deserialize_any(Keys)
            }
        }
    };
}
pub(crate) use keys;

/// The key of a field: its name, unless it is given.
macro_rules! key_name {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}
pub(crate) use key_name;
