//! Guards: plans that are refused unless their guard is named in `--allow`.

use std::fmt;
use std::str::FromStr;

use evenkeel_model::{Desired, Names, Scope, ServiceKey};
use serde::{Deserialize, Serialize};

use crate::render::count;
use crate::{Inputs, Op};

mod cut_off;
mod mass_delete;
mod no_server;
mod unbind_in_use;

pub use cut_off::{CutOff, cut_off};
pub(crate) use unbind_in_use::{DRAIN, KEEP, MARKED, marked_warnings};

/// A named reason to refuse a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guard {
    /// The spec desires nothing at all.
    Empty,
    /// A text of the spec is one of the last applied spec, cut short.
    CutOff,
    /// The first apply to this host, without a `scope`, would delete what it finds.
    TakeOver,
    /// Far fewer services or real servers are desired than live.
    MassDelete,
    /// A service that stays would lose its last real server of a positive weight.
    NoServer,
    /// A VIP would go that a service needs, or connections that nothing lets end.
    UnbindInUse,
}

impl Guard {
    /// Every guard.
    pub const ALL: [Self; 6] = [
        Self::Empty,
        Self::CutOff,
        Self::TakeOver,
        Self::MassDelete,
        Self::NoServer,
        Self::UnbindInUse,
    ];

    /// The name that `--allow` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::CutOff => "cut-off",
            Self::TakeOver => "take-over",
            Self::MassDelete => "mass-delete",
            Self::NoServer => "no-server",
            Self::UnbindInUse => "unbind-in-use",
        }
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no guard's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownGuard(pub String);

impl fmt::Display for UnknownGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Guard::ALL.map(Guard::name).join(", ");
        write!(f, "there is no guard `{}`; the guards are {names}", self.0)
    }
}

impl std::error::Error for UnknownGuard {}

impl FromStr for Guard {
    type Err = UnknownGuard;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|guard| guard.name() == name);
        found.ok_or_else(|| UnknownGuard(name.to_owned()))
    }
}

/// A guard that holds, with the numbers that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Which guard.
    pub guard: Guard,
    /// One sentence for people: what the plan would do, and what to do about it.
    pub message: String,
}

/// Every guard that refuses the plan made of these operations.
pub(crate) fn refusals(inputs: &Inputs<'_>, ops: &[Op]) -> Vec<Refusal> {
    let Inputs { desired, record, .. } = inputs;
    let found = [
        (Guard::Empty, empty(desired)),
        (Guard::CutOff, cut_off::refusal(inputs.cut_off, ops)),
        (Guard::TakeOver, take_over(desired, !record.applied, ops)),
        (Guard::MassDelete, mass_delete::refusal(inputs)),
        (Guard::NoServer, no_server::refusal(inputs, ops)),
        (Guard::UnbindInUse, unbind_in_use::refusal(inputs, ops)),
    ];
    let refusal =
        |(guard, message): (Guard, Option<String>)| Some(Refusal { guard, message: message? });
    found.into_iter().filter_map(refusal).collect()
}

fn empty(desired: &Desired) -> Option<String> {
    desired.is_empty().then(|| {
        "the spec lists no service and no VIP, so everything in its scope would be deleted; a file \
         cut short looks the same"
            .to_owned()
    })
}

fn take_over(desired: &Desired, first: bool, ops: &[Op]) -> Option<String> {
    if !first || desired.scope != Scope::Implied {
        return None;
    }
    let strangers: Vec<String> = ops
        .iter()
        .filter_map(|op| match op {
            Op::DeleteService { key, .. } => Some(key.to_string()),
            _ => None,
        })
        .collect();
    (!strangers.is_empty()).then(|| {
        format!(
            "this is the first apply here and the spec has no `scope`, so it would delete {} it \
             does not list ({}); write `scope: all` if the whole table is the spec's, or list \
             under `scope` what is",
            count(strangers.len(), "live service"),
            some_of(&strangers),
        )
    })
}

/// Services as people call them.
fn labels<'a>(inputs: &Inputs<'_>, keys: impl IntoIterator<Item = &'a ServiceKey>) -> Vec<String> {
    let names = Names { desired: inputs.desired, last: inputs.last };
    keys.into_iter().map(|key| names.label(key).to_string()).collect()
}

/// The first ones by name, the others by their number.
fn some_of(all: &[String]) -> String {
    const SHOWN: usize = 3;
    match all.len().checked_sub(SHOWN) {
        None | Some(0) => match all {
            [] => String::new(),
            [one] => one.clone(),
            [first @ .., last] => format!("{} and {last}", first.join(", ")),
        },
        Some(more) => format!("{} and {more} more", all[..SHOWN].join(", ")),
    }
}

#[cfg(test)]
mod tests;
