//! Guards: reasons to refuse a plan unless `--allow` names them.

use std::fmt;
use std::str::FromStr;

use evenkeel_model::{Desired, Names, ServiceKey};
use serde::{Deserialize, Serialize};

use crate::{Inputs, Op};

mod cut_off;
mod mass_delete;
mod missing_file;
mod no_server;
mod unbind_in_use;
mod wider_scope;

pub use cut_off::{CutOff, Lack, cut_off, has_end_mark};
pub(crate) use unbind_in_use::{DRAIN, KEEP, MARKED, marked_warnings};

/// A named reason to refuse a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guard {
    /// The spec desires nothing at all.
    Empty,
    /// A file of the spec may be incomplete.
    CutOff,
    /// The first apply to this host would delete live objects that the spec does not list.
    TakeOver,
    /// Too few of the live services, of the VIPs, or of the real servers of a service would be
    /// left.
    MassDelete,
    /// The scope is wider than the one in force, and the plan changes objects that it newly covers.
    WiderScope,
    /// A file of the spec in force is gone, and objects that it listed would be deleted.
    MissingFile,
    /// A service that stays would lose its last real server with a positive weight.
    NoServer,
    /// A VIP would be unbound that a service needs, or that open connections use without a drain.
    UnbindInUse,
}

impl Guard {
    /// Every guard.
    pub const ALL: [Self; 8] = [
        Self::Empty,
        Self::CutOff,
        Self::TakeOver,
        Self::MassDelete,
        Self::WiderScope,
        Self::MissingFile,
        Self::NoServer,
        Self::UnbindInUse,
    ];

    /// Returns the name for `--allow`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::CutOff => "cut-off",
            Self::TakeOver => "take-over",
            Self::MassDelete => "mass-delete",
            Self::WiderScope => "wider-scope",
            Self::MissingFile => "missing-file",
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

/// The error for a name that is not a guard.
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

/// The refusal of a plan by a guard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GuardRefusal {
    /// The guard.
    pub guard: Guard,
    /// One sentence for users: what the plan would do, and what to do about it.
    pub message: String,
}

/// Returns the refusals of the plan made of these operations.
pub(crate) fn refusals(inputs: &Inputs<'_>, ops: &[Op]) -> Vec<GuardRefusal> {
    let found = [
        (Guard::Empty, empty(inputs.desired)),
        (Guard::CutOff, cut_off::refusal(inputs.cut_off, ops)),
        (Guard::TakeOver, wider_scope::take_over(inputs, ops)),
        (Guard::MassDelete, mass_delete::refusal(inputs)),
        (Guard::WiderScope, wider_scope::wider_scope(inputs, ops)),
        (Guard::MissingFile, missing_file::refusal(inputs, ops)),
        (Guard::NoServer, no_server::refusal(inputs, ops)),
        (Guard::UnbindInUse, unbind_in_use::refusal(inputs, ops)),
    ];
    let refusal =
        |(guard, message): (Guard, Option<String>)| Some(GuardRefusal { guard, message: message? });
    found.into_iter().filter_map(refusal).collect()
}

fn empty(desired: &Desired) -> Option<String> {
    desired.is_empty().then(|| {
        "the spec lists no service and no VIP, so everything in its scope would be deleted; a file \
         cut short looks the same"
            .to_owned()
    })
}

/// Returns the labels of services.
fn labels<'a>(inputs: &Inputs<'_>, keys: impl IntoIterator<Item = &'a ServiceKey>) -> Vec<String> {
    keys.into_iter().map(|key| label(inputs, key)).collect()
}

/// Returns the label of a service.
fn label(inputs: &Inputs<'_>, key: &ServiceKey) -> String {
    Names { desired: inputs.desired, last: inputs.last }.label(key).to_string()
}

/// Lists the first three by name and counts the others.
fn some_of(all: &[String]) -> String {
    list_of(all, 3)
}

/// Lists the first `shown` by name and counts the others.
fn list_of(all: &[String], shown: usize) -> String {
    match all.len().checked_sub(shown) {
        None | Some(0) => match all {
            [] => String::new(),
            [one] => one.clone(),
            [first @ .., last] => format!("{} and {last}", first.join(", ")),
        },
        Some(more) => format!("{} and {more} more", all[..shown].join(", ")),
    }
}

#[cfg(test)]
mod tests;
