//! What a real server keeps for services that it leaves.
//!
//! Directors apply a spec at other moments than real servers, and they drain a real server that it no
//! longer lists. So its VIPs, host objects and sysctls for a service stay for the service's drain and
//! one interval after the spec no longer lists the real server. With another forwarding method, what
//! unpacks the packets of the former one stays for as long. They are added to the desired state
//! before it is planned; the order and the execution know nothing of them. Nothing here reads a clock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use evenkeel_model::{
    Binding, Desired, Drain, HostObject, HostValue, Live, RealServerPart, ServiceKey, Vip,
    entries_of,
};
use serde::{Deserialize, Serialize};

use crate::{ClockReading, Object, PriorState, Uptime};

mod records;

pub use records::{LeavingPart, PartRecord, RealServerRecords};

/// The interval of a host without a daemon, and the default of the daemon's: within it, a director
/// that watches its spec has applied it.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);

/// What the objects that stay depend on.
#[derive(Debug, Clone, Copy)]
pub struct LeavingInputs<'a> {
    /// The desired state of the spec.
    pub desired: &'a Desired,
    /// The live state: an object that is gone when its service leaves is not added again.
    pub live: &'a Live,
    /// The record of earlier applies, with the services of this real server.
    pub record: &'a PriorState,
    /// The time.
    pub now: ClockReading,
    /// The time within which directors apply a spec, rounded up to seconds.
    pub interval: Duration,
}

/// The desired state with what stays for services that this real server leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leaving {
    /// The desired state to plan; `None` if it is that of the spec, because nothing stays.
    pub desired: Option<Desired>,
    /// The desired state without what begins to leave now, by which guards judge its removal: later
    /// they do not know any more which spec removed it. `None` if nothing begins to leave now.
    pub judged: Option<Desired>,
    /// The record to store in the journal before anything is changed.
    pub records: RealServerRecords,
    /// The objects that stay.
    pub staying: Vec<StayingObject>,
}

/// An object of a real server that stays for a service that the real server leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StayingObject {
    /// The object.
    pub object: Object,
    /// The service; of several, the one that needs it longest.
    pub service: ServiceKey,
    /// The name of the service in the spec that listed the real server; empty if it is not known.
    pub name: Box<str>,
    /// The rest of its time, in seconds.
    pub left: Drain,
    /// Whether its time runs already; otherwise it begins with the apply of the plan.
    pub is_begun: bool,
}

impl Leaving {
    /// Returns the desired state to plan, for the one of the spec.
    pub fn desired<'a>(&'a self, spec: &'a Desired) -> &'a Desired {
        self.desired.as_ref().unwrap_or(spec)
    }
}

impl StayingObject {
    /// Returns how its service is shown to people: `web/192.0.2.1:80/tcp`.
    pub fn label(&self) -> String {
        match &*self.name {
            "" => self.service.to_string(),
            name => format!("{name}/{}", self.service),
        }
    }
}

impl fmt::Display for StayingObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, left, is_begun, .. } = self;
        let another = if *is_begun { "another " } else { "" };
        write!(
            f,
            "{object} stays for {another}{left}, while directors may still drain this real server in {}",
            self.label()
        )
    }
}

/// Determines what stays for the services that this real server leaves.
pub fn leaving(inputs: &LeavingInputs<'_>) -> Leaving {
    let LeavingInputs { desired, live: _, record, now, interval: _ } = *inputs;
    let before = &record.real_server;
    let former = desired.roles.to_record(before.former);
    if desired.real_server.is_empty() && before.has_no_services() {
        let records = RealServerRecords { former, ..RealServerRecords::default() };
        return Leaving { records, ..Leaving::default() };
    }
    let mut parts: BTreeMap<ServiceKey, LeavingPart> = before
        .leaving
        .iter()
        .filter(|(_, it)| !it.left(&now).is_zero())
        .map(|(key, it)| {
            (*key, LeavingPart { part: unneeded(key, &it.part, desired), ..it.clone() })
        })
        .collect();
    parts.retain(|_, leaving| !leaving.part.is_empty());
    let mut begun = parts.clone();
    for (key, mut begins) in begin(inputs) {
        if let Some(earlier) = parts.get(&key) {
            begins.part.add(&earlier.part);
        }
        parts.insert(key, begins);
    }
    keep_latest(&mut parts, desired);
    keep_latest(&mut begun, desired);
    let staying = staying(&parts, &before.leaving, desired, &now);
    let begins = staying.iter().any(|it| !it.is_begun);
    let with = |parts: &BTreeMap<ServiceKey, LeavingPart>| {
        let mut desired = desired.clone();
        parts.values().for_each(|leaving| leaving.part.add_to(&mut desired));
        desired
    };
    Leaving {
        desired: (!staying.is_empty()).then(|| with(&parts)),
        judged: begins.then(|| with(&begun)),
        records: RealServerRecords {
            former,
            in_force: desired
                .real_server
                .iter()
                .map(|(key, part)| (*key, PartRecord::new(part, desired)))
                .collect(),
            leaving: parts,
        },
        staying,
    }
}

/// What of a service's part the spec no longer needs for it, and directors may still send packets for: all
/// of it if the service no longer lists this real server; otherwise what another forwarding method needs.
fn unneeded(key: &ServiceKey, part: &PartRecord, desired: &Desired) -> PartRecord {
    match desired.real_server.get(key) {
        None => part.clone(),
        Some(needed) => part.clone().of_another_method(needed, desired),
    }
}

/// What begins to leave of the parts in force, as far as it exists and is in scope.
fn begin(inputs: &LeavingInputs<'_>) -> BTreeMap<ServiceKey, LeavingPart> {
    let LeavingInputs { desired, live, record, now, interval } = *inputs;
    let interval = interval.as_millis().div_ceil(1_000);
    // Rounded up, so that it never ends early.
    let since = now.wall.as_secs() + 1;
    let begun = record.real_server.in_force.iter().filter_map(|(key, part)| {
        let part = unneeded(key, &part.existing(live, record).in_scope(desired), desired);
        let limit = u128::from(part.drain.0) + interval;
        let limit = Drain(u32::try_from(limit).unwrap_or(u32::MAX));
        let uptime = now.uptime_at(since);
        (!part.is_empty()).then_some((*key, LeavingPart { part, since, limit, uptime }))
    });
    begun.collect()
}

/// Removes from the parts what the spec asks for with another value, and what a service that left
/// later has with another value: it is gone, and is not brought back.
fn keep_latest(parts: &mut BTreeMap<ServiceKey, LeavingPart>, desired: &Desired) {
    let elsewhere = |binding: &Binding| {
        entries_of(&desired.vips, binding.address).any(|(other, _)| other != binding)
    };
    let mut latest: Vec<(u64, ServiceKey)> =
        parts.iter().map(|(key, it)| (it.since, *key)).collect();
    latest.sort();
    let mut vips = desired.vips.clone();
    let mut host_objects = desired.host_objects.clone();
    let mut sysctls = desired.sysctls.clone();
    for (_, key) in latest.into_iter().rev() {
        let Some(LeavingPart { part, .. }) = parts.get_mut(&key) else { continue };
        part.vips.retain(|binding, vip| {
            !elsewhere(binding) && vips.entry(binding.clone()).or_insert(vip.clone()) == vip
        });
        part.host_objects.retain(|object, value| {
            host_objects.entry(object.clone()).or_insert(value.clone()) == value
        });
        part.sysctls
            .retain(|key, value| sysctls.entry(key.clone()).or_insert(value.clone()) == value);
    }
    parts.retain(|_, leaving| !leaving.part.is_empty());
}

/// Lists the objects that stay only for services that leave.
fn staying(
    parts: &BTreeMap<ServiceKey, LeavingPart>,
    before: &BTreeMap<ServiceKey, LeavingPart>,
    desired: &Desired,
    now: &ClockReading,
) -> Vec<StayingObject> {
    let mut staying: BTreeMap<Object, StayingObject> = BTreeMap::new();
    for (service, leaving) in parts {
        let is_begun = before.contains_key(service);
        // The part of a second by which the start is rounded up is not shown.
        let left = u32::try_from(leaving.left(now).as_secs()).unwrap_or(u32::MAX);
        let left = Drain(left.min(leaving.limit.0));
        let needed = |object: &Object| match object {
            Object::Vip(binding) => desired.vips.contains_key(binding),
            Object::Host(object) => desired.host_objects.contains_key(object),
            Object::Sysctl(key) => desired.sysctls.contains_key(key),
            _ => false,
        };
        let part = leaving.part.clone().in_scope(desired);
        for object in part.objects().filter(|object| !needed(object)) {
            let name = leaving.part.name.clone();
            let (service, this) = (*service, object.clone());
            let entry = StayingObject { object: this, service, name, left, is_begun };
            match staying.get(&object) {
                Some(other) if other.left >= entry.left => {}
                _ => drop(staying.insert(object, entry)),
            }
        }
    }
    staying.into_values().collect()
}

#[cfg(test)]
mod tests;
