//! The fields of an object as users and programs see them, and which of them an edit changes.

use std::fmt;

use evenkeel_model::{Forward, RealServer, ServiceConfig, SyncDaemon, Timeouts, Tunnel};
use serde::Serialize;

/// One field that an edit changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// The field, as the spec names it.
    pub field: &'static str,
    /// Its value as read.
    pub before: FieldValue,
    /// The value it is set to.
    pub after: FieldValue,
}

impl fmt::Display for FieldChange {
    /// Writes it as plans and logs show it: `weight 1 -> 3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, before, after } = self;
        write!(f, "{field} {before} -> {after}")
    }
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum FieldValue {
    /// A number: a weight, seconds.
    Number(u32),
    /// A word: a scheduler, a netmask.
    Word(String),
    /// A word of a fixed vocabulary.
    Name(&'static str),
    /// On or off.
    Switch(bool),
    /// Several words.
    Words(Vec<&'static str>),
    /// The field is not set.
    None,
}

impl std::fmt::Display for FieldValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Word(word) => f.write_str(word),
            Self::Name(name) => f.write_str(name),
            Self::Switch(on) => f.write_str(if *on { "on" } else { "off" }),
            Self::Words(words) if words.is_empty() => f.write_str("none"),
            Self::Words(words) => f.write_str(&words.join(",")),
            Self::None => f.write_str("none"),
        }
    }
}

/// A field and its value.
pub(crate) type Field = (&'static str, FieldValue);

type Fields<const N: usize> = [Field; N];

/// Returns the fields of a service, in the order of every output.
pub(crate) fn service_fields(config: &ServiceConfig) -> Fields<6> {
    let ServiceConfig { scheduler, scheduler_flags, persistence, engine, one_packet } = config;
    let word = |value: &dyn std::fmt::Display| FieldValue::Word(value.to_string());
    [
        ("scheduler", word(scheduler)),
        ("scheduler_flags", FieldValue::Words(scheduler_flags.names(scheduler).collect())),
        ("persistence", persistence.map_or(FieldValue::None, |it| FieldValue::Number(it.timeout))),
        ("netmask", persistence.map_or(FieldValue::None, |it| word(&it.netmask))),
        ("engine", engine.as_ref().map_or(FieldValue::None, |engine| word(engine))),
        ("one_packet", FieldValue::Switch(*one_packet)),
    ]
}

/// Returns the fields of a real server, in the order of every output.
pub(crate) fn real_server_fields(real_server: &RealServer) -> Fields<5> {
    let RealServer { forward, weight, upper_threshold, lower_threshold } = real_server;
    let tunnel = match forward {
        Forward::Tun(tunnel) if *tunnel != Tunnel::IPIP => FieldValue::Word(tunnel.to_string()),
        _ => FieldValue::None,
    };
    let method = match forward {
        Forward::Other(_) => FieldValue::Word(forward.to_string()),
        known => FieldValue::Name(known.name()),
    };
    [
        ("forward", method),
        ("tunnel", tunnel),
        ("weight", FieldValue::Number(*weight)),
        ("upper_threshold", FieldValue::Number(*upper_threshold)),
        ("lower_threshold", FieldValue::Number(*lower_threshold)),
    ]
}

/// Returns the timeouts in seconds, in the order of every output.
pub(crate) fn timeout_fields(timeouts: &Timeouts) -> Fields<3> {
    let Timeouts { tcp, tcp_fin, udp } = *timeouts;
    [
        ("tcp", FieldValue::Number(tcp)),
        ("tcp_fin", FieldValue::Number(tcp_fin)),
        ("udp", FieldValue::Number(udp)),
    ]
}

/// Returns the fields of a sync daemon, in the order of every output.
pub(crate) fn sync_fields(daemon: &SyncDaemon) -> Fields<6> {
    let SyncDaemon { interface, id, max_length, group, port, ttl } = daemon;
    let number = |value: Option<u32>| value.map_or(FieldValue::None, FieldValue::Number);
    [
        ("interface", FieldValue::Word(interface.to_string())),
        ("id", FieldValue::Number(u32::from(*id))),
        ("max_length", number(max_length.map(u32::from))),
        ("group", group.map_or(FieldValue::None, |group| FieldValue::Word(group.to_string()))),
        ("port", number(port.map(u32::from))),
        ("ttl", number(ttl.map(u32::from))),
    ]
}

/// Returns the fields in which two values of one object differ.
pub(crate) fn changes(
    before: impl IntoIterator<Item = Field>,
    after: impl IntoIterator<Item = Field>,
) -> Vec<FieldChange> {
    let pairs = before.into_iter().zip(after);
    pairs
        .filter(|((_, before), (_, after))| before != after)
        .map(|((field, before), (_, after))| FieldChange { field, before, after })
        .collect()
}
