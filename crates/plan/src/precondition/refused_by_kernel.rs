//! Real servers and sync daemons that the kernel will refuse, as the reading shows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use evenkeel_model::{Binding, Family, Live, RealServerKey, Service, ServiceKey, SyncState};

use super::UnmetPrecondition;
use crate::Op;

/// Returns what the kernel will refuse of these steps.
pub(super) fn refused_by_kernel(live: &Live, ops: &[Op]) -> Vec<UnmetPrecondition> {
    let up = live.addresses.keys().filter(|it| is_up(live, &it.interface));
    let broadcasts: BTreeMap<Ipv4Addr, &Binding> =
        up.filter_map(|it| Some((broadcast(it)?, it))).collect();
    let mut found = BTreeSet::new();
    for op in ops {
        if let Op::AddRealServer { key, .. } = op
            && let IpAddr::V4(address) = key.address
            && live.bound(key.address).next().is_none()
            && let Some(binding) = broadcasts.get(&address)
        {
            found.insert((key.address, *binding));
        }
    }
    let broadcasts = found.into_iter().map(|(address, binding)| {
        UnmetPrecondition::BroadcastRealServer { address, network: binding.clone() }
    });
    broadcasts.chain(mixed_beside_sync(live, ops)).chain(sync_beside_mixed(live, ops)).collect()
}

/// Whether an operation sends a real server of another family than that of its service.
pub(super) fn is_mixed(op: &Op) -> bool {
    match op {
        Op::AddRealServer { service, key, .. }
        | Op::EditRealServer { service, key, .. }
        | Op::DrainRealServer { service, key, .. } => is_of_other_family(service, key),
        _ => false,
    }
}

fn is_of_other_family(service: &ServiceKey, key: &RealServerKey) -> bool {
    Family::from(key.address) != service.family()
}

/// The sync daemons that run on, of which the kernel lets none be beside such a real server
/// (`ip_vs_genl_set_cmd`).
fn mixed_beside_sync(live: &Live, ops: &[Op]) -> Option<UnmetPrecondition> {
    let is_stopped = |state: SyncState| {
        ops.iter().any(|op| matches!(op, Op::DeleteSync { state: it, .. } if *it == state))
    };
    let daemons: Vec<SyncState> =
        live.sync.keys().copied().filter(|state| !is_stopped(*state)).collect();
    let concerns = !daemons.is_empty() && ops.iter().any(is_mixed);
    concerns.then_some(UnmetPrecondition::MixedBesideSync { daemons })
}

/// The services with such real servers that stay, beside which the kernel starts no sync daemon
/// (`start_sync_thread`).
fn sync_beside_mixed(live: &Live, ops: &[Op]) -> Option<UnmetPrecondition> {
    if !ops.iter().any(|op| matches!(op, Op::AddSync { .. })) {
        return None;
    }
    let mut gone_services = BTreeSet::new();
    let mut gone = BTreeSet::new();
    for op in ops {
        match op {
            Op::DeleteService { key, .. } => drop(gone_services.insert(*key)),
            Op::DeleteRealServer { service, key, .. } => drop(gone.insert((*service, *key))),
            _ => {}
        }
    }
    let stays_mixed = |(key, service): &(&ServiceKey, &Service)| {
        let mut real_servers = service.real_servers.iter();
        !gone_services.contains(*key)
            && real_servers
                .any(|(it, _)| is_of_other_family(key, it) && !gone.contains(&(**key, *it)))
    };
    let services: Vec<ServiceKey> =
        live.services.iter().filter(stays_mixed).map(|(key, _)| *key).collect();
    (!services.is_empty()).then_some(UnmetPrecondition::SyncBesideMixed { services })
}

/// The broadcast address of the binding's network, which the kernel adds to its local routes.
fn broadcast(binding: &Binding) -> Option<Ipv4Addr> {
    match binding.address {
        IpAddr::V4(local) if binding.prefix < 31 => {
            let hosts = u32::MAX.checked_shr(binding.prefix.into()).unwrap_or(0);
            Some(Ipv4Addr::from_bits(local.to_bits() | hosts))
        }
        _ => None,
    }
}

/// Whether an interface is known to be up: one that is down has no broadcast routes.
fn is_up(live: &Live, interface: &str) -> bool {
    live.links.as_ref().and_then(|links| links.get(interface)).is_some_and(|link| link.up)
}

#[cfg(test)]
mod tests;
