//! Determines the impact of each step on existing connections.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_model::statistics::Statistics;
use evenkeel_model::{
    Binding, Family, Live, RealServerKey, Scheduler, ServiceConfig, ServiceKey, SyncState,
};

use crate::connection_sysctls::ConnectionSysctls;
use crate::{DrainRecords, Effect, Impact, Inputs, Op};

/// Returns the impacts by the index of the step; a step without an entry affects no connections.
pub(crate) fn impacts(inputs: &Inputs<'_>, steps: &[Op]) -> BTreeMap<usize, Impact> {
    let context = AnalysisContext::new(inputs, steps);
    let found = steps.iter().enumerate().filter_map(|(place, op)| {
        let next = steps.get(place + 1);
        Some((place, op.impact(&context, next)?))
    });
    found.collect()
}

/// Returns the addresses that those steps remove from the host entirely.
pub(crate) fn vanishing(live: &Live, steps: &[Op]) -> BTreeSet<IpAddr> {
    let unbound: BTreeSet<&Binding> = steps
        .iter()
        .filter_map(|op| match op {
            Op::Unbind { binding, .. } => Some(binding),
            _ => None,
        })
        .collect();
    let mut gone: BTreeSet<IpAddr> = unbound.iter().map(|binding| binding.address).collect();
    if gone.is_empty() {
        return gone;
    }
    for op in steps {
        if let Op::Bind { binding, .. } = op {
            gone.remove(&binding.address);
        }
    }
    for binding in live.addresses.keys().filter(|binding| !unbound.contains(binding)) {
        gone.remove(&binding.address);
    }
    gone
}

/// Returns the addresses that those steps unbind and bind again at once, with another label.
pub(crate) fn rebound(live: &Live, steps: &[Op]) -> BTreeSet<IpAddr> {
    let unbound: BTreeSet<&Binding> = steps
        .iter()
        .filter_map(|op| match op {
            Op::Unbind { binding, .. } => Some(binding),
            _ => None,
        })
        .collect();
    if unbound.is_empty() {
        return BTreeSet::new();
    }
    let again = steps.iter().filter_map(|op| match op {
        Op::Bind { binding, .. } if unbound.contains(binding) => Some(binding.address),
        _ => None,
    });
    let mut rebound: BTreeSet<IpAddr> = again.collect();
    for binding in live.addresses.keys().filter(|binding| !unbound.contains(binding)) {
        rebound.remove(&binding.address);
    }
    rebound
}

/// Returns the live services that are deleted after all their real servers have drained.
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

/// Returns the live fwmark services whose packets may arrive at that address: all of its family, as
/// the address of a packet is known only per connection.
pub(crate) fn marked(live: &Live, address: IpAddr) -> impl Iterator<Item = &ServiceKey> {
    live.marked_services(address).map(|(key, _)| key)
}

/// Returns the number of connections that need a service, or one of its real servers; `None` if
/// they were not counted.
pub(crate) fn open(
    statistics: Option<&Statistics>,
    service: &ServiceKey,
    real_server: Option<&RealServerKey>,
) -> Option<u64> {
    #[cfg(test)]
    LOOKUPS.set(LOOKUPS.get() + 1);
    let all = &statistics?.services.get(service)?.real_servers;
    match real_server {
        Some(key) => Some(all.get(key)?.open(service)),
        None => Some(all.values().map(|counted| counted.open(service)).sum()),
    }
}

/// The facts that several steps determine together.
pub(crate) struct AnalysisContext<'a> {
    live: &'a Live,
    statistics: Option<&'a Statistics>,
    pub(crate) drains: &'a DrainRecords,
    connection_sysctls: ConnectionSysctls,
    /// Services after their edits, which precede all drains.
    edited: BTreeMap<ServiceKey, &'a ServiceConfig>,
    pub(crate) draining: BTreeSet<(ServiceKey, RealServerKey)>,
    /// Services that are deleted after all their real servers have drained.
    pub(crate) drained: BTreeSet<ServiceKey>,
    pub(crate) started: BTreeSet<SyncState>,
    vanishing: BTreeSet<IpAddr>,
    rebound: BTreeSet<IpAddr>,
    /// The fwmark services, by their family: every VIP without a service of its own has the same.
    marked: BTreeMap<Family, VipUsers>,
}

/// The services whose packets arrive at a VIP.
#[derive(Debug, Clone, Copy)]
struct VipUsers {
    /// Those that have drained before.
    drained: ServiceGroup,
    /// The others.
    cut: ServiceGroup,
}

impl VipUsers {
    fn new<'k>(
        keys: impl Iterator<Item = &'k ServiceKey>,
        drained: &BTreeSet<ServiceKey>,
        statistics: Option<&Statistics>,
    ) -> Self {
        let mut users = Self { drained: ServiceGroup::NONE, cut: ServiceGroup::NONE };
        for key in keys {
            let group = if drained.contains(key) { &mut users.drained } else { &mut users.cut };
            group.number += 1;
            group.connections = sum(group.connections, open(statistics, key, None));
        }
        users
    }

    fn is_empty(self) -> bool {
        self.drained.number == 0 && self.cut.number == 0
    }
}

/// Some services together.
#[derive(Debug, Clone, Copy)]
struct ServiceGroup {
    number: usize,
    /// `None` if those of one of them were not counted.
    connections: Option<u64>,
}

impl ServiceGroup {
    const NONE: Self = Self { number: 0, connections: Some(0) };
}

fn sum(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    Some(one? + other?)
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
            rebound: rebound(live, steps),
            marked: BTreeMap::new(),
        };
        let unbound = || context.vanishing.iter().chain(&context.rebound).copied();
        let families: BTreeMap<Family, IpAddr> = unbound().map(|it| (it.into(), it)).collect();
        let marked = families.into_iter().map(|(family, address)| {
            let users = VipUsers::new(marked(live, address), &context.drained, statistics);
            (family, users)
        });
        context.marked = marked.collect();
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

    /// Returns the impact on the connections of a service, or of one of its real servers.
    pub(crate) fn impact_on(
        &self,
        effect: Effect,
        service: &ServiceKey,
        real_server: Option<&RealServerKey>,
    ) -> Impact {
        Impact {
            effect,
            connections: open(self.statistics, service, real_server),
            is_persistent: self.config(service).is_some_and(|it| it.persistence.is_some()),
            connection_sysctls: self.connection_sysctls,
        }
    }

    /// Returns an impact on connections that are not counted.
    pub(crate) fn everywhere(&self, effect: Effect) -> Impact {
        Impact {
            effect,
            connections: None,
            is_persistent: false,
            connection_sysctls: self.connection_sysctls,
        }
    }

    /// Returns the impact of unbinding an address.
    pub(crate) fn unbinding(&self, binding: &Binding) -> Impact {
        let address = binding.address;
        let is_rebound = self.rebound.contains(&address);
        if !is_rebound && !self.vanishing.contains(&address) {
            return self.everywhere(Effect::Stay);
        }
        let on_it = self.live.services_on(address).map(|(key, _)| key);
        let mut users = VipUsers::new(on_it, &self.drained, self.statistics);
        // A VIP without a service of its own exists for the packets of fwmark services.
        let mut marked = false;
        if users.is_empty()
            && let Some(all) = self.marked.get(&address.into()).filter(|all| !all.is_empty())
        {
            (users, marked) = (*all, true);
        }
        let VipUsers { drained, cut } = users;
        if is_rebound {
            let connections = sum(drained.connections, cut.connections);
            return Impact { connections, ..self.everywhere(Effect::Rebound { marked }) };
        }
        let (is_drained, concerned) = match cut.number {
            0 => (drained.number > 0, drained),
            _ => (false, cut),
        };
        let effect = Effect::CutOff { drained: is_drained, marked };
        Impact { connections: concerned.connections, ..self.everywhere(effect) }
    }

    /// Returns the configuration of a service at the time of its drains and its deletion.
    fn config(&self, key: &ServiceKey) -> Option<&'a ServiceConfig> {
        let live = || self.live.services.get(key).map(|service| &service.config);
        self.edited.get(key).copied().or_else(live)
    }

    /// Returns the scheduler of a service if it refuses the clients of a real server at weight 0.
    pub(crate) fn held_by(&self, key: &ServiceKey) -> Option<Scheduler> {
        let config = self.config(key)?;
        let refuses = config.scheduler.refuses_clients_of_drained(config.scheduler_flags);
        refuses.then_some(config.scheduler)
    }
}

#[cfg(test)]
thread_local! {
    /// How often [`open`] was called.
    static LOOKUPS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod counted;
#[cfg(test)]
mod tests;
