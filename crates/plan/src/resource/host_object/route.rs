//! Host routes to VIPs: `VIP dev INTERFACE scope link src VIP` in the main table.
//!
//! The kernel deletes an IPv4 route whose source address leaves the host, and removes the source
//! from such a route of IPv6. If a VIP is unbound and bound again, its route is added again.

use std::net::IpAddr;

use evenkeel_model::{HostObject, HostRoute, HostValue, Live, RouteValue};

use crate::Op;
use crate::cause::SpecPair;

/// Returns the routes of evenkeel whose VIP those operations unbind and bind again.
pub(crate) fn added_again<'l>(
    ops: &[Op],
    live: &'l Live,
) -> impl Iterator<Item = (&'l HostObject, &'l HostValue)> {
    let rebound = |address: IpAddr, interface: &str| {
        let is_here = |op: &Op, unbinds: bool| match op {
            Op::Unbind { binding, .. } if unbinds => {
                binding.address == address && *binding.interface == *interface
            }
            Op::Bind { binding, .. } if !unbinds => {
                binding.address == address && *binding.interface == *interface
            }
            _ => false,
        };
        ops.iter().any(|op| is_here(op, true)) && ops.iter().any(|op| is_here(op, false))
    };
    live.host_objects.owned().filter(move |(object, _)| match object {
        HostObject::Route(HostRoute { destination, interface }) => rebound(*destination, interface),
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
    if state.addresses.keys().any(|binding| binding.address == address) {
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
