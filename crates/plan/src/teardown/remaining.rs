//! Determines what a teardown leaves on a host, and which values it restores.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{
    Desired, Drain, Ignore, IgnoredField, LeftScope, Live, NamedService, OverlayEffect, RealServer,
    RealServerKey, RealServers, Scope, Service, ServiceConfig, ServiceKey, SyncDaemon, SyncState,
};

use crate::resource::real_server::IgnoredFields;
use crate::resource::service::leave_config;
use crate::{Adopted, DrainRecords, Object, OverlayRecords, canonical};

/// The inputs that decide what a teardown leaves.
#[derive(Debug, Clone, Copy)]
pub struct TeardownInputs<'a> {
    /// The last applied spec; `None` keeps all services.
    pub last: Option<&'a Desired>,
    /// The spec of an unfinished apply. Objects that it may have created are deleted only if they
    /// are exactly as that spec asks.
    pub attempted: Option<&'a Desired>,
    /// The live state as read from the kernel.
    pub live: &'a Live,
    /// The drains that were started and have not ended.
    pub drains: &'a DrainRecords,
    /// The real servers that overlays hold.
    pub overlaid: &'a OverlayRecords,
    /// What left the scope and is to be removed.
    pub removed: &'a LeftScope,
    /// The adopted objects, which stay; empty if they should be deleted too.
    pub adopted: &'a Adopted,
}

/// The state that a teardown leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remaining {
    /// The desired state of the plan ([`super::teardown`]).
    pub desired: Desired,
    /// The adopted objects in it, for reports.
    pub stays: Stays,
}

/// The adopted objects that a teardown leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stays {
    /// Services, in the order of their keys.
    pub services: Vec<StayingService>,
    /// Sync daemons.
    pub sync: BTreeSet<SyncState>,
    /// Objects that have neither their value from before nor one of evenkeel: another program
    /// changed them, and they keep their value.
    pub changed: BTreeSet<Object>,
}

/// An adopted service that stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StayingService {
    /// The service.
    pub key: ServiceKey,
    /// The number of its real servers that are adopted and stay with it.
    pub real_servers: usize,
}

/// Returns the state to leave, as the desired state of a plan: the live services that the last
/// applied spec does not list, the adopted ones with their values from before, and the sync daemons
/// that are adopted or differ from the spec.
pub fn remaining(inputs: TeardownInputs<'_>) -> Remaining {
    let TeardownInputs { last, live, .. } = inputs;
    let mut stays = Stays::default();
    let mut services = BTreeMap::new();
    for (key, service) in &live.services {
        if let Some(named) = inputs.service(key, service, &mut stays) {
            services.insert(*key, named);
        }
    }
    let desired = Desired {
        scope: last.map_or(Scope::All, |last| last.scope.clone()),
        services,
        sync: inputs.sync(&mut stays),
        // A teardown deletes all devices of evenkeel that are empty.
        removed: LeftScope { dummies: BTreeSet::new(), ..inputs.removed.clone() },
        guards: last.map(|last| last.guards).unwrap_or_default(),
        drain: last.map(|last| last.drain).unwrap_or_default(),
        ..Desired::default()
    };
    Remaining { desired, stays }
}

/// Returns the service unchanged, with a placeholder as its name.
pub(super) fn unlisted(service: &Service) -> NamedService {
    NamedService::new("unlisted", service.clone())
}

/// An adopted service, with what decides about its real servers.
struct Kept<'a> {
    key: &'a ServiceKey,
    /// Its value at the time of adoption.
    found: &'a Service,
    /// Its value in the last applied spec; `None` if that does not list it.
    last: Option<&'a NamedService>,
    /// Its value in the spec of the unfinished apply.
    attempted: Option<&'a NamedService>,
    /// The fields that are left to other programs.
    ignore: Ignore,
    drains: &'a DrainRecords,
    overlaid: &'a OverlayRecords,
}

impl<'a> TeardownInputs<'a> {
    fn specs(&self) -> impl Iterator<Item = &'a Desired> {
        [self.last, self.attempted].into_iter().flatten()
    }

    /// Returns the remaining value of a live service; `None` if it is deleted.
    fn service(&self, key: &ServiceKey, live: &Service, stays: &mut Stays) -> Option<NamedService> {
        let of = |spec: Option<&'a Desired>| spec.and_then(|spec| spec.services.get(key));
        if self.removed.services.contains(key) {
            return None;
        }
        let (last, attempted) = (of(self.last), of(self.attempted));
        let drain = drain_limit(key, live, self.drains);
        match self.adopted.services.get(key) {
            // If it stayed, its real servers would keep weight 0 forever.
            None if last.is_some() || (self.last.is_some() && drain.is_some()) => None,
            None if attempted.is_some_and(|asked| is_made_by(asked, live)) => None,
            None => Some(unlisted(live)),
            // No spec lists it any more.
            Some(_) if last.is_none() && attempted.is_none() && drain.is_none() => {
                Some(unlisted(live))
            }
            Some(found) => {
                let ignore = last.or(attempted).map_or(Ignore::NOTHING, |named| named.ignore);
                let Self { drains, overlaid, .. } = *self;
                let kept = Kept { key, found, last, attempted, ignore, drains, overlaid };
                Some(kept.named(live, drain, stays))
            }
        }
    }

    /// Returns the sync daemons to leave; `None` if no spec sets any.
    fn sync(&self, stays: &mut Stays) -> Option<BTreeMap<SyncState, SyncDaemon>> {
        let asked: Vec<_> = self.specs().filter_map(|spec| spec.sync.as_ref()).collect();
        if asked.is_empty() {
            return None;
        }
        let mut left = self.live.sync.clone();
        left.retain(|state, daemon| {
            let is_made =
                asked.iter().any(|all| all.get(state).is_some_and(|it| it.is_met_by(daemon)));
            let Some(found) = self.adopted.sync.get(state) else { return !is_made };
            stays.sync.insert(*state);
            if is_made {
                daemon.clone_from(found);
            } else if !found.is_met_by(daemon) {
                stays.changed.insert(Object::Sync(*state));
            }
            true
        });
        Some(left)
    }
}

impl<'a> Kept<'a> {
    fn asked(&self) -> impl Iterator<Item = &'a NamedService> {
        self.last.into_iter().chain(self.attempted)
    }

    /// Returns the remaining value of the service; `drain` is the maximum duration of its drain, if
    /// it drains as a whole.
    fn named(&self, live: &Service, drain: Option<Drain>, stays: &mut Stays) -> NamedService {
        let mut real_servers = Vec::new();
        let is_found = |key: &RealServerKey| self.found.real_servers.get(key).is_some();
        // In their earlier order, for services whose order evenkeel keeps.
        for (key, found) in self.found.real_servers.in_order() {
            if let Some(now) = live.real_servers.get(key) {
                real_servers.push((*key, self.real_server(key, *found, *now, stays)));
            }
        }
        let staying = StayingService { key: *self.key, real_servers: real_servers.len() };
        stays.services.push(staying);
        let others = live.real_servers.in_order().filter(|(key, _)| !is_found(key));
        real_servers.extend(
            others.filter(|(key, now)| !self.is_evenkeels(key, now)).map(|(key, now)| (*key, *now)),
        );
        let config = self.config(&live.config, stays);
        let real_servers: RealServers = real_servers.into_iter().collect();
        let service = Service { config, real_servers };
        let Some(asked) = self.asked().next() else {
            return NamedService { drain: drain.unwrap_or_default(), ..unlisted(&service) };
        };
        NamedService {
            name: asked.name.clone(),
            ignore: Ignore::NOTHING,
            canonical_order: asked.canonical_order,
            drain: asked.drain,
            // What leaves is not checked.
            health: None,
            service,
        }
    }

    fn config(&self, live: &ServiceConfig, stays: &mut Stays) -> ServiceConfig {
        // While it drains, no other program is expected to change it.
        let is_made = self.asked().next().is_none()
            || self.asked().any(|named| {
                leave_config(named.ignore, named.service.config.clone(), live) == *live
            });
        let back = leave_config(self.ignore, self.found.config.clone(), live);
        if !is_made && back != *live {
            stays.changed.insert(Object::Service(*self.key));
            return live.clone();
        }
        back
    }

    /// Returns the remaining value of an adopted real server.
    fn real_server(
        &self,
        key: &RealServerKey,
        found: RealServer,
        now: RealServer,
        stays: &mut Stays,
    ) -> RealServer {
        let (found, now) = (canonical::real_server(found), canonical::real_server(now));
        let drained = self.drains.0.get(&(*self.key, *key)).map(|draining| draining.weight);
        let is_draining = drained.is_some() && now.weight == 0;
        let overlaid = self.overlaid.0.get(&(*self.key, *key)).copied();
        let is_held = overlaid.is_some_and(|it| it.effect == OverlayEffect::Weight(now.weight));
        let is_made = is_draining || is_held || self.is_made(key, now);
        let back = IgnoredFields { ignore: self.ignore, drained, overlay: None, overlaid };
        let back = back.over(found, now);
        if !is_made && back != now {
            stays.changed.insert(Object::RealServer(*self.key, *key));
            return now;
        }
        back
    }

    /// Whether evenkeel added a real server that is not adopted, or drains it.
    fn is_evenkeels(&self, key: &RealServerKey, now: &RealServer) -> bool {
        let lists = |named: &NamedService| named.service.real_servers.get(key).is_some();
        let is_theirs = self.ignore.contains(IgnoredField::RealServers);
        let is_listed =
            || self.last.is_some_and(lists) || self.is_made(key, canonical::real_server(*now));
        self.drains.0.contains_key(&(*self.key, *key)) || !is_theirs && is_listed()
    }

    /// Whether a spec lists the real server and asks for that value.
    fn is_made(&self, key: &RealServerKey, now: RealServer) -> bool {
        self.asked().any(|named| real_server_is_made_by(named, key, now))
    }
}

fn real_server_is_made_by(named: &NamedService, key: &RealServerKey, now: RealServer) -> bool {
    let Some(asked) = named.service.real_servers.get(key) else { return false };
    let left = IgnoredFields { ignore: named.ignore, drained: None, overlay: None, overlaid: None };
    left.over(canonical::real_server(*asked), now) == now
}

/// Whether a service could have been created by a spec: everything in it is as the spec asks.
fn is_made_by(named: &NamedService, live: &Service) -> bool {
    leave_config(named.ignore, named.service.config.clone(), &live.config) == live.config
        && live
            .real_servers
            .iter()
            .all(|(key, now)| real_server_is_made_by(named, key, canonical::real_server(*now)))
}

/// Returns the maximum duration of the drain of a service, if evenkeel drains all of its real
/// servers.
fn drain_limit(service: &ServiceKey, live: &Service, drains: &DrainRecords) -> Option<Drain> {
    let all = live.real_servers.iter().map(|(key, _)| drains.0.get(&(*service, *key)));
    let all: Option<Vec<Drain>> = all.map(|draining| Some(draining?.limit)).collect();
    all?.into_iter().max()
}
