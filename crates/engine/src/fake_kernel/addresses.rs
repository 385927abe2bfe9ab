//! Addresses of the kernel in memory.

use std::net::{IpAddr, Ipv4Addr};

use evenkeel_model::{Binding, Family, Owner};
use rustix::io::Errno;

use super::FakeKernel;

impl FakeKernel {
    pub(super) fn require_interface(&self, name: &str) -> Result<(), Errno> {
        let exists = self.live.links.as_ref().is_some_and(|links| links.contains_key(name));
        if exists { Ok(()) } else { Err(Errno::NODEV) }
    }

    pub(super) fn bind(&mut self, binding: &Binding, label: Option<&str>) -> Result<(), Errno> {
        self.require_interface(&binding.interface)?;
        // IPv6 refuses a second prefix length of one address, IPv4 takes it.
        let is_taken = |other: &Binding| match Family::from(other.address) {
            Family::Ipv4 => other == binding,
            Family::Ipv6 => other.same_place(binding),
        };
        if self.live.bound(binding.address).any(|(it, _)| is_taken(it)) {
            return Err(Errno::EXIST);
        }
        self.note_secondary(binding);
        self.live.addresses.insert(binding.clone(), Owner::Evenkeel);
        if let Some(label) = label.filter(|_| binding.address.is_ipv4()) {
            self.live.labels.insert(binding.clone(), label.into());
        }
        Ok(())
    }

    pub(super) fn unbind(&mut self, binding: &Binding) -> Result<(), Errno> {
        self.require_interface(&binding.interface)?;
        // The real one would delete them too, and evenkeel sends it no such request.
        if self.live.secondaries.values().any(|primary| primary == binding) {
            return Err(Errno::BUSY);
        }
        self.live.labels.remove(binding);
        self.live.secondaries.remove(binding);
        self.live.addresses.remove(binding).ok_or(Errno::ADDRNOTAVAIL)?;
        self.forget_sources();
        self.forget_neighbours(binding);
        Ok(())
    }

    /// Notes whether an address is a secondary: the interface has one of its subnet with the same length
    /// (`__inet_insert_ifa`). This kernel promotes none.
    fn note_secondary(&mut self, binding: &Binding) {
        let Some(subnet) = broadcast(binding) else { return };
        let primary = self.live.addresses.keys().find(|other| {
            other.interface == binding.interface
                && other.prefix == binding.prefix
                && broadcast(other) == Some(subnet)
                && !self.live.secondaries.contains_key(*other)
        });
        if let Some(primary) = primary.cloned() {
            self.live.secondaries.insert(binding.clone(), primary);
        }
    }

    pub(super) fn is_local(&self, address: IpAddr) -> bool {
        self.live.bound(address).next().is_some()
    }
}

/// Whether this is the broadcast address of the binding's network.
pub(super) fn reaches_all(binding: &Binding, address: Ipv4Addr) -> bool {
    binding.prefix < 31 && broadcast(binding) == Some(address)
}

/// The broadcast address of the binding's IPv4 network.
fn broadcast(binding: &Binding) -> Option<Ipv4Addr> {
    let IpAddr::V4(local) = binding.address else { return None };
    let hosts = u32::MAX.checked_shr(binding.prefix.into()).unwrap_or(0);
    Some(Ipv4Addr::from_bits(local.to_bits() | hosts))
}
