//! Host routes to VIPs: `VIP dev INTERFACE scope link src VIP` in the main table.
//!
//! The kernel deletes an IPv4 route whose source address leaves the host, and removes the source
//! from such a route of IPv6. If a VIP is unbound and bound again, its route is added again.

use std::collections::BTreeSet;
use std::net::IpAddr;

use evenkeel_model::{HostObject, HostRoute, HostValue, Live, RouteValue};

use crate::Op;
use crate::cause::SpecPair;

/// Returns the routes of evenkeel whose VIP those operations unbind and bind again.
pub(crate) fn added_again<'a, 'l>(
    ops: impl Iterator<Item = &'a Op>,
    live: &'l Live,
) -> impl Iterator<Item = (&'l HostObject, &'l HostValue)> {
    let (mut unbound, mut bound) = (BTreeSet::new(), BTreeSet::new());
    for op in ops {
        match op {
            Op::Unbind { binding, .. } => unbound.insert(HostRoute::of(binding)),
            Op::Bind { binding, .. } => bound.insert(HostRoute::of(binding)),
            _ => false,
        };
    }
    live.host_objects.owned().filter(move |(object, _)| match object {
        HostObject::Route(route) => unbound.contains(route) && bound.contains(route),
        _ => false,
    })
}

/// Whether the VIP of a route is bound again because the spec gives it another label.
pub(super) fn is_rebound_by_spec(object: &HostObject, specs: &SpecPair<'_>) -> bool {
    let HostObject::Route(route) = object else { return false };
    let binding = route.binding();
    specs.desired.vips.get(&binding) != specs.last.vips.get(&binding)
}

/// Removes or edits the routes whose source address leaves the host, as the kernel does
/// (`fib_sync_down_addr`, `fib6_remove_prefsrc`).
pub(in crate::resource) fn lose_source(state: &mut Live, address: IpAddr) {
    if state.bound(address).next().is_some() {
        return;
    }
    let lost = RouteValue { source: Some(address) };
    state.host_objects.objects.retain(|_, live| match &mut live.value {
        HostValue::Route(value) if *value == lost => {
            value.source = None;
            address.is_ipv6()
        }
        _ => true,
    });
}
