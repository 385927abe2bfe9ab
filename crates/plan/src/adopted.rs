//! Adopted objects: they were live before evenkeel managed them, and a spec lists them.
//!
//! A spec that lists what is already there, as a snapshot does, creates nothing. An object that is
//! live when a spec first lists it belongs to another program: a teardown keeps it, and restores
//! what evenkeel changed of it to the value recorded here. Only objects that need this record are
//! in it: addresses carry their owner in the kernel, and the original values of sysctls are in
//! [`crate::PriorState`].

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{
    Desired, Live, NamedService, RealServerKey, RealServers, Service, ServiceKey, SyncDaemon,
    SyncState,
};
use serde::{Deserialize, Serialize};

use crate::{DrainRecords, Object, Op};

/// The adopted objects of a network namespace, each with its value at the time of adoption.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Adopted {
    /// The services, each with its adopted real servers in their order. A service that evenkeel
    /// created has no entry: its real servers cannot stay without it.
    pub services: BTreeMap<ServiceKey, Service>,
    /// The sync daemons.
    pub sync: BTreeMap<SyncState, SyncDaemon>,
}

/// What evenkeel already manages when a spec is activated, and so cannot adopt.
#[derive(Debug, Clone, Copy)]
pub struct Governed<'a> {
    /// The last applied spec; `None` where none is known.
    pub last: Option<&'a Desired>,
    /// The spec of an unfinished apply. What was there before that apply was adopted when it began;
    /// what is there in addition now was created by it.
    pub attempted: Option<&'a Desired>,
    /// The drains that evenkeel started.
    pub drains: &'a DrainRecords,
}

impl Governed<'_> {
    fn specs(&self) -> impl Iterator<Item = &Desired> {
        [self.last, self.attempted].into_iter().flatten()
    }

    fn service(&self, key: &ServiceKey) -> bool {
        self.specs().any(|spec| spec.services.contains_key(key))
            || self.drains.of_service(*key).next().is_some()
    }

    fn real_server(&self, service: &ServiceKey, key: &RealServerKey) -> bool {
        self.specs().any(|spec| {
            let named = spec.services.get(service);
            named.is_some_and(|named| named.service.real_servers.get(key).is_some())
        }) || self.drains.0.contains_key(&(*service, *key))
    }

    fn sync(&self, state: SyncState) -> bool {
        self.specs().any(|spec| spec.sync.as_ref().is_some_and(|sync| sync.contains_key(&state)))
    }
}

impl Adopted {
    /// Whether nothing is adopted.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.sync.is_empty()
    }

    /// Adopts what is live and listed by a spec that is about to be activated, unless evenkeel
    /// already manages it. The entry of an object that evenkeel manages keeps its value, which is
    /// the first one; any other entry is out of date and is dropped.
    pub fn adopt(&mut self, desired: &Desired, live: &Live, governed: Governed<'_>) {
        self.drop_ungoverned(governed, |_| true);
        self.adopt_listed(desired, live, governed);
        self.sync.retain(|state, _| governed.sync(*state));
        for state in desired.sync.iter().flat_map(BTreeMap::keys) {
            if let Some(daemon) = live.sync.get(state)
                && !governed.sync(*state)
            {
                self.sync.insert(*state, daemon.clone());
            }
        }
    }

    /// Adopts objects of these services only, for a spec of which only they are activated;
    /// `desired` lists no others.
    pub fn adopt_services(
        &mut self,
        services: &BTreeSet<ServiceKey>,
        desired: &Desired,
        live: &Live,
        governed: Governed<'_>,
    ) {
        self.drop_ungoverned(governed, |key| services.contains(key));
        self.adopt_listed(desired, live, governed);
    }

    /// Adopts a real server that is about to drain, with its service, if the last spec listed
    /// neither: it belongs to another program, and a teardown before the drain ends restores its
    /// weight.
    pub fn adopt_draining(
        &mut self,
        service: ServiceKey,
        key: RealServerKey,
        live: &Live,
        last: Option<&Desired>,
    ) {
        let listed = last.and_then(|last| last.services.get(&service));
        let is_listed = listed.is_some_and(|it| it.service.real_servers.get(&key).is_some());
        let Some(found) = live.services.get(&service).filter(|_| !is_listed) else { return };
        let Some(value) = found.real_servers.get(&key) else { return };
        if listed.is_none() {
            let new = || Service { config: found.config.clone(), real_servers: RealServers::new() };
            self.services.entry(service).or_insert_with(new);
        }
        if let Some(entry) = self.services.get_mut(&service)
            && entry.real_servers.get(&key).is_none()
        {
            entry.real_servers.insert(key, *value);
        }
    }

    /// Removes the entries of objects that the executed operations `done` deleted for good: if
    /// created again, they are evenkeel's. Objects that were deleted only to be added again keep
    /// their entries.
    pub fn forget_deleted<'a>(&mut self, done: impl IntoIterator<Item = &'a Op>) {
        if self.is_empty() {
            return;
        }
        let mut deleted = BTreeSet::new();
        for op in done {
            match op {
                Op::DeleteService { .. } | Op::DeleteRealServer { .. } | Op::DeleteSync { .. } => {
                    deleted.insert(op.object());
                }
                Op::AddService { .. } | Op::AddRealServer { .. } | Op::AddSync { .. } => {
                    deleted.remove(&op.object());
                }
                _ => {}
            }
        }
        for object in deleted {
            match object {
                Object::Service(key) => {
                    self.services.remove(&key);
                }
                Object::RealServer(service, key) => {
                    let service = self.services.get_mut(&service);
                    service.and_then(|service| service.real_servers.remove(&key));
                }
                Object::Sync(state) => {
                    self.sync.remove(&state);
                }
                _ => {}
            }
        }
    }

    fn drop_ungoverned(&mut self, governed: Governed<'_>, concerns: impl Fn(&ServiceKey) -> bool) {
        self.services.retain(|key, _| !concerns(key) || governed.service(key));
        for (key, service) in self.services.iter_mut().filter(|(key, _)| concerns(key)) {
            let all = service.real_servers.iter().map(|(real_server, _)| *real_server);
            let dropped: Vec<_> = all.filter(|it| !governed.real_server(key, it)).collect();
            for real_server in dropped {
                service.real_servers.remove(&real_server);
            }
        }
    }

    fn adopt_listed(&mut self, desired: &Desired, live: &Live, governed: Governed<'_>) {
        for (key, named) in &desired.services {
            let Some(found) = live.services.get(key) else { continue };
            let new =
                |entry: Option<&Service>| new_real_servers(key, named, found, entry, governed);
            match self.services.get_mut(key) {
                Some(entry) => {
                    for (real_server, value) in new(Some(entry)).in_order() {
                        entry.real_servers.insert(*real_server, *value);
                    }
                }
                None if governed.service(key) => {}
                None => {
                    let (config, real_servers) = (found.config.clone(), new(None));
                    self.services.insert(*key, Service { config, real_servers });
                }
            }
        }
    }
}

/// Returns the live real servers of an adopted service that this spec newly adopts.
fn new_real_servers(
    service: &ServiceKey,
    named: &NamedService,
    found: &Service,
    entry: Option<&Service>,
    governed: Governed<'_>,
) -> RealServers {
    let is_listed = |key: &RealServerKey| named.service.real_servers.get(key).is_some();
    let is_known = |key: &RealServerKey| {
        entry.is_some_and(|entry| entry.real_servers.get(key).is_some())
            || governed.real_server(service, key)
    };
    let all = found.real_servers.in_order().filter(|(key, _)| is_listed(key) && !is_known(key));
    all.map(|(key, value)| (*key, *value)).collect()
}

/// The serialized form: JSON has no maps with structured keys.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    services: Vec<Entry>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    sync: BTreeMap<SyncState, SyncDaemon>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    service: ServiceKey,
    found: Service,
}

impl From<Written> for Adopted {
    fn from(Written { services, sync }: Written) -> Self {
        let services = services.into_iter().map(|Entry { service, found }| (service, found));
        Self { services: services.collect(), sync }
    }
}

impl From<Adopted> for Written {
    fn from(Adopted { services, sync }: Adopted) -> Self {
        let services = services.into_iter().map(|(service, found)| Entry { service, found });
        Self { services: services.collect(), sync }
    }
}

#[cfg(test)]
mod tests;
