//! Guards: reasons to refuse a plan unless `--allow` names them.

use std::fmt;
use std::str::FromStr;

use evenkeel_model::{Desired, DesiredTimeouts, Live, Names, Owner, ServiceKey};
use serde::{Deserialize, Serialize};

use crate::{Inputs, Op};

mod cut_off;
mod judging;
mod left_scope;
mod mass_delete;
mod missing_file;
mod no_server;
mod sessions;
mod unbind_in_use;
mod unjudged;
mod wider_scope;

pub use cut_off::{CutOff, Lack, cut_off, has_end_mark};
pub use sessions::interrupted_addresses;
pub(crate) use sessions::unread_warnings;
pub(crate) use unbind_in_use::marked_warnings;
pub use unjudged::guards_without_journal;

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
    /// The scope no longer covers what evenkeel manages, and the spec does not say what becomes of it.
    LeftScope,
    /// A file of the spec in force is gone, and objects that it listed would be deleted.
    MissingFile,
    /// A service that stays would lose its last real server with a positive weight.
    NoServer,
    /// A VIP would be unbound that a service needs, or that open connections use without a drain.
    UnbindInUse,
}

impl Guard {
    /// Every guard.
    pub const ALL: [Self; 9] = [
        Self::Empty,
        Self::CutOff,
        Self::TakeOver,
        Self::MassDelete,
        Self::WiderScope,
        Self::LeftScope,
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
            Self::LeftScope => "left-scope",
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

/// The refusal of a plan by a guard. Its text form is one sentence for users: what the plan would
/// do, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardRefusal {
    /// The guard.
    pub guard: Guard,
    /// Why it refuses the plan; at least one.
    pub reasons: Vec<Reason>,
}

/// A reason to refuse a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// What the plan would do, and what to do about it if `advice` is absent.
    pub what: String,
    /// What to do about it.
    pub advice: Option<Advice>,
}

/// What to do about a refusal. Only the advice that a teardown changes has a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// Keep a VIP that services need.
    KeepVip,
    /// Move the services that need the VIP: no spec lists it.
    MoveServices,
    /// Give the service a drain before it is removed.
    Drain,
    /// End the sessions of programs on the host, or keep the VIP until they have ended.
    EndSessions,
    /// Keep the VIP until the connections of fwmark services have ended.
    KeepMarked,
    /// Keep the label while connections use the VIP.
    KeepLabel,
    /// Wait until the connections have ended.
    Wait,
}

impl Advice {
    /// Returns the advice for a teardown, which no spec can influence.
    pub(crate) fn for_teardown(self) -> Self {
        match self {
            Self::KeepVip | Self::MoveServices => Self::MoveServices,
            Self::Drain | Self::EndSessions | Self::KeepMarked | Self::KeepLabel | Self::Wait => {
                Self::Wait
            }
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::KeepVip => "keep the VIP under `vips`, or remove its services from the spec",
            Self::MoveServices => "move them to another VIP, or delete them, first",
            Self::Drain => "give the service a `drain` and apply that before you remove it",
            Self::EndSessions => "end them, or keep the VIP under `vips` until they have ended",
            Self::KeepMarked => "keep the VIP under `vips` until the connections have ended",
            Self::KeepLabel => "wait until the connections have ended, or keep its present label",
            Self::Wait => "wait until the connections have ended",
        }
    }
}

impl fmt::Display for GuardRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, Reason { what, advice }) in self.reasons.iter().enumerate() {
            write!(f, "{}{what}", if number == 0 { "" } else { "; " })?;
            if let Some(advice) = advice {
                write!(f, "; {}", advice.as_str())?;
            }
        }
        Ok(())
    }
}

/// Returns the refusals of the plan made of these operations.
pub(crate) fn refusals(inputs: &Inputs<'_>, ops: &[Op]) -> Vec<GuardRefusal> {
    let found = [
        (Guard::Empty, empty(inputs)),
        (Guard::CutOff, cut_off::refusal(inputs.cut_off, ops)),
        (Guard::TakeOver, wider_scope::take_over(inputs, ops)),
        (Guard::MassDelete, mass_delete::refusal(inputs)),
        (Guard::WiderScope, wider_scope::wider_scope(inputs, ops)),
        (Guard::LeftScope, left_scope::refusal(inputs)),
        (Guard::MissingFile, missing_file::refusal(inputs, ops)),
        (Guard::NoServer, no_server::refusal(inputs, ops)),
    ];
    let refusal = |(guard, what): (Guard, Option<String>)| {
        Some(GuardRefusal { guard, reasons: vec![Reason { what: what?, advice: None }] })
    };
    let mut refusals: Vec<GuardRefusal> = found.into_iter().filter_map(refusal).collect();
    let reasons = unbind_in_use::refusal(inputs, ops);
    if !reasons.is_empty() {
        refusals.push(GuardRefusal { guard: Guard::UnbindInUse, reasons });
    }
    refusals
}

/// A host that is no director has no services of its own to lose: a spec that lists it no longer is how a
/// real server is taken out. A spec that lists what other directors have is not empty, nor is one with
/// sysctls, timeouts, sync daemons or host objects where there is nothing to delete and the last applied spec had no more.
fn empty(inputs: &Inputs<'_>) -> Option<String> {
    let desired = inputs.desired;
    let has_no_traffic = |desired: &Desired| desired.services.is_empty() && desired.vips.is_empty();
    let is_empty = has_no_traffic(desired) && desired.elsewhere.is_empty();
    // After a reboot the host is empty: a truncated file would pass and become the last applied spec.
    let listed_more = || inputs.last.is_some_and(|last| !has_no_traffic(last));
    let is_refused =
        || !has_settings(desired) || has_deletable(desired, inputs.live) || listed_more();
    (is_empty && desired.roles.is_director() && is_refused()).then(|| {
        "the spec lists no service and no VIP, so everything in its scope would be deleted; a \
         truncated file looks the same"
            .to_owned()
    })
}

/// Whether the spec names something else than services and VIPs.
fn has_settings(desired: &Desired) -> bool {
    let has_timeouts = desired.timeouts != DesiredTimeouts::default();
    let has_settings = has_timeouts || desired.sync.is_some() || !desired.sysctls.is_empty();
    has_settings || !desired.host_objects.is_empty()
}

/// Whether there is a service or a VIP that is deleted unless the spec lists it, or a host object where the
/// spec lists none.
fn has_deletable(desired: &Desired, live: &Live) -> bool {
    let is_ours = |owner: &Owner| *owner == Owner::Evenkeel;
    let mut vips = live.addresses.iter().filter(|(_, owner)| is_ours(owner));
    let mut host_objects = live.host_objects.objects.iter().filter(|(_, it)| is_ours(&it.owner));
    live.services.keys().any(|key| desired.governs(key))
        || vips.any(|(vip, _)| desired.governs_vip(vip))
        || desired.host_objects.is_empty()
            && host_objects.any(|(object, _)| desired.governs_host_object(object))
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
pub(crate) fn some_of(all: &[String]) -> String {
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
