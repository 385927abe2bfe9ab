//! Builds the netlink messages that bind and unbind an address. Sends nothing.
//!
//! What a binding looks like in the kernel:
//!
//! | | flags | why |
//! |---|---|---|
//! | host length (/32, /128) | noprefixroute | the local table already leads to it; IPv6 would add a useless route |
//! | shorter | none more | a prefix is written to get what `ip addr add` gives, the connected route included |
//! | IPv6 | nodad | during detection IPVS does not treat the address as local, and in a failover detection finds the old owner |
//! | IPv6 /128 | deprecated | so that it is never picked as the source of the host's own connections |
//!
//! IPv4 source selection knows no deprecated addresses: the only address of an interface may be picked.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtnetlink::AddressMessageBuilder;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags as WireFlags, AddressMessage, AddressProtocol, CacheInfo,
};

use crate::address::{Address, AddressFlags};
use crate::ownership::EVENKEEL_PROTOCOL;

/// A lifetime without end, `INFINITY_LIFE_TIME` of include/net/addrconf.h.
const FOR_EVER: u32 = u32::MAX;

/// An address on an interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Binding {
    /// The address.
    pub address: IpAddr,
    /// The prefix length in bits: 32 or 128 unless a route to the subnet is wanted.
    pub prefix: u8,
    /// The interface's name.
    pub interface: String,
}

impl Binding {
    /// The address with the full prefix of its family.
    #[must_use]
    pub fn host(address: IpAddr, interface: impl Into<String>) -> Self {
        Self { address, prefix: host_length(address), interface: interface.into() }
    }

    /// Whether the prefix is the whole address.
    #[must_use]
    pub fn is_host(&self) -> bool {
        self.prefix == host_length(self.address)
    }

    /// Whether the prefix fits the address's family.
    pub(crate) fn is_valid(&self) -> bool {
        self.prefix <= host_length(self.address)
    }

    /// The flags it is bound with.
    #[must_use]
    pub fn flags(&self) -> AddressFlags {
        let none = AddressFlags(0);
        match (self.address, self.is_host()) {
            (IpAddr::V4(_), true) => AddressFlags::NOPREFIXROUTE,
            (IpAddr::V4(_), false) => none,
            (IpAddr::V6(_), true) => {
                AddressFlags::NODAD.with(AddressFlags::NOPREFIXROUTE).with(AddressFlags::DEPRECATED)
            }
            (IpAddr::V6(_), false) => AddressFlags::NODAD,
        }
    }

    /// The payload of the `RTM_NEWADDR` that binds it. The kernel labels an IPv4 address with the
    /// interface's name unless it is given another label.
    pub(crate) fn to_add(&self, index: u32, label: Option<&str>) -> AddressMessage {
        let flags = self.flags();
        let mut message = self.message(index);
        message.attributes.push(AddressAttribute::Flags(WireFlags::from_bits_retain(flags.0)));
        message
            .attributes
            .push(AddressAttribute::Protocol(AddressProtocol::Other(EVENKEEL_PROTOCOL)));
        message.attributes.extend(label.map(|label| AddressAttribute::Label(label.to_owned())));
        if flags.contains(AddressFlags::DEPRECATED) {
            // The flag alone is ignored: the kernel works it out from a preferred lifetime of zero.
            let mut lifetime = CacheInfo::default();
            lifetime.ifa_preferred = 0;
            lifetime.ifa_valid = FOR_EVER;
            message.attributes.push(AddressAttribute::CacheInfo(lifetime));
        }
        message
    }

    /// The payload of the `RTM_DELADDR` that unbinds it.
    pub(crate) fn to_delete(&self, index: u32) -> AddressMessage {
        self.message(index)
    }

    fn message(&self, index: u32) -> AddressMessage {
        match self.address {
            IpAddr::V4(address) => AddressMessageBuilder::<Ipv4Addr>::new()
                .index(index)
                .address(address, self.prefix)
                .build(),
            IpAddr::V6(address) => AddressMessageBuilder::<Ipv6Addr>::new()
                .index(index)
                .address(address, self.prefix)
                .build(),
        }
    }

    /// The addresses that the kernel deletes with this one unless it promotes them: if this is an IPv4
    /// primary, the secondaries of its subnet (`__inet_del_ifa` in net/ipv4/devinet.c).
    pub(crate) fn secondaries(&self, index: u32, addresses: &[Address]) -> Vec<IpAddr> {
        let is_this = |it: &Address| {
            it.index == index && it.address == self.address && it.prefix == self.prefix
        };
        let along = secondaries(addresses).into_iter().filter(|it| is_this(it.primary));
        along.map(|it| it.address.address).collect()
    }
}

/// An address that the kernel deletes together with another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Secondary<'a> {
    /// The secondary.
    pub address: &'a Address,
    /// The primary of its subnet.
    pub primary: &'a Address,
}

/// The secondaries among the addresses.
pub(crate) fn secondaries(addresses: &[Address]) -> Vec<Secondary<'_>> {
    let is_secondary = |it: &&Address| it.flags.contains(AddressFlags::SECONDARY);
    let subnet = |it: &Address| match it.peer.unwrap_or(it.address) {
        IpAddr::V4(end) => Some((it.index, it.prefix, network(end, it.prefix))),
        IpAddr::V6(_) => None,
    };
    // The flag has another meaning for IPv6 addresses, which have no subnet here.
    if !addresses.iter().any(|it| is_secondary(&it) && it.address.is_ipv4()) {
        return Vec::new();
    }
    let primaries = addresses.iter().filter(|it| !is_secondary(it));
    let primaries: HashMap<_, _> = primaries.filter_map(|it| Some((subnet(it)?, it))).collect();
    let secondaries = addresses.iter().filter(is_secondary);
    secondaries
        .filter_map(|address| {
            let primary = *primaries.get(&subnet(address)?)?;
            Some(Secondary { address, primary })
        })
        .collect()
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} on {}", self.address, self.prefix, self.interface)
    }
}

fn host_length(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn network(address: Ipv4Addr, prefix: u8) -> u32 {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
    u32::from(address) & mask
}

#[cfg(test)]
mod tests;
