//! Determines the impact of each step on existing connections.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_model::statistics::Statistics;
use evenkeel_model::{
    Binding, Live, RealServerKey, Scheduler, ServiceConfig, ServiceKey, SyncState,
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
        let mut on_it: Vec<&ServiceKey> =
            self.live.services_on(address).map(|(key, _)| key).collect();
        // A VIP without a service of its own exists for the packets of fwmark services.
        let marked = on_it.is_empty();
        if marked {
            on_it.extend(self::marked(self.live, address));
        }
        let (drained, cut): (Vec<&ServiceKey>, Vec<_>) =
            on_it.into_iter().partition(|key| self.drained.contains(key));
        let marked = marked && !(drained.is_empty() && cut.is_empty());
        if is_rebound {
            let concerned = drained.iter().chain(&cut);
            let counted = concerned.map(|key| open(self.statistics, key, None)).sum();
            return Impact { connections: counted, ..self.everywhere(Effect::Rebound { marked }) };
        }
        let (effect, concerned) = match cut.is_empty() {
            true => (Effect::CutOff { drained: !drained.is_empty(), marked }, drained),
            false => (Effect::CutOff { drained: false, marked }, cut),
        };
        let counted = concerned.iter().map(|key| open(self.statistics, key, None)).sum();
        Impact { connections: counted, ..self.everywhere(effect) }
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
mod tests;
