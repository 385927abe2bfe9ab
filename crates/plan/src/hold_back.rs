//! Determines which steps of a plan may be executed while some objects are held back: a step on
//! them failed a moment ago, or another program keeps changing them.
//!
//! The other steps keep the order of the plan, and every prefix of them is a state that serves, as
//! [`crate::order`] defines it for the whole plan. A step that depends on an omitted step is
//! omitted too:
//!
//! - Additive steps (a new service or real server, a raised weight, an edit) proceed unless they
//!   depend on a missing step: the real servers of a service that is not added, a service whose
//!   scheduler is not loaded, a binding on a device that does not exist or is not up.
//! - Steps that take capacity wait for all additive steps in the same service: weights are lowered,
//!   and real servers drained and deleted, only if nothing is missing that may replace them. Steps
//!   that only take capacity block no others.
//! - A service is not added if none of the real servers that would serve its clients can be added:
//!   it would refuse clients that another service may serve now.
//! - A VIP is bound if, of the services on it that the whole plan makes ready, at least one is
//!   ready. It is not unbound if its new binding is missing.
//! - A VIP that leaves the host, and the services that leave with it, go together or not at all, as
//!   do the drains of a service and its deletion. A service also waits for new services on its VIP,
//!   which may be meant to take over its clients.
//! - The primary address of a subnet is not unbound while a secondary one stays that should have been
//!   unbound, and that the kernel would delete with it.
//! - A host object that connections to real servers may depend on is not deleted while one stays that
//!   should have been deleted.
//!
//! - A VIP that other hosts of the network have too, on `lo` or a tunnel device, is bound only if the
//!   sysctls or the ARP rules that keep this host from answering ARP requests for it are set. Neither of
//!   them gives way to the other before that one is set.
//! - A real server gets under full NAT only if connection tracking and its source NAT are set.
//! - A sysctl is not restored while a real server, a service or a VIP stays that should have been
//!   deleted or unbound and may rely on it.
//!
//! Timeouts and all other sysctls block nothing. Sync daemons do only where the kernel refuses real
//! servers of the other family beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_model::{
    Binding, Family, HostObject, HostObjectKind, Live, RealServerKey, Service, ServiceKey,
    SourceNat,
};

use crate::bindings::Bindings;
use crate::clients::{first_on, reaches_any};
use crate::impact_analysis::vanishing;
use crate::sysctl_side_effects::{MasterSysctl, SysctlOfInterface};
use crate::{Object, Op};

/// Returns the steps of a plan for that live state that may be executed while some objects are held
/// back, in the order of the plan. If nothing is held back these are all steps.
pub fn hold_back(steps: Vec<Op>, live: &Live, held_back: &BTreeSet<Object>) -> Vec<Op> {
    if held_back.is_empty() {
        return steps;
    }
    let omitted = omitted(&steps, live, held_back);
    let steps = steps.into_iter().zip(omitted);
    steps.filter(|(_, is_omitted)| !is_omitted).map(|(op, _)| op).collect()
}

/// Returns for each step whether it is omitted: those on objects that are held back, and those that
/// depend on them.
fn omitted(steps: &[Op], live: &Live, held_back: &BTreeSet<Object>) -> Vec<bool> {
    let index = PlanIndex::new(steps, live, held_back);
    let mut omitted: Vec<bool> = steps.iter().map(|op| index.touches_held_back(op)).collect();
    if !omitted.contains(&true) {
        return omitted;
    }
    // A service may keep its real servers only because their deletions wait, so bindings are
    // checked last.
    for checks_bindings in [false, true] {
        while index.omit_more(&mut omitted, checks_bindings) {}
    }
    omitted
}

/// The whole plan, indexed.
struct PlanIndex<'a> {
    steps: &'a [Op],
    held_back: &'a BTreeSet<Object>,
    /// The services of which a real server is held back.
    holding: BTreeSet<ServiceKey>,
    /// The VIPs that are held back.
    held_vips: Bindings<'a>,
    /// The addresses that leave the host.
    vanishing: BTreeSet<IpAddr>,
    /// The live services that share an address with one that is bound.
    neighbours: Live,
    /// The addresses that the kernel deletes together with another one.
    secondaries: &'a BTreeMap<Binding, Binding>,
    /// The neighbours and the added services that serve at the end of the plan.
    serving: BTreeSet<ServiceKey>,
}

impl<'a> PlanIndex<'a> {
    fn new(steps: &'a [Op], live: &'a Live, held_back: &'a BTreeSet<Object>) -> Self {
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
        let held_vips = held_back.iter().filter_map(|object| match object {
            Object::Vip(binding) => Some(binding),
            _ => None,
        });
        let mut index = Self {
            steps,
            held_back,
            holding: holding.collect(),
            held_vips: held_vips.collect(),
            vanishing: vanishing(live, steps),
            neighbours: Live { services, ..Live::default() },
            secondaries: &live.secondaries,
            serving: BTreeSet::new(),
        };
        index.serving = index.serving(steps.iter());
        index
    }

    /// Adds the steps that depend on omitted ones; returns whether there were any.
    fn omit_more(&self, omitted: &mut [bool], checks_bindings: bool) -> bool {
        let missing = self.missing(omitted, checks_bindings);
        let mut is_more = false;
        for (op, is_omitted) in self.steps.iter().zip(omitted) {
            if !*is_omitted && op.is_blocked(&missing) {
                (*is_omitted, is_more) = (true, true);
            }
        }
        is_more
    }

    /// Whether an operation changes an object that is held back, or deletes one with its own
    /// object.
    fn touches_held_back(&self, op: &Op) -> bool {
        let takes_along = match op {
            Op::DeleteService { key, .. } => self.holding.contains(key),
            Op::DeleteDummy { interface } => self.held_vips.on(interface).next().is_some(),
            Op::DeleteHostObject { object, .. } => self.held_vips.need(object),
            _ => false,
        };
        takes_along || self.held_back.contains(&op.object())
    }

    /// Returns the added services, and those on a VIP that is bound, that serve after these steps.
    fn serving<'b>(&self, steps: impl Iterator<Item = &'b Op>) -> BTreeSet<ServiceKey> {
        let mut after = self.neighbours.clone();
        for op in steps.filter(|op| op.service().is_some()) {
            op.simulate(&mut after);
        }
        let serving = after.services.iter().filter(|(_, service)| serves(service));
        serving.map(|(key, _)| *key).collect()
    }

    /// Returns what is missing while those steps are omitted.
    fn missing(&self, omitted: &[bool], checks_bindings: bool) -> OmittedSteps<'a> {
        let mut missing = OmittedSteps { checks_bindings, ..OmittedSteps::default() };
        let of = |is_omitted: bool| {
            let steps = self.steps.iter().zip(omitted);
            steps.filter(move |(_, it)| **it == is_omitted).map(|(op, _)| op)
        };
        for op in of(true) {
            op.note_omitted(&mut missing);
        }
        let stays = |binding: &&Binding| self.vanishing.contains(&binding.address);
        let staying = missing.bound.iter().filter(stays);
        missing.staying = staying.map(|binding| binding.address).collect();
        let primaries = missing.bound.iter().filter_map(|it| self.secondaries.get(it));
        missing.primaries = primaries.collect();
        let now = self.serving(of(false));
        missing.not_ready = self.serving.difference(&now).copied().collect();
        missing.ready = self.serving.intersection(&now).copied().collect();
        missing.lacks_arp_sysctls = missing.sysctls_not_set.iter().any(|key| keeps_from_arp(key));
        let is_needed = |vip: &&IpAddr| reaches_any(&missing.not_deleted, **vip);
        missing.needed = self.vanishing.iter().filter(is_needed).copied().collect();
        missing
    }
}

/// The parts of the result of the whole plan that are missing.
#[derive(Debug, Default)]
pub(crate) struct OmittedSteps<'a> {
    /// Whether bindings check that services on their VIP are ready.
    checks_bindings: bool,
    /// Modules that are not loaded.
    pub(crate) modules: BTreeSet<&'a str>,
    /// Dummy and tunnel devices that are not created, not brought up or not edited.
    pub(crate) devices: BTreeSet<&'a str>,
    /// Whether a sync daemon still runs that should have stopped.
    pub(crate) is_synced: bool,
    /// Whether a real server stays whose family differs from that of its service.
    pub(crate) is_mixed: bool,
    /// Sysctls that are not set.
    pub(crate) sysctls_not_set: BTreeSet<&'a str>,
    /// Whether some of them are to keep this host from answering ARP requests.
    pub(crate) lacks_arp_sysctls: bool,
    /// Sysctls that are not restored.
    pub(crate) sysctls_not_restored: BTreeSet<&'a str>,
    /// Services that are not added.
    pub(crate) not_added: BTreeSet<ServiceKey>,
    /// Services that should have been deleted.
    pub(crate) not_deleted: BTreeSet<ServiceKey>,
    /// Services in which an additive step is missing.
    pub(crate) incomplete: BTreeSet<ServiceKey>,
    /// Real servers that are not added, or not deleted.
    pub(crate) real_servers: BTreeSet<(ServiceKey, RealServerKey)>,
    /// Added services, and those on a VIP that is bound, that serve after the whole plan: here
    /// those that still do, below those that do not.
    ready: BTreeSet<ServiceKey>,
    pub(crate) not_ready: BTreeSet<ServiceKey>,
    /// Addresses with a missing binding.
    pub(crate) unbound: BTreeSet<IpAddr>,
    /// Host objects that are not added, edited or deleted.
    host_objects: BTreeSet<&'a HostObject>,
    /// Their kinds.
    kinds: BTreeSet<HostObjectKind>,
    /// Their addresses.
    places: BTreeSet<(HostObjectKind, IpAddr)>,
    /// Bindings that should have been removed.
    pub(crate) bound: Bindings<'a>,
    /// The primary addresses with which the kernel would delete those bindings.
    pub(crate) primaries: BTreeSet<&'a Binding>,
    /// The addresses of those bindings that should have left the host.
    pub(crate) staying: BTreeSet<IpAddr>,
    /// Addresses that should leave the host, but by which clients may reach a service that stays.
    pub(crate) needed: BTreeSet<IpAddr>,
}

impl<'a> OmittedSteps<'a> {
    /// Whether a real server may stay that should have been deleted.
    pub(crate) fn keeps_real_servers(&self) -> bool {
        !self.real_servers.is_empty() || !self.not_deleted.is_empty()
    }

    /// Whether a VIP cannot be bound.
    pub(crate) fn blocks_bind(&self, binding: &Binding) -> bool {
        let is_any_on_it = |keys| first_on(keys, binding.address).is_some();
        let is_unready =
            self.checks_bindings && is_any_on_it(&self.not_ready) && !is_any_on_it(&self.ready);
        // IPv6 refuses an address that the interface has with another prefix length.
        let is_taken = binding.address.is_ipv6()
            && self.bound.of(binding.address).any(|other| other.same_place(binding));
        // Or the one with the former label is still there.
        let is_bound = self.bound.contains(binding);
        is_unready
            || is_taken
            || is_bound
            || self.devices.contains(&*binding.interface)
            || self.lacks_hiding_sysctl(binding)
            || self.places.contains(&(HostObjectKind::ArpRules, binding.address))
    }

    /// Records a host object that is not added, edited or deleted.
    pub(crate) fn note_host_object(&mut self, object: &'a HostObject) {
        self.host_objects.insert(object);
        self.kinds.insert(object.kind());
        self.places.extend(object.address().map(|address| (object.kind(), address)));
    }

    /// Whether the object, or another of its kind with its address, is not added, edited or deleted.
    pub(crate) fn lacks_host_object_at(&self, object: &HostObject) -> bool {
        let place = object.address().map(|address| (object.kind(), address));
        self.host_objects.contains(object) || place.is_some_and(|it| self.places.contains(&it))
    }

    /// Whether a sysctl is missing that a real server needs before it binds that VIP. IPv6 needs none.
    fn lacks_hiding_sysctl(&self, binding: &Binding) -> bool {
        let interface = &*binding.interface;
        let is_missing = |interface: &str| {
            HIDING_SYSCTLS.iter().any(|name| {
                let key = format!("net.ipv4.conf.{interface}.{name}");
                self.sysctls_not_set.contains(&*key)
            })
        };
        let is_shared = binding.address.is_ipv4() && SHARED_VIPS.contains(&interface);
        is_shared && (is_missing("all") || is_missing(interface))
    }

    /// Whether a real server would be reached without source NAT, and answer past the director.
    pub(crate) fn lacks_source_nat(&self, service: ServiceKey, real_server: RealServerKey) -> bool {
        self.host_objects.contains(&HostObject::from(SourceNat { service, real_server }))
    }

    /// Whether a sysctl must keep the value that it has.
    pub(crate) fn blocks_restore(&self, key: &str) -> bool {
        let concerns_bound = || {
            SysctlOfInterface::of(key).is_some_and(|sysctl| match sysctl.device() {
                Some(name) => self.bound.on(&name).any(|it| sysctl.concerns(it)),
                None => self.bound.iter().any(|it| sysctl.concerns(it)),
            })
        };
        let is_rewritten_later = MasterSysctl::rewriting(key).is_some_and(|master| {
            let mut names = master.names().iter();
            names.any(|name| self.sysctls_not_restored.contains(name))
        });
        self.keeps_real_servers()
            || concerns_bound()
            || is_rewritten_later
            || keeps_from_arp(key) && self.kinds.contains(&HostObjectKind::ArpRules)
    }
}

/// The devices on which real servers bind VIPs that other hosts of the network bind too: `lo` for direct
/// routing, and the devices that the kernel creates with each kind of tunnel.
const SHARED_VIPS: [&str; 6] = ["lo", "tunl0", "sit0", "ip6tnl0", "gre0", "ip6gre0"];

/// The sysctls of an interface that a real server needs before it binds such a VIP.
const HIDING_SYSCTLS: [&str; 3] = ["arp_ignore", "arp_announce", "rp_filter"];

/// Whether a sysctl keeps a host from answering ARP requests, or from sending some.
fn keeps_from_arp(key: &str) -> bool {
    SysctlOfInterface::of(key).is_some_and(|it| ["arp_ignore", "arp_announce"].contains(&it.name))
}

fn serves(service: &Service) -> bool {
    service.real_servers.iter().any(|(_, real_server)| real_server.weight > 0)
}

/// Whether the family of a real server differs from that of its service.
pub(crate) fn is_mixed(service: &ServiceKey, real_server: &RealServerKey) -> bool {
    Family::from(real_server.address) != service.family()
}

#[cfg(test)]
mod tests;
