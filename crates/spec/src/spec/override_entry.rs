//! Overrides in a spec, and the directory of a maintenance.

use std::path::Path;

use evenkeel_model::OverrideTarget;
use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer};

use super::Weight;
use super::keyword::{unknown, words};
use super::parse_str::{InvalidText, schema, text};
use crate::recovering_de::keys;
use crate::suggest::quote;

keys! {
    /// An override: what holds real servers against the rest of the spec.
    #[schemars(extend("required" = ["target", "action"]))]
    OverrideEntry, "an override, a map such as `{ target: web/10.0.0.5, action: drain }`", {
        /// The real servers: `10.0.0.5`, `10.0.0.5:80`, or in one service `web/10.0.0.5`.
        target: TargetText,
        /// `drain`: weight 0; `disable`: out of the service, at once; `enable`: as the spec asks,
        /// whatever checks say; `weight`: another weight.
        action: ActionWord,
        /// The weight, for `action: weight`.
        weight: Weight,
        /// When it ends, such as 2026-12-31T12:00:00Z. Absent means when it leaves the spec.
        until: UntilText,
        /// Why, for plans and status.
        reason: ReasonText,
    }
}

/// What an override does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Drain,
    Disable,
    Enable,
    Weight,
}

words! {
    /// What an override does.
    ActionWord(Action), "an action", [
        "drain" => Action::Drain,
        "disable" => Action::Disable,
        "enable" => Action::Enable,
        "weight" => Action::Weight,
    ]
}

/// The real servers of an override.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TargetText(pub(crate) OverrideTarget);

/// A point in time, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UntilText(pub(crate) u64);

/// A line of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReasonText(pub(crate) Box<str>);

/// An absolute path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DirectoryText(pub(crate) Box<Path>);

impl<'de> Deserialize<'de> for TargetText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, "a target, one such as web/10.0.0.5", |written| {
            written.parse().map(Self).map_err(|_| {
                InvalidText::new(
                    format!("{} names no real server", quote(written)),
                    "write web/10.0.0.5, web/10.0.0.5:80, 10.0.0.5 (in every service) or \
                     [2001:db8::5]:80",
                )
            })
        })
    }
}

impl<'de> Deserialize<'de> for UntilText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, "a point in time, one such as 2026-12-31T12:00:00Z", |written| {
            let seconds = written.parse::<Timestamp>().ok().map(Timestamp::as_second);
            seconds.and_then(|it| u64::try_from(it).ok()).map(Self).ok_or_else(|| {
                InvalidText::new(
                    format!("{} is not a point in time", quote(written)),
                    "write one with its offset, such as 2026-12-31T12:00:00Z or \
                     2026-12-31T12:00:00+01:00",
                )
            })
        })
    }
}

impl<'de> Deserialize<'de> for ReasonText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const LONGEST: usize = 1024;
        text(deserializer, "a reason, a line of text such as new disks", |written| {
            if written.len() <= LONGEST && !written.chars().any(char::is_control) {
                return Ok(Self(written.into()));
            }
            let message = format!("{} cannot be a reason", quote(written));
            let remedy = "write one line of at most 1024 bytes, without control characters";
            Err(InvalidText::new(message, remedy))
        })
    }
}

impl<'de> Deserialize<'de> for DirectoryText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "a directory, one such as /etc/evenkeel/maintenance";
        text(deserializer, EXPECTED, |written| {
            let is_name = |part: &str| !matches!(part, "" | "." | "..");
            let inside = written.strip_prefix('/').unwrap_or_default();
            let inside = inside.strip_suffix('/').unwrap_or(inside);
            let is_shown = !written.chars().any(char::is_control);
            if inside.split('/').all(is_name) && is_shown && written.len() < 4096 {
                return Ok(Self(Path::new(&format!("/{inside}")).into()));
            }
            let message = format!("{} is not the path of a directory", quote(written));
            let remedy = "write an absolute one without `..`, such as /etc/evenkeel/maintenance";
            Err(InvalidText::new(message, remedy))
        })
    }
}

schema!(TargetText, { "type": "string", "minLength": 1 });
schema!(UntilText, {
    "type": "string",
    "pattern": "^[0-9]{4}-?[0-9]{2}-?[0-9]{2}[Tt ]",
});
schema!(ReasonText, { "type": "string", "maxLength": 1024 });
schema!(DirectoryText, { "type": "string", "pattern": "^/." });
