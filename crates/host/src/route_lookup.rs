//! Looks up how the kernel would send a packet, without sending one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use nix::errno::Errno;
use rtnetlink::packet_core::NlasIterator;
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::error::{Action, Error};
use crate::host::Host;
use crate::route::address;

/// `struct rtmsg`, its types and attributes, of include/uapi/linux/rtnetlink.h.
const HEADER: usize = 12;
const RTN_UNICAST: u8 = 1;
const RTN_LOCAL: u8 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_METRICS: u16 = 8;
const RTA_VIA: u16 = 18;
const RTAX_MTU: u16 = 2;

/// What the kernel answers where it has no route: none at all, an `unreachable`, `prohibit` or `blackhole`
/// one, or no such family.
const REFUSALS: [Errno; 6] = [
    Errno::ENETUNREACH,
    Errno::EHOSTUNREACH,
    Errno::EACCES,
    Errno::EINVAL,
    Errno::EAFNOSUPPORT,
    Errno::EOPNOTSUPP,
];

/// How a packet reaches an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteLookup {
    /// It is an address of this host.
    Local,
    /// It leaves through an interface.
    Through {
        /// The interface's name.
        interface: String,
        /// The next router; absent on a network of this host.
        gateway: Option<IpAddr>,
        /// The MTU of the route in bytes; absent if it is that of the interface.
        mtu: Option<u32>,
    },
    /// The kernel has no route, or one that refuses packets.
    Unreachable,
}

/// A route as it was looked up, before its interface has a name.
#[derive(Debug, PartialEq, Eq)]
enum Decoded {
    Local,
    Through { index: u32, gateway: Option<IpAddr>, mtu: Option<u32> },
    Unreachable,
}

impl Decoded {
    /// Reads the payload of the `RTM_NEWROUTE` that answers a lookup.
    fn read(payload: &[u8]) -> Result<Self, String> {
        let Some((header, attributes)) = payload.split_first_chunk::<HEADER>() else {
            return Err("a route is cut short".to_owned());
        };
        match header[7] {
            RTN_LOCAL => return Ok(Self::Local),
            RTN_UNICAST => {}
            _ => return Ok(Self::Unreachable),
        }
        let (mut index, mut gateway, mut mtu) = (None, None, None);
        for attribute in NlasIterator::new(attributes) {
            let attribute = attribute.map_err(|error| error.to_string())?;
            let value = attribute.value();
            match attribute.kind() {
                RTA_OIF => index = number(value),
                RTA_GATEWAY => gateway = address(value),
                // A gateway of the other family, which comes before it.
                RTA_VIA => gateway = value.get(2..).and_then(address),
                RTA_METRICS => mtu = mtu_of(value)?,
                _ => {}
            }
        }
        Ok(match index {
            Some(index) => Self::Through { index, gateway, mtu },
            None => Self::Unreachable,
        })
    }
}

fn number(value: &[u8]) -> Option<u32> {
    value.first_chunk::<4>().map(|it| u32::from_ne_bytes(*it))
}

/// Reads the MTU among the metrics of a route; 0 is none.
fn mtu_of(metrics: &[u8]) -> Result<Option<u32>, String> {
    for metric in NlasIterator::new(metrics) {
        let metric = metric.map_err(|error| error.to_string())?;
        if metric.kind() == RTAX_MTU {
            return Ok(number(metric.value()).filter(|mtu| *mtu != 0));
        }
    }
    Ok(None)
}

impl Host {
    /// Looks up how packets of this host reach these addresses, as it sends them without a source address
    /// or a mark. Needs no privileges.
    ///
    /// # Errors
    /// The kernel did not answer, or not as expected.
    pub fn route_lookups(
        &self,
        destinations: &BTreeSet<IpAddr>,
    ) -> Result<BTreeMap<IpAddr, RouteLookup>, Error> {
        let mut decoded = BTreeMap::new();
        for destination in destinations {
            decoded.insert(*destination, self.look_up(*destination)?);
        }
        let links = self.links()?;
        let names: BTreeMap<u32, &str> =
            links.iter().map(|link| (link.index, link.name.as_str())).collect();
        let named = decoded.into_iter().map(|(destination, found)| {
            let lookup = match found {
                Decoded::Local => RouteLookup::Local,
                Decoded::Unreachable => RouteLookup::Unreachable,
                // The kernel deletes a route with its interface.
                Decoded::Through { index, gateway, mtu } => match names.get(&index) {
                    Some(name) => RouteLookup::Through { interface: (*name).into(), gateway, mtu },
                    None => RouteLookup::Unreachable,
                },
            };
            (destination, lookup)
        });
        Ok(named.collect())
    }

    fn look_up(&self, destination: IpAddr) -> Result<Decoded, Error> {
        let (family, length) = match destination {
            IpAddr::V4(_) => (AddressFamily::Inet, 32),
            IpAddr::V6(_) => (AddressFamily::Inet6, 128),
        };
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        message.header.destination_prefix_length = length;
        message.attributes.push(RouteAttribute::Destination(destination.into()));
        let action = || Action::LookUpRoute(destination);
        match self.netlink.request(RouteNetlinkMessage::GetRoute(message), 0) {
            Ok(payloads) => match payloads.first() {
                Some(payload) => Decoded::read(payload)
                    .map_err(|what| Error::Malformed { action: action(), what }),
                None => Err(Error::Malformed {
                    action: action(),
                    what: "the kernel's answer is empty".into(),
                }),
            },
            Err(failure) if REFUSALS.into_iter().any(|errno| failure.is(errno)) => {
                Ok(Decoded::Unreachable)
            }
            Err(failure) => Err(failure.during(action())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ip route get 198.51.100.1` through a gateway with `mtu 1400`, on index 2.
    #[rustfmt::skip]
    const NEWROUTE: [u8; 48] = [
        2, 32, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0,
        8, 0, 1, 0, 198, 51, 100, 1,
        8, 0, 5, 0, 192, 0, 2, 254,
        8, 0, 4, 0, 2, 0, 0, 0,
        12, 0, 8, 0, 8, 0, 2, 0, 0x78, 0x05, 0, 0,
    ];

    #[test]
    fn an_answer_gives_interface_gateway_and_mtu() {
        let gateway = Some([192, 0, 2, 254].into());
        let expected = Decoded::Through { index: 2, gateway, mtu: Some(1400) };
        assert_eq!(Decoded::read(&NEWROUTE), Ok(expected));
    }

    #[test]
    fn an_own_address_is_local_and_a_route_that_refuses_packets_is_none() {
        let mut bytes = NEWROUTE;
        for (kind, expected) in [
            (2, Decoded::Local),
            (6, Decoded::Unreachable),
            (7, Decoded::Unreachable),
            (8, Decoded::Unreachable),
        ] {
            bytes[7] = kind;
            assert_eq!(Decoded::read(&bytes), Ok(expected));
        }
    }

    #[test]
    fn an_answer_that_is_cut_short_is_an_error() {
        assert!(Decoded::read(&NEWROUTE[..11]).is_err());
        assert!(Decoded::read(&NEWROUTE[..46]).is_err());
    }
}
