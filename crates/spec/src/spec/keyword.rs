//! Values that are one of a few keywords.

use std::fmt;

use evenkeel_model::{
    BindWhen, Checksum, Family, IgnoredField, Protocol, SyncState, TunnelKind, WhenLeft,
};
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

use super::parse_str::{InvalidText, schema, text};
use crate::suggest;

/// Declares a type whose values are keywords, each for a value of the model. Keywords after `odd`
/// are accepted, but error messages do not suggest them. A function after `meant` returns the remedy for a
/// word of other tools.
macro_rules! words {
    (
        $(#[$meta:meta])* $name:ident($value:ty), $what:literal,
        [$($word:literal => $value_of:expr,)*] $(, odd [$($odd:literal => $odd_value:expr,)*])?
        $(, meant $meant:path)?
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
                    other => {
                        let unknown = unknown(other, $what, Self::WORDS);
                        $(if let Some(remedy) = $meant(other) {
                            return Err(InvalidText { remedy, ..unknown });
                        })?
                        Err(unknown)
                    }
                })
            }
        }

        schema!($name, { "enum": [$($word,)* $($($odd),*)?] });
    };
}

pub(super) use words;

pub(super) fn unknown(written: &str, what: &str, words: &'static [&'static str]) -> InvalidText {
    let remedy = suggest::remedy(written, "it is one of", words.iter().copied());
    InvalidText::new(format!("{} is not {what}", suggest::quote(written)), remedy)
}

/// A forwarding method, without the parameters of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Dr,
    Nat,
    /// NAT that also replaces the client's address.
    FullNat,
    Tun,
    Local,
    Bypass,
}

words! {
    /// `local` and `bypass` are only for objects that are `unchecked`.
    ForwardWord(Method), "a forwarding method", [
        "dr" => Method::Dr,
        "nat" => Method::Nat,
        "fullnat" => Method::FullNat,
        "tun" => Method::Tun,
    ], odd [
        "local" => Method::Local,
        "bypass" => Method::Bypass,
    ], meant meant_method
}
words! {
    /// What becomes of what leaves the scope.
    WhenLeftWord(WhenLeft), "an answer", [
        "keep" => WhenLeft::Keep,
        "remove" => WhenLeft::Remove,
    ]
}

/// Returns the remedy for the word that another tool uses for a forwarding method, and for a type of tunnel.
fn meant_method(written: &str) -> Option<String> {
    let word = written.to_lowercase();
    let method = match word.trim_start_matches('-') {
        "m" | "masq" | "masquerade" | "masquerading" => "nat",
        "g" | "gate" | "gateway" | "gatewaying" | "route" | "droute" | "direct" | "dsr" => "dr",
        "fnat" | "full-nat" | "full_nat" | "full nat" => "fullnat",
        "i" | "tunnel" | "tunneling" | "tunnelling" => "tun",
        "ipip" | "ipip6" | "ip6ip6" | "ip6tnl" | "sit" => {
            return Some("write `forward: tun`".into());
        }
        tunnel => {
            let map = tunnel_map(tunnel)?;
            return Some(format!("write `forward: tun` and `tunnel: {map}`"));
        }
    };
    Some(format!("did you mean `{method}`?"))
}

/// Returns how a type of tunnel is written.
fn tunnel_map(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "ipip" => "{ type: ipip }",
        "gue" => "{ type: gue, port: 6080 }",
        "gre" => "{ type: gre }",
        _ => return None,
    })
}

/// Explains a type of tunnel in the place of a tunnel.
pub(super) fn tunnel_without_map(written: &str) -> Option<InvalidText> {
    let map = tunnel_map(&written.to_lowercase())?;
    let message = format!("{} is not a tunnel, but a type of tunnel", suggest::quote(written));
    Some(InvalidText::new(message, format!("write `tunnel: {map}`")))
}

/// How real servers hide an IPv4 VIP from ARP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ArpMethod {
    #[default]
    Sysctls,
    Arptables,
}

words! {
    ArpWord(ArpMethod), "a way to hide a VIP from ARP", [
        "sysctl" => ArpMethod::Sysctls,
        "arptables" => ArpMethod::Arptables,
    ], meant meant_arp
}

fn meant_arp(written: &str) -> Option<String> {
    let method = match written.to_lowercase().as_str() {
        "sysctls" | "arp_ignore" | "arp_announce" => "sysctl",
        "nft" | "nftables" | "arp_tables" | "arptables-legacy" | "arptables-nft" | "filter" => {
            "arptables"
        }
        _ => return None,
    };
    Some(format!("did you mean `{method}`?"))
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
        "real_servers" => IgnoredField::RealServers,
    ]
}
words! {
    BindWord(BindWhen), "a time to bind a VIP", [
        "auto" => BindWhen::Auto,
        "always" => BindWhen::Always,
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

    fn visit_str<E: Error>(self, written: &str) -> Result<Flag, E> {
        // Without quotes YAML reads these as `true` and `false`.
        if !["true", "True", "TRUE", "false", "False", "FALSE"].contains(&written) {
            return Err(E::invalid_type(Unexpected::Str(written), &self));
        }
        let message = format!("`\"{written}\"` in quotes is a text, not `true` or `false`");
        Err(InvalidText::new(message, "remove the quotes").into_error())
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FlagVisitor)
    }
}

schema!(Flag, { "type": "boolean" });
