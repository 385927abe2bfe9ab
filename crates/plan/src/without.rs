//! What of a plan may still be carried out when some objects are left alone: a step on them failed
//! a moment ago, or somebody else keeps changing them.
//!
//! The rest is in the plan's order, and every prefix of it is a state that serves, as
//! [`crate::order`] has it for the whole plan. What relies on a step that is left out is left out
//! too:
//!
//! - What gives (a new service or real server, a raise, an edit) goes on, but for what cannot be
//!   without the missing step: the real servers of a service that is not added, a service whose
//!   scheduler is not loaded, a binding on a device that is not there or not up.
//! - What takes waits for all that gives in the same service: weights are lowered, and real servers
//!   drained and deleted, only where nothing is missing that may make up for them. Steps that only
//!   take keep nothing else waiting.
//! - A service is not added if none of the real servers can be that were to take its clients: it
//!   would refuse clients that another service may have now.
//! - A VIP is bound if one service on it is ready of those that the whole plan makes ready. It is
//!   not unbound where its new binding is missing.
//! - A VIP that leaves the host, and the services on it that leave with it, go together or not at
//!   all, as do the drains of a service and its deletion. A service waits also for new ones on its
//!   VIP, which may be to take its clients over.
//!
//! Sysctls and timeouts keep nothing waiting. Sync daemons do only where the kernel refuses real
//! servers of the other family beside them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use evenkeel_model::{Binding, Family, Live, RealServer, RealServerKey, Service, ServiceKey};

use crate::assess::vanishing;
use crate::effect::carry_out;
use crate::global::needed_modules;
use crate::{Object, Op};

/// The steps of a plan for that live state that may be carried out while some objects are held
/// back, in their order. With nothing held back these are all of them.
pub fn without(steps: Vec<Op>, live: &Live, held_back: &BTreeSet<Object>) -> Vec<Op> {
    let left_out = left_out(&steps, live, held_back);
    if left_out.is_empty() {
        return steps;
    }
    let places = steps.into_iter().enumerate();
    places.filter(|(place, _)| !left_out.contains(place)).map(|(_, op)| op).collect()
}

/// The places of the other steps: those on the objects that are held back, and all that relies on
/// them.
fn left_out(steps: &[Op], live: &Live, held_back: &BTreeSet<Object>) -> BTreeSet<usize> {
    let mut left_out = BTreeSet::new();
    if held_back.is_empty() {
        return left_out;
    }
    let whole = Whole::new(steps, live, held_back);
    // A service may have its real servers only because what deletes them waits, so bindings are
    // judged last.
    for judges_bindings in [false, true] {
        while whole.leave_out_more(&mut left_out, judges_bindings) {}
    }
    left_out
}

/// The plan as it was made.
struct Whole<'a> {
    steps: &'a [Op],
    held_back: &'a BTreeSet<Object>,
    /// The services with a real server that is held back.
    holding: BTreeSet<ServiceKey>,
    /// The addresses that leave the host.
    vanishing: BTreeSet<IpAddr>,
    /// The live services that share an address with one that is bound.
    beside: Live,
    /// The services, of those and of the added ones, that serve in the end.
    serving: BTreeSet<ServiceKey>,
}

impl<'a> Whole<'a> {
    fn new(steps: &'a [Op], live: &Live, held_back: &'a BTreeSet<Object>) -> Self {
        let bound: BTreeSet<IpAddr> = steps
            .iter()
            .filter_map(|op| match op {
                Op::Bind { binding } => Some(binding.address),
                _ => None,
            })
            .collect();
        let is_bound = |key: &ServiceKey| key.vip().is_some_and(|vip| bound.contains(&vip));
        let beside = live.services.iter().filter(|(key, _)| is_bound(key));
        let services = beside.map(|(key, service)| (*key, service.clone())).collect();
        let holding = held_back.iter().filter_map(|object| match object {
            Object::RealServer(service, _) => Some(*service),
            _ => None,
        });
        let mut whole = Self {
            steps,
            held_back,
            holding: holding.collect(),
            vanishing: vanishing(live, steps),
            beside: Live { services, ..Live::default() },
            serving: BTreeSet::new(),
        };
        whole.serving = whole.serving(&BTreeSet::new());
        whole
    }

    /// Adds the steps that rely on those left out so far; whether there are any.
    fn leave_out_more(&self, left_out: &mut BTreeSet<usize>, judges_bindings: bool) -> bool {
        let missing = self.missing(left_out, judges_bindings);
        let kept = self.steps.iter().enumerate().filter(|(place, _)| !left_out.contains(place));
        let stopped = kept.filter(|(_, op)| self.touches_held_back(op) || missing.stops(op));
        let more: Vec<usize> = stopped.map(|(place, _)| place).collect();
        left_out.extend(&more);
        !more.is_empty()
    }

    /// Whether an operation is on an object that is held back, or takes one along.
    fn touches_held_back(&self, op: &Op) -> bool {
        let takes_along = match op {
            Op::DeleteService { key, .. } => self.holding.contains(key),
            Op::DeleteDummy { interface } => self.held_back.iter().any(
                |object| matches!(object, Object::Vip(binding) if binding.interface == *interface),
            ),
            _ => false,
        };
        takes_along || self.held_back.contains(&op.object())
    }

    /// The added services, and those beside a VIP that is bound, that serve in the end.
    fn serving(&self, left_out: &BTreeSet<usize>) -> BTreeSet<ServiceKey> {
        let mut after = self.beside.clone();
        let kept = self.steps.iter().enumerate().filter(|(place, _)| !left_out.contains(place));
        for (_, op) in kept.filter(|(_, op)| op.service().is_some()) {
            carry_out(&mut after, op);
        }
        let serving = after.services.iter().filter(|(_, service)| serves(service));
        serving.map(|(key, _)| *key).collect()
    }

    /// What is not as the whole plan would have it while those steps are left out.
    fn missing(&self, left_out: &BTreeSet<usize>, judges_bindings: bool) -> Missing<'a> {
        let mut missing = Missing { judges_bindings, ..Missing::default() };
        for op in left_out.iter().filter_map(|place| self.steps.get(*place)) {
            missing.note(op);
        }
        let stays = |binding: &&Binding| self.vanishing.contains(&binding.address);
        let staying = missing.bound.iter().copied().filter(stays);
        missing.staying = staying.map(|binding| binding.address).collect();
        if !left_out.is_empty() {
            let now = self.serving(left_out);
            missing.unready = self.serving.difference(&now).copied().collect();
            missing.ready = self.serving.intersection(&now).copied().collect();
        }
        let on = |key: &ServiceKey| {
            let vanishing = self.vanishing.iter().copied();
            vanishing.filter(|vip| key.may_be_reached_by(*vip)).collect::<Vec<_>>()
        };
        missing.needed = missing.undeleted.iter().flat_map(on).collect();
        missing
    }
}

/// What is not as the whole plan would have it.
#[derive(Debug, Default)]
struct Missing<'a> {
    /// Whether it is time to ask if services are ready for their VIP.
    judges_bindings: bool,
    /// Modules that are not loaded.
    modules: BTreeSet<&'a str>,
    /// Dummy devices that are not created, or not brought up.
    dummies: BTreeSet<&'a str>,
    /// A sync daemon runs that was to stop.
    is_synced: bool,
    /// A real server of the other family than its service's stays.
    is_mixed: bool,
    /// Services that are not added.
    unadded: BTreeSet<ServiceKey>,
    /// Services that stay and were to leave.
    undeleted: BTreeSet<ServiceKey>,
    /// Services in which something is missing that gives.
    wanting: BTreeSet<ServiceKey>,
    /// Real servers that are not added, or not deleted.
    real_servers: BTreeSet<(ServiceKey, RealServerKey)>,
    /// Added services, and those beside a VIP that is bound, that serve by the whole plan: those
    /// that still do, and those that do not.
    ready: BTreeSet<ServiceKey>,
    unready: BTreeSet<ServiceKey>,
    /// Addresses of which a binding is not made.
    unbound: BTreeSet<IpAddr>,
    /// Bindings that stay and were to leave.
    bound: BTreeSet<&'a Binding>,
    /// The addresses of those that were to leave the host.
    staying: BTreeSet<IpAddr>,
    /// Addresses that were to leave the host, through which clients may come to a service that
    /// stays.
    needed: BTreeSet<IpAddr>,
}

impl<'a> Missing<'a> {
    /// Takes note of a step that is left out.
    fn note(&mut self, op: &'a Op) {
        match op {
            Op::AddModule { module } => {
                self.modules.insert(module);
            }
            Op::DeleteSync { .. } => self.is_synced = true,
            Op::AddDummy { interface } | Op::EditDummy { interface } => {
                self.dummies.insert(interface);
            }
            Op::AddService { key, .. } => {
                self.unadded.insert(*key);
            }
            Op::EditService { key, .. } => {
                self.wanting.insert(*key);
            }
            Op::DeleteService { key, before } => {
                let mut real_servers = before.real_servers.iter();
                self.is_mixed |= real_servers.any(|(real_server, _)| is_mixed(key, real_server));
                self.undeleted.insert(*key);
            }
            Op::AddRealServer { service, key, .. } => {
                self.wanting.insert(*service);
                self.real_servers.insert((*service, *key));
            }
            Op::EditRealServer { service, before, after, .. } => {
                if gives(before, after) {
                    self.wanting.insert(*service);
                }
            }
            Op::DeleteRealServer { service, key, .. } => {
                self.is_mixed |= is_mixed(service, key);
                self.real_servers.insert((*service, *key));
            }
            Op::Bind { binding } => {
                self.unbound.insert(binding.address);
            }
            Op::Unbind { binding } => {
                self.bound.insert(binding);
            }
            // A drain is followed by the deletion of the same real server or service, which tells
            // what is missing.
            Op::DrainRealServer { .. }
            | Op::EditSysctl { .. }
            | Op::EditTimeouts { .. }
            | Op::AddSync { .. }
            | Op::DeleteDummy { .. } => {}
        }
    }

    /// Whether an operation relies on something that is missing.
    fn stops(&self, op: &Op) -> bool {
        match op {
            Op::AddModule { .. }
            | Op::EditSysctl { .. }
            | Op::EditTimeouts { .. }
            | Op::DeleteSync { .. }
            | Op::AddDummy { .. }
            | Op::EditDummy { .. } => false,
            // The kernel starts none while a service has real servers of the other family.
            Op::AddSync { after, .. } => self.is_mixed || self.dummies.contains(&*after.interface),
            Op::AddService { key, .. } => self.unready.contains(key) || self.lacks_module(op),
            Op::EditService { .. } => self.lacks_module(op),
            Op::AddRealServer { service, key, .. } => {
                self.unadded.contains(service)
                    || self.real_servers.contains(&(*service, *key))
                    || self.is_synced && is_mixed(service, key)
            }
            Op::EditRealServer { service, before, after, .. } => {
                after.weight < before.weight && self.wanting.contains(service)
            }
            Op::DrainRealServer { service, .. } => {
                self.wanting.contains(service) || self.undeleted.contains(service)
            }
            Op::DeleteRealServer { service, key, .. } => {
                self.wanting.contains(service) || self.real_servers.contains(&(*service, *key))
            }
            Op::Bind { binding } => self.keeps_unbound(binding),
            Op::Unbind { binding } => {
                self.unbound.contains(&binding.address) || self.needed.contains(&binding.address)
            }
            Op::DeleteService { key, .. } => {
                self.staying.iter().any(|vip| key.may_be_reached_by(*vip))
                    || self.unadded.iter().any(|other| may_share_clients(key, other))
            }
            Op::DeleteDummy { interface } => {
                self.bound.iter().any(|binding| binding.interface == *interface)
            }
        }
    }

    fn lacks_module(&self, op: &Op) -> bool {
        needed_modules(op).any(|module| self.modules.contains(&*module))
    }

    fn keeps_unbound(&self, binding: &Binding) -> bool {
        let on_it = |key: &&ServiceKey| key.vip() == Some(binding.address);
        let is_unready = self.judges_bindings
            && self.unready.iter().any(|key| on_it(&key))
            && !self.ready.iter().any(|key| on_it(&key));
        // IPv6 refuses an address that the interface has with another prefix length.
        let is_taken =
            binding.address.is_ipv6() && self.bound.iter().any(|other| other.same_place(binding));
        is_unready || is_taken || self.dummies.contains(&*binding.interface)
    }
}

fn serves(service: &Service) -> bool {
    service.real_servers.iter().any(|(_, real_server)| real_server.weight > 0)
}

/// Whether an edit may make up for what another step takes: unless all it does is to lower.
fn gives(before: &RealServer, after: &RealServer) -> bool {
    let lowered = RealServer { weight: after.weight, ..*before };
    after.weight >= before.weight || *after != lowered
}

fn is_mixed(service: &ServiceKey, real_server: &RealServerKey) -> bool {
    Family::from(real_server.address) != service.family()
}

fn may_share_clients(one: &ServiceKey, other: &ServiceKey) -> bool {
    match (one.vip(), other.vip()) {
        (Some(vip), _) => other.may_be_reached_by(vip),
        (_, Some(vip)) => one.may_be_reached_by(vip),
        (None, None) => one.family() == other.family(),
    }
}

#[cfg(test)]
mod tests;
