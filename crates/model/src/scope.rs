//! The part of a host's table that a spec governs.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::ServiceKey;

/// What is ours. Everything in scope that the spec does not list is deleted; everything out of
/// scope is never touched and shown only as a count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// No `scope` was written: the whole table of the network namespace, but the first apply
    /// there refuses to delete what it finds (guard `take-over`).
    #[default]
    Implied,
    /// `scope: all`: the whole table, said outright.
    All,
    /// Services on some addresses and marks.
    Limited {
        /// Networks of VIPs; empty means no VIP.
        vips: Vec<IpNet>,
        /// Ranges of marks, in both families; empty means no fwmark service.
        fwmarks: Vec<RangeInclusive<u32>>,
    },
}

impl Scope {
    /// Whether that service is ours.
    pub fn contains(&self, service: &ServiceKey) -> bool {
        match (self, service) {
            (Self::Implied | Self::All, _) => true,
            (Self::Limited { .. }, ServiceKey::Address { address, .. }) => {
                self.contains_address(*address)
            }
            (Self::Limited { fwmarks, .. }, ServiceKey::Fwmark { fwmark, .. }) => {
                fwmarks.iter().any(|range| range.contains(fwmark))
            }
        }
    }

    /// Whether that VIP is ours.
    pub fn contains_address(&self, address: IpAddr) -> bool {
        match self {
            Self::Implied | Self::All => true,
            Self::Limited { vips, .. } => vips.iter().any(|network| network.contains(&address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Family, Protocol};

    #[test]
    fn a_list_that_is_absent_beside_one_that_is_given_means_none() {
        let scope =
            Scope::Limited { vips: vec!["10.0.0.0/24".parse().expect("a net")], fwmarks: vec![] };
        let on = |address: &str| ServiceKey::Address {
            address: address.parse().expect("an address"),
            port: 80,
            protocol: Protocol::Tcp,
        };
        assert!(scope.contains(&on("10.0.0.255")));
        assert!(!scope.contains(&on("10.0.1.0")));
        assert!(!scope.contains(&on("2001:db8::1")));
        assert!(!scope.contains(&ServiceKey::Fwmark { family: Family::Ipv4, fwmark: 1 }));
    }
}
