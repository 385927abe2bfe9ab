//! Determines which operations of a plan wait while real servers drain.
//!
//! What a single operation waits for depends on the others: the index is made once for a plan, and what
//! waits once for each set of drains, so that the cost grows as the plan does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_model::{Binding, Family, HostObject, RealServers, ServiceKey, bindings_of};
use evenkeel_plan::Op;

use crate::drain_wait::RealServerId;

/// The operations of a plan on which the waiting of others depends.
pub(crate) struct DrainDependents<'a> {
    /// The services that are deleted, with the real servers that they have in the plan.
    departing: BTreeMap<ServiceKey, &'a RealServers>,
    unbound: Vec<&'a Binding>,
    /// Where addresses are bound.
    bound: BTreeSet<(IpAddr, &'a str)>,
    /// The VIPs that are bound; one that is also unbound only changes its label.
    relabelled: BTreeSet<&'a Binding>,
    secondaries: &'a BTreeMap<Binding, Binding>,
}

impl<'a> DrainDependents<'a> {
    /// Indexes a plan, given the addresses that the kernel deletes together with another one.
    pub(crate) fn new(steps: &'a [Op], secondaries: &'a BTreeMap<Binding, Binding>) -> Self {
        let (mut departing, mut unbound) = (BTreeMap::new(), Vec::new());
        let (mut bound, mut relabelled) = (BTreeSet::new(), BTreeSet::new());
        for op in steps {
            match op {
                Op::DeleteService { key, before } => {
                    departing.insert(*key, &before.real_servers);
                }
                Op::Unbind { binding, .. } => unbound.push(binding),
                Op::Bind { binding, .. } => {
                    bound.insert((binding.address, &*binding.interface));
                    relabelled.insert(binding);
                }
                _ => {}
            }
        }
        Self { departing, unbound, bound, relabelled, secondaries }
    }

    /// The departing services, with the real servers that they have in the plan.
    pub(crate) fn departing(&self) -> &BTreeMap<ServiceKey, &'a RealServers> {
        &self.departing
    }

    /// Whether the stage that starts with `op` stops the traffic of departing services.
    pub(crate) fn removes_services(&self, op: &Op) -> bool {
        match op {
            Op::Unbind { binding, .. } => !self.is_bound_again(binding),
            op => matches!(op, Op::DeleteService { .. }),
        }
    }

    /// Whether a VIP only changes its label or prefix length.
    fn is_bound_again(&self, unbound: &Binding) -> bool {
        self.bound.contains(&(unbound.address, &*unbound.interface))
    }

    /// What waits while those real servers drain.
    pub(crate) fn waiting(&self, draining: BTreeSet<RealServerId>) -> Waiting {
        let services: BTreeSet<ServiceKey> = draining.iter().map(|(service, _)| *service).collect();
        let is_mixed =
            draining.iter().any(|(service, key)| Family::from(key.address) != service.family());
        let leaving = services.iter().filter(|key| self.departing.contains_key(key));
        // Connections through a VIP may belong to a service that drains; those of a fwmark service may
        // come through any VIP.
        let vips: Vec<Option<IpAddr>> = leaving.map(ServiceKey::vip).collect();
        let is_any = vips.contains(&None);
        let vips: BTreeSet<IpAddr> = vips.into_iter().flatten().collect();
        let is_used = |binding: &&&Binding| {
            (is_any || vips.contains(&binding.address)) && !self.is_bound_again(binding)
        };
        let mut unbinds: BTreeSet<Binding> =
            self.unbound.iter().filter(is_used).map(|it| (*it).clone()).collect();
        // The kernel would delete a waiting secondary with its primary.
        if !self.secondaries.is_empty() {
            let unbound: BTreeSet<&Binding> = self.unbound.iter().copied().collect();
            let primaries = unbinds.iter().filter_map(|it| self.secondaries.get(it));
            let primaries: BTreeSet<&Binding> =
                primaries.filter(|it| unbound.contains(it)).collect();
            // So do those that get another label with it.
            let goes_along = |it: &Binding| {
                primaries.contains(it)
                    || self.relabelled.contains(it)
                        && self.secondaries.get(it).is_some_and(|it| primaries.contains(it))
            };
            let with_primaries = self.unbound.iter().filter(|it| goes_along(it));
            let with_primaries: Vec<Binding> = with_primaries.map(|it| (*it).clone()).collect();
            unbinds.extend(with_primaries);
        }
        let interfaces =
            unbinds.iter().map(|binding| (binding.interface.clone(), binding.clone())).collect();
        Waiting { draining, services, is_mixed, unbinds, interfaces }
    }
}

/// What waits for drains.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    draining: BTreeSet<RealServerId>,
    services: BTreeSet<ServiceKey>,
    /// Whether the family of a draining real server differs from that of its service.
    is_mixed: bool,
    /// The VIPs that are not unbound yet.
    unbinds: BTreeSet<Binding>,
    /// One of them on each interface.
    interfaces: BTreeMap<Box<str>, Binding>,
}

impl Waiting {
    /// Whether an operation must wait.
    pub(crate) fn holds(&self, op: &Op) -> bool {
        if self.draining.is_empty() {
            return false;
        }
        match op {
            Op::DeleteRealServer { service, key, .. } => self.draining.contains(&(*service, *key)),
            Op::DeleteService { key, .. } => self.services.contains(key),
            // A VIP is bound again with another label after it was unbound.
            Op::Unbind { binding, .. } | Op::Bind { binding, .. } => self.unbinds.contains(binding),
            Op::DeleteHostObject { object, .. } => {
                object.reaches_real_servers() || self.serves_waiting_vip(object)
            }
            Op::EditHostObject { object, after, .. } => {
                (after.is_restored() && object.reaches_real_servers())
                    || (after.accepts_less() && self.carries_waiting_vip(object))
            }
            Op::DeleteDummy { interface } => self.interfaces.contains_key(interface),
            // Drains, the deletions after them and the VIPs that wait for them rely on the values in
            // force.
            Op::RestoreSysctl { .. } => true,
            // The kernel starts no sync daemon while a service has real servers of the other family.
            Op::AddSync { .. } => self.is_mixed,
            _ => false,
        }
    }

    fn serves_waiting_vip(&self, object: &HostObject) -> bool {
        let mut at_address =
            object.address().into_iter().flat_map(|it| bindings_of(&self.unbinds, it));
        at_address.any(|binding| object.is_on(binding)) || self.carries_waiting_vip(object)
    }

    /// Whether one of the VIPs needs the object. Which one is decided by its address or its interface alone
    /// ([`HostObject::carries`]).
    fn carries_waiting_vip(&self, object: &HostObject) -> bool {
        if !object.carries_vips() {
            return false;
        }
        match object.address() {
            Some(address) => {
                bindings_of(&self.unbinds, address).any(|binding| object.carries(binding))
            }
            None => self.interfaces.values().any(|binding| object.carries(binding)),
        }
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_model::{ArpRules, HostRoute, RealServerKey, TunnelDevice};

    use super::*;
    use crate::execute::tests::{empty_service, rs, vip, web};
    use evenkeel_model::Drain;

    fn unbind(binding: Binding) -> Op {
        Op::Unbind { binding, label: None }
    }

    fn delete(object: impl Into<HostObject>, value: evenkeel_model::HostValue) -> Op {
        Op::DeleteHostObject { object: object.into(), before: Box::new(value) }
    }

    #[test]
    fn what_serves_a_vip_of_a_draining_service_waits_with_it() {
        let (key, named) = web([(1, 5)], Drain(30));
        let on_tunnel = Binding::host([192, 0, 2, 1].into(), "tunl0");
        let steps = [
            unbind(vip(1)),
            unbind(vip(2)),
            unbind(on_tunnel),
            Op::DeleteService { key, before: Box::new(named.service) },
        ];
        let secondaries = BTreeMap::new();
        let plan = DrainDependents::new(&steps, &secondaries);
        let drains: BTreeSet<(ServiceKey, RealServerKey)> = [(key, rs(1))].into();
        let waiting = plan.waiting(drains);
        let held: Vec<bool> = steps.iter().map(|op| waiting.holds(op)).collect();
        assert_eq!(held, [true, false, true, true]);
        for (last, is_held) in [(1, true), (2, false)] {
            let route = HostRoute::of(&vip(last));
            let value = route.value();
            assert_eq!(waiting.holds(&delete(route, value.clone())), is_held, "{last}");
            let rules = ArpRules { address: [192, 0, 2, last].into() };
            assert_eq!(waiting.holds(&delete(rules, value)), is_held, "{last}");
        }
        let value = HostRoute::of(&vip(1)).value();
        for (name, is_held) in [("tunl0", true), ("gre0", false)] {
            let device = TunnelDevice { interface: name.into() };
            assert_eq!(waiting.holds(&delete(device, value.clone())), is_held, "{name}");
            let interface = name.into();
            assert_eq!(waiting.holds(&Op::DeleteDummy { interface }), is_held, "{name}");
        }
        let nothing = plan.waiting(BTreeSet::new());
        assert!(!steps.iter().any(|op| nothing.holds(op)));
    }

    #[test]
    fn all_vips_wait_for_a_fwmark_service_that_leaves_and_for_none_that_stays() {
        let (key, named) = empty_service();
        let leaves = [unbind(vip(1)), Op::DeleteService { key, before: Box::new(named.service) }];
        let secondaries = BTreeMap::new();
        for (steps, is_held) in [(&leaves[..], true), (&leaves[..1], false)] {
            let waiting = DrainDependents::new(steps, &secondaries).waiting([(key, rs(1))].into());
            assert_eq!(waiting.holds(&steps[0]), is_held);
        }
    }
}
