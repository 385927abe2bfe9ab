//! VIPs that are missing although the host has all that they need: they are bound before anything else is
//! changed in the table.

use std::collections::BTreeSet;
use std::net::IpAddr;

use evenkeel_model::{Desired, Family, Live, ServiceKey};

use crate::Op;

/// Takes those operations out that bind a VIP which clients can use at once. A VIP waits if its interface is
/// changed, or loses another address.
pub(super) fn take_served(ops: &mut Vec<Op>, desired: &Desired, live: &Live) -> Vec<Op> {
    let mut bound: BTreeSet<IpAddr> = ops.iter().filter_map(bound).collect();
    // One that moves from another interface waits for nothing.
    bound.retain(|vip| live.bound(*vip).next().is_none());
    if bound.is_empty() {
        return Vec::new();
    }
    let served = served(bound, desired, live);
    let busy: BTreeSet<Box<str>> =
        ops.iter().filter_map(changed_interface).map(Into::into).collect();
    let is_served = |op: &Op| match op {
        Op::Bind { binding, .. } => {
            served.contains(&binding.address) && !busy.contains(&binding.interface)
        }
        _ => false,
    };
    ops.extract_if(.., |op| is_served(op)).collect()
}

fn changed_interface(op: &Op) -> Option<&str> {
    match op {
        Op::Unbind { binding, .. } => Some(&binding.interface),
        Op::AddDummy { interface } | Op::EditDummy { interface } => Some(interface),
        _ => None,
    }
}

fn bound(op: &Op) -> Option<IpAddr> {
    match op {
        Op::Bind { binding, .. } => Some(binding.address),
        _ => None,
    }
}

/// Returns which of these addresses are served. One without a service of its own is served by all fwmark
/// services of its family together.
fn served(mut addresses: BTreeSet<IpAddr>, desired: &Desired, live: &Live) -> BTreeSet<IpAddr> {
    let serves = |key: &ServiceKey| {
        let service = live.services.get(key);
        service.is_some_and(|it| it.real_servers.iter().any(|(_, it)| it.weight > 0))
    };
    let (mut with_service, mut unserved) = (BTreeSet::new(), BTreeSet::new());
    let (mut marked, mut unserved_marks) = (BTreeSet::new(), BTreeSet::new());
    for key in desired.services.keys() {
        let is_served = serves(key);
        match key.vip() {
            Some(vip) => {
                with_service.insert(vip);
                unserved.extend((!is_served).then_some(vip));
            }
            None => {
                marked.insert(key.family());
                unserved_marks.extend((!is_served).then(|| key.family()));
            }
        }
    }
    addresses.retain(|address| match with_service.contains(address) {
        true => !unserved.contains(address),
        false => {
            let family = Family::from(*address);
            marked.contains(&family) && !unserved_marks.contains(&family)
        }
    });
    addresses
}
