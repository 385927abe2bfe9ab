//! Finds the objects that differ, service by service in the order of their keys, and within a
//! service first those of the spec in its order. [`crate::order`] makes a plan of that.

use std::collections::BTreeSet;

use evenkeel_model::{
    Binding, Desired, Ignore, IgnoredField, Live, Named, Owner, RealServer, RealServerKey,
    RealServers, Service, ServiceConfig, ServiceKey,
};

use crate::{Op, canonical, plan::Unchanged};

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
pub(crate) fn difference(desired: &Desired, live: &Live) -> Difference {
    let mut found = Difference::default();
    // Room for all of it at once: a list that grows as it goes is copied again and again.
    let is_added = |(key, _): &(&ServiceKey, &Named)| !live.services.contains_key(key);
    let operations = |(_, named): (_, &Named)| 1 + named.service.real_servers.len();
    found.added.reserve_exact(desired.services.iter().filter(is_added).map(operations).sum());
    for (key, named) in &desired.services {
        match live.services.get(key) {
            None => found.add_service(key, named),
            Some(live) => found.compare_service(key, named, live),
        }
    }
    for (key, service) in &live.services {
        if !desired.scope.contains(key) {
            found.out_of_scope += 1;
        } else if !desired.services.contains_key(key) {
            let before = Box::new(service.clone());
            found.ops.push(Op::DeleteService { key: *key, before });
        }
    }
    found.compare_vips(desired, live);
    found
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

    fn compare_service(&mut self, key: &ServiceKey, named: &Named, live: &Service) {
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
            if place >= kept {
                let value = canonical::real_server(*value);
                self.add_again((*key, *real_server), value, before, named.ignore);
                continue;
            }
            self.compare_real_server(
                (*key, *real_server),
                canonical::real_server(*value),
                before.map(canonical::real_server),
                named.ignore,
            );
        }
        for (real_server, before) in &live.real_servers {
            if desired.real_servers.get(real_server).is_none() {
                self.ops.push(Op::DeleteRealServer {
                    service: *key,
                    key: *real_server,
                    before: *before,
                });
            }
        }
    }

    fn add_again(
        &mut self,
        (service, key): (ServiceKey, RealServerKey),
        desired: RealServer,
        live: Option<RealServer>,
        ignore: Ignore,
    ) {
        let mut after = desired;
        if let Some(before) = live.map(canonical::real_server) {
            after = leave_real_server(ignore, desired, before);
            self.readded.push(Op::DeleteRealServer { service, key, before });
        }
        self.readded.push(Op::AddRealServer { service, key, after });
    }

    fn compare_real_server(
        &mut self,
        (service, key): (ServiceKey, RealServerKey),
        desired: RealServer,
        live: Option<RealServer>,
        ignore: Ignore,
    ) {
        let Some(before) = live else {
            self.ops.push(Op::AddRealServer { service, key, after: desired });
            return;
        };
        let after = leave_real_server(ignore, desired, before);
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
        let mut dummies = BTreeSet::new();
        for (binding, vip) in &desired.vips {
            let interface = &binding.interface;
            if vip.dummy && !exists(interface) && dummies.insert(interface) {
                self.ops.push(Op::AddDummy { interface: interface.clone() });
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
fn leave_config(ignore: Ignore, desired: ServiceConfig, live: &ServiceConfig) -> ServiceConfig {
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

/// The desired value with the live values of the fields that are left to someone else.
fn leave_real_server(ignore: Ignore, desired: RealServer, live: RealServer) -> RealServer {
    let mut after = desired;
    if ignore.contains(IgnoredField::Weight) {
        after.weight = live.weight;
    }
    if ignore.contains(IgnoredField::UpperThreshold) {
        after.upper_threshold = live.upper_threshold;
    }
    if ignore.contains(IgnoredField::LowerThreshold) {
        after.lower_threshold = live.lower_threshold;
    }
    after
}
