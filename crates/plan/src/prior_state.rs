//! The recorded state of earlier applies to a network namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use evenkeel_model::{
    AttemptedClaims, Binding, Claims, DefaultRouteValue, Desired, DesiredTimeouts, Drain,
    ForeignMarks, Guards, HostObject, HostValue, LeftScope, RealServerKey, Scope, ServiceKey,
    SyncState,
};
use serde::{Deserialize, Serialize};

use crate::{ClockReading, OtherOwners, OverlayRecords, RealServerRecords, SyncLink, Uptime};

/// The part of the record that every plan depends on. The last applied spec, which only plans with
/// changes need, is separate: [`crate::Inputs::last`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriorState {
    /// Whether anything was ever applied.
    pub applied: bool,
    /// The scope of the spec in force; `None` if not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// What the spec in force asks for, for other owners to compare.
    #[serde(default, skip_serializing_if = "Claims::is_empty")]
    pub claims: Claims,
    /// What a spec asks for whose apply was begun; `None` once it is in force or rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempted_claims: Option<AttemptedClaims>,
    /// The other owners, from their own journals.
    #[serde(skip)]
    pub others: OtherOwners,
    /// The guard thresholds of the spec in force; `None` if not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guards: Option<Guards>,
    /// Whether a file of the spec in force ends with an end mark ([`crate::has_end_mark`]); if so,
    /// the files are compared even if the states do not differ.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub end_marks: bool,
    /// The values that sysctls had before evenkeel set them.
    pub sysctls: BTreeMap<Box<str>, Box<str>>,
    /// The values that other sysctls had before the kernel rewrote them with one that evenkeel set, by
    /// the key of that one ([`crate::MasterSysctl`]). They are restored only with it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub side_effects: BTreeMap<Box<str>, BTreeMap<Box<str>, Box<str>>>,
    /// What left the scope of the spec in force, is to be removed, and is not gone yet.
    #[serde(default, skip_serializing_if = "LeftScope::is_empty")]
    pub left: LeftScope,
    /// What left the scope with evenkeel's mark, and is another program's.
    #[serde(default, skip_serializing_if = "ForeignMarks::is_empty")]
    pub handed_over: ForeignMarks,
    /// The VIPs of the spec in force that another program was seen to have bound.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub foreign_vips: BTreeSet<Binding>,
    /// The interfaces of the running sync daemons when they were started, or first seen.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sync_links: BTreeMap<SyncState, SyncLink>,
    /// The timeouts before evenkeel changed them, of those that the last spec named.
    #[serde(default, skip_serializing_if = "DesiredTimeouts::is_empty")]
    pub former_timeouts: DesiredTimeouts,
    /// The timeouts that the last spec named.
    pub timeouts: DesiredTimeouts,
    /// The drains that were started and have not ended.
    #[serde(default)]
    pub drains: DrainRecords,
    /// The real servers that overlays hold, with their weights before.
    #[serde(default, skip_serializing_if = "OverlayRecords::is_empty")]
    pub overlaid: OverlayRecords,
    /// The VIPs that are not bound for lack of quorum, or were not at the last apply.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub withheld_vips: BTreeSet<IpAddr>,
    /// The new services whose real servers may not all be added yet, of those whose real servers are
    /// another program's afterwards.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unfilled: BTreeSet<ServiceKey>,
    /// The host objects of other programs that evenkeel replaced, with their values.
    #[serde(default, skip_serializing_if = "ReplacedObjects::is_empty")]
    pub replaced: ReplacedObjects,
    /// The host as a real server.
    #[serde(default, skip_serializing_if = "RealServerRecords::is_none")]
    pub real_server: RealServerRecords,
}

impl PriorState {
    /// Records that this spec is in force: its scope and its thresholds apply to the next plan.
    pub fn governed_by(&mut self, desired: &Desired) {
        self.applied = true;
        self.scope = Some(desired.scope.clone());
        self.claims = Claims::of(desired);
        self.attempted_claims = None;
        self.guards = Some(desired.guards);
    }

    /// Returns a state as after an apply, for plans against a snapshot, which has no record.
    pub fn for_snapshot() -> Self {
        Self { applied: true, ..Self::default() }
    }
}

/// Drains by their real server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Entry>", into = "Vec<Entry>")]
pub struct DrainRecords(pub BTreeMap<(ServiceKey, RealServerKey), Draining>);

impl DrainRecords {
    /// The drains of a service.
    pub(crate) fn of_service(&self, service: ServiceKey) -> impl Iterator<Item = &Draining> {
        self.entries_of(service).map(|(_, draining)| draining)
    }

    /// Forgets the drains of a service.
    pub fn forget_service(&mut self, service: &ServiceKey) {
        let of_service: Vec<_> = self.entries_of(*service).map(|(place, _)| *place).collect();
        for place in of_service {
            self.0.remove(&place);
        }
    }

    fn entries_of(
        &self,
        service: ServiceKey,
    ) -> impl Iterator<Item = (&(ServiceKey, RealServerKey), &Draining)> {
        let first = RealServerKey { address: Ipv4Addr::UNSPECIFIED.into(), port: 0 };
        let from_first = self.0.range((service, first)..);
        from_first.take_while(move |((it, _), _)| *it == service)
    }
}

/// A drain that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draining {
    /// The start time, in seconds since 1970 ([`DrainRecords::rebase`]).
    pub since: u64,
    /// The weight before the drain.
    pub weight: u32,
    /// The maximum duration; for a service that left the spec, this is its only record.
    #[serde(default)]
    pub limit: Drain,
    /// The start time on the clock since boot, which cannot be stepped; `None` if an earlier
    /// version wrote the record, or the kernel has no such clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime: Option<Uptime>,
}

impl DrainRecords {
    /// Converts the start times to the present wall clock, whatever steps it has had since.
    pub fn rebase(&mut self, now: &ClockReading) {
        for Draining { since, uptime, .. } in self.0.values_mut() {
            *since = now.wall_at(*since, *uptime);
        }
    }
}

/// Host objects of other programs that evenkeel replaced, with the values that it restores.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<ReplacedObject>", into = "Vec<ReplacedObject>")]
pub struct ReplacedObjects(pub BTreeMap<HostObject, HostValue>);

impl ReplacedObjects {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Records that evenkeel replaces the value of an object by one of its own.
    pub fn note(&mut self, object: &HostObject, before: &HostValue) {
        let earlier = self.0.get(object);
        let replaced = match (before, earlier) {
            (HostValue::DefaultRoute(found), Some(HostValue::DefaultRoute(earlier))) => {
                DefaultRouteValue::replaced(found, Some(earlier)).into()
            }
            (HostValue::DefaultRoute(found), _) => DefaultRouteValue::replaced(found, None).into(),
            (found, _) => found.clone(),
        };
        self.0.insert(object.clone(), replaced);
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct ReplacedObject {
    object: HostObject,
    value: HostValue,
}

impl From<Vec<ReplacedObject>> for ReplacedObjects {
    fn from(entries: Vec<ReplacedObject>) -> Self {
        Self(entries.into_iter().map(|it| (it.object, it.value)).collect())
    }
}

impl From<ReplacedObjects> for Vec<ReplacedObject> {
    fn from(replaced: ReplacedObjects) -> Self {
        let entries = replaced.0.into_iter();
        entries.map(|(object, value)| ReplacedObject { object, value }).collect()
    }
}

/// The serialized form: JSON has no maps with structured keys.
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
