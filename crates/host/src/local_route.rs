//! Routes of type `local`: the addresses whose packets the host accepts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use rtnetlink::packet_core::NlasIterator;
use rtnetlink::packet_route::route::{RouteMessage, RouteType};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::error::{Action, Error};
use crate::host::Host;
use crate::route::address;

/// `struct rtmsg` and its attributes, of include/uapi/linux/rtnetlink.h.
const HEADER: usize = 12;
const RTA_DST: u16 = 1;
const RTN_LOCAL: u8 = 2;
const RT_TABLE_LOCAL: u8 = 255;

/// The networks of local routes, with their host bits 0.
#[derive(Debug, Default, PartialEq, Eq)]
struct Networks(BTreeMap<(NetworkFamily, u8), BTreeSet<u128>>);

/// Separates the networks of the two families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum NetworkFamily {
    Ipv4,
    Ipv6,
}

impl Networks {
    /// Adds the network of an `RTM_NEWROUTE`, if it is a local route.
    fn add(&mut self, payload: &[u8]) -> Result<(), String> {
        let Some((header, attributes)) = payload.split_first_chunk::<HEADER>() else {
            return Err("a route is cut short".to_owned());
        };
        let [family, length, _, _, table, _, _, kind, ..] = *header;
        let family = match AddressFamily::from(family) {
            AddressFamily::Inet => NetworkFamily::Ipv4,
            AddressFamily::Inet6 => NetworkFamily::Ipv6,
            _ => return Ok(()),
        };
        // A route to everywhere in a table of its own is for the marked packets of a transparent proxy.
        let is_of_proxy = length == 0 && table != RT_TABLE_LOCAL;
        if kind != RTN_LOCAL || is_of_proxy {
            return Ok(());
        }
        // A route to everywhere has no destination.
        let mut network = 0;
        for attribute in NlasIterator::new(attributes) {
            let attribute = attribute.map_err(|error| error.to_string())?;
            if attribute.kind() == RTA_DST {
                let destination =
                    address(attribute.value()).ok_or("a route has an unknown destination")?;
                network = prefix(destination, length);
            }
        }
        self.0.entry((family, length)).or_default().insert(network);
        Ok(())
    }

    /// Whether one of them contains the address.
    fn contains(&self, address: IpAddr) -> bool {
        let family = match address {
            IpAddr::V4(_) => NetworkFamily::Ipv4,
            IpAddr::V6(_) => NetworkFamily::Ipv6,
        };
        let lengths = self.0.range((family, 0)..=(family, u8::MAX));
        lengths.into_iter().any(|((_, length), all)| all.contains(&prefix(address, *length)))
    }
}

/// The first `length` bits of an address, at the place where they are in it.
fn prefix(address: IpAddr, length: u8) -> u128 {
    let (bits, all) = match address {
        IpAddr::V4(address) => (address.to_bits().into(), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let host_bits = u32::from(u8::saturating_sub(all, length));
    bits & u128::MAX.checked_shl(host_bits).unwrap_or(0)
}

impl Host {
    /// Returns those of the addresses that a route of type `local` contains, in whichever table: the kernel
    /// accepts packets to them, whether or not an interface has the address. Tables other than `local`
    /// count as well, as a VRF and rules of `ip rule` use them, apart from their routes to everywhere.
    ///
    /// # Errors
    /// The tables could not be read completely; a part of them is never returned.
    pub fn local_by_route(&self, addresses: &BTreeSet<IpAddr>) -> Result<BTreeSet<IpAddr>, Error> {
        let mut networks = Networks::default();
        for (family, is_asked) in [
            (AddressFamily::Inet, addresses.iter().any(IpAddr::is_ipv4)),
            (AddressFamily::Inet6, addresses.iter().any(IpAddr::is_ipv6)),
        ] {
            if !is_asked {
                continue;
            }
            let mut filter = RouteMessage::default();
            filter.header.address_family = family;
            filter.header.kind = RouteType::Local;
            let read = self.netlink.dump_filtered(&RouteNetlinkMessage::GetRoute(filter));
            let payloads = read.map_err(|failure| failure.during(Action::List("local routes")))?;
            for payload in payloads {
                let malformed =
                    |what| Error::Malformed { action: Action::List("local routes"), what };
                networks.add(&payload).map_err(malformed)?;
            }
        }
        Ok(addresses.iter().copied().filter(|address| networks.contains(*address)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ip route add local 192.0.2.0/24 dev lo`, as RTM_NEWROUTE gives it back.
    #[rustfmt::skip]
    const NEWROUTE: [u8; 36] = [
        2, 24, 0, 0, 255, 3, 254, 2, 0, 0, 0, 0,
        8, 0, 15, 0, 255, 0, 0, 0,
        8, 0, 1, 0, 192, 0, 2, 0,
        8, 0, 4, 0, 1, 0, 0, 0,
    ];

    fn networks(payloads: &[&[u8]]) -> Networks {
        let mut networks = Networks::default();
        for payload in payloads {
            assert_eq!(networks.add(payload), Ok(()));
        }
        networks
    }

    #[test]
    fn a_local_route_contains_the_addresses_of_its_network() {
        let networks = networks(&[&NEWROUTE]);
        for (address, expected) in [
            ("192.0.2.0", true),
            ("192.0.2.255", true),
            ("192.0.3.0", false),
            // The same bits in the other family.
            ("::c000:200", false),
        ] {
            assert_eq!(networks.contains(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn a_route_to_everywhere_contains_all_of_its_family_and_one_of_another_type_nothing() {
        let mut everywhere = [10, 0, 0, 0, 255, 3, 0, 2, 0, 0, 0, 0];
        let local = networks(&[&everywhere]);
        assert!(local.contains("2001:db8::1".parse().unwrap()));
        assert!(!local.contains("192.0.2.1".parse().unwrap()));
        // As for a transparent proxy: `ip route add local default dev lo table 100`.
        everywhere[4] = 100;
        assert_eq!(networks(&[&everywhere]), Networks::default());
        let mut other = NEWROUTE;
        other[7] = 1;
        assert_eq!(networks(&[&other]), Networks::default());
    }

    #[test]
    fn a_route_that_is_cut_short_is_an_error() {
        let mut networks = Networks::default();
        assert!(networks.add(&NEWROUTE[..11]).is_err());
        assert!(networks.add(&NEWROUTE[..26]).is_err());
    }
}
