//! Finds the objects that differ, service by service in the order of their keys, and within a
//! service first those of the spec in its order. [`crate::order`] makes a plan of that.
//!
//! What leaves drains first: a real server, or all of them with their service, gets weight 0 by a
//! step of its own, and its deletion is of the value after that. A real server that is deleted
//! only to be added again does not drain: it has its connections back at once.

use std::collections::BTreeSet;

use evenkeel_model::{
    Binding, Desired, Drain, Ignore, IgnoredField, Live, Named, Owner, RealServer, RealServerKey,
    RealServers, Service, ServiceConfig, ServiceKey,
};

use crate::{Drains, Inputs, Op, canonical, plan::Unchanged};

/// The operations that close the difference, the objects that need none, and how many services
/// are out of scope.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    /// Services that are added, each followed by its real servers.
    pub(crate) added: Vec<Op>,
    /// Real servers that are deleted and added again, each followed by its addition, and the ones
    /// added between them, for services in `canonical_order`.
    pub(crate) readded: Vec<Op>,
    /// Everything else.
    pub(crate) ops: Vec<Op>,
    pub(crate) unchanged: Unchanged,
    pub(crate) out_of_scope: usize,
}

/// Compares the two states in canonical form.
pub(crate) fn difference(inputs: &Inputs<'_>) -> Difference {
    let Inputs { desired, live, record, last, cut_off: _, lost_files: _, statistics: _ } = *inputs;
    let mut found = Difference::default();
    // Room for all of it at once: a list that grows as it goes is copied again and again.
    let is_added = |(key, _): &(&ServiceKey, &Named)| !live.services.contains_key(key);
    let operations = |(_, named): (_, &Named)| 1 + named.service.real_servers.len();
    found.added.reserve_exact(desired.services.iter().filter(is_added).map(operations).sum());
    for (key, named) in &desired.services {
        match live.services.get(key) {
            None => found.add_service(key, named),
            Some(live) => found.compare_service(key, named, live, &record.drains),
        }
    }
    for (key, service) in &live.services {
        if !desired.scope.contains(key) {
            found.out_of_scope += 1;
        } else if !desired.services.contains_key(key) {
            // The spec that last had a word about it; else what was said when its drain began;
            // else what services drain that say nothing.
            let known = last.and_then(|last| last.services.get(key)).map(|known| known.drain);
            let limit = known.or_else(|| begun(key, &record.drains)).unwrap_or(desired.drain);
            found.delete_service(key, service, limit);
        }
    }
    found.compare_vips(desired, live);
    found
}

/// How long the real servers of a service may drain that have begun to.
fn begun(service: &ServiceKey, drains: &Drains) -> Option<Drain> {
    let of_service = drains.0.iter().filter(|((key, _), _)| key == service);
    of_service.map(|(_, draining)| draining.limit).max()
}

impl Difference {
    fn add_service(&mut self, key: &ServiceKey, named: &Named) {
        let Service { config, real_servers } = &named.service;
        self.added.push(Op::AddService { key: *key, after: Box::new(config.clone()) });
        self.added.extend(real_servers.in_order().map(|(real_server, value)| Op::AddRealServer {
            service: *key,
            key: *real_server,
            after: canonical::real_server(*value),
        }));
    }

    fn delete_service(&mut self, key: &ServiceKey, live: &Service, limit: Drain) {
        let mut before = Box::new(live.clone());
        if limit > Drain::NONE {
            for (real_server, value) in &live.real_servers {
                self.drain((*key, *real_server), *value, limit);
            }
            before.real_servers.for_each_mut(|_, value| *value = value.drained());
        }
        self.ops.push(Op::DeleteService { key: *key, before });
    }

    fn drain(
        &mut self,
        (service, key): (ServiceKey, RealServerKey),
        before: RealServer,
        limit: Drain,
    ) {
        self.ops.push(Op::DrainRealServer { service, key, before, limit });
    }

    fn compare_service(
        &mut self,
        key: &ServiceKey,
        named: &Named,
        live: &Service,
        drains: &Drains,
    ) {
        let desired = &named.service;
        let after = leave_config(named.ignore, desired.config.clone(), &live.config);
        if after == live.config {
            self.unchanged.services += 1;
        } else {
            let before = Box::new(live.config.clone());
            self.ops.push(Op::EditService { key: *key, before, after: Box::new(after) });
        }
        let kept = if named.canonical_order {
            kept_in_place(&desired.real_servers, &live.real_servers)
        } else {
            usize::MAX
        };
        for (place, (real_server, value)) in desired.real_servers.in_order().enumerate() {
            let before = live.real_servers.get(real_server).copied();
            let before = before.map(canonical::real_server);
            let drained = drains.0.get(&(*key, *real_server)).map(|it| it.weight);
            let left = Left { ignore: named.ignore, drained };
            if place >= kept {
                let value = canonical::real_server(*value);
                self.add_again((*key, *real_server), value, before, left);
                continue;
            }
            let value = canonical::real_server(*value);
            self.compare_real_server((*key, *real_server), value, before, left);
        }
        for (real_server, before) in &live.real_servers {
            if desired.real_servers.get(real_server).is_some() {
                continue;
            }
            let mut before = *before;
            if named.drain > Drain::NONE {
                self.drain((*key, *real_server), before, named.drain);
                before = before.drained();
            }
            self.ops.push(Op::DeleteRealServer { service: *key, key: *real_server, before });
        }
    }

    fn add_again(
        &mut self,
        (service, key): (ServiceKey, RealServerKey),
        desired: RealServer,
        live: Option<RealServer>,
        left: Left,
    ) {
        let mut after = desired;
        if let Some(before) = live {
            after = left.over(desired, before);
            self.readded.push(Op::DeleteRealServer { service, key, before });
        }
        self.readded.push(Op::AddRealServer { service, key, after });
    }

    fn compare_real_server(
        &mut self,
        (service, key): (ServiceKey, RealServerKey),
        desired: RealServer,
        live: Option<RealServer>,
        left: Left,
    ) {
        let Some(before) = live else {
            self.ops.push(Op::AddRealServer { service, key, after: desired });
            return;
        };
        let after = left.over(desired, before);
        if after == before {
            self.unchanged.real_servers += 1;
        } else {
            let before = Box::new(before);
            self.ops.push(Op::EditRealServer { service, key, before, after });
        }
    }

    /// An address that is on the interface already is used as it is, unless evenkeel bound it
    /// with a prefix length that the spec no longer has.
    fn compare_vips(&mut self, desired: &Desired, live: &Live) {
        // Where the interfaces are not known, those with an address are there.
        let exists = |interface: &str| match &live.links {
            Some(links) => links.contains_key(interface),
            None => live.addresses.keys().any(|binding| *binding.interface == *interface),
        };
        let is_down = |interface: &str| {
            let link = live.links.as_ref().and_then(|links| links.get(interface));
            link.is_some_and(|link| link.owner == Owner::Evenkeel && !link.up)
        };
        let mut dummies = BTreeSet::new();
        for (binding, vip) in &desired.vips {
            let interface = &binding.interface;
            if vip.dummy && !exists(interface) && dummies.insert(interface) {
                self.ops.push(Op::AddDummy { interface: interface.clone() });
            }
            if is_down(interface) && dummies.insert(interface) {
                self.ops.push(Op::EditDummy { interface: interface.clone() });
            }
            if is_bound(binding, live) {
                self.unchanged.vips += 1;
            } else {
                self.ops.push(Op::Bind { binding: binding.clone() });
            }
        }
        for (binding, owner) in &live.addresses {
            if *owner == Owner::Evenkeel
                && desired.scope.contains_address(binding.address)
                && !desired.vips.contains_key(binding)
            {
                self.ops.push(Op::Unbind { binding: binding.clone() });
            }
        }
    }
}

/// How many real servers, counted from the first of the spec, can stay where they are so that the
/// kernel's list ends up in the spec's order. The kernel puts a new one before all others and
/// moves none, so what cannot stay has to be added again.
fn kept_in_place(desired: &RealServers, live: &RealServers) -> usize {
    let wanted: Vec<_> = desired.in_order().map(|(key, _)| key).collect();
    let there = live.in_order().map(|(key, _)| key).filter(|key| desired.get(key).is_some());
    let mut kept = 0;
    // The longest beginning of the spec's list that the live list holds in that order, with
    // whatever in between; what is passed over stands later in the spec's list, and moves there.
    let mut passed = false;
    for key in there {
        if wanted.get(kept) == Some(&key) {
            kept += 1;
        } else {
            passed = true;
        }
    }
    // Nothing that is live stands behind them: what follows is only to be added, in its order.
    if passed { kept } else { wanted.len() }
}

/// Whether the interface has the address: with this very prefix length, or with any that someone
/// else chose.
fn is_bound(binding: &Binding, live: &Live) -> bool {
    live.addresses.contains_key(binding)
        || live
            .addresses
            .iter()
            .any(|(other, owner)| *owner == Owner::Other && other.same_place(binding))
}

/// The desired configuration with the live values of the fields that are left to someone else.
pub(crate) fn leave_config(
    ignore: Ignore,
    desired: ServiceConfig,
    live: &ServiceConfig,
) -> ServiceConfig {
    let mut after = desired;
    if ignore.contains(IgnoredField::Scheduler) {
        after.scheduler = live.scheduler;
        after.scheduler_flags = live.scheduler_flags;
    }
    if ignore.contains(IgnoredField::Persistence) {
        after.persistence = live.persistence;
        after.engine.clone_from(&live.engine);
    }
    after
}

/// What of a real server is left to someone else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Left {
    pub(crate) ignore: Ignore,
    /// The weight it had before it was drained, if it was.
    pub(crate) drained: Option<u32>,
}

impl Left {
    /// The desired value with the live values of the fields that are left to someone else. A
    /// weight of 0 that a drain of ours left behind is nobody's, so the one before comes back.
    pub(crate) fn over(self, desired: RealServer, live: RealServer) -> RealServer {
        let mut after = desired;
        if self.ignore.contains(IgnoredField::Weight) {
            after.weight = match self.drained {
                Some(before) if live.weight == 0 => before,
                _ => live.weight,
            };
        }
        if self.ignore.contains(IgnoredField::UpperThreshold) {
            after.upper_threshold = live.upper_threshold;
        }
        if self.ignore.contains(IgnoredField::LowerThreshold) {
            after.lower_threshold = live.lower_threshold;
        }
        after
    }
}
