//! How many clients share one persistence entry.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::Family;

/// The granularity of persistence: clients that are equal under it go to the same real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Netmask {
    /// A mask of IPv4 addresses. The kernel accepts any 32 bits, ipvsadm any dotted quad, so this
    /// need not be contiguous.
    V4(Ipv4Addr),
    /// A prefix length of IPv6 addresses, 1 to 128 (`ip_vs_add_service` refuses others).
    V6(u8),
}

impl Netmask {
    /// The mask under which each client counts separately, the default.
    pub fn host(family: Family) -> Self {
        match family {
            Family::Ipv4 => Self::V4(Ipv4Addr::BROADCAST),
            Family::Ipv6 => Self::V6(128),
        }
    }

    /// The family this mask fits.
    pub fn family(self) -> Family {
        match self {
            Self::V4(_) => Family::Ipv4,
            Self::V6(_) => Family::Ipv6,
        }
    }

    /// The IPv4 mask of a prefix length; `None` above 32.
    pub fn v4_prefix(length: u8) -> Option<Self> {
        let host_bits = 32u32.checked_sub(length.into())?;
        let mask = u32::MAX.checked_shl(host_bits).unwrap_or(0);
        Some(Self::V4(Ipv4Addr::from(mask)))
    }

    /// The prefix length this mask is, or `None` where its bits are not contiguous.
    pub fn prefix(self) -> Option<u8> {
        match self {
            Self::V4(mask) => {
                let bits = u32::from(mask);
                let ones = bits.leading_ones();
                (bits.count_ones() == ones).then(|| u8::try_from(ones).unwrap_or(32))
            }
            Self::V6(length) => Some(length),
        }
    }
}

impl fmt::Display for Netmask {
    /// The prefix length where there is one, else the dotted quad.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.prefix(), self) {
            (Some(length), _) => write!(f, "{length}"),
            (None, Self::V4(mask)) => write!(f, "{mask}"),
            (None, Self::V6(length)) => write!(f, "{length}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_length_of_ipv4_survives_the_way_to_a_mask_and_back() {
        for length in 0..=32 {
            assert_eq!(Netmask::v4_prefix(length).and_then(Netmask::prefix), Some(length));
        }
        assert_eq!(Netmask::v4_prefix(33), None);
    }

    #[test]
    fn a_mask_with_holes_has_no_prefix_and_is_shown_as_a_quad() {
        let mask = Netmask::V4(Ipv4Addr::new(255, 0, 255, 0));
        assert_eq!(mask.prefix(), None);
        assert_eq!(mask.to_string(), "255.0.255.0");
    }
}
