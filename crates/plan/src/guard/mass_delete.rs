//! `mass-delete`: too few of the live objects would be left.
//!
//! Services and VIPs are counted by those that survive, as replacements do not serve their clients.
//! Real servers are counted by the net loss of each service, so that a pool can be replaced. What the spec
//! places on another director is not counted.

use std::collections::BTreeSet;
use std::net::IpAddr;

use evenkeel_model::{
    Guards, IgnoredField, NamedService, Owner, RealServerKey, Service, ServiceKey,
};

use super::{label, some_of};
use crate::Inputs;

/// The number of live objects of one kind, and of those that would be left.
struct Survivors {
    left: usize,
    live: usize,
}

impl Survivors {
    /// Whether the guard refuses these numbers.
    fn are_too_few(&self, guards: Guards) -> bool {
        let Guards { mass_delete: percent, mass_delete_from: from, unbind_in_use: _ } = guards;
        let (left, live) = (self.left as u128, self.live as u128);
        live >= u128::from(from) && left * 100 < live * u128::from(percent)
    }
}

pub(super) fn refusal(inputs: &Inputs<'_>) -> Option<String> {
    let guards = inputs.judging_guards();
    let too_few = |survivors: &Survivors| survivors.are_too_few(guards.judging);
    let mut parts = Vec::new();
    for (noun, survivors) in [("services", services(inputs)), ("VIPs", vips(inputs))] {
        if too_few(&survivors) {
            let Survivors { left, live } = survivors;
            parts.push(format!("{left} of {live} live {noun} would be left"));
        }
    }
    let thinned: Vec<String> = real_servers(inputs)
        .filter(|(_, survivors)| too_few(survivors))
        .map(|(key, Survivors { left, live })| {
            format!("{left} of {live} real servers of {}", label(inputs, key))
        })
        .collect();
    if !thinned.is_empty() {
        parts.push(format!("{} would be left", some_of(&thinned)));
    }
    (!parts.is_empty()).then(|| format!("{} ({})", parts.join(", "), guards.mass_delete_text()))
}

/// A drain that has started already passed the guard when it started.
fn stays(inputs: &Inputs<'_>, service: &ServiceKey, key: &RealServerKey) -> bool {
    !inputs.record.drains.0.contains_key(&(*service, *key))
}

fn services(inputs: &Inputs<'_>) -> Survivors {
    let Inputs { desired, live, .. } = inputs;
    let mut survivors = Survivors { left: 0, live: 0 };
    for (key, Service { real_servers, .. }) in &live.services {
        let is_left = desired.services.contains_key(key);
        let drains_away = !real_servers.is_empty()
            && !real_servers.iter().any(|(real_server, _)| stays(inputs, key, real_server));
        let has_moved = desired.elsewhere.services.contains(key);
        if desired.governs(key) && !has_moved && (is_left || !drains_away) {
            survivors.live += 1;
            survivors.left += usize::from(is_left);
        }
    }
    survivors
}

fn vips(inputs: &Inputs<'_>) -> Survivors {
    let Inputs { desired, live, .. } = inputs;
    // On a host that is no director, it is the directors' decision whether a VIP is used; a real server
    // that is taken out of its services loses all of its VIPs.
    if !desired.roles.is_director() {
        return Survivors { left: 0, live: 0 };
    }
    let bound = live.addresses.iter().filter(|(_, owner)| **owner == Owner::Evenkeel);
    let bound = bound.map(|(binding, _)| binding).filter(|it| desired.governs_vip(it));
    let bound: BTreeSet<IpAddr> = bound.map(|binding| binding.address).collect();
    let desired_addresses: BTreeSet<IpAddr> =
        desired.vips.keys().map(|binding| binding.address).collect();
    let governed: Vec<_> =
        bound.iter().filter(|address| !desired.elsewhere.vips.contains(address)).collect();
    let left = governed.iter().filter(|address| desired_addresses.contains(address)).count();
    Survivors { left, live: governed.len() }
}

/// Counts the real servers of each service that stays; another program's are not deleted.
fn real_servers<'a>(inputs: &'a Inputs<'_>) -> impl Iterator<Item = (&'a ServiceKey, Survivors)> {
    let Inputs { desired, live, .. } = *inputs;
    let is_counted =
        |(_, named): &(_, &NamedService)| !named.ignore.contains(IgnoredField::RealServers);
    desired.services.iter().filter(is_counted).filter_map(move |(key, named)| {
        let there = &live.services.get(key)?.real_servers;
        let live = there.iter().filter(|(it, _)| stays(inputs, key, it)).count();
        Some((key, Survivors { left: named.service.real_servers.len(), live }))
    })
}
