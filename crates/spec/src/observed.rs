//! The `observed:` section that a snapshot ends with. A spec ignores it, whatever it holds; only
//! when a snapshot stands for a live state is it asked what was there beside the services.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use evenkeel_model::{Binding, Link, Live, Owner};
use serde::de::{
    Deserialize, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// Addresses, interfaces and kernel modules of a host; `None` for what the section does not hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) addresses: Option<BTreeMap<Binding, Owner>>,
    pub(crate) links: Option<BTreeMap<Box<str>, Link>>,
    pub(crate) modules: Option<BTreeSet<Box<str>>>,
}

impl Observed {
    pub(crate) fn of(live: &Live) -> Self {
        Self {
            addresses: Some(live.addresses.clone()),
            links: live.links.clone(),
            modules: live.modules.clone(),
        }
    }
}

impl<'de> Deserialize<'de> for Observed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let any = Any::deserialize(deserializer)?;
        let addresses = any.get("addresses").map(|list| list.items().filter_map(address).collect());
        let links = any.get("interfaces").map(|list| list.items().filter_map(link).collect());
        let modules = any
            .get("modules")
            .map(|list| list.items().filter_map(Any::text).map(Into::into).collect());
        Ok(Self { addresses, links, modules })
    }
}

fn address(item: &Any) -> Option<(Binding, Owner)> {
    let (address, prefix) = item.get("address")?.text()?.split_once('/')?;
    let interface = item.get("interface")?.text()?.into();
    let owner = match item.get("owner")?.text()? {
        "evenkeel" => Owner::Evenkeel,
        _ => Owner::Other,
    };
    let binding =
        Binding { address: address.parse().ok()?, interface, prefix: prefix.parse().ok()? };
    Some((binding, owner))
}

fn link(item: &Any) -> Option<(Box<str>, Link)> {
    let flag = |key| Some(matches!(item.get(key)?, Any::Flag(true)));
    let name = item.get("name")?.text()?.into();
    Some((name, Link { up: flag("up")?, dummy: flag("dummy")? }))
}

/// Any value of YAML. What evenkeel never writes there is dropped.
enum Any {
    Text(String),
    Flag(bool),
    List(Vec<Self>),
    Map(Vec<(Self, Self)>),
    Nothing,
}

impl Any {
    fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(entries) = self else { return None };
        let entry = entries.iter().find(|(name, _)| name.text() == Some(key));
        entry.map(|(_, value)| value)
    }

    fn items(&self) -> impl Iterator<Item = &Self> {
        let items: &[Self] = if let Self::List(items) = self { items } else { &[] };
        items.iter()
    }

    fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyVisitor)
    }
}

struct AnyVisitor;

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = Any;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Any, E> {
        Ok(Any::Flag(value))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Any, E> {
        Ok(Any::Text(number.to_string()))
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Any, E> {
        Ok(Any::Nothing)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Any, E> {
        Ok(Any::Text(number.to_string()))
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Any, E> {
        Ok(Any::Nothing)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Any, E> {
        Ok(Any::Nothing)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Any, E> {
        Ok(Any::Text(text.to_owned()))
    }

    fn visit_none<E: Error>(self) -> Result<Any, E> {
        Ok(Any::Nothing)
    }

    fn visit_unit<E: Error>(self) -> Result<Any, E> {
        Ok(Any::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Any, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Any::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Any, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Any::Map(entries))
    }

    /// A value with a tag of its own.
    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Any, A::Error> {
        let (_, value) = data.variant::<Any>()?;
        value.newtype_variant()
    }
}

impl schemars::JsonSchema for Observed {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Observed".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        true.into()
    }
}
