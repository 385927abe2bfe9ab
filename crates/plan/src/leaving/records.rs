//! What the journal records of a real server's services.

use super::*;
use evenkeel_model::{FormerRole, Owner, entries_of};

use crate::recorded_key;

/// A host that is no director: what it is, the services of a real server, and those that it leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RealServerRecords {
    /// What the host is and no director, or was before the spec listed it no longer; `None` if it was
    /// neither. Such a host becomes a director only if it is listed as one, or a user requests it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<FormerRole>,
    /// What the last spec added for each service of which this host is a real server.
    #[serde(default, with = "pairs", skip_serializing_if = "BTreeMap::is_empty")]
    pub in_force: BTreeMap<ServiceKey, PartRecord>,
    /// What stays of services that no longer list this real server, or reach it by another method.
    #[serde(default, with = "pairs", skip_serializing_if = "BTreeMap::is_empty")]
    pub leaving: BTreeMap<ServiceKey, LeavingPart>,
}

/// What a real server needs for one service, with its values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRecord {
    /// The name of the service in the spec; empty if it is not known.
    pub name: Box<str>,
    /// The drain of the service.
    pub drain: Drain,
    /// The addresses.
    #[serde(with = "pairs")]
    pub vips: BTreeMap<Binding, Vip>,
    /// The host objects.
    #[serde(with = "pairs")]
    pub host_objects: BTreeMap<HostObject, HostValue>,
    /// The sysctls.
    pub sysctls: BTreeMap<Box<str>, Box<str>>,
}

/// What stays of a service that no longer lists this real server, or reaches it by another method.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeavingPart {
    /// What stays.
    #[serde(flatten)]
    pub part: PartRecord,
    /// Since when, in seconds since 1970 ([`RealServerRecords::rebase`]).
    pub since: u64,
    /// For how long: the drain of the service and one interval, in seconds.
    pub limit: Drain,
    /// The start on the clock since boot, which cannot be stepped; `None` if the kernel has no such
    /// clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime: Option<Uptime>,
}

impl RealServerRecords {
    /// Whether this host was never a real server or a gateway.
    pub fn is_none(&self) -> bool {
        self.former.is_none() && self.has_no_services()
    }

    /// Whether it is a real server of no service, and leaves none.
    pub(super) fn has_no_services(&self) -> bool {
        self.in_force.is_empty() && self.leaving.is_empty()
    }

    /// Returns the record after an apply of these services alone: what it added for them leaves later as
    /// what an apply of the whole spec adds. The others are as before.
    pub fn with_services(&self, services: &BTreeSet<ServiceKey>, desired: &Desired) -> Self {
        let mut records = Self { former: desired.roles.to_record(self.former), ..self.clone() };
        for (key, part) in desired.real_server.iter().filter(|(key, _)| services.contains(key)) {
            let mut part = PartRecord::new(part, desired);
            // What it no longer needs is still there.
            let in_force = records.in_force.remove(key);
            let leaving = records.leaving.remove(key).map(|it| it.part);
            in_force.iter().chain(&leaving).for_each(|earlier| part.add(earlier));
            records.in_force.insert(*key, part);
        }
        records
    }

    /// What remains after a reboot: what it was, of which it then has none of the objects.
    pub fn after_reboot(self) -> Self {
        Self { former: self.former, ..Self::default() }
    }

    /// Converts the start times to the present wall clock, whatever steps it has had since.
    pub fn rebase(&mut self, now: &ClockReading) {
        for LeavingPart { since, uptime, .. } in self.leaving.values_mut() {
            *since = now.wall_at(*since, *uptime);
        }
    }

    /// Returns the time until the first service has left; `None` if none leaves.
    pub fn next_end(&self, now: &ClockReading) -> Option<Duration> {
        self.leaving.values().map(|leaving| leaving.left(now)).min()
    }

    /// Lists the objects that stay beside this spec only for services that leave.
    pub fn staying(&self, desired: &Desired, now: &ClockReading) -> Vec<StayingObject> {
        super::staying(&self.leaving, &self.leaving, desired, now)
    }

    /// Lists the objects that stay only for services that leave, where the spec is not known: those that
    /// no service in force needs.
    pub fn staying_in_force(&self, now: &ClockReading) -> Vec<StayingObject> {
        let mut desired = Desired::default();
        self.in_force.values().for_each(|part| part.add_to(&mut desired));
        self.staying(&desired, now)
    }

    /// Adds to a spec what stays beside it, where the spec asks for nothing else. For the spec that was
    /// applied last: what the host had until now.
    pub fn add_leaving_to(&self, desired: &mut Desired) {
        self.leaving.values().for_each(|leaving| leaving.part.add_to(desired));
    }

    /// Whether a sysctl stays for a service that leaves.
    pub fn keeps_sysctl(&self, key: &str) -> bool {
        self.leaving.values().any(|leaving| leaving.part.sysctls.contains_key(key))
    }

    /// The sysctls that stay for services that leave.
    pub fn kept_sysctls(&self) -> BTreeSet<&str> {
        let all = self.leaving.values().flat_map(|leaving| leaving.part.sysctls.keys());
        all.map(|key| &**key).collect()
    }

    /// The host objects that stay for services that leave.
    pub fn kept_host_objects(&self) -> BTreeSet<&HostObject> {
        self.leaving.values().flat_map(|leaving| leaving.part.host_objects.keys()).collect()
    }
}

impl PartRecord {
    /// The part of a spec, with its values.
    pub(super) fn new(part: &RealServerPart, desired: &Desired) -> Self {
        let RealServerPart { name, drain, vips, host_objects, sysctls } = part;
        Self {
            name: name.clone(),
            drain: *drain,
            vips: values(vips, &desired.vips),
            host_objects: values(host_objects, &desired.host_objects),
            sysctls: values(sysctls, &desired.sysctls),
        }
    }

    /// Returns how the service is shown to people: `web/192.0.2.1:80/tcp`.
    pub(crate) fn label(&self, key: &ServiceKey) -> String {
        match &*self.name {
            "" => key.to_string(),
            name => format!("{name}/{key}"),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.vips.is_empty() && self.host_objects.is_empty() && self.sysctls.is_empty()
    }

    /// What of it directors may still use that have not applied another forwarding method for this real
    /// server: a VIP that is bound nowhere else, and what unpacks packets, with its sysctls. `needed` is what
    /// the service needs now.
    pub(super) fn of_another_method(mut self, needed: &RealServerPart, desired: &Desired) -> Self {
        let is_bound =
            |binding: &Binding| entries_of(&desired.vips, binding.address).next().is_some();
        self.vips.retain(|binding, _| !is_bound(binding));
        self.host_objects
            .retain(|object, _| object.carries_vips() && !needed.host_objects.contains(object));
        self.sysctls.retain(|key, _| !needed.sysctls.contains(key));
        if self.vips.is_empty() && self.host_objects.is_empty() {
            self.sysctls.clear();
        }
        self
    }

    /// Adds what left earlier.
    pub(super) fn add(&mut self, earlier: &Self) {
        let Self { name: _, drain: _, vips, host_objects, sysctls } = earlier.clone();
        for (binding, vip) in vips {
            self.vips.entry(binding).or_insert(vip);
        }
        for (object, value) in host_objects {
            self.host_objects.entry(object).or_insert(value);
        }
        for (key, value) in sysctls {
            self.sysctls.entry(key).or_insert(value);
        }
    }

    /// What of it exists, and is evenkeel's to remove.
    pub(super) fn existing(&self, live: &Live, record: &PriorState) -> Self {
        let mut part = self.clone();
        part.vips.retain(|binding, _| live.addresses.get(binding) == Some(&Owner::Evenkeel));
        part.host_objects.retain(|object, _| live.host_objects.get(object).is_some());
        part.sysctls.retain(|key, _| record.sysctls.contains_key(key));
        part
    }

    /// What of it evenkeel may change.
    pub(super) fn in_scope(mut self, desired: &Desired) -> Self {
        self.vips.retain(|binding, _| desired.governs_vip(binding));
        self.host_objects.retain(|object, _| desired.governs_host_object(object));
        self.sysctls.retain(|key, _| !desired.kept.sysctls.contains(recorded_key(key)));
        self
    }

    /// Adds it to a desired state, except for what that asks for itself.
    pub(super) fn add_to(&self, desired: &mut Desired) {
        let part = self.clone().in_scope(desired);
        for (binding, vip) in part.vips {
            desired.vips.entry(binding).or_insert(vip);
        }
        for (object, value) in part.host_objects {
            desired.host_objects.entry(object).or_insert(value);
        }
        for (key, value) in part.sysctls {
            desired.sysctls.entry(key).or_insert(value);
        }
    }

    /// Its objects.
    pub(super) fn objects(&self) -> impl Iterator<Item = Object> {
        let vips = self.vips.keys().cloned().map(Object::Vip);
        let host_objects = self.host_objects.keys().cloned().map(Object::Host);
        vips.chain(host_objects).chain(self.sysctls.keys().cloned().map(Object::Sysctl))
    }
}

impl LeavingPart {
    /// Returns the rest of its time; zero if it is over.
    pub fn left(&self, now: &ClockReading) -> Duration {
        let since = Duration::from_secs(now.wall_at(self.since, self.uptime));
        (since + Duration::from_secs(self.limit.0.into())).saturating_sub(now.wall)
    }

    /// Lists its objects.
    pub fn objects(&self) -> impl Iterator<Item = Object> {
        self.part.objects()
    }
}

fn values<K: Ord + Clone, V: Clone>(keys: &BTreeSet<K>, all: &BTreeMap<K, V>) -> BTreeMap<K, V> {
    let found = keys.iter().filter_map(|key| Some((key.clone(), all.get(key)?.clone())));
    found.collect()
}

/// Writes a map as a list of pairs: JSON has no maps with structured keys.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}
