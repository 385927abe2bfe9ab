//! What the kernel's neighbour table knows of an address, and how the kernel is asked to resolve it.

use std::net::IpAddr;

use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourState};

use super::{message, name, replacement};
use crate::arp_ndp::HardwareAddress;
use crate::error::{Action, Error};
use crate::host::Host;

/// What the kernel knows of the MAC address of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// Nothing: it was never asked for, or did not answer.
    Unknown,
    /// The kernel is asking for it.
    Pending,
    /// It had this one, which was not confirmed lately, or the kernel is asking whether it still has it.
    Unconfirmed(HardwareAddress),
    /// It has this one: it answered a short time ago, or a program added the entry.
    Confirmed(HardwareAddress),
}

impl Host {
    /// Reads what the kernel knows of the MAC address of a neighbour, without asking for it.
    ///
    /// # Errors
    /// [`Error::InterfaceMissing`], or the entry cannot be read.
    pub fn resolution(&self, address: IpAddr, interface: &str) -> Result<Resolution, Error> {
        let index = self.existing_link(interface)?.index;
        let found =
            self.neighbour(address, index, &Action::FindNeighbour(name(address, interface)))?;
        let Some(found) = found else { return Ok(Resolution::Unknown) };
        Ok(match (found.state, found.mac) {
            (NeighbourState::Incomplete, _) => Resolution::Pending,
            (
                NeighbourState::Reachable | NeighbourState::Permanent | NeighbourState::Noarp,
                Some(mac),
            ) => Resolution::Confirmed(mac),
            (NeighbourState::Stale | NeighbourState::Delay | NeighbourState::Probe, Some(mac)) => {
                Resolution::Unconfirmed(mac)
            }
            _ => Resolution::Unknown,
        })
    }

    /// Lets the kernel ask for the MAC address of a neighbour (ARP, NDP), as it does before it sends a
    /// packet: all hosts if it knows none, and otherwise the host that had the address, whether it still
    /// has. The answer shows in [`Self::resolution`]; without one, the entry becomes unknown after three
    /// seconds.
    ///
    /// # Errors
    /// [`Error::InterfaceMissing`]; [`Error::NotPermitted`] without CAP_NET_ADMIN.
    pub fn resolve(&self, address: IpAddr, interface: &str) -> Result<(), Error> {
        let index = self.existing_link(interface)?.index;
        let action = || Action::FindNeighbour(name(address, interface));
        let found = self.neighbour(address, index, &action())?;
        let known = found.as_ref().filter(|it| {
            matches!(
                it.state,
                NeighbourState::Stale | NeighbourState::Delay | NeighbourState::Probe
            )
        });
        let (message, flags) = match known.and_then(|it| Some((it, it.mac?))) {
            Some((known, mac)) => {
                let mut message = replacement(address, index, Some(known));
                message.header.state = NeighbourState::Probe;
                message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
                (message, NLM_F_REPLACE)
            }
            None => {
                let mut message = message(address, index);
                message.header.flags |= NeighbourFlags::Use;
                (message, NLM_F_CREATE)
            }
        };
        let sent = self.netlink.request(RouteNetlinkMessage::NewNeighbour(message), flags);
        sent.map(drop).map_err(|failure| failure.during(action()))
    }
}
