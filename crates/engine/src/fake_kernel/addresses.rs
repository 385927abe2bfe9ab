//! Addresses of the kernel in memory.

use std::collections::BTreeMap;
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
        if of_network(&self.live.secondaries, binding).any(|(_, primary)| primary == binding) {
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
        let mut others = of_network(&self.live.addresses, binding).map(|(other, _)| other);
        let primary = others.find(|other| {
            other.interface == binding.interface
                && other.prefix == binding.prefix
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

/// The entries of the bindings whose address is in the binding's IPv4 network.
fn of_network<'a, V>(
    entries: &'a BTreeMap<Binding, V>,
    binding: &Binding,
) -> impl Iterator<Item = (&'a Binding, &'a V)> + use<'a, V> {
    let network = match binding.address {
        IpAddr::V4(local) => Some((local.to_bits() & !hosts(binding.prefix), binding.prefix)),
        IpAddr::V6(_) => None,
    };
    network.into_iter().flat_map(|(first, prefix)| in_network(entries, first, prefix))
}

/// The entries of the bindings whose address is in an IPv4 network.
fn in_network<V>(
    entries: &BTreeMap<Binding, V>,
    first: u32,
    prefix: u8,
) -> impl Iterator<Item = (&Binding, &V)> {
    let last = IpAddr::from(Ipv4Addr::from_bits(first | hosts(prefix)));
    let from_first = entries.range(Binding::first_of(Ipv4Addr::from_bits(first).into())..);
    from_first.take_while(move |(it, _)| it.address <= last)
}

/// Whether this is the broadcast address of the network of a binding.
pub(super) fn is_broadcast<V>(entries: &BTreeMap<Binding, V>, address: Ipv4Addr) -> bool {
    let address = address.to_bits();
    let networks = (0..31).filter(|prefix| address & hosts(*prefix) == hosts(*prefix));
    networks.into_iter().any(|prefix| {
        let mut there = in_network(entries, address & !hosts(prefix), prefix);
        there.any(|(binding, _)| binding.prefix == prefix)
    })
}

/// The bits of an IPv4 address that name a host in a network.
fn hosts(prefix: u8) -> u32 {
    u32::MAX.checked_shr(prefix.into()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_binding() -> impl Strategy<Value = Binding> {
        (0_u8..3, any::<u8>(), 20_u8..=32).prop_map(|(third, last, prefix)| {
            let address = [10, 0, third, last].into();
            Binding { address, interface: "eth0".into(), prefix }
        })
    }

    fn broadcast(binding: &Binding) -> Option<Ipv4Addr> {
        let IpAddr::V4(local) = binding.address else { return None };
        (binding.prefix < 31).then(|| Ipv4Addr::from_bits(local.to_bits() | hosts(binding.prefix)))
    }

    proptest! {
        #[test]
        fn a_search_finds_what_a_look_at_each_address_finds(
            bindings in prop::collection::btree_set(any_binding(), 0..6),
            one in any_binding(),
            hosts in 0_u8..10,
        ) {
            let all: BTreeMap<Binding, ()> = bindings.into_iter().map(|it| (it, ())).collect();
            let IpAddr::V4(address) = one.address else { return Ok(()) };
            let address = Ipv4Addr::from_bits(address.to_bits() | ((1 << hosts) - 1));
            let expected = all.keys().any(|it| broadcast(it) == Some(address));
            prop_assert_eq!(is_broadcast(&all, address), expected);
            let of_network = of_network(&all, &one).map(|(it, ())| it);
            let same = |it: &&Binding| {
                let bits = |it: &Binding| match it.address {
                    IpAddr::V4(it) => it.to_bits() & !super::hosts(one.prefix),
                    IpAddr::V6(_) => 0,
                };
                bits(it) == bits(&one)
            };
            prop_assert!(of_network.eq(all.keys().filter(same)));
        }
    }
}
