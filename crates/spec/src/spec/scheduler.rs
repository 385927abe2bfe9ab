//! Schedulers and their flags, by name.

use std::fmt;

use evenkeel_model::Scheduler;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::parse_str::{InvalidText, schema, text};
use crate::recovering_de::{Field, keys};
use crate::suggest;

/// `wrr`, or `{ module: NAME }` for one that this version does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SchedulerName(pub(crate) Field<Scheduler>);

/// The name of a flag; whether the scheduler has it is checked together with the scheduler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FlagName(pub(crate) Box<str>);

keys! {
    /// A scheduler that this version does not know.
    #[schemars(extend("required" = ["module"]))]
    ModuleKeys, "a scheduler", {
        /// The name the module registers, without `ip_vs_`.
        module: ModuleName,
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct ModuleName(Scheduler);

struct NameOrModule;

impl<'de> Visitor<'de> for NameOrModule {
    type Value = SchedulerName;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scheduler, a name such as wrr, or `{ module: NAME }`")
    }

    fn visit_str<E: Error>(self, written: &str) -> Result<SchedulerName, E> {
        match Scheduler::new(written) {
            Some(scheduler) if scheduler.is_known() || scheduler == Scheduler::none() => {
                Ok(SchedulerName(Field::Value(scheduler)))
            }
            _ => Err(unknown(written).into_error()),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SchedulerName, A::Error> {
        match ModuleKeys::read_map(map)?.module {
            Field::Value(ModuleName(scheduler)) => Ok(SchedulerName(Field::Value(scheduler))),
            Field::Bad => Ok(SchedulerName(Field::Bad)),
            Field::Absent => Err(InvalidText::new(
                "the scheduler has no `module`",
                "write a known name such as wrr, or `{ module: NAME }`",
            )
            .into_error()),
        }
    }
}

fn unknown(written: &str) -> InvalidText {
    let remedy = match suggest::nearest(written, Scheduler::KNOWN) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!(
            "known are {}; any other is written `{{ module: NAME }}`",
            Scheduler::KNOWN.join(", ")
        ),
    };
    InvalidText::new(format!("{} is not a known scheduler", suggest::quote(written)), remedy)
}

impl<'de> Deserialize<'de> for SchedulerName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameOrModule)
    }
}

impl<'de> Deserialize<'de> for ModuleName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, "the name of a scheduler", |written| {
            Scheduler::new(written).filter(|name| *name != Scheduler::none()).map(Self).ok_or_else(
                || {
                    InvalidText::new(
                        format!("{} cannot be the name of a scheduler", suggest::quote(written)),
                        "a scheduler has 1 to 15 visible characters: the module's name without `ip_vs_`",
                    )
                },
            )
        })
    }
}

impl<'de> Deserialize<'de> for FlagName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, "the name of a scheduler flag", |written| Ok(Self(written.into())))
    }
}

impl schemars::JsonSchema for SchedulerName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scheduler".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let module = generator.subschema_for::<ModuleKeys>();
        let known: Vec<_> = Scheduler::KNOWN.into_iter().chain(["none"]).collect();
        schemars::json_schema!({ "anyOf": [{ "enum": known }, module] })
    }
}

schema!(ModuleName, { "type": "string", "pattern": "^[!-~]{1,15}$" });
schema!(FlagName, {
    "enum": [
        "sh-fallback", "sh-port", "mh-fallback", "mh-port", "flag-1", "flag-2", "flag-3",
    ],
});
