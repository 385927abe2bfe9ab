//! Host routes: routes of the main table to a single address through an interface.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::errno::Errno;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL, NlasIterator};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use tracing::debug;

use crate::error::{Action, Error};
use crate::host::Host;
use crate::ownership::EVENKEEL_PROTOCOL;

/// `struct rtmsg` and its attributes, of include/uapi/linux/rtnetlink.h.
const HEADER: usize = 12;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_PREFSRC: u16 = 7;
const RTN_UNICAST: u8 = 1;
const RTM_F_CLONED: u32 = 0x200;

/// A route of the main table to a single address through one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The address that it leads to.
    pub destination: IpAddr,
    /// The interface's index.
    pub index: u32,
    /// The interface's name.
    pub interface: String,
    /// The source address that it gives to packets; absent leaves the choice to the kernel.
    pub source: Option<IpAddr>,
    /// The number of the program that added it (`RTPROT_*`).
    pub protocol: u8,
}

impl Route {
    /// Whether it carries evenkeel's protocol number.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.protocol == EVENKEEL_PROTOCOL
    }

    /// Reads the payload of an `RTM_NEWROUTE`, without the interface's name. None for a route to a
    /// network, of another table, or without an interface of its own.
    fn decode(payload: &[u8]) -> Result<Option<Self>, String> {
        let Some((header, attributes)) = payload.split_first_chunk::<HEADER>() else {
            return Err("a route is cut short".to_owned());
        };
        let [family, length, _, tos, table, protocol, _, kind, flags @ ..] = *header;
        let full = match AddressFamily::from(family) {
            AddressFamily::Inet => 32,
            AddressFamily::Inet6 => 128,
            _ => return Ok(None),
        };
        let is_cloned = u32::from_ne_bytes(flags) & RTM_F_CLONED != 0;
        if length != full
            || tos != 0
            || table != RouteHeader::RT_TABLE_MAIN
            || kind != RTN_UNICAST
            || is_cloned
        {
            return Ok(None);
        }
        let (mut destination, mut index, mut source) = (None, None, None);
        for attribute in NlasIterator::new(attributes) {
            let attribute = attribute.map_err(|error| error.to_string())?;
            let value = attribute.value();
            match attribute.kind() {
                RTA_DST => destination = address(value),
                RTA_PREFSRC => source = address(value),
                RTA_OIF => index = value.first_chunk::<4>().map(|it| u32::from_ne_bytes(*it)),
                _ => {}
            }
        }
        let (Some(destination), Some(index)) = (destination, index) else { return Ok(None) };
        Ok(Some(Self { destination, index, interface: String::new(), source, protocol }))
    }
}

pub(crate) fn address(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => Some(Ipv4Addr::from(*value.first_chunk::<4>()?).into()),
        16 => Some(Ipv6Addr::from(*value.first_chunk::<16>()?).into()),
        _ => None,
    }
}

impl Host {
    /// Lists the host routes of the main table, of both families. From Linux 4.20 on the kernel
    /// filters by table.
    ///
    /// # Errors
    /// The table could not be read completely; a part of it is never returned.
    pub fn host_routes(&self) -> Result<Vec<Route>, Error> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut filter = RouteMessage::default();
            filter.header.address_family = family;
            filter.header.table = RouteHeader::RT_TABLE_MAIN;
            let payloads = match self.netlink.dump_filtered(&RouteNetlinkMessage::GetRoute(filter))
            {
                Ok(payloads) => payloads,
                // A namespace without any route of the family has no main table.
                Err(failure) if failure.is(Errno::ENOENT) => continue,
                Err(failure) => return Err(failure.during(Action::List("routes"))),
            };
            for payload in payloads {
                // A kernel without this family lists the routes of the others.
                if payload.first() != Some(&u8::from(family)) {
                    continue;
                }
                let decoded = Route::decode(&payload);
                let malformed = |what| Error::Malformed { action: Action::List("routes"), what };
                routes.extend(decoded.map_err(malformed)?);
            }
        }
        if routes.is_empty() {
            return Ok(routes);
        }
        // The kernel deletes a route with its interface, so one without a name is gone by now.
        let links = self.links()?;
        routes.retain_mut(|route| {
            let link = links.iter().find(|link| link.index == route.index);
            link.is_some_and(|link| {
                route.interface.clone_from(&link.name);
                true
            })
        });
        Ok(routes)
    }

    /// Adds `ADDRESS dev INTERFACE scope link src ADDRESS` to the main table (IPv6 without a scope),
    /// with evenkeel's protocol number.
    ///
    /// # Errors
    /// [`Error::Exists`] if there is one through the same interface already, which is left unchanged;
    /// [`Error::InTheWay`] if there is another route to the address; [`Error::Impossible`] if the VIP is not bound;
    /// [`Error::InterfaceMissing`]; [`Error::NotPermitted`] without CAP_NET_ADMIN. The kernel refuses
    /// a route through an interface that is down.
    pub fn add_host_route(&self, destination: IpAddr, interface: &str) -> Result<(), Error> {
        let index = self.existing_link(interface)?.index;
        let object = name(destination, interface);
        let mut message = message(destination, index);
        message.attributes.push(RouteAttribute::PrefSource(destination.into()));
        let message = RouteNetlinkMessage::NewRoute(message);
        match self.netlink.request(message, NLM_F_CREATE | NLM_F_EXCL) {
            Ok(_) => {
                debug!(%destination, interface, "route added");
                Ok(())
            }
            Err(failure) if failure.is(Errno::EEXIST) => {
                let routes = self.host_routes()?;
                let mut others = routes.iter().filter(|route| route.destination == destination);
                if others.clone().any(|route| route.index == index) {
                    return Err(Error::Exists { object });
                }
                // A route without an interface of its own, such as a blackhole, is not listed.
                let remedy = format!("ip route del {destination}");
                let other = match others.next() {
                    Some(other) => name(destination, &other.interface),
                    None => format!("another route to {destination}"),
                };
                Err(Error::InTheWay { object, other, remedy })
            }
            // `fib_valid_prefsrc`, `ip6_route_info_create`.
            Err(failure) if failure.is(Errno::EINVAL) => {
                let why = format!("{destination} is not bound on this host");
                Err(Error::Impossible { object, why })
            }
            Err(failure) => Err(failure.during(Action::Add(object))),
        }
    }

    /// Deletes a route that [`Self::add_host_route`] added. The kernel compares the protocol number,
    /// so no other route is ever deleted.
    ///
    /// # Errors
    /// [`Error::Missing`]; [`Error::InterfaceMissing`]; [`Error::NotPermitted`] without CAP_NET_ADMIN.
    pub fn delete_host_route(&self, destination: IpAddr, interface: &str) -> Result<(), Error> {
        let index = self.existing_link(interface)?.index;
        let object = name(destination, interface);
        let mut message = message(destination, index);
        message.header.scope = RouteScope::NoWhere;
        match self.netlink.request(RouteNetlinkMessage::DelRoute(message), 0) {
            Ok(_) => {
                debug!(%destination, interface, "route deleted");
                Ok(())
            }
            Err(failure) if failure.is(Errno::ESRCH) || failure.is(Errno::ENOENT) => {
                Err(Error::Missing { object })
            }
            Err(failure) => Err(failure.during(Action::Delete(object))),
        }
    }
}

/// Names a route in messages.
fn name(destination: IpAddr, interface: &str) -> String {
    format!("route {destination} dev {interface}")
}

fn message(destination: IpAddr, index: u32) -> RouteMessage {
    let (family, length, scope) = match destination {
        IpAddr::V4(_) => (AddressFamily::Inet, 32, RouteScope::Link),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128, RouteScope::Universe),
    };
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    message.header.destination_prefix_length = length;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Other(EVENKEEL_PROTOCOL);
    message.header.scope = scope;
    message.header.kind = RouteType::Unicast;
    message.attributes.push(RouteAttribute::Destination(RouteAddress::from(destination)));
    message.attributes.push(RouteAttribute::Oif(index));
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ip route add 192.0.2.1 dev eth0 scope link src 192.0.2.1 proto 101`, as RTM_NEWROUTE gives it
    /// back on index 2.
    #[rustfmt::skip]
    const NEWROUTE: [u8; 44] = [
        2, 32, 0, 0, 254, 101, 253, 1, 0, 0, 0, 0,
        8, 0, 15, 0, 254, 0, 0, 0,
        8, 0, 1, 0, 192, 0, 2, 1,
        8, 0, 7, 0, 192, 0, 2, 1,
        8, 0, 4, 0, 2, 0, 0, 0,
    ];

    #[test]
    fn an_entry_gives_destination_source_and_protocol() {
        let vip: IpAddr = [192, 0, 2, 1].into();
        let expected = Route {
            destination: vip,
            index: 2,
            interface: String::new(),
            source: Some(vip),
            protocol: 101,
        };
        assert_eq!(Route::decode(&NEWROUTE), Ok(Some(expected.clone())));
        assert!(expected.is_ours());
    }

    #[test]
    fn routes_to_networks_of_other_tables_and_without_an_interface_are_left_out() {
        for (place, value) in [(0, 7), (1, 24), (3, 8), (4, 255), (7, 2), (9, 2)] {
            let mut bytes = NEWROUTE;
            bytes[place] = value;
            assert_eq!(Route::decode(&bytes), Ok(None), "{place}");
        }
        assert_eq!(Route::decode(&NEWROUTE[..36]), Ok(None));
        assert!(Route::decode(&NEWROUTE[..11]).is_err());
        assert!(Route::decode(&NEWROUTE[..42]).is_err());
    }
}
