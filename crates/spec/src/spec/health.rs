//! What follows from health checks.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU8;

use evenkeel_model::{Initial, OnFailure, QuorumSize, VipWithoutQuorum, WhenNone};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Unexpected, Visitor};

use super::check::{CheckText, NONE};
use super::keyword::{unknown, words};
use super::number::{Changes, Hysteresis};
use super::parse_str::{InvalidText, schema, text};
use super::percent::Share;
use super::{FineDuration, Name};
use crate::recovering_de::keys;
use crate::suggest;

keys! {
    /// What follows from the results of checks.
    HealthKeys, "health, a map such as `{ quorum: 1, when_none: keep }`", {
        /// What a failure does to a real server: `weight0`, and removal after `cut_after`, or `remove`
        /// at once. Absent means weight0; under dh, and under sh and mh without their fallback flag,
        /// remove.
        on_failure: OnFailureWord,
        /// How long a real server that is down stays at weight 0 if it still has connections or
        /// persistence entries; then it is removed. Absent means 10s, and for udp 0s.
        cut_after: FineDuration,
        /// What holds of a real server until its first result: `as-live`, `up` or `down`. Absent means
        /// as-live: up if the kernel has it with a weight.
        initial: InitialWord,
        /// How long a VIP that is not bound waits for the quorum. Absent means 3s; 0s means that it
        /// does not wait.
        startup: FineDuration,
        /// How much must be up: a number of real servers, or a percentage of the weight of all. Absent
        /// means 1.
        quorum: QuorumText,
        /// By how much less than the quorum loses it, and by how much more brings it back; in the unit
        /// of the quorum. Absent means 0.
        hysteresis: Hysteresis,
        /// The largest share of the real servers that health may take out. Absent means 100%.
        max_out: Share,
        /// What happens if none is left: `keep` those that failed last, or `refuse` clients. Absent
        /// means keep. A fallback pool comes first.
        when_none: WhenNoneWord,
        /// The pool that serves while the quorum is lost. Absent or `none` means that there is none.
        fallback: OrNone<FallbackKeys>,
        /// How long the weight of a real server grows after it came up. Absent means 0s, all at once.
        slow_start: FineDuration,
        /// When a real server that comes and goes is kept out. Absent or `none` means never.
        flap: OrNone<FlapKeys>,
        /// What the VIP does without quorum: `keep` or `unbind`. Absent means keep.
        vip: VipWord,
    }
}

keys! {
    /// The pool that serves while the quorum is lost.
    #[schemars(extend("required" = ["pool"]))]
    FallbackKeys, "a fallback, a map such as `{ pool: sorry }`", {
        /// The name of the pool.
        pool: Name,
        /// The check of its real servers that have none, and whose pool has none. Absent means that
        /// they are not checked.
        check: Box<CheckText>,
    }
}

keys! {
    /// When a real server counts as flapping, and how long it is then kept out.
    FlapKeys, "flap, a map such as `{ changes: 4, within: 5m, hold: 2m }`", {
        /// How many changes between up and down make it one. Absent means 4.
        changes: Changes,
        /// Within which time. Absent means 5m.
        within: FineDuration,
        /// How long it is kept out. Absent means 2m.
        hold: FineDuration,
    }
}

words! {
    /// What a failure does to a real server.
    OnFailureWord(OnFailure), "a way to take out a real server", [
        "weight0" => OnFailure::Weight0,
        "remove" => OnFailure::Remove,
    ]
}
words! {
    /// What holds of a real server until its first result.
    InitialWord(Initial), "an initial state", [
        "as-live" => Initial::AsLive,
        "up" => Initial::Up,
        "down" => Initial::Down,
    ]
}
words! {
    /// What happens if health leaves no real server in use.
    WhenNoneWord(WhenNone), "an answer to no real server", [
        "keep" => WhenNone::Keep,
        "refuse" => WhenNone::Refuse,
    ]
}
words! {
    /// What the VIP does without quorum.
    VipWord(VipWithoutQuorum), "what a VIP does without quorum", [
        "keep" => VipWithoutQuorum::Keep,
        "unbind" => VipWithoutQuorum::Unbind,
    ]
}

/// A map, or `none`.
#[derive(Debug)]
pub(crate) enum OrNone<T> {
    None,
    Keys(Box<T>),
}

/// A map that may be written as `none`.
trait Optional: Sized {
    const EXPECTED: &'static str;

    fn read<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error>;
}

impl Optional for FallbackKeys {
    const EXPECTED: &'static str = "a fallback, a map such as `{ pool: sorry }`, or `none`";

    fn read<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        Self::read_map(map)
    }
}

impl Optional for FlapKeys {
    const EXPECTED: &'static str =
        "flap, a map such as `{ changes: 4, within: 5m, hold: 2m }`, or `none`";

    fn read<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        Self::read_map(map)
    }
}

struct KeysOrNone<T>(PhantomData<T>);

impl<'de, T: Optional> Visitor<'de> for KeysOrNone<T> {
    type Value = OrNone<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, written: &str) -> Result<OrNone<T>, E> {
        match written {
            NONE => Ok(OrNone::None),
            other => Err(E::invalid_type(Unexpected::Str(other), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OrNone<T>, A::Error> {
        T::read(map).map(|keys| OrNone::Keys(Box::new(keys)))
    }
}

impl<'de, T: Optional> Deserialize<'de> for OrNone<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeysOrNone(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for OrNone<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{}OrNone", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let keys = generator.subschema_for::<T>();
        schemars::json_schema!({ "anyOf": [{ "const": NONE }, keys] })
    }
}

/// `2` real servers, or `50%` of the weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QuorumText(pub(crate) QuorumSize);

struct ServersOrShare;

impl Visitor<'_> for ServersOrShare {
    type Value = QuorumText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a quorum, a number of real servers such as 2 or a share of the weight such as 50%",
        )
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<QuorumText, E> {
        match u32::try_from(number) {
            Ok(servers) => Ok(QuorumText(QuorumSize::Servers(servers))),
            Err(_) => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_str<E: Error>(self, written: &str) -> Result<QuorumText, E> {
        if !written.ends_with('%') {
            return Err(E::invalid_type(Unexpected::Str(written), &self));
        }
        let Share(percent) = Share::parse(written).map_err(InvalidText::into_error)?;
        match NonZeroU8::new(percent) {
            Some(percent) => Ok(QuorumText(QuorumSize::Weight(percent))),
            None => Err(InvalidText::new(
                format!("{} of the weight is no quorum", suggest::quote(written)),
                "write a larger share, or `quorum: 0` to ask for nothing",
            )
            .into_error()),
        }
    }
}

impl<'de> Deserialize<'de> for QuorumText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ServersOrShare)
    }
}

schema!(QuorumText, {
    "anyOf": [
        { "type": "integer", "minimum": 0, "maximum": u32::MAX },
        { "type": "string", "pattern": "^0*([1-9]|[1-9][0-9]|100)%$" },
    ],
});
