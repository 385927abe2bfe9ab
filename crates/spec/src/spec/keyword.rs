//! Values that are one of a few keywords.

use std::fmt;

use evenkeel_model::{Checksum, Family, IgnoredField, Protocol, SyncState, TunnelKind};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::parse_str::{InvalidText, schema, text};
use crate::suggest;

/// Declares a type whose values are keywords, each for a value of the model. Keywords after `odd`
/// are accepted, but error messages do not suggest them.
macro_rules! words {
    (
        $(#[$meta:meta])* $name:ident($value:ty), $what:literal,
        [$($word:literal => $value_of:expr,)*] $(, odd [$($odd:literal => $odd_value:expr,)*])?
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) struct $name(pub(crate) $value);

        impl $name {
            const WORDS: &'static [&'static str] = &[$($word),*];
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                const EXPECTED: &str = concat!($what, ", one of" $(, " `", $word, "`")*);
                text(deserializer, EXPECTED, |written| match written {
                    $($word => Ok(Self($value_of)),)*
                    $($($odd => Ok(Self($odd_value)),)*)?
                    other => Err(unknown(other, $what, Self::WORDS)),
                })
            }
        }

        schema!($name, { "enum": [$($word,)* $($($odd),*)?] });
    };
}

fn unknown(written: &str, what: &str, words: &'static [&'static str]) -> InvalidText {
    let remedy = suggest::remedy(written, "it is one of", words.iter().copied());
    InvalidText::new(format!("{} is not {what}", suggest::quote(written)), remedy)
}

/// A forwarding method, without the parameters of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Dr,
    Nat,
    Tun,
    Local,
    Bypass,
}

words! {
    /// `local` and `bypass` are only for objects that are `unchecked`.
    ForwardWord(Method), "a forwarding method", [
        "dr" => Method::Dr,
        "nat" => Method::Nat,
        "tun" => Method::Tun,
    ], odd [
        "local" => Method::Local,
        "bypass" => Method::Bypass,
    ]
}
words! {
    FamilyWord(Family), "a family", [
        "ipv4" => Family::Ipv4,
        "ipv6" => Family::Ipv6,
    ]
}
words! {
    TunnelWord(TunnelKind), "a type of tunnel", [
        "ipip" => TunnelKind::Ipip,
        "gue" => TunnelKind::Gue,
        "gre" => TunnelKind::Gre,
    ]
}
words! {
    ChecksumWord(Checksum), "a checksum", [
        "none" => Checksum::None,
        "full" => Checksum::Full,
        "remote" => Checksum::Remote,
    ]
}
words! {
    SyncStateWord(SyncState), "a state of a sync daemon", [
        "master" => SyncState::Master,
        "backup" => SyncState::Backup,
    ]
}
words! {
    EngineWord(&'static str), "a persistence engine", [
        "sip" => "sip",
    ]
}
words! {
    IgnoreWord(IgnoredField), "a field that can be ignored", [
        "weight" => IgnoredField::Weight,
        "upper_threshold" => IgnoredField::UpperThreshold,
        "lower_threshold" => IgnoredField::LowerThreshold,
        "scheduler" => IgnoredField::Scheduler,
        "persistence" => IgnoredField::Persistence,
    ]
}

/// `tcp`, `udp`, `sctp`; a number only on a service that is `unchecked`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProtocolWord(pub(crate) Protocol);

struct ProtocolVisitor;

impl Visitor<'_> for ProtocolVisitor {
    type Value = ProtocolWord;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a protocol, tcp, udp or sctp")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<ProtocolWord, E> {
        let number = u16::try_from(number);
        number.map(|number| ProtocolWord(number.into())).map_err(|_| {
            InvalidText::new("this is not a protocol", "it is one of: tcp, udp, sctp").into_error()
        })
    }

    fn visit_str<E: Error>(self, written: &str) -> Result<ProtocolWord, E> {
        match written {
            "tcp" => Ok(ProtocolWord(Protocol::Tcp)),
            "udp" => Ok(ProtocolWord(Protocol::Udp)),
            "sctp" => Ok(ProtocolWord(Protocol::Sctp)),
            other => Err(unknown(other, "a protocol", &["tcp", "udp", "sctp"]).into_error()),
        }
    }
}

impl<'de> Deserialize<'de> for ProtocolWord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ProtocolVisitor)
    }
}

schema!(ProtocolWord, {
    "anyOf": [
        { "enum": ["tcp", "udp", "sctp"] },
        { "type": "integer", "minimum": 0, "maximum": u16::MAX },
    ],
});

/// `true` or `false`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flag(pub(crate) bool);

struct FlagVisitor;

impl Visitor<'_> for FlagVisitor {
    type Value = Flag;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`true` or `false`")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Flag, E> {
        Ok(Flag(value))
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FlagVisitor)
    }
}

schema!(Flag, { "type": "boolean" });
