//! Guards: plans that are refused unless their guard is named in `--allow`.

use std::fmt;
use std::str::FromStr;

use evenkeel_model::{Desired, Live, Scope};
use serde::Serialize;

use crate::Op;
use crate::render::count;

/// A named reason to refuse a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guard {
    /// The spec desires nothing at all.
    Empty,
    /// The first apply to this host, without a `scope`, would delete what it finds.
    TakeOver,
    /// Far fewer services or real servers are desired than live.
    MassDelete,
}

impl Guard {
    /// Every guard.
    pub const ALL: [Self; 3] = [Self::Empty, Self::TakeOver, Self::MassDelete];

    /// The name that `--allow` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TakeOver => "take-over",
            Self::MassDelete => "mass-delete",
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

/// Below this many live objects, deleting most of them is everyday work.
const MASS_DELETE_FLOOR: usize = 4;

/// Every guard that refuses the plan made of these operations.
pub(crate) fn refusals(desired: &Desired, live: &Live, first: bool, ops: &[Op]) -> Vec<Refusal> {
    let found = [empty(desired), take_over(desired, first, ops), mass_delete(desired, live)];
    found.into_iter().flatten().collect()
}

fn empty(desired: &Desired) -> Option<Refusal> {
    desired.is_empty().then(|| Refusal {
        guard: Guard::Empty,
        message: "the spec lists no service and no VIP, so everything in its scope would be \
                  deleted; a file cut short looks the same"
            .to_owned(),
    })
}

fn take_over(desired: &Desired, first: bool, ops: &[Op]) -> Option<Refusal> {
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
    let (first, rest) = strangers.split_first()?;
    let more = match rest.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(Refusal {
        guard: Guard::TakeOver,
        message: format!(
            "this is the first apply here and the spec has no `scope`, so it would delete {} it \
             does not list ({first}{more}); write `scope: all` if the whole table is the spec's, \
             or list under `scope` what is",
            count(strangers.len(), "live service"),
        ),
    })
}

fn mass_delete(desired: &Desired, live: &Live) -> Option<Refusal> {
    let live = live.services.iter().filter(|(key, _)| desired.scope.contains(key));
    let (mut live_services, mut live_real_servers) = (0, 0);
    for (_, service) in live {
        live_services += 1;
        live_real_servers += service.real_servers.len();
    }
    let services = desired.services.len();
    let real_servers =
        desired.services.values().map(|named| named.service.real_servers.len()).sum();
    let falls = |desired: usize, live: usize| live >= MASS_DELETE_FLOOR && desired * 2 < live;
    let mut parts = Vec::new();
    if falls(services, live_services) {
        parts.push(format!("services fall from {live_services} to {services}"));
    }
    if falls(real_servers, live_real_servers) {
        parts.push(format!("real servers fall from {live_real_servers} to {real_servers}"));
    }
    (!parts.is_empty()).then(|| Refusal {
        guard: Guard::MassDelete,
        message: format!("{}: fewer than half would be left", parts.join(" and ")),
    })
}
