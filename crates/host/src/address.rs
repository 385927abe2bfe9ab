//! Addresses as the kernel lists them.

use std::fmt;
use std::net::IpAddr;

use rtnetlink::packet_core::Parseable;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};

use crate::ownership::EVENKEEL_PROTOCOL;

/// An address on an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The host's own address (`IFA_LOCAL`, or `IFA_ADDRESS` where that is absent).
    pub address: IpAddr,
    /// The other end's address, where it differs: a point-to-point address.
    pub peer: Option<IpAddr>,
    /// The prefix length in bits.
    pub prefix: u8,
    /// The interface's index.
    pub index: u32,
    /// The interface's name.
    pub interface: String,
    /// The protocol that bound it (`IFA_PROTO`). Absent if none was given, and always before Linux 5.18.
    pub protocol: Option<u8>,
    /// Its flags.
    pub flags: AddressFlags,
    /// Its scope.
    pub scope: AddressScope,
    /// The label, which IPv4 alone has; the interface's name unless another one was set.
    pub label: Option<String>,
}

impl Address {
    /// Whether it carries evenkeel's protocol value. Evidence on 5.18 and later; on older kernels never true.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.protocol == Some(EVENKEEL_PROTOCOL)
    }

    /// Whether the kernel assigns such an address to tunnel devices itself: a link-local one, or, on
    /// devices over IPv4, one with each IPv4 address of the host in it (`add_v4_addrs`).
    pub(crate) fn is_of_kernel(&self) -> bool {
        match self.address {
            IpAddr::V4(_) => false,
            IpAddr::V6(it) => it.is_unicast_link_local() || it.segments()[..6] == [0; 6],
        }
    }

    /// Reads the payload of an `RTM_NEWADDR`. The interface's name is not in it and stays empty.
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, String> {
        let AddressMessage { header, attributes, .. } =
            AddressMessage::parse(payload).map_err(|error| error.to_string())?;
        let mut address = None;
        let mut local = None;
        // The header has the first eight flags only; IFA_FLAGS has all of them.
        let mut flags = u32::from(header.flags.bits());
        let mut protocol = None;
        let mut label = None;
        for attribute in attributes {
            match attribute {
                AddressAttribute::Address(value) => address = Some(value),
                AddressAttribute::Local(value) => local = Some(value),
                AddressAttribute::Flags(value) => flags = value.bits(),
                AddressAttribute::Protocol(value) => protocol = Some(u8::from(value)),
                AddressAttribute::Label(value) => label = Some(value),
                _ => {}
            }
        }
        let Some(own) = local.or(address) else {
            return Err(format!("an entry of interface {} has no address", header.index));
        };
        Ok(Self {
            address: own,
            peer: address.filter(|peer| *peer != own),
            prefix: header.prefix_len,
            index: header.index,
            interface: String::new(),
            protocol,
            flags: AddressFlags(flags),
            scope: AddressScope::from(u8::from(header.scope)),
            label,
        })
    }
}

/// The flags of an address, `IFA_F_*` of include/uapi/linux/if_addr.h. Flags without a name here are kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddressFlags(pub u32);

impl AddressFlags {
    /// IPv4: an address of a subnet that a primary address on the same interface already has. The same bit
    /// marks a temporary address in IPv6.
    pub const SECONDARY: Self = Self(0x01);
    /// IPv6: no duplicate address detection.
    pub const NODAD: Self = Self(0x02);
    /// IPv6: duplicate address detection failed, so it is not used.
    pub const DADFAILED: Self = Self(0x08);
    /// Never chosen as a source address while another one is usable.
    pub const DEPRECATED: Self = Self(0x20);
    /// IPv6: not usable until duplicate address detection ends.
    pub const TENTATIVE: Self = Self(0x40);
    /// Its valid lifetime is infinite.
    pub const PERMANENT: Self = Self(0x80);
    /// Added without a route to its prefix.
    pub const NOPREFIXROUTE: Self = Self(0x200);

    const NAMES: [(Self, &str); 7] = [
        (Self::SECONDARY, "secondary"),
        (Self::NODAD, "nodad"),
        (Self::DADFAILED, "dadfailed"),
        (Self::DEPRECATED, "deprecated"),
        (Self::TENTATIVE, "tentative"),
        (Self::PERMANENT, "permanent"),
        (Self::NOPREFIXROUTE, "noprefixroute"),
    ];

    /// Whether all of `other`'s flags are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flags of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The names that `ip addr` uses; flags without a name follow as a number.
impl fmt::Display for AddressFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        let mut gap = "";
        for (flag, name) in Self::NAMES {
            if self.contains(flag) {
                write!(f, "{gap}{name}")?;
                gap = " ";
                rest &= !flag.0;
            }
        }
        if rest == 0 { Ok(()) } else { write!(f, "{gap}{rest:#x}") }
    }
}

impl fmt::Debug for AddressFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AddressFlags({self})")
    }
}

/// The scope of an address, `RT_SCOPE_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressScope {
    /// Global, as for most addresses.
    Universe,
    /// Site-local, deprecated in IPv6.
    Site,
    /// The link only.
    Link,
    /// This host only.
    Host,
    /// A value without a name here.
    Other(u8),
}

impl From<u8> for AddressScope {
    fn from(value: u8) -> Self {
        match value {
            0 => Self::Universe,
            200 => Self::Site,
            253 => Self::Link,
            254 => Self::Host,
            other => Self::Other(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ip addr add 192.0.2.1/24 dev eth0 proto 101`, as RTM_NEWADDR gives it back on index 2.
    #[rustfmt::skip]
    const NEWADDR: [u8; 52] = [
        2, 24, 0x80, 0, 2, 0, 0, 0,
        8, 0, 1, 0, 192, 0, 2, 1,
        8, 0, 2, 0, 192, 0, 2, 1,
        9, 0, 3, 0, b'e', b't', b'h', b'0', 0, 0, 0, 0,
        8, 0, 8, 0, 0x80, 0x02, 0, 0,
        5, 0, 11, 0, 101, 0, 0, 0,
    ];

    #[test]
    fn an_entry_gives_address_flags_and_protocol() {
        let expected = Address {
            address: "192.0.2.1".parse().unwrap(),
            peer: None,
            prefix: 24,
            index: 2,
            interface: String::new(),
            protocol: Some(101),
            flags: AddressFlags::PERMANENT.with(AddressFlags::NOPREFIXROUTE),
            scope: AddressScope::Universe,
            label: Some("eth0".into()),
        };
        let decoded = Address::decode(&NEWADDR).unwrap();
        assert_eq!(decoded, expected);
        assert!(decoded.is_ours());
    }

    #[test]
    fn a_point_to_point_entry_is_the_local_address_with_a_peer() {
        let mut bytes = NEWADDR;
        bytes[12..16].copy_from_slice(&[192, 0, 2, 9]);
        let decoded = Address::decode(&bytes).unwrap();
        assert_eq!(decoded.address, IpAddr::from([192, 0, 2, 1]));
        assert_eq!(decoded.peer, Some(IpAddr::from([192, 0, 2, 9])));
    }

    #[test]
    fn an_entry_without_protocol_has_no_owner() {
        let decoded = Address::decode(&NEWADDR[..44]).unwrap();
        assert_eq!(decoded.protocol, None);
        assert!(!decoded.is_ours());
    }

    #[test]
    fn an_entry_without_an_address_is_an_error() {
        assert!(Address::decode(&NEWADDR[..8]).is_err());
        assert!(Address::decode(&NEWADDR[..7]).is_err());
    }

    #[test]
    fn flags_without_a_name_are_kept_and_shown() {
        let flags = AddressFlags(0x8000_0002);
        assert_eq!(flags.to_string(), "nodad 0x80000000");
        assert_eq!(AddressFlags(0).to_string(), "");
    }
}
