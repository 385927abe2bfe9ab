//! Tells for each step what it means for connections that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_model::statistics::Statistics;
use evenkeel_model::{
    Forward, Live, RealServer, RealServerKey, Scheduler, ServiceConfig, ServiceKey, SyncState,
};

use crate::in_force::InForce;
use crate::{Drains, Effect, Impact, Inputs, Op, canonical};

/// The impacts of steps by their places; a step that is not there touches no connection.
pub(crate) fn impacts(inputs: &Inputs<'_>, steps: &[Op]) -> BTreeMap<usize, Impact> {
    let around = Around::new(inputs, steps);
    let found = steps.iter().enumerate().filter_map(|(place, op)| {
        let next = steps.get(place + 1);
        Some((place, around.impact(op, next)?))
    });
    found.collect()
}

/// The addresses that the host no longer has after those steps, each with the place of the last
/// step that unbinds it.
pub(crate) fn vanishing(live: &Live, steps: &[Op]) -> BTreeMap<IpAddr, usize> {
    let mut left: BTreeMap<IpAddr, isize> = BTreeMap::new();
    let mut last = BTreeMap::new();
    for (place, op) in steps.iter().enumerate() {
        match op {
            Op::Bind { binding } => *left.entry(binding.address).or_default() += 1,
            Op::Unbind { binding } => {
                *left.entry(binding.address).or_default() -= 1;
                last.insert(binding.address, place);
            }
            _ => {}
        }
    }
    for binding in live.addresses.keys() {
        if let Some(number) = left.get_mut(&binding.address) {
            *number += 1;
        }
    }
    last.retain(|address, _| left.get(address).is_none_or(|number| *number <= 0));
    last
}

/// How many connections need a service, or one of its real servers; `None` where they were not
/// counted.
pub(crate) fn open(
    statistics: Option<&Statistics>,
    service: &ServiceKey,
    real_server: Option<&RealServerKey>,
) -> Option<u64> {
    let all = &statistics?.services.get(service)?.real_servers;
    match real_server {
        Some(key) => Some(all.get(key)?.open(service)),
        None => Some(all.values().map(|counted| counted.open(service)).sum()),
    }
}

/// What several steps say together.
struct Around<'a> {
    live: &'a Live,
    statistics: Option<&'a Statistics>,
    drains: &'a Drains,
    in_force: InForce,
    /// Services as they are edited, which is before anything drains.
    edited: BTreeMap<ServiceKey, &'a ServiceConfig>,
    draining: BTreeSet<(ServiceKey, RealServerKey)>,
    /// Services that go, with all their real servers drained before or none.
    leaving: BTreeSet<ServiceKey>,
    started: BTreeSet<SyncState>,
    vanishing: BTreeSet<IpAddr>,
}

impl<'a> Around<'a> {
    fn new(inputs: &Inputs<'a>, steps: &'a [Op]) -> Self {
        let Inputs { live, record, statistics, desired: _, last: _, cut_off: _ } = *inputs;
        let mut around = Self {
            live,
            statistics,
            drains: &record.drains,
            in_force: InForce::new(live, steps),
            edited: BTreeMap::new(),
            draining: BTreeSet::new(),
            leaving: BTreeSet::new(),
            started: BTreeSet::new(),
            vanishing: vanishing(live, steps).into_keys().collect(),
        };
        for op in steps {
            match op {
                Op::EditService { key, after, .. } => {
                    around.edited.insert(*key, after);
                }
                Op::DrainRealServer { service, key, .. } => {
                    around.draining.insert((*service, *key));
                }
                Op::DeleteService { key, .. } => {
                    around.leaving.insert(*key);
                }
                Op::AddSync { state, .. } => {
                    around.started.insert(*state);
                }
                _ => {}
            }
        }
        around
    }

    fn impact(&self, op: &Op, next: Option<&Op>) -> Option<Impact> {
        let of = |effect, service: &ServiceKey, key: Option<&RealServerKey>| Impact {
            effect,
            connections: open(self.statistics, service, key),
            is_persistent: self.config(service).is_some_and(|it| it.persistence.is_some()),
            in_force: self.in_force,
        };
        Some(match op {
            Op::AddModule { .. }
            | Op::EditSysctl { .. }
            | Op::AddSync { .. }
            | Op::AddDummy { .. }
            | Op::DeleteDummy { .. }
            | Op::AddService { .. }
            | Op::AddRealServer { .. }
            | Op::Bind { .. } => return None,
            Op::EditTimeouts { .. } => self.everywhere(Effect::Retimed),
            Op::DeleteSync { state, .. } => {
                let comes_back = self.started.contains(state);
                self.everywhere(Effect::Uncopied { state: *state, comes_back })
            }
            Op::EditService { key, before, after } => of(edit(before, after), key, None),
            Op::EditRealServer { service, key, before, after } => {
                of(real_server_edit(before, after), service, Some(key))
            }
            Op::DrainRealServer { service, key, limit, .. } => {
                let is_begun = self.drains.0.contains_key(&(*service, *key));
                of(Effect::Drain { limit: *limit, is_begun }, service, Some(key))
            }
            Op::DeleteRealServer { service, key, .. } => {
                let is_added_again = matches!(
                    next, Some(Op::AddRealServer { service: again, key: it, .. })
                        if again == service && it == key
                );
                let effect = if is_added_again {
                    Effect::Interrupted
                } else if self.draining.contains(&(*service, *key)) {
                    Effect::Drained
                } else {
                    Effect::Break { held_by: self.held_by(service) }
                };
                of(effect, service, Some(key))
            }
            Op::DeleteService { key, before } => {
                let drained = |(real_server, _): (&RealServerKey, &RealServer)| {
                    self.draining.contains(&(*key, *real_server))
                };
                let effect = if before.real_servers.is_empty() {
                    Effect::Stay
                } else if before.real_servers.iter().all(drained) {
                    Effect::Drained
                } else {
                    Effect::Break { held_by: self.held_by(key) }
                };
                of(effect, key, None)
            }
            Op::Unbind { binding } => self.unbinding(binding.address),
        })
    }

    fn everywhere(&self, effect: Effect) -> Impact {
        Impact { effect, connections: None, is_persistent: false, in_force: self.in_force }
    }

    /// What becomes of the connections that come in by an address.
    fn unbinding(&self, address: IpAddr) -> Impact {
        if !self.vanishing.contains(&address) {
            return self.everywhere(Effect::Stay);
        }
        let on_it = self.live.services.keys().filter(|key| key.vip() == Some(address));
        let cut: Vec<&ServiceKey> = on_it.filter(|key| !self.drains_away(key)).collect();
        let counted: Option<u64> = cut.iter().map(|key| open(self.statistics, key, None)).sum();
        let effect = if cut.is_empty() { Effect::Drained } else { Effect::CutOff };
        Impact { connections: counted, ..self.everywhere(effect) }
    }

    /// Whether all connections of a service are given time to end before it goes.
    fn drains_away(&self, key: &ServiceKey) -> bool {
        let Some(service) = self.live.services.get(key) else {
            return true;
        };
        let mut all = service.real_servers.iter();
        self.leaving.contains(key)
            && all.all(|(real_server, _)| self.draining.contains(&(*key, *real_server)))
    }

    /// The configuration that a service has when anything of it drains or is deleted.
    fn config(&self, key: &ServiceKey) -> Option<&'a ServiceConfig> {
        let live = || self.live.services.get(key).map(|service| &service.config);
        self.edited.get(key).copied().or_else(live)
    }

    fn held_by(&self, key: &ServiceKey) -> Option<Scheduler> {
        let config = self.config(key)?;
        let refuses = config.scheduler.refuses_clients_of_drained(config.scheduler_flags);
        refuses.then_some(config.scheduler)
    }
}

fn edit(before: &ServiceConfig, after: &ServiceConfig) -> Effect {
    // From no scheduler to one there is nothing to be without.
    let gap = before.scheduler != after.scheduler && before.scheduler != Scheduler::none();
    // Entries are found by the masked address, or by what the engine makes of a packet.
    let netmask = |config: &ServiceConfig| config.persistence.map(|it| it.netmask);
    let same_entries = netmask(before) == netmask(after) && before.engine == after.engine;
    let forgets = before.persistence.is_some() && !same_entries;
    if gap || forgets { Effect::Rescheduled { gap, forgets } } else { Effect::Stay }
}

fn real_server_edit(before: &RealServer, after: &RealServer) -> Effect {
    let forward = |it: &RealServer| canonical::real_server(*it).forward;
    match (forward(before), forward(after)) {
        (Forward::Tun(one), Forward::Tun(other)) if one != other => Effect::Rewrapped,
        (one, other) if one != other => Effect::KeepForward,
        _ if after.weight == 0 && before.weight > 0 => Effect::Quiesced,
        _ => Effect::Stay,
    }
}
