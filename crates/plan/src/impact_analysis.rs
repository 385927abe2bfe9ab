//! Tells for each step what it means for connections that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_model::statistics::Statistics;
use evenkeel_model::{
    Binding, Forward, Live, RealServer, RealServerKey, Scheduler, ServiceConfig, ServiceKey,
    SyncState,
};

use crate::connection_sysctls::ConnectionSysctls;
use crate::{DrainRecords, Effect, Impact, Inputs, Op, canonical};

/// The impacts of steps by their places; a step that is not there touches no connection.
pub(crate) fn impacts(inputs: &Inputs<'_>, steps: &[Op]) -> BTreeMap<usize, Impact> {
    let context = AnalysisContext::new(inputs, steps);
    let found = steps.iter().enumerate().filter_map(|(place, op)| {
        let next = steps.get(place + 1);
        Some((place, context.impact(op, next)?))
    });
    found.collect()
}

/// The addresses that those steps take from the host altogether.
pub(crate) fn vanishing(live: &Live, steps: &[Op]) -> BTreeSet<IpAddr> {
    let unbound: BTreeSet<&Binding> = steps
        .iter()
        .filter_map(|op| match op {
            Op::Unbind { binding } => Some(binding),
            _ => None,
        })
        .collect();
    let mut gone: BTreeSet<IpAddr> = unbound.iter().map(|binding| binding.address).collect();
    if gone.is_empty() {
        return gone;
    }
    for op in steps {
        if let Op::Bind { binding } = op {
            gone.remove(&binding.address);
        }
    }
    for binding in live.addresses.keys().filter(|binding| !unbound.contains(binding)) {
        gone.remove(&binding.address);
    }
    gone
}

/// The live services that go with all connections having been given time to end.
pub(crate) fn drained_services(live: &Live, steps: &[Op]) -> BTreeSet<ServiceKey> {
    let mut draining: BTreeMap<ServiceKey, usize> = BTreeMap::new();
    for op in steps {
        if let Op::DrainRealServer { service, .. } = op {
            *draining.entry(*service).or_default() += 1;
        }
    }
    let drains = |key: &ServiceKey| {
        let all = live.services.get(key).map_or(0, |service| service.real_servers.len());
        draining.get(key).copied().unwrap_or(0) == all
    };
    let deleted = steps.iter().filter(|op| matches!(op, Op::DeleteService { .. }));
    deleted.filter_map(Op::service).filter(drains).collect()
}

/// The live fwmark services whose packets may come in by that address: all of its family, for which
/// address a packet had is known only connection by connection.
pub(crate) fn marked(live: &Live, address: IpAddr) -> impl Iterator<Item = &ServiceKey> {
    live.services.keys().filter(move |key| key.is_marked_in(address))
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
struct AnalysisContext<'a> {
    live: &'a Live,
    statistics: Option<&'a Statistics>,
    drains: &'a DrainRecords,
    connection_sysctls: ConnectionSysctls,
    /// Services as they are edited, which is before anything drains.
    edited: BTreeMap<ServiceKey, &'a ServiceConfig>,
    draining: BTreeSet<(ServiceKey, RealServerKey)>,
    /// Services that go when all their real servers have drained.
    drained: BTreeSet<ServiceKey>,
    started: BTreeSet<SyncState>,
    vanishing: BTreeSet<IpAddr>,
}

impl<'a> AnalysisContext<'a> {
    fn new(inputs: &Inputs<'a>, steps: &'a [Op]) -> Self {
        let Inputs { live, record, statistics, .. } = *inputs;
        let mut context = Self {
            live,
            statistics,
            drains: &record.drains,
            connection_sysctls: ConnectionSysctls::new(live, steps),
            edited: BTreeMap::new(),
            draining: BTreeSet::new(),
            drained: drained_services(live, steps),
            started: BTreeSet::new(),
            vanishing: vanishing(live, steps),
        };
        for op in steps {
            match op {
                Op::EditService { key, after, .. } => {
                    context.edited.insert(*key, after);
                }
                Op::DrainRealServer { service, key, .. } => {
                    context.draining.insert((*service, *key));
                }
                Op::AddSync { state, .. } => {
                    context.started.insert(*state);
                }
                _ => {}
            }
        }
        context
    }

    fn impact(&self, op: &Op, next: Option<&Op>) -> Option<Impact> {
        let of = |effect, service: &ServiceKey, key: Option<&RealServerKey>| Impact {
            effect,
            connections: open(self.statistics, service, key),
            is_persistent: self.config(service).is_some_and(|it| it.persistence.is_some()),
            connection_sysctls: self.connection_sysctls,
        };
        Some(match op {
            Op::AddModule { .. }
            | Op::EditSysctl { .. }
            | Op::AddSync { .. }
            | Op::AddDummy { .. }
            | Op::EditDummy { .. }
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
                of(Effect::Drain { limit: *limit, is_begun, left: None }, service, Some(key))
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
                let effect = if before.real_servers.is_empty() {
                    Effect::Stay
                } else if self.drained.contains(key) {
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
        Impact {
            effect,
            connections: None,
            is_persistent: false,
            connection_sysctls: self.connection_sysctls,
        }
    }

    /// What becomes of the connections that come in by an address.
    fn unbinding(&self, address: IpAddr) -> Impact {
        if !self.vanishing.contains(&address) {
            return self.everywhere(Effect::Stay);
        }
        let mut on_it: Vec<&ServiceKey> =
            self.live.services.keys().filter(|key| key.vip() == Some(address)).collect();
        // A VIP without a service of its own is there for the packets of fwmark services.
        let marked = on_it.is_empty();
        if marked {
            on_it.extend(self::marked(self.live, address));
        }
        let (drained, cut): (Vec<&ServiceKey>, Vec<_>) =
            on_it.into_iter().partition(|key| self.drained.contains(key));
        let marked = marked && !(drained.is_empty() && cut.is_empty());
        let (effect, concerned) = match cut.is_empty() {
            true => (Effect::CutOff { drained: !drained.is_empty(), marked }, drained),
            false => (Effect::CutOff { drained: false, marked }, cut),
        };
        let counted = concerned.iter().map(|key| open(self.statistics, key, None)).sum();
        Impact { connections: counted, ..self.everywhere(effect) }
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

#[cfg(test)]
mod tests;
