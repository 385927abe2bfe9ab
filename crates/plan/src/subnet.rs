//! Subnets of an interface, in which one IPv4 address is the primary and the others are secondaries.

use std::net::IpAddr;

use evenkeel_model::Binding;

/// The addresses of an interface of which one is the primary and the others are secondaries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Subnet {
    interface: Box<str>,
    prefix: u8,
    network: u32,
}

impl Subnet {
    /// The subnet of an IPv4 address; `None` for an IPv6 address, which has neither primary nor secondaries.
    pub(crate) fn of(binding: &Binding) -> Option<Self> {
        let IpAddr::V4(address) = binding.address else { return None };
        let Binding { interface, prefix, .. } = binding.clone();
        let host_bits = 32_u32.saturating_sub(prefix.into());
        let network = address.to_bits() & u32::MAX.checked_shl(host_bits).unwrap_or(0);
        Some(Self { interface, prefix, network })
    }
}
