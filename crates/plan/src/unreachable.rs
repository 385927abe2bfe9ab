//! Services that no client reaches, though the host is as the spec asks.

use std::collections::BTreeSet;
use std::net::IpAddr;

use evenkeel_model::{Binding, IgnoredField, NamedService, Owner, Service, ServiceKey, entries_of};

use crate::overlay::effective;
use crate::{Inputs, Warning};

/// Warns of the services that no client reaches after the plan. `released` are the VIPs that are left to
/// another program, which has released them.
pub(crate) fn unreachable_warnings(
    inputs: &Inputs<'_>,
    released: &BTreeSet<&Binding>,
) -> Vec<Warning> {
    let labels = |keys: Vec<&ServiceKey>| {
        keys.into_iter().map(|key| inputs.desired.label(key).to_string()).collect()
    };
    let released: BTreeSet<IpAddr> = released.iter().map(|binding| binding.address).collect();
    let services = || inputs.desired.services.iter();
    let not_local = services().map(|(key, _)| key).filter(|key| !is_local(key, inputs, &released));
    let bare = services().filter(|(key, named)| !has_weight(key, named, inputs));
    let not_local: Vec<&ServiceKey> = not_local.collect();
    // Where the spec has one with a weight, overlays hold it.
    let is_held = |named: &NamedService| {
        !inputs.overlays.is_empty()
            && named.service.real_servers.iter().any(|(_, it)| it.weight > 0)
    };
    let (held, bare): (Vec<_>, Vec<_>) = bare.partition(|(_, named)| is_held(named));
    let bare: Vec<&ServiceKey> = bare.into_iter().map(|(key, _)| key).collect();
    let held: Vec<&ServiceKey> = held.into_iter().map(|(key, _)| key).collect();
    let mut warnings = Vec::new();
    if !not_local.is_empty() {
        warnings.push(Warning::NotLocal(labels(not_local)));
    }
    if !bare.is_empty() {
        warnings.push(Warning::NoServers(labels(bare)));
    }
    if !held.is_empty() {
        warnings.push(Warning::AllHeld(labels(held)));
    }
    warnings
}

/// Whether the host accepts packets to the service: the plan binds its address, or keeps it bound, or another
/// program has it, or a route makes it local. True if that is not known, and for a firewall mark, which has no
/// address.
fn is_local(key: &ServiceKey, inputs: &Inputs<'_>, released: &BTreeSet<IpAddr>) -> bool {
    let Inputs { desired, live, .. } = *inputs;
    let (Some(routed), Some(address)) = (&live.local_by_route, key.vip()) else { return true };
    if inputs.overlays.withheld_vips.contains_key(&address) {
        // The plan warns of it by itself.
        return true;
    }
    let is_listed = entries_of(&desired.vips, address).next().is_some();
    // Of an interface that is down, the plan warns by itself.
    if is_listed && !released.contains(&address) || routed.contains(&address) {
        return true;
    }
    // The plan unbinds those of evenkeel.
    let stays =
        |bound: &Binding, owner: Owner| owner == Owner::Other || !desired.governs_vip(bound);
    live.bound_and_up(address).any(|(bound, owner)| stays(bound, *owner))
}

/// Whether the service has a real server of positive weight after the plan, or some that leave it: while they
/// drain, their weight is 0 on purpose.
fn has_weight(key: &ServiceKey, named: &NamedService, inputs: &Inputs<'_>) -> bool {
    let live = inputs.live.services.get(key);
    let desired = &named.service.real_servers;
    let is_any = |service: &Service| service.real_servers.iter().any(|(_, it)| it.weight > 0);
    if named.ignore.contains(IgnoredField::RealServers) {
        let is_filled = live.is_some() && !inputs.record.unfilled.contains(key);
        return live.is_some_and(is_any) || !is_filled && is_any(&named.service);
    }
    let ignores_weight = named.ignore.contains(IgnoredField::Weight);
    let held = effective(key, named, inputs.overlays);
    let mut listed = held.iter();
    let is_weighing = listed.any(|(server, config)| {
        let is_left = ignores_weight && inputs.overlays.get(key, server).is_none();
        let found = live.filter(|_| is_left).and_then(|live| live.real_servers.get(server));
        found.map_or(config.weight, |found| found.weight) > 0
    });
    let is_left =
        |live: &Service| live.real_servers.iter().any(|(it, _)| desired.get(it).is_none());
    is_weighing || live.is_some_and(is_left)
}

#[cfg(test)]
mod tests;
