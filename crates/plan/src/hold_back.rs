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

use evenkeel_model::{Binding, Family, Live, RealServerKey, Service, ServiceKey};

use crate::impact_analysis::vanishing;
use crate::{Object, Op};

/// The steps of a plan for that live state that may be carried out while some objects are held
/// back, in their order. With nothing held back these are all of them.
pub fn hold_back(steps: Vec<Op>, live: &Live, held_back: &BTreeSet<Object>) -> Vec<Op> {
    let omitted = omitted(&steps, live, held_back);
    if omitted.is_empty() {
        return steps;
    }
    let places = steps.into_iter().enumerate();
    places.filter(|(place, _)| !omitted.contains(place)).map(|(_, op)| op).collect()
}

/// The places of the other steps: those on the objects that are held back, and all that relies on
/// them.
fn omitted(steps: &[Op], live: &Live, held_back: &BTreeSet<Object>) -> BTreeSet<usize> {
    let mut omitted = BTreeSet::new();
    if held_back.is_empty() {
        return omitted;
    }
    let index = PlanIndex::new(steps, live, held_back);
    // A service may have its real servers only because what deletes them waits, so bindings are
    // judged last.
    for checks_bindings in [false, true] {
        while index.omit_more(&mut omitted, checks_bindings) {}
    }
    omitted
}

/// The plan as it was made.
struct PlanIndex<'a> {
    steps: &'a [Op],
    held_back: &'a BTreeSet<Object>,
    /// The services with a real server that is held back.
    holding: BTreeSet<ServiceKey>,
    /// The addresses that leave the host.
    vanishing: BTreeSet<IpAddr>,
    /// The live services that share an address with one that is bound.
    neighbours: Live,
    /// The services, of those and of the added ones, that serve in the end.
    serving: BTreeSet<ServiceKey>,
}

impl<'a> PlanIndex<'a> {
    fn new(steps: &'a [Op], live: &Live, held_back: &'a BTreeSet<Object>) -> Self {
        let bound: BTreeSet<IpAddr> = steps
            .iter()
            .filter_map(|op| match op {
                Op::Bind { binding, .. } => Some(binding.address),
                _ => None,
            })
            .collect();
        let is_bound = |key: &ServiceKey| key.vip().is_some_and(|vip| bound.contains(&vip));
        let neighbours = live.services.iter().filter(|(key, _)| is_bound(key));
        let services = neighbours.map(|(key, service)| (*key, service.clone())).collect();
        let holding = held_back.iter().filter_map(|object| match object {
            Object::RealServer(service, _) => Some(*service),
            _ => None,
        });
        let mut index = Self {
            steps,
            held_back,
            holding: holding.collect(),
            vanishing: vanishing(live, steps),
            neighbours: Live { services, ..Live::default() },
            serving: BTreeSet::new(),
        };
        index.serving = index.serving(&BTreeSet::new());
        index
    }

    /// Adds the steps that rely on those left out so far; whether there are any.
    fn omit_more(&self, omitted: &mut BTreeSet<usize>, checks_bindings: bool) -> bool {
        let missing = self.missing(omitted, checks_bindings);
        let included = self.steps.iter().enumerate().filter(|(place, _)| !omitted.contains(place));
        let stopped =
            included.filter(|(_, op)| self.touches_held_back(op) || op.is_blocked(&missing));
        let more: Vec<usize> = stopped.map(|(place, _)| place).collect();
        omitted.extend(&more);
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
    fn serving(&self, omitted: &BTreeSet<usize>) -> BTreeSet<ServiceKey> {
        let mut after = self.neighbours.clone();
        let included = self.steps.iter().enumerate().filter(|(place, _)| !omitted.contains(place));
        for (_, op) in included.filter(|(_, op)| op.service().is_some()) {
            op.simulate(&mut after);
        }
        let serving = after.services.iter().filter(|(_, service)| serves(service));
        serving.map(|(key, _)| *key).collect()
    }

    /// What is not as the whole plan would have it while those steps are left out.
    fn missing(&self, omitted: &BTreeSet<usize>, checks_bindings: bool) -> OmittedSteps<'a> {
        let mut missing = OmittedSteps { checks_bindings, ..OmittedSteps::default() };
        for op in omitted.iter().filter_map(|place| self.steps.get(*place)) {
            op.note_omitted(&mut missing);
        }
        let stays = |binding: &&Binding| self.vanishing.contains(&binding.address);
        let staying = missing.bound.iter().copied().filter(stays);
        missing.staying = staying.map(|binding| binding.address).collect();
        if !omitted.is_empty() {
            let now = self.serving(omitted);
            missing.not_ready = self.serving.difference(&now).copied().collect();
            missing.ready = self.serving.intersection(&now).copied().collect();
        }
        let on = |key: &ServiceKey| {
            let vanishing = self.vanishing.iter().copied();
            vanishing.filter(|vip| key.may_be_reached_by(*vip)).collect::<Vec<_>>()
        };
        missing.needed = missing.not_deleted.iter().flat_map(on).collect();
        missing
    }
}

/// What is not as the whole plan would have it.
#[derive(Debug, Default)]
pub(crate) struct OmittedSteps<'a> {
    /// Whether it is time to ask if services are ready for their VIP.
    checks_bindings: bool,
    /// Modules that are not loaded.
    pub(crate) modules: BTreeSet<&'a str>,
    /// Dummy devices that are not created, or not brought up.
    pub(crate) dummies: BTreeSet<&'a str>,
    /// A sync daemon runs that was to stop.
    pub(crate) is_synced: bool,
    /// A real server of the other family than its service's stays.
    pub(crate) is_mixed: bool,
    /// Services that are not added.
    pub(crate) not_added: BTreeSet<ServiceKey>,
    /// Services that stay and were to leave.
    pub(crate) not_deleted: BTreeSet<ServiceKey>,
    /// Services in which something is missing that gives.
    pub(crate) incomplete: BTreeSet<ServiceKey>,
    /// Real servers that are not added, or not deleted.
    pub(crate) real_servers: BTreeSet<(ServiceKey, RealServerKey)>,
    /// Added services, and those beside a VIP that is bound, that serve by the whole plan: those
    /// that still do, and those that do not.
    ready: BTreeSet<ServiceKey>,
    pub(crate) not_ready: BTreeSet<ServiceKey>,
    /// Addresses of which a binding is not made.
    pub(crate) unbound: BTreeSet<IpAddr>,
    /// Addresses of which a route is not added, or not deleted.
    pub(crate) routes: BTreeSet<IpAddr>,
    /// Bindings that stay and were to leave.
    pub(crate) bound: BTreeSet<&'a Binding>,
    /// The addresses of those that were to leave the host.
    pub(crate) staying: BTreeSet<IpAddr>,
    /// Addresses that were to leave the host, through which clients may come to a service that
    /// stays.
    pub(crate) needed: BTreeSet<IpAddr>,
}

impl OmittedSteps<'_> {
    /// Whether a VIP cannot be bound.
    pub(crate) fn blocks_bind(&self, binding: &Binding) -> bool {
        let on_it = |key: &&ServiceKey| key.vip() == Some(binding.address);
        let is_unready = self.checks_bindings
            && self.not_ready.iter().any(|key| on_it(&key))
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

/// Whether a real server is of the other family than its service.
pub(crate) fn is_mixed(service: &ServiceKey, real_server: &RealServerKey) -> bool {
    Family::from(real_server.address) != service.family()
}

/// Whether clients of one service may be clients of the other.
pub(crate) fn may_share_clients(one: &ServiceKey, other: &ServiceKey) -> bool {
    match (one.vip(), other.vip()) {
        (Some(vip), _) => other.may_be_reached_by(vip),
        (_, Some(vip)) => one.may_be_reached_by(vip),
        (None, None) => one.family() == other.family(),
    }
}

#[cfg(test)]
mod tests;
