//! What is on record of earlier applies to a network namespace.

use std::collections::BTreeMap;

use evenkeel_model::{Desired, DesiredTimeouts, Drain, Guards, RealServerKey, Scope, ServiceKey};
use serde::{Deserialize, Serialize};

use crate::{ClockReading, Uptime};

/// The part of the record that every plan depends on. The last applied spec, which only plans
/// with changes need, is apart: [`crate::Inputs::last`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriorState {
    /// Whether there was any apply.
    pub applied: bool,
    /// What the spec in force governs; `None` where that is not on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// The thresholds of the spec in force; `None` where they are not on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guards: Option<Guards>,
    /// Whether a file of the spec in force ends with an end mark ([`crate::has_end_mark`]), so that
    /// its texts are compared even where nothing differs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub end_marks: bool,
    /// The values that sysctls had before evenkeel set them.
    pub sysctls: BTreeMap<Box<str>, Box<str>>,
    /// The timeouts that the last spec named.
    pub timeouts: DesiredTimeouts,
    /// The drains that were begun and have not ended.
    #[serde(default)]
    pub drains: DrainRecords,
}

impl PriorState {
    /// The spec that asks for this is in force: its scope and its thresholds judge the next plan.
    pub fn governed_by(&mut self, desired: &Desired) {
        self.applied = true;
        self.scope = Some(desired.scope.clone());
        self.guards = Some(desired.guards);
    }

    /// As if there had been one: for plans against a snapshot, which has no record.
    pub fn for_snapshot() -> Self {
        Self { applied: true, ..Self::default() }
    }
}

/// Drains by the real server that leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Entry>", into = "Vec<Entry>")]
pub struct DrainRecords(pub BTreeMap<(ServiceKey, RealServerKey), Draining>);

/// A drain that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draining {
    /// When, in seconds since 1970 ([`DrainRecords::rebase`]).
    pub since: u64,
    /// The weight before.
    pub weight: u32,
    /// How long it may take; what a service that left had said is known nowhere else any more.
    #[serde(default)]
    pub limit: Drain,
    /// When, by a clock that nobody steps; `None` where an earlier version wrote it, or the kernel
    /// has no such clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime: Option<Uptime>,
}

impl DrainRecords {
    /// Makes their starts times of the wall's clock as it goes now, whatever was done to it since.
    pub fn rebase(&mut self, now: &ClockReading) {
        for Draining { since, uptime, .. } in self.0.values_mut() {
            *since = now.wall_at(*since, *uptime);
        }
    }
}

/// As it is written: a map with such keys has no place in JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    service: ServiceKey,
    real_server: RealServerKey,
    #[serde(flatten)]
    draining: Draining,
}

impl From<Vec<Entry>> for DrainRecords {
    fn from(entries: Vec<Entry>) -> Self {
        let keyed = entries.into_iter().map(|it| ((it.service, it.real_server), it.draining));
        Self(keyed.collect())
    }
}

impl From<DrainRecords> for Vec<Entry> {
    fn from(drains: DrainRecords) -> Self {
        let entries = drains.0.into_iter();
        entries
            .map(|((service, real_server), draining)| Entry { service, real_server, draining })
            .collect()
    }
}
