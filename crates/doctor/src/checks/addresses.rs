//! VIPs that the kernel deletes together with other addresses.

use std::net::IpAddr;

use evenkeel_model::{Binding, Owner};
use ipnet::Ipv4Net;

use crate::{Code, Facts, Finding};

pub(super) fn check(facts: &Facts, findings: &mut Vec<Finding>) {
    for (binding, owner) in &facts.live.addresses {
        let is_vip = *owner == Owner::Evenkeel && facts.desired.vips.contains_key(binding);
        let is_secondary = is_vip && facts.secondary.contains(binding);
        let Some(net) = subnet(binding).filter(|_| is_secondary) else { continue };
        let interface = &binding.interface;
        if facts.larger(interface, "promote_secondaries") != Some(0) {
            continue;
        }
        let primary = facts.live.addresses.keys().find(|other| {
            other.interface == *interface
                && subnet(other) == Some(net)
                && !facts.secondary.contains(*other)
        });
        let Some(primary) = primary else { continue };
        let what = format!(
            "VIP {} is deleted with {}, which is in the same subnet on {interface}",
            binding.address, primary.address
        );
        let remedy = format!(
            "bind the VIP as /32, or set {} to 1",
            crate::facts::interface_key(interface, "promote_secondaries")
        );
        let services = facts.services_of_vip(binding.address);
        findings.push(Finding::of(Code::SecondaryVip, services, what, remedy));
    }
}

/// The subnet of an IPv4 address with others in it; the kernel compares address and mask.
fn subnet(binding: &Binding) -> Option<Ipv4Net> {
    let IpAddr::V4(address) = binding.address else { return None };
    let net = Ipv4Net::new(address, binding.prefix).ok()?;
    (net.prefix_len() < 32).then(|| net.trunc())
}
