//! Tunnel devices and FOU ports: what a real server receives packets through.
//!
//! A tunnel device that is deleted is set down, as the kernel keeps the one that its driver made. An
//! interface that goes down loses its IPv6 addresses, so the device stays up while one is bound on it
//! that evenkeel does not unbind.

use std::collections::BTreeSet;
use std::net::IpAddr;

use evenkeel_model::{Binding, Desired, HostObject, Link, Live, Owner};

use crate::resource::dummy::is_link_local;
use crate::{Op, Warning};

/// Returns an address that stays on the device when it is deleted, if there is one. Those that the
/// kernel assigns itself do not count.
pub(super) fn staying_address<'l>(
    object: &HostObject,
    others: &[Op],
    live: &'l Live,
) -> Option<&'l Binding> {
    let interface = object.device()?;
    let unbound = others.iter().filter_map(|op| match op {
        Op::Unbind { binding, .. } => Some(binding),
        _ => None,
    });
    let unbound: BTreeSet<&Binding> = unbound.collect();
    let mut there = live.addresses.keys().filter(|it| *it.interface == *interface);
    there.find(|it| !unbound.contains(it) && !is_of_kernel(it.address))
}

/// Whether the kernel assigns such an address to tunnel devices itself: a link-local one, or, on
/// devices over IPv4, one with each IPv4 address of the host in it (`add_v4_addrs`).
fn is_of_kernel(address: IpAddr) -> bool {
    let has_ipv4 = matches!(address, IpAddr::V6(it) if it.segments()[..6] == [0; 6]);
    is_link_local(address) || has_ipv4
}

/// Warnings about devices that stay up because of an address on them.
pub(crate) fn staying_devices<'a>(
    wanted: &'a Desired,
    live: &'a Live,
    steps: &'a [Op],
) -> impl Iterator<Item = Warning> + 'a {
    let ours = live.host_objects.owned();
    ours.filter(|(object, _)| !wanted.host_objects.contains_key(object)).filter_map(
        |(object, _)| {
            Some(Warning::TunnelStays {
                interface: object.device()?.into(),
                bound: staying_address(object, steps, live)?.clone(),
            })
        },
    )
}

/// Sets the interface of a tunnel device up or down, as the kernel does.
pub(super) fn set_link(state: &mut Live, object: &HostObject, up: bool) {
    let (Some(links), Some(interface)) = (&mut state.links, object.device()) else { return };
    let created = || Link { up, dummy: false, owner: Owner::Other };
    links.entry(interface.into()).or_insert_with(created).up = up;
}
