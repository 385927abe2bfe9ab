//! Default routes of the main table.
//!
//! A route of another program is kept as the kernel's own message about it, so that it can be set again
//! with everything that this crate does not know of. The kernel's counters and flags of state are left
//! out, and interfaces are kept by name.

use std::net::{IpAddr, Ipv6Addr};

use nix::errno::Errno;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NlasIterator};
use rtnetlink::packet_route::route::{RouteHeader, RouteMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use tracing::debug;

use crate::error::{Action, Error};
use crate::host::Host;
use crate::netlink::Failure;
use crate::ownership::EVENKEEL_PROTOCOL;
use crate::route::address;

/// Message types, `struct rtmsg`, its attributes, and `struct rtnexthop`, of
/// include/uapi/linux/rtnetlink.h.
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const HEADER: usize = 12;
const FLAGS: std::ops::Range<usize> = 8..12;
const RTN_UNICAST: u8 = 1;
const RTM_F_CLONED: u32 = 0x200;
const RTNH_F_ONLINK: u8 = 4;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_MULTIPATH: u16 = 9;
const RTA_CACHEINFO: u16 = 12;
const RTA_VIA: u16 = 18;
const RTA_ENCAP_TYPE: u16 = 21;
const RTA_ENCAP: u16 = 22;
const RTA_NH_ID: u16 = 30;
const NEXT_HOP: usize = 8;

/// The metric of an IPv6 route that has none of its own (`IP6_RT_PRIO_USER`).
const METRIC_IPV6: u32 = 1024;

/// A default route of the main table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultRoute {
    /// The gateway; absent for a route without one, or with several next hops.
    pub gateway: Option<IpAddr>,
    /// The names of the interfaces of its next hops; empty for a route without, or whose next hops are
    /// objects of their own.
    pub interfaces: Vec<String>,
    /// The metric; of two routes the kernel uses that of the lower one.
    pub metric: u32,
    /// The number of the program that added it (`RTPROT_*`).
    pub protocol: u8,
    /// The payload of its `RTM_NEWROUTE`, with 0 for each index of an interface.
    pub message: Vec<u8>,
}

/// A route as read, before its interfaces are looked up.
#[derive(Debug, Default, PartialEq, Eq)]
struct Decoded {
    gateway: Option<IpAddr>,
    indexes: Vec<u32>,
    metric: u32,
    protocol: u8,
    message: Vec<u8>,
}

impl DefaultRoute {
    /// Whether it is as evenkeel adds one: with its protocol number, through one gateway.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.protocol == EVENKEEL_PROTOCOL && self.gateway.is_some() && self.interfaces.len() == 1
    }

    /// Whether it is one of IPv6.
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        self.message.first() == Some(&u8::from(AddressFamily::Inet6))
    }
}

impl Decoded {
    /// Reads the payload of an `RTM_NEWROUTE`. None for any other route than a default route of the
    /// main table for all packets.
    fn read(payload: &[u8]) -> Result<Option<Self>, String> {
        let Some((header, attributes)) = payload.split_first_chunk::<HEADER>() else {
            return Err("a route is cut short".to_owned());
        };
        let [_, length, source_length, tos, table, protocol, _, _, flags @ ..] = *header;
        let is_cloned = u32::from_ne_bytes(flags) & RTM_F_CLONED != 0;
        if length != 0
            || source_length != 0
            || tos != 0
            || table != RouteHeader::RT_TABLE_MAIN
            || is_cloned
        {
            return Ok(None);
        }
        let mut decoded = Self { protocol, message: header.to_vec(), ..Self::default() };
        // The others report a state, and the kernel refuses some of them.
        let kept = u32::from_ne_bytes(flags) & u32::from(RTNH_F_ONLINK);
        decoded.message[FLAGS].copy_from_slice(&kept.to_ne_bytes());
        let attributes: Result<Vec<_>, _> = NlasIterator::new(attributes).collect();
        let attributes = attributes.map_err(|error| error.to_string())?;
        // Of next hops that are objects of their own, the kernel also lists what they contain, and
        // refuses both in one request.
        let has_object = attributes.iter().any(|attribute| attribute.kind() == RTA_NH_ID);
        for attribute in attributes {
            let value = attribute.value();
            let value = match attribute.kind() {
                RTA_CACHEINFO => continue,
                RTA_OIF | RTA_GATEWAY | RTA_VIA | RTA_MULTIPATH | RTA_ENCAP | RTA_ENCAP_TYPE
                    if has_object =>
                {
                    if let RTA_GATEWAY | RTA_VIA = attribute.kind() {
                        decoded.gateway = gateway(attribute.kind(), value);
                    }
                    continue;
                }
                RTA_OIF => {
                    decoded.indexes.extend(number(value));
                    vec![0; value.len()]
                }
                RTA_MULTIPATH => decoded.next_hops(value)?,
                kind => {
                    match kind {
                        RTA_GATEWAY | RTA_VIA => decoded.gateway = gateway(kind, value),
                        RTA_PRIORITY => decoded.metric = number(value).unwrap_or_default(),
                        _ => {}
                    }
                    value.to_vec()
                }
            };
            push(&mut decoded.message, attribute_type(attribute.into_inner()), &value);
        }
        Ok(Some(decoded))
    }

    /// Reads several next hops, and returns them without indexes of interfaces.
    fn next_hops(&mut self, value: &[u8]) -> Result<Vec<u8>, String> {
        let mut kept = value.to_vec();
        let mut start = 0;
        while start < kept.len() {
            let cut = || "a next hop is cut short".to_owned();
            let hop = kept.get_mut(start..).ok_or_else(cut)?;
            let [low, high, flags, _, index @ ..] =
                hop.first_chunk_mut::<NEXT_HOP>().ok_or_else(cut)?;
            let length = usize::from(u16::from_ne_bytes([*low, *high]));
            self.indexes.push(u32::from_ne_bytes(*index));
            *index = [0; 4];
            *flags &= RTNH_F_ONLINK;
            if length < NEXT_HOP {
                return Err(cut());
            }
            start += length.next_multiple_of(4);
        }
        Ok(kept)
    }
}

/// The type of an attribute with its flags, such as that of a nested one.
fn attribute_type(attribute: &[u8]) -> [u8; 2] {
    attribute.get(2..4).and_then(|it| it.first_chunk()).copied().unwrap_or_default()
}

/// Appends an attribute, padded to four bytes.
fn push(message: &mut Vec<u8>, kind: [u8; 2], value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    message.extend(length.to_ne_bytes());
    message.extend(kind);
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

fn number(value: &[u8]) -> Option<u32> {
    value.first_chunk::<4>().map(|it| u32::from_ne_bytes(*it))
}

/// Reads a gateway; `RTA_VIA` is one of another family, with that before it.
fn gateway(kind: u16, value: &[u8]) -> Option<IpAddr> {
    if kind == RTA_VIA { address(value.get(2..)?) } else { address(value) }
}

/// Puts the indexes of interfaces in the places that are empty in a message.
fn with_indexes(message: &[u8], indexes: &[u32]) -> Result<Vec<u8>, String> {
    let mut indexes = indexes.iter();
    let missing = || "it has more next hops than interfaces".to_owned();
    let Some((header, attributes)) = message.split_first_chunk::<HEADER>() else {
        return Err("its message is cut short".to_owned());
    };
    let mut filled = header.to_vec();
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let mut value = attribute.value().to_vec();
        match attribute.kind() {
            RTA_OIF => value = indexes.next().ok_or_else(missing)?.to_ne_bytes().to_vec(),
            RTA_MULTIPATH => {
                let mut start = 0;
                while let Some(hop) = value.get_mut(start..).filter(|it| it.len() >= NEXT_HOP) {
                    let length = usize::from(u16::from_ne_bytes([hop[0], hop[1]]));
                    let index = indexes.next().ok_or_else(missing)?;
                    hop[4..NEXT_HOP].copy_from_slice(&index.to_ne_bytes());
                    start += length.max(NEXT_HOP).next_multiple_of(4);
                }
            }
            _ => {}
        }
        push(&mut filled, attribute_type(attribute.into_inner()), &value);
    }
    Ok(filled)
}

impl Host {
    /// Lists the default routes of the main table, of both families; within a family by their metric,
    /// and those of the same metric in the order in which the kernel uses them.
    ///
    /// # Errors
    /// The table could not be read completely; a part of it is never returned.
    pub fn default_routes(&self) -> Result<Vec<DefaultRoute>, Error> {
        let action = || Action::List("default routes");
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut filter = RouteMessage::default();
            filter.header.address_family = family;
            filter.header.table = RouteHeader::RT_TABLE_MAIN;
            let payloads = match self.netlink.dump_filtered(&RouteNetlinkMessage::GetRoute(filter))
            {
                Ok(payloads) => payloads,
                // A namespace without any route of the family has no main table.
                Err(failure) if failure.is(Errno::ENOENT) => continue,
                Err(failure) => return Err(failure.during(action())),
            };
            let first = found.len();
            for payload in payloads {
                // A kernel without this family lists the routes of the others.
                if payload.first() == Some(&u8::from(family)) {
                    let malformed = |what| Error::Malformed { action: action(), what };
                    found.extend(Decoded::read(&payload).map_err(malformed)?);
                }
            }
            found[first..].sort_by_key(|route| route.metric);
        }
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let links = self.links()?;
        let named = |route: Decoded| {
            let Decoded { gateway, indexes, metric, protocol, message } = route;
            let name = |index: &u32| {
                links.iter().find(|link| link.index == *index).map(|link| link.name.clone())
            };
            // The kernel deletes a route with its interface, so one without a name is gone by now.
            let interfaces = indexes.iter().map(name).collect::<Option<Vec<_>>>()?;
            Some(DefaultRoute { gateway, interfaces, metric, protocol, message })
        };
        Ok(found.into_iter().filter_map(named).collect())
    }

    /// Adds `default via GATEWAY` with evenkeel's protocol number.
    ///
    /// # Errors
    /// [`Error::Exists`] if there is one of this metric already, which is left unchanged;
    /// [`Error::Impossible`] if the gateway is on no connected network; [`Error::NotPermitted`] without
    /// CAP_NET_ADMIN.
    pub fn add_default_route(&self, gateway: IpAddr) -> Result<(), Error> {
        let metric = if gateway.is_ipv6() { METRIC_IPV6 } else { 0 };
        self.set_default_route(gateway, metric, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Sets `default via GATEWAY` with evenkeel's protocol number in the place of the route of this
    /// metric, whatever program added it. At every moment there is one of the two; if there is none, it is added.
    ///
    /// # Errors
    /// As [`Self::add_default_route`]; [`Error::Exists`] if the same route is there behind another one of
    /// this metric.
    pub fn replace_default_route(&self, gateway: IpAddr, metric: u32) -> Result<(), Error> {
        self.set_default_route(gateway, metric, NLM_F_CREATE | NLM_F_REPLACE)
    }

    fn set_default_route(&self, gateway: IpAddr, metric: u32, flags: u16) -> Result<(), Error> {
        let object = format!("default route via {gateway}");
        // IPv4 accepts an address of this host, and then sends nothing through it.
        if self.addresses()?.iter().any(|it| it.address == gateway) {
            return Err(Error::Impossible { object, why: unreachable(gateway) });
        }
        let family = if gateway.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
        let table = RouteHeader::RT_TABLE_MAIN;
        let mut message =
            vec![u8::from(family), 0, 0, 0, table, EVENKEEL_PROTOCOL, 0, RTN_UNICAST, 0, 0, 0, 0];
        match gateway {
            IpAddr::V4(it) => push(&mut message, RTA_GATEWAY.to_ne_bytes(), &it.octets()),
            IpAddr::V6(it) => push(&mut message, RTA_GATEWAY.to_ne_bytes(), &it.octets()),
        }
        push(&mut message, RTA_PRIORITY.to_ne_bytes(), &metric.to_ne_bytes());
        match self.netlink.request_raw(RTM_NEWROUTE, &message, flags) {
            Ok(_) => {
                debug!(%gateway, metric, "default route set");
                Ok(())
            }
            Err(failure) if failure.is(Errno::EEXIST) => Err(Error::Exists { object }),
            Err(failure) if is_unreachable(&failure) => {
                Err(Error::Impossible { object, why: unreachable(gateway) })
            }
            Err(failure) => Err(failure.during(Action::Add(object))),
        }
    }

    /// Sets a route as it was read before, in the place of the route of its metric.
    ///
    /// # Errors
    /// [`Error::InterfaceMissing`] without one of its interfaces; [`Error::Refused`] if the kernel no
    /// longer accepts it, for example because its gateway is on no connected network.
    pub fn restore_default_route(&self, route: &DefaultRoute) -> Result<(), Error> {
        let action = Action::Add(name(route));
        let message = self.message(route, &action)?;
        match self.netlink.request_raw(RTM_NEWROUTE, &message, NLM_F_CREATE | NLM_F_REPLACE) {
            // The very same route is there already.
            Err(failure) if failure.is(Errno::EEXIST) => Ok(()),
            Err(failure) => Err(failure.during(action)),
            Ok(_) => {
                debug!(route = name(route), "default route restored");
                Ok(())
            }
        }
    }

    /// Deletes exactly this route.
    ///
    /// # Errors
    /// [`Error::Missing`]; [`Error::InterfaceMissing`]; [`Error::NotPermitted`] without CAP_NET_ADMIN.
    pub fn delete_default_route(&self, route: &DefaultRoute) -> Result<(), Error> {
        let action = Action::Delete(name(route));
        let message = self.message(route, &action)?;
        match self.netlink.request_raw(RTM_DELROUTE, &message, 0) {
            Ok(_) => {
                debug!(route = name(route), "default route deleted");
                Ok(())
            }
            Err(failure) if failure.is(Errno::ESRCH) || failure.is(Errno::ENOENT) => {
                Err(Error::Missing { object: name(route) })
            }
            Err(failure) => Err(failure.during(action)),
        }
    }

    /// Returns the message of a route with the present indexes of its interfaces.
    fn message(&self, route: &DefaultRoute, action: &Action) -> Result<Vec<u8>, Error> {
        let index = |interface: &String| self.existing_link(interface).map(|link| link.index);
        let indexes = route.interfaces.iter().map(index).collect::<Result<Vec<u32>, Error>>()?;
        let malformed = |what| Error::Malformed { action: action.clone(), what };
        with_indexes(&route.message, &indexes).map_err(malformed)
    }
}

/// Names a route in messages.
fn name(route: &DefaultRoute) -> String {
    let family = if route.is_ipv6() { "ipv6" } else { "ipv4" };
    match route.gateway {
        Some(gateway) => format!("default route via {gateway} metric {}", route.metric),
        None => format!("default route {family} metric {}", route.metric),
    }
}

/// Whether the kernel refused a gateway (`fib_check_nh`, `ip6_route_check_nh`).
fn is_unreachable(failure: &Failure) -> bool {
    [Errno::ENETUNREACH, Errno::EHOSTUNREACH, Errno::EINVAL, Errno::ENETDOWN]
        .into_iter()
        .any(|errno| failure.is(errno))
}

fn unreachable(gateway: IpAddr) -> String {
    let is_link_local = matches!(gateway, IpAddr::V6(it) if Ipv6Addr::is_unicast_link_local(&it));
    let (why, other) = match is_link_local {
        true => ("is a link-local address, which does not say the interface", ""),
        false => (
            "is not an address of another host on a network that this host is connected to",
            ", or connect this host to the network of that one",
        ),
    };
    format!(
        "{gateway} {why}; choose a gateway on a network of this host's interfaces: write its address as \
         `gateway` in the service, or list the director's address on that network under `directors`{other}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ip route add default via 192.0.2.254 dev eth0 proto dhcp src 192.0.2.11 metric 100 mtu 1400`, as
    /// RTM_NEWROUTE gives it back on index 2 without carrier.
    #[rustfmt::skip]
    const NEWROUTE: [u8; 64] = [
        2, 0, 0, 0, 254, 16, 0, 1, 16, 0, 0, 0,
        8, 0, 15, 0, 254, 0, 0, 0,
        12, 0, 8, 0x80, 8, 0, 2, 0, 120, 5, 0, 0,
        8, 0, 6, 0, 100, 0, 0, 0,
        8, 0, 7, 0, 192, 0, 2, 11,
        8, 0, 5, 0, 192, 0, 2, 254,
        8, 0, 4, 0, 2, 0, 0, 0,
    ];

    #[test]
    fn a_route_gives_gateway_metric_and_protocol_and_is_filled_in_again() {
        let decoded = Decoded::read(&NEWROUTE).unwrap().unwrap();
        assert_eq!(decoded.gateway, Some([192, 0, 2, 254].into()));
        assert_eq!((decoded.metric, decoded.protocol, &*decoded.indexes), (100, 16, &[2][..]));
        assert!(!decoded.message.ends_with(&[2, 0, 0, 0]));
        // The flag that the carrier is missing is no part of the route.
        let mut expected = NEWROUTE;
        (expected[8], expected[60]) = (0, 7);
        assert_eq!(with_indexes(&decoded.message, &[7]), Ok(expected.to_vec()));
        assert!(with_indexes(&decoded.message, &[]).is_err());
    }

    #[test]
    fn a_gateway_that_is_not_connected_has_a_remedy() {
        let far = unreachable([192, 168, 7, 7].into());
        assert!(far.starts_with("192.168.7.7 is not an address of another host on a network that"));
        assert!(far.ends_with(
            "choose a gateway on a network of this host's interfaces: write its address as `gateway` in \
             the service, or list the director's address on that network under `directors`, or connect \
             this host to the network of that one"
        ));
        let link_local = unreachable("fe80::1".parse().unwrap());
        assert!(link_local.starts_with("fe80::1 is a link-local address, which does not say"));
        assert!(link_local.ends_with("on that network under `directors`"));
    }

    #[test]
    fn several_next_hops_keep_their_order_and_flags() {
        #[rustfmt::skip]
        let hops: [u8; 32] = [
            16, 0, 4 | 16, 3, 2, 0, 0, 0, 8, 0, 5, 0, 192, 0, 2, 254,
            16, 0, 1, 0, 3, 0, 0, 0, 8, 0, 5, 0, 192, 0, 2, 253,
        ];
        let mut message = NEWROUTE[..HEADER].to_vec();
        push(&mut message, RTA_MULTIPATH.to_ne_bytes(), &hops);
        let decoded = Decoded::read(&message).unwrap().unwrap();
        assert_eq!((decoded.gateway, &*decoded.indexes), (None, &[2, 3][..]));
        let filled = with_indexes(&decoded.message, &[5, 6]).unwrap();
        let again = Decoded::read(&filled).unwrap().unwrap();
        assert_eq!((&*again.indexes, &again.message), (&[5, 6][..], &decoded.message));
        // The first is on-link, and has the weight 4.
        assert_eq!(filled[16..20], [16, 0, 4, 3]);
        assert!(Decoded::read(&message[..message.len() - 28]).is_err());
    }

    #[test]
    fn a_next_hop_of_its_own_is_kept_without_what_it_contains() {
        let mut message = NEWROUTE.to_vec();
        push(&mut message, RTA_NH_ID.to_ne_bytes(), &[9, 0, 0, 0]);
        let decoded = Decoded::read(&message).unwrap().unwrap();
        assert_eq!((decoded.gateway, decoded.indexes), (Some([192, 0, 2, 254].into()), vec![]));
        let kinds = NlasIterator::new(&decoded.message[HEADER..]).flatten().map(|it| it.kind());
        assert!(!kinds.clone().any(|kind| kind == RTA_GATEWAY || kind == RTA_OIF));
        assert!(kinds.clone().any(|kind| kind == RTA_NH_ID));
    }

    #[test]
    fn other_routes_are_left_out() {
        for (place, value) in [(1, 24), (2, 24), (3, 8), (4, 255), (9, 2)] {
            let mut bytes = NEWROUTE;
            bytes[place] = value;
            assert_eq!(Decoded::read(&bytes), Ok(None), "{place}");
        }
        assert!(Decoded::read(&NEWROUTE[..11]).is_err());
        assert!(Decoded::read(&NEWROUTE[..62]).is_err());
    }
}
