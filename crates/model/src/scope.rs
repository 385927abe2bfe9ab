//! The part of a host's table that a spec governs.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::ServiceKey;

/// How many entries of each list are shown to people; the others are counted.
const SHOWN: usize = 3;

/// The part of the table that evenkeel manages. Everything in scope that the spec does not list is
/// deleted; everything out of scope is never touched and shown only as a count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// No `scope` was written: the whole table of the network namespace.
    #[default]
    Implied,
    /// `scope: all`: the whole table.
    All,
    /// Services on some addresses and marks, and single services.
    Limited(Limits),
}

/// The lists of a `scope`. One that is empty adds nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Networks of VIPs.
    pub vips: Vec<IpNet>,
    /// Ranges of marks, in both families.
    pub fwmarks: Vec<RangeInclusive<u32>>,
    /// Single services. The VIP of one may be bound, whatever else is on it.
    #[serde(default)]
    pub services: BTreeSet<ServiceKey>,
}

impl Scope {
    /// Whether that service is in scope.
    pub fn contains(&self, service: &ServiceKey) -> bool {
        match self {
            Self::Implied | Self::All => true,
            Self::Limited(limits) => limits.contains(service),
        }
    }

    /// Whether that VIP is in scope.
    pub fn contains_address(&self, address: IpAddr) -> bool {
        match self {
            Self::Implied | Self::All => true,
            Self::Limited(Limits { vips, fwmarks: _, services }) => {
                vips.iter().any(|network| network.contains(&address))
                    || services
                        .range(ServiceKey::first_on(address)..)
                        .next()
                        .is_some_and(|service| service.vip() == Some(address))
            }
        }
    }

    /// Returns a part that both govern, described; `None` if they govern nothing in common.
    pub fn overlap(&self, other: &Self) -> Option<String> {
        match (self, other) {
            (Self::Limited(one), Self::Limited(two)) => one.overlap(two),
            (Self::Limited(part), _) | (_, Self::Limited(part)) => Some(part.to_string()),
            _ => Some("the whole table".to_owned()),
        }
    }

    /// Whether everything that `other` governs is governed by this one too.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Implied | Self::All, _) => true,
            (Self::Limited(_), Self::Implied | Self::All) => false,
            (Self::Limited(limits), Self::Limited(other)) => limits.cover(other),
        }
    }
}

impl Limits {
    fn contains(&self, service: &ServiceKey) -> bool {
        let Self { vips, fwmarks, services } = self;
        let is_listed = match service {
            ServiceKey::Address { address, .. } => {
                vips.iter().any(|network| network.contains(address))
            }
            ServiceKey::Fwmark { fwmark, .. } => fwmarks.iter().any(|it| it.contains(fwmark)),
        };
        is_listed || services.contains(service)
    }

    fn overlap(&self, other: &Self) -> Option<String> {
        for one in &self.vips {
            for two in &other.vips {
                // Of two networks with an address in common, one is in the other.
                if one.contains(two) || two.contains(one) {
                    let part = if one.contains(two) { two } else { one };
                    let vips = vec![*part];
                    return Some(Self { vips, ..Self::default() }.to_string());
                }
            }
        }
        for one in &self.fwmarks {
            for two in &other.fwmarks {
                let common = *one.start().max(two.start())..=*one.end().min(two.end());
                if !common.is_empty() {
                    let fwmarks = vec![common];
                    return Some(Self { fwmarks, ..Self::default() }.to_string());
                }
            }
        }
        let common = |one: &Self, two: &Self| {
            one.services
                .iter()
                .find(|service| two.contains(service))
                .map(|it| format!("service {it}"))
        };
        common(self, other).or_else(|| common(other, self))
    }

    fn cover(&self, other: &Self) -> bool {
        let marks = joined(&self.fwmarks);
        let Self { vips, fwmarks, services } = other;
        vips.iter().all(|network| cover_network(&self.vips, network))
            && joined(fwmarks).iter().all(|range| {
                marks.iter().any(|it| it.contains(range.start()) && it.contains(range.end()))
            })
            && services.iter().all(|service| self.contains(service))
    }
}

/// Whether the networks together contain all of that one: one of them does, or they contain both of
/// its halves.
fn cover_network(networks: &[IpNet], network: &IpNet) -> bool {
    let is_touched = || networks.iter().any(|it| network.contains(it));
    let halves = || network.subnets(network.prefix_len() + 1);
    networks.iter().any(|it| it.contains(network))
        || is_touched()
            && halves().is_ok_and(|mut all| all.all(|half| cover_network(networks, &half)))
}

/// The same marks in as few ranges as possible.
fn joined(ranges: &[RangeInclusive<u32>]) -> Vec<RangeInclusive<u32>> {
    let mut sorted: Vec<_> = ranges.iter().filter(|range| !range.is_empty()).cloned().collect();
    sorted.sort_by_key(|range| *range.start());
    let mut joined: Vec<RangeInclusive<u32>> = Vec::new();
    for range in sorted {
        match joined.last_mut() {
            Some(last) if *range.start() <= last.end().saturating_add(1) => {
                *last = *last.start()..=*last.end().max(range.end());
            }
            _ => joined.push(range),
        }
    }
    joined
}

impl fmt::Display for Scope {
    /// `all`, `none written`, or the lists: `vips 10.0.0.0/24, fwmarks 1-99`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Implied => f.write_str("the whole table, as no `scope` is written"),
            Self::All => f.write_str("all"),
            Self::Limited(limits) => limits.fmt(f),
        }
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vips, fwmarks, services } = self;
        let vips = vips.iter().map(|network| {
            let is_host = network.prefix_len() == network.max_prefix_len();
            if is_host { network.addr().to_string() } else { network.to_string() }
        });
        let fwmarks = fwmarks.iter().map(|range| match (range.start(), range.end()) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        });
        let lists: [(&str, Vec<String>); 3] = [
            ("vips", vips.collect()),
            ("fwmarks", fwmarks.collect()),
            ("services", services.iter().map(ToString::to_string).collect()),
        ];
        let written = lists.iter().filter(|(_, entries)| !entries.is_empty());
        let parts: Vec<String> = written
            .map(|(name, entries)| {
                let shown = entries.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(" ");
                match entries.len().saturating_sub(SHOWN) {
                    0 => format!("{name} {shown}"),
                    more => format!("{name} {shown} and {more} more"),
                }
            })
            .collect();
        if parts.is_empty() { f.write_str("nothing") } else { f.write_str(&parts.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(vips: &[&str], fwmarks: &[RangeInclusive<u32>], services: &[&str]) -> Scope {
        Scope::Limited(Limits {
            vips: vips.iter().map(|it| it.parse().expect("a net")).collect(),
            fwmarks: fwmarks.to_vec(),
            services: services.iter().map(|it| key(it)).collect(),
        })
    }

    fn key(text: &str) -> ServiceKey {
        ServiceKey::parse(text).expect("a service")
    }

    #[test]
    fn a_list_that_is_absent_beside_one_that_is_given_means_none() {
        let scope = limited(&["10.0.0.0/24"], &[], &[]);
        assert!(scope.contains(&key("10.0.0.255:80/tcp")));
        assert!(!scope.contains(&key("10.0.1.0:80/tcp")));
        assert!(!scope.contains(&key("[2001:db8::1]:80/tcp")));
        assert!(!scope.contains(&key("fwmark-1/ipv4")));
    }

    #[test]
    fn a_single_service_is_governed_with_its_vip_and_nothing_else_on_it() {
        let scope = limited(&[], &[], &["10.0.0.1:80/tcp", "fwmark-7/ipv6"]);
        assert!(scope.contains(&key("10.0.0.1:80/tcp")));
        assert!(scope.contains(&key("fwmark-7/ipv6")));
        for other in ["10.0.0.1:80/udp", "10.0.0.1:443/tcp", "fwmark-7/ipv4"] {
            assert!(!scope.contains(&key(other)), "{other}");
        }
        assert!(scope.contains_address([10, 0, 0, 1].into()));
        assert!(!scope.contains_address([10, 0, 0, 2].into()));
    }

    #[test]
    fn a_scope_covers_what_it_governs_in_other_words_and_no_more() {
        let wide = limited(&["10.0.0.0/25", "10.0.0.128/25"], &[1..=4, 5..=9], &["[::1]:53/udp"]);
        for narrow in [
            limited(&["10.0.0.0/24"], &[2..=8], &[]),
            limited(&[], &[], &["10.0.0.9:80/sctp", "fwmark-9/ipv6", "[::1]:53/udp"]),
            limited(&[], &[], &[]),
            wide.clone(),
        ] {
            assert!(wide.covers(&narrow), "{narrow}");
        }
        for other in [
            limited(&["10.0.0.0/23"], &[], &[]),
            limited(&[], &[9..=10], &[]),
            limited(&["::1/128"], &[], &[]),
            limited(&[], &[], &["[::1]:53/tcp"]),
            Scope::All,
            Scope::Implied,
        ] {
            assert!(!wide.covers(&other), "{other}");
        }
        for whole in [Scope::All, Scope::Implied] {
            assert!(whole.covers(&Scope::All) && whole.covers(&Scope::Implied));
            assert!(whole.covers(&wide));
        }
    }

    #[test]
    fn a_long_scope_is_shown_by_its_first_entries() {
        let scope = limited(&["10.0.0.1/32", "::/8"], &[7..=7, 1..=3], &[]);
        assert_eq!(scope.to_string(), "vips 10.0.0.1 ::/8, fwmarks 7 1-3");
        let ports = ["1", "2", "3", "4", "5"].map(|port| format!("10.0.0.1:{port}/tcp"));
        let scope = limited(&[], &[], &ports.each_ref().map(String::as_str));
        let shown = "services 10.0.0.1:1/tcp 10.0.0.1:2/tcp 10.0.0.1:3/tcp and 2 more";
        assert_eq!(scope.to_string(), shown);
        assert_eq!(limited(&[], &[], &[]).to_string(), "nothing");
    }
}
