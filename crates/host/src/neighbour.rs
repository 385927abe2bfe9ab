//! Neighbour entries: link-layer addresses of IP addresses on an interface (ARP, NDP).
//!
//! The kernel keeps the entries that programs add in one table with its own cache. An entry counts as
//! added by a program if it is permanent or carries the protocol number of another program; all others
//! are the cache, which changes by itself and which an added entry replaces.

mod resolution;

use std::net::IpAddr;

use nix::errno::Errno;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Parseable};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::RouteProtocol;
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use tracing::debug;

use crate::arp_ndp::HardwareAddress;
use crate::error::{Action, Error};
use crate::host::Host;
use crate::ownership::EVENKEEL_PROTOCOL;

pub use resolution::Resolution;

/// A neighbour entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// The address that it resolves.
    pub address: IpAddr,
    /// The interface's index.
    pub index: u32,
    /// The interface's name.
    pub interface: String,
    /// The MAC address; `None` for an entry without a link-layer address, or with one of another length.
    pub mac: Option<HardwareAddress>,
    /// The number of the program that added it (`NDA_PROTOCOL`, `RTPROT_*`); 0 if none was given, and
    /// always before Linux 5.0.
    pub protocol: u8,
    state: NeighbourState,
    /// Whether the host is an IPv6 router, as its advertisements say (`NTF_ROUTER`).
    is_router: bool,
}

impl Neighbour {
    /// Whether it carries evenkeel's protocol number.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.protocol == EVENKEEL_PROTOCOL
    }

    /// Whether a program added it. An entry of evenkeel that another program changed to a state other
    /// than permanent expires like the cache, and counts as such.
    fn is_added(&self) -> bool {
        match self.state {
            NeighbourState::Permanent => true,
            NeighbourState::Noarp
            | NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe => self.protocol != 0 && !self.is_ours(),
            // An entry that failed or was deleted has no link-layer address.
            _ => false,
        }
    }

    /// Whether it resolves one address. On a loopback or point-to-point interface, the kernel has one
    /// IPv4 entry for all addresses, 0.0.0.0 (`arp_constructor`).
    fn is_of_one_address(&self) -> bool {
        !self.address.is_unspecified()
    }

    /// Reads the payload of an `RTM_NEWNEIGH`, without the interface's name. None for an entry that is
    /// of neither family.
    fn decode(payload: &[u8]) -> Result<Option<Self>, String> {
        let NeighbourMessage { header, attributes, .. } =
            NeighbourMessage::parse(payload).map_err(|error| error.to_string())?;
        let (mut address, mut mac, mut protocol) = (None, None, 0);
        for attribute in attributes {
            match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(it)) => {
                    address = Some(it.into());
                }
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(it)) => {
                    address = Some(it.into());
                }
                NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.try_into().ok(),
                NeighbourAttribute::Protocol(number) => protocol = u8::from(number),
                _ => {}
            }
        }
        let found = |address| Self {
            address,
            index: header.ifindex,
            interface: String::new(),
            mac,
            protocol,
            state: header.state,
            is_router: header.flags.contains(NeighbourFlags::Router),
        };
        Ok(address.map(found))
    }
}

impl Host {
    /// Lists the neighbour entries that programs added, of both families.
    ///
    /// # Errors
    /// The table could not be read completely; a part of it is never returned.
    pub fn neighbours(&self) -> Result<Vec<Neighbour>, Error> {
        let action = || Action::List("neighbours");
        let mut neighbours = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut filter = NeighbourMessage::default();
            filter.header.family = family;
            let payloads = self.netlink.dump(&RouteNetlinkMessage::GetNeighbour(filter));
            for payload in payloads.map_err(|failure| failure.during(action()))? {
                // A kernel without this family lists the entries of the others.
                if payload.first() == Some(&u8::from(family)) {
                    let decoded = Neighbour::decode(&payload);
                    let malformed = |what| Error::Malformed { action: action(), what };
                    let decoded = decoded.map_err(malformed)?;
                    neighbours.extend(decoded.filter(|it| it.is_added() && it.is_of_one_address()));
                }
            }
        }
        if neighbours.is_empty() {
            return Ok(neighbours);
        }
        // The kernel deletes an entry with its interface, so one without a name is gone by now.
        let links = self.links()?;
        neighbours.retain_mut(|neighbour| {
            let link = links.iter().find(|link| link.index == neighbour.index);
            link.is_some_and(|link| {
                neighbour.interface.clone_from(&link.name);
                true
            })
        });
        Ok(neighbours)
    }

    /// Adds a permanent entry with evenkeel's protocol number, in place of one of the kernel's cache.
    ///
    /// # Errors
    /// [`Error::Exists`] if a program added one already, which is left unchanged;
    /// [`Error::InterfaceMissing`]; [`Error::Impossible`] if it is not Ethernet;
    /// [`Error::NotPermitted`] without CAP_NET_ADMIN. A kernel before Linux 5.0, which stores no protocol number, refuses.
    pub fn add_neighbour(
        &self,
        address: IpAddr,
        interface: &str,
        mac: HardwareAddress,
    ) -> Result<(), Error> {
        let index = self.index_with_mac(interface)?;
        let object = name(address, interface);
        let found = self.neighbour(address, index, &Action::Add(object.clone()))?;
        let flags = match &found {
            Some(found) if found.is_added() => return Err(Error::Exists { object }),
            Some(_) => NLM_F_CREATE | NLM_F_REPLACE,
            None => NLM_F_CREATE | NLM_F_EXCL,
        };
        self.set_neighbour(replacement(address, index, found.as_ref()), mac, flags, object)
    }

    /// Gives an entry that [`Self::add_neighbour`] added another MAC address. At every moment the
    /// entry has one of the two; one that is missing is added.
    ///
    /// # Errors
    /// [`Error::Exists`] if the entry is another program's; otherwise as [`Self::add_neighbour`].
    pub fn replace_neighbour(
        &self,
        address: IpAddr,
        interface: &str,
        mac: HardwareAddress,
    ) -> Result<(), Error> {
        let index = self.index_with_mac(interface)?;
        let object = name(address, interface);
        let found = self.neighbour(address, index, &Action::Add(object.clone()))?;
        if found.as_ref().is_some_and(|found| found.is_added() && !found.is_ours()) {
            return Err(Error::Exists { object });
        }
        let message = replacement(address, index, found.as_ref());
        self.set_neighbour(message, mac, NLM_F_CREATE | NLM_F_REPLACE, object)
    }

    /// Deletes an entry that [`Self::add_neighbour`] added. The kernel does not compare the protocol
    /// number, so it is read first.
    ///
    /// # Errors
    /// [`Error::Missing`]; [`Error::InterfaceMissing`]; [`Error::NotPermitted`] without CAP_NET_ADMIN.
    pub fn delete_neighbour(&self, address: IpAddr, interface: &str) -> Result<(), Error> {
        let index = self.existing_link(interface)?.index;
        let object = name(address, interface);
        let found = self.neighbour(address, index, &Action::Delete(object.clone()))?;
        if !found.is_some_and(|found| found.is_added() && found.is_ours()) {
            return Err(Error::Missing { object });
        }
        let message = RouteNetlinkMessage::DelNeighbour(message(address, index));
        match self.netlink.request(message, 0) {
            Ok(_) => {
                debug!(%address, interface, "neighbour deleted");
                Ok(())
            }
            Err(failure) if failure.is(Errno::ENOENT) => Err(Error::Missing { object }),
            Err(failure) => Err(failure.during(Action::Delete(object))),
        }
    }

    /// Reads one entry, of the cache or added by a program, as the first part of an action.
    fn neighbour(
        &self,
        address: IpAddr,
        index: u32,
        action: &Action,
    ) -> Result<Option<Neighbour>, Error> {
        let request = RouteNetlinkMessage::GetNeighbour(message(address, index));
        let payloads = match self.netlink.request(request, 0) {
            Ok(payloads) => payloads,
            Err(failure) if failure.is(Errno::ENOENT) => return Ok(None),
            Err(failure) => return Err(failure.during(action.clone())),
        };
        let malformed = |what| Error::Malformed { action: action.clone(), what };
        let Some(payload) = payloads.last() else {
            return Err(malformed("the kernel's answer is empty".to_owned()));
        };
        Neighbour::decode(payload).map_err(malformed)
    }

    /// Looks up an interface that has neighbours: its link-layer addresses have the length of a MAC
    /// address, and it is not a loopback or point-to-point interface, where the kernel would store an
    /// IPv4 entry under 0.0.0.0, for all addresses.
    fn index_with_mac(&self, interface: &str) -> Result<u32, Error> {
        let link = self.existing_link(interface)?;
        let why = if link.hardware_address.len() != HardwareAddress::default().len() {
            "the interface has no MAC addresses"
        } else if link.loopback || link.point_to_point {
            "a loopback or point-to-point interface has no neighbours"
        } else {
            return Ok(link.index);
        };
        let object = format!("a neighbour on {interface}");
        Err(Error::Impossible { object, why: why.to_owned() })
    }

    fn set_neighbour(
        &self,
        mut message: NeighbourMessage,
        mac: HardwareAddress,
        flags: u16,
        object: String,
    ) -> Result<(), Error> {
        message.header.state = NeighbourState::Permanent;
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
        let protocol = RouteProtocol::Other(EVENKEEL_PROTOCOL);
        message.attributes.push(NeighbourAttribute::Protocol(protocol));
        match self.netlink.request(RouteNetlinkMessage::NewNeighbour(message), flags) {
            Ok(_) => {
                debug!(object, "set");
                Ok(())
            }
            Err(failure) if failure.is(Errno::EEXIST) => Err(Error::Exists { object }),
            Err(failure) => Err(failure.during(Action::Add(object))),
        }
    }
}

/// Names an entry in messages.
fn name(address: IpAddr, interface: &str) -> String {
    format!("neighbour {address} dev {interface}")
}

/// A message that adds an entry or replaces the one found. The kernel would otherwise forget that the host
/// is a router, and with it the default routes through it.
fn replacement(address: IpAddr, index: u32, found: Option<&Neighbour>) -> NeighbourMessage {
    let mut message = message(address, index);
    if found.is_some_and(|found| found.is_router) {
        message.header.flags |= NeighbourFlags::Router;
    }
    message
}

/// A message about one entry, as `RTM_GETNEIGH` and `RTM_DELNEIGH` take it.
fn message(address: IpAddr, index: u32) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.ifindex = index;
    message.attributes.push(NeighbourAttribute::Destination(address.into()));
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ip neigh replace 192.0.2.1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent protocol 101`, as
    /// RTM_NEWNEIGH gives it back on index 2.
    #[rustfmt::skip]
    const NEWNEIGH: [u8; 40] = [
        2, 0, 0, 0, 2, 0, 0, 0, 0x80, 0, 0, 1,
        8, 0, 1, 0, 192, 0, 2, 1,
        10, 0, 2, 0, 2, 0, 0, 0, 0, 1, 0, 0,
        5, 0, 12, 0, 101, 0, 0, 0,
    ];
    const STATE: usize = 8;
    const PROTOCOL: usize = 36;

    #[test]
    fn an_entry_gives_both_addresses_and_its_protocol() {
        let found = Neighbour::decode(&NEWNEIGH).unwrap().unwrap();
        assert_eq!((found.address, found.index), ([192, 0, 2, 1].into(), 2));
        assert_eq!((found.mac, found.protocol), (Some([2, 0, 0, 0, 0, 1]), 101));
        assert!(found.is_ours() && found.is_added());
        assert!(Neighbour::decode(&NEWNEIGH[..11]).is_err());
        assert!(Neighbour::decode(&NEWNEIGH[..28]).is_err());
    }

    #[test]
    fn entries_of_the_cache_are_not_those_of_programs() {
        const REACHABLE: u8 = 2;
        const FAILED: u8 = 0x20;
        const PERMANENT: u8 = 0x80;
        for (state, protocol, is_added) in [
            (PERMANENT, 0, true),
            (PERMANENT, 101, true),
            (REACHABLE, 0, false),
            (REACHABLE, 11, true),
            (REACHABLE, 101, false),
            (FAILED, 11, false),
        ] {
            let mut bytes = NEWNEIGH;
            (bytes[STATE], bytes[PROTOCOL]) = (state, protocol);
            let found = Neighbour::decode(&bytes).unwrap().unwrap();
            assert_eq!(found.is_added(), is_added, "{state} {protocol}");
        }
    }
}
