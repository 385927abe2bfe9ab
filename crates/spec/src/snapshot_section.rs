//! Reads the `observed:` section at the end of a snapshot. A spec ignores its content; it is used
//! only where a snapshot describes a live state, for what the host had beside the services.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use evenkeel_model::statistics::{
    Rates, RealServerStatistics, ServiceStatistics, Statistics, Traffic,
};
use evenkeel_model::{
    Binding, HostObject, HostValue, Link, Live, LiveHostObject, Owner, RealServerKey, ServiceKey,
};
use serde::de::{
    Deserialize, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// Addresses, interfaces, kernel modules and counters of a host; `None` for what the section lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SnapshotSection {
    pub(crate) addresses: Option<BTreeMap<Binding, Owner>>,
    /// Labels that differ from the interface's name; a part of `addresses` in the text.
    pub(crate) labels: BTreeMap<Binding, Box<str>>,
    pub(crate) host_objects: Option<BTreeMap<HostObject, LiveHostObject>>,
    pub(crate) links: Option<BTreeMap<Box<str>, Link>>,
    pub(crate) modules: Option<BTreeSet<Box<str>>>,
    pub(crate) statistics: Option<Statistics>,
}

impl SnapshotSection {
    pub(crate) fn of(live: &Live) -> Self {
        Self {
            addresses: Some(live.addresses.clone()),
            labels: live.labels.clone(),
            host_objects: Some(live.host_objects.objects.clone()),
            links: live.links.clone(),
            modules: live.modules.clone(),
            statistics: None,
        }
    }
}

impl SnapshotSection {
    /// Adds a further part of the same lists.
    pub(crate) fn extend(&mut self, more: Self) {
        let Self { addresses, labels, host_objects, links, modules, statistics } = more;
        extend(&mut self.addresses, addresses);
        self.labels.extend(labels);
        extend(&mut self.host_objects, host_objects);
        extend(&mut self.links, links);
        extend(&mut self.modules, modules);
        if let Some(Statistics { services }) = statistics {
            self.statistics.get_or_insert_default().services.extend(services);
        }
    }

    /// Whether both have one of the lists.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.addresses.is_some() && other.addresses.is_some()
            || self.host_objects.is_some() && other.host_objects.is_some()
            || self.links.is_some() && other.links.is_some()
            || self.modules.is_some() && other.modules.is_some()
            || self.statistics.is_some() && other.statistics.is_some()
    }
}

fn extend<T: IntoIterator + Extend<T::Item> + Default>(all: &mut Option<T>, more: Option<T>) {
    if let Some(more) = more {
        all.get_or_insert_default().extend(more);
    }
}

impl From<Any> for SnapshotSection {
    fn from(any: Any) -> Self {
        let addresses = any.get("addresses").map(|list| list.items().filter_map(address).collect());
        let labels = any.get("addresses").map(|list| list.items().filter_map(label).collect());
        let links = any.get("interfaces").map(|list| list.items().filter_map(link).collect());
        let modules = any
            .get("modules")
            .map(|list| list.items().filter_map(Any::text).map(Into::into).collect());
        let services = any.get("counters").map(|list| list.items().filter_map(service).collect());
        let statistics = services.map(|services| Statistics { services });
        let labels = labels.unwrap_or_default();
        let host_objects =
            any.get("host_objects").map(|list| list.items().filter_map(host_object).collect());
        Self { addresses, labels, host_objects, links, modules, statistics }
    }
}

impl<'de> Deserialize<'de> for SnapshotSection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Any::deserialize(deserializer).map(Self::from)
    }
}

/// Some of the keys of the section; anything but a map is an error.
pub(crate) struct SnapshotPart(pub(crate) SnapshotSection);

impl<'de> Deserialize<'de> for SnapshotPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Any::deserialize(deserializer)? {
            any @ Any::Map(_) => Ok(Self(any.into())),
            _ => Err(D::Error::custom("no keys")),
        }
    }
}

fn address(item: &Any) -> Option<(Binding, Owner)> {
    let (address, prefix) = item.get("address")?.text()?.split_once('/')?;
    let interface = item.get("interface")?.text()?.into();
    let owner = owner(item.get("owner")?)?;
    let binding =
        Binding { address: address.parse().ok()?, interface, prefix: prefix.parse().ok()? };
    Some((binding, owner))
}

fn label(item: &Any) -> Option<(Binding, Box<str>)> {
    let (binding, _) = address(item)?;
    Some((binding, item.get("label")?.text()?.into()))
}

/// A host object as [`super::write`] writes it; one of a kind that this version does not know is
/// ignored.
fn host_object(item: &Any) -> Option<(HostObject, LiveHostObject)> {
    let owner = owner(item.get("owner")?)?;
    // Identity and value are written as one; each takes its own keys.
    let item = item.to_json();
    let value: HostValue = serde_json::from_value(only_kind(&item)).ok()?;
    Some((serde_json::from_value(only_kind(&item)).ok()?, LiveHostObject { owner, value }))
}

/// Returns the object without the key that is not its kind.
fn only_kind(item: &serde_json::Value) -> serde_json::Value {
    let entries = item.as_object().into_iter().flatten().filter(|(key, _)| *key != "owner");
    entries.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn link(item: &Any) -> Option<(Box<str>, Link)> {
    let flag = |key| Some(matches!(item.get(key)?, Any::Flag(true)));
    let name = item.get("name")?.text()?.into();
    // A snapshot may lack it.
    let owner = item.get("owner").and_then(owner).unwrap_or(Owner::Other);
    Some((name, Link { up: flag("up")?, dummy: flag("dummy")?, owner }))
}

fn owner(word: &Any) -> Option<Owner> {
    Some(match word.text()? {
        "evenkeel" => Owner::Evenkeel,
        _ => Owner::Other,
    })
}

fn service(item: &Any) -> Option<(ServiceKey, ServiceStatistics)> {
    let key = ServiceKey::parse(item.get("service")?.text()?)?;
    let real_servers = item.get("real_servers")?.items().filter_map(real_server).collect();
    let traffic = item.get("traffic").map_or_else(Traffic::default, traffic);
    Some((key, ServiceStatistics { traffic, real_servers }))
}

/// A real server with its counters: a line of text, or a map where the numbers have names.
fn real_server(item: &Any) -> Option<(RealServerKey, RealServerStatistics)> {
    if let Some(line) = item.text() {
        let (key, rest) = line.split_once(' ').unwrap_or((line, ""));
        let key: SocketAddr = key.parse().ok()?;
        let mut numbers = rest.split_whitespace();
        let mut connections = || numbers.next().and_then(|it| it.parse().ok()).unwrap_or_default();
        let counted = RealServerStatistics {
            active_connections: connections(),
            inactive_connections: connections(),
            persistent_connections: connections(),
            traffic: traffic_of(numbers),
        };
        return Some((RealServerKey { address: key.ip(), port: key.port() }, counted));
    }
    let address = item.get("address")?.text()?.parse().ok()?;
    let key = RealServerKey { address, port: item.get("port")?.text()?.parse().ok()? };
    let counted = RealServerStatistics {
        active_connections: counter(item, "active"),
        inactive_connections: counter(item, "inactive"),
        persistent_connections: counter(item, "persistent"),
        traffic: traffic(item),
    };
    Some((key, counted))
}

fn traffic(item: &Any) -> Traffic {
    if let Some(line) = item.text() {
        return traffic_of(line.split_whitespace());
    }
    Traffic {
        connections: counter(item, "connections"),
        packets_in: counter(item, "packets_in"),
        packets_out: counter(item, "packets_out"),
        bytes_in: counter(item, "bytes_in"),
        bytes_out: counter(item, "bytes_out"),
        rates: Rates::default(),
    }
}

/// The counters in the order in which they are written; 0 for those that are left out.
fn traffic_of<'t>(mut numbers: impl Iterator<Item = &'t str>) -> Traffic {
    let mut next = || numbers.next().and_then(|it| it.parse().ok()).unwrap_or_default();
    Traffic {
        connections: next(),
        packets_in: next(),
        packets_out: next(),
        bytes_in: next(),
        bytes_out: next(),
        rates: Rates::default(),
    }
}

/// A counter; 0 if it is absent.
fn counter<N: FromStr + Default>(item: &Any, key: &str) -> N {
    item.get(key).and_then(Any::text).and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// Any YAML value. What evenkeel never writes here is dropped.
enum Any {
    Text(String),
    /// A whole number, by its digits.
    Number(String),
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

    /// The value as JSON.
    fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Number(digits) => serde_json::from_str(digits).unwrap_or_default(),
            Self::Flag(flag) => (*flag).into(),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Map(entries) => {
                let named = entries.iter().filter_map(|(key, value)| Some((key.text()?, value)));
                named.map(|(key, value)| (key.to_owned(), value.to_json())).collect()
            }
            Self::Nothing => serde_json::Value::Null,
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Number(text) => Some(text),
            _ => None,
        }
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
        Ok(Any::Number(number.to_string()))
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Any, E> {
        Ok(Any::Nothing)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Any, E> {
        Ok(Any::Number(number.to_string()))
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

impl schemars::JsonSchema for SnapshotSection {
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
