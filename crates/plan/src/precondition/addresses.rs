//! VIPs that the kernel will not bind or unbind as the plan asks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_model::{
    Binding, DISABLE_IPV6, Desired, Family, Live, PROMOTE_SECONDARIES, interface_sysctl,
};

use super::UnmetPrecondition;
use crate::Op;
use crate::subnet::Subnet;

/// Returns the primary addresses that cannot be unbound, and the interfaces on which no IPv6 address can stay
/// bound.
pub(super) fn refused_addresses(
    desired: &Desired,
    live: &Live,
    ops: &[Op],
) -> Vec<UnmetPrecondition> {
    let mut found = secondaries_stay(live, ops);
    found.extend(ipv6_disabled(desired, live, ops));
    found
}

/// The addresses of a subnet at one point of the plan.
#[derive(Default)]
struct Members<'a> {
    primary: Option<&'a Binding>,
    secondaries: BTreeSet<&'a Binding>,
}

/// The primary addresses with which the kernel would delete secondaries that are bound by then
/// (`__inet_del_ifa`): those that stay, and those that the plan binds before.
fn secondaries_stay(live: &Live, ops: &[Op]) -> Vec<UnmetPrecondition> {
    let unbound = ops.iter().filter_map(|op| match op {
        Op::Unbind { binding, .. } if binding.prefix < 32 => Subnet::of(binding),
        _ => None,
    });
    let mut subnets: BTreeMap<Subnet, Members<'_>> =
        unbound.map(|subnet| (subnet, Members::default())).collect();
    if subnets.is_empty() {
        return Vec::new();
    }
    for binding in live.addresses.keys() {
        let Some(members) = Subnet::of(binding).and_then(|it| subnets.get_mut(&it)) else {
            continue;
        };
        match live.secondaries.contains_key(binding) {
            true => drop(members.secondaries.insert(binding)),
            false => members.primary = Some(binding),
        }
    }
    let mut promotion = Promotion::new(live);
    let mut found = Vec::new();
    for op in ops {
        promotion.follow(op);
        let (Op::Bind { binding, .. } | Op::Unbind { binding, .. }) = op else { continue };
        let Some(members) = Subnet::of(binding).and_then(|it| subnets.get_mut(&it)) else {
            continue;
        };
        let is_primary = members.primary == Some(binding);
        match op {
            Op::Bind { .. } if members.primary.is_none() => members.primary = Some(binding),
            Op::Bind { .. } if !is_primary => drop(members.secondaries.insert(binding)),
            Op::Unbind { .. } if !is_primary => drop(members.secondaries.remove(binding)),
            Op::Unbind { .. } if members.secondaries.is_empty() => members.primary = None,
            Op::Unbind { .. } if promotion.is_on(&binding.interface) => {
                members.primary = members.secondaries.pop_first();
            }
            Op::Unbind { .. } => {
                let secondaries = members.secondaries.iter().map(|it| it.address).collect();
                let primary = binding.clone();
                found.push(UnmetPrecondition::SecondariesStay { primary, secondaries });
            }
            _ => {}
        }
    }
    found
}

/// Whether the kernel promotes secondaries, at one point of the plan.
struct Promotion<'a> {
    live: &'a Live,
    /// What the plan sets, by key.
    set: BTreeMap<&'a str, bool>,
}

impl<'a> Promotion<'a> {
    fn new(live: &'a Live) -> Self {
        Self { live, set: BTreeMap::new() }
    }

    fn follow(&mut self, op: &'a Op) {
        let (Op::EditSysctl { key, after, .. } | Op::RestoreSysctl { key, after, .. }) = op else {
            return;
        };
        if key.ends_with(PROMOTE_SECONDARIES) {
            self.set.insert(key, is_on(after));
        }
    }

    /// Either of the two sysctls suffices. Where they are not known, the reading lists the secondaries that are
    /// not promoted.
    fn is_on(&self, interface: &str) -> bool {
        let value = |interface: &str| {
            let key = interface_sysctl(Family::Ipv4, interface, PROMOTE_SECONDARIES);
            let read = || self.live.sysctls.get(&*key).map(|value| is_on(value));
            self.set.get(&*key).copied().or_else(read)
        };
        match (value("all"), value(interface)) {
            (Some(true), _) | (_, Some(true)) => true,
            (Some(false), Some(false)) => false,
            (None, _) | (_, None) => {
                !self.live.secondaries.keys().any(|it| *it.interface == *interface)
            }
        }
    }
}

/// The interfaces with IPv6 VIPs on which IPv6 is disabled when a VIP is bound, or that a sysctl of the plan
/// takes their VIPs from.
fn ipv6_disabled(desired: &Desired, live: &Live, ops: &[Op]) -> Vec<UnmetPrecondition> {
    let mut vips: BTreeMap<&str, Vec<IpAddr>> = BTreeMap::new();
    for binding in desired.vips.keys().filter(|it| it.address.is_ipv6()) {
        vips.entry(&binding.interface).or_default().push(binding.address);
    }
    if vips.is_empty() {
        return Vec::new();
    }
    let key = |interface: &str| interface_sysctl(Family::Ipv6, interface, DISABLE_IPV6);
    let read = |interface: &str| live.sysctls.get(&*key(interface)).map(|value| is_on(value));
    let mut default = read("default").unwrap_or(false);
    // A device that comes with the plan has the default.
    let mut disabled: BTreeMap<&str, Option<bool>> =
        vips.keys().map(|interface| (*interface, read(interface))).collect();
    let mut refused: BTreeMap<(&str, bool), BTreeSet<IpAddr>> = BTreeMap::new();
    for op in ops {
        match op {
            Op::EditSysctl { key: set, after, .. } | Op::RestoreSysctl { key: set, after, .. }
                if set.ends_with(DISABLE_IPV6) =>
            {
                let is_all = **set == *key("all");
                if is_all || **set == *key("default") {
                    default = is_on(after);
                }
                for (interface, value) in &mut disabled {
                    if !is_all && **set != *key(interface) {
                        continue;
                    }
                    if is_on(after) {
                        let lost = vips[interface].iter().copied();
                        refused.entry((*interface, true)).or_default().extend(lost);
                    } else {
                        *value = Some(false);
                    }
                }
            }
            Op::Bind { binding, .. } if binding.address.is_ipv6() => {
                let Some((interface, value)) = disabled.get_key_value(&*binding.interface) else {
                    continue;
                };
                if value.unwrap_or(default) {
                    refused.entry((*interface, false)).or_default().insert(binding.address);
                }
            }
            _ => {}
        }
    }
    let unmet = refused.into_iter().map(|((interface, is_set), vips)| {
        UnmetPrecondition::Ipv6Disabled { interface: interface.into(), vips, is_set }
    });
    unmet.collect()
}

/// Whether the value of a sysctl is not 0.
fn is_on(value: &str) -> bool {
    value != "0"
}

#[cfg(test)]
mod tests;
