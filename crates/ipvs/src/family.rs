//! The address family of a service or a destination.

use std::fmt;
use std::net::IpAddr;

use crate::uapi::{AF_INET, AF_INET6};

/// An address family as the kernel numbers it. A number unknown here is kept, never rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// `AF_INET`
    Ipv4,
    /// `AF_INET6`
    Ipv6,
    /// Any other number. IPVS itself knows none.
    Other(u16),
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }
}

impl From<u16> for Family {
    fn from(raw: u16) -> Self {
        match raw {
            AF_INET => Self::Ipv4,
            AF_INET6 => Self::Ipv6,
            other => Self::Other(other),
        }
    }
}

impl From<Family> for u16 {
    fn from(family: Family) -> Self {
        match family {
            Family::Ipv4 => AF_INET,
            Family::Ipv6 => AF_INET6,
            Family::Other(raw) => raw,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipv4 => f.write_str("IPv4"),
            Self::Ipv6 => f.write_str("IPv6"),
            Self::Other(raw) => write!(f, "address family {raw}"),
        }
    }
}
