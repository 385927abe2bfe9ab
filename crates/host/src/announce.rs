//! Announces addresses to the neighbours of an interface.
//!
//! Both families are sent as complete Ethernet frames over a packet socket, so that the bytes on
//! the wire are those of [`arp_ndp`](crate::arp_ndp) and depend on no route and no source address
//! selection.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, sendto, socket};
use tracing::debug;

use crate::arp_ndp::{HardwareAddress, gratuitous_arp, unsolicited_advertisement};
use crate::capability::Capability;
use crate::error::{Action, Error};
use crate::host::{Host, setting};
use crate::link::Link;

/// The result of an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announcement {
    /// It was sent.
    Announced,
    /// The interface has no neighbours to announce to.
    NotNeeded(NotNeeded),
}

/// Why an interface has no neighbours to announce to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotNeeded {
    /// It is a loopback.
    Loopback,
    /// It is a dummy device.
    Dummy,
    /// It does not resolve neighbours.
    NoArp,
    /// It is administratively down. Announce again once it is up.
    Down,
    /// It is up without a carrier. Announce again once it has one.
    NoCarrier,
    /// Its frames are not Ethernet's, as those of tunnels and of InfiniBand.
    NotEthernet,
}

impl fmt::Display for NotNeeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "it is a loopback",
            Self::Dummy => "it is a dummy device",
            Self::NoArp => "it does not resolve neighbours",
            Self::Down => "it is down",
            Self::NoCarrier => "it has no carrier",
            Self::NotEthernet => "it is not Ethernet",
        })
    }
}

impl Host {
    /// Announces an address to the neighbours on an interface: two gratuitous ARP frames for IPv4,
    /// one unsolicited neighbour advertisement for IPv6, each sent once. Does not check that the
    /// address is bound.
    ///
    /// A frame may be lost; repeating it is up to the caller (RFC 4861 allows three, a second
    /// apart).
    ///
    /// # Errors
    /// [`Error::NotPermitted`] without CAP_NET_RAW; [`Error::InterfaceMissing`]; [`Error::OtherNamespace`].
    pub fn announce(&self, address: IpAddr, interface: &str) -> Result<Announcement, Error> {
        let action = || Action::Announce { address, interface: interface.to_owned() };
        self.check_namespace(action())?;
        let link = self.existing_link(interface)?;
        let hardware = match link.announcement_source() {
            Ok(hardware) => hardware,
            Err(reason) => {
                debug!(vip = %address, interface, %reason, "not announced");
                return Ok(Announcement::NotNeeded(reason));
            }
        };
        let frames = match address {
            IpAddr::V4(address) => gratuitous_arp(address, hardware).to_vec(),
            IpAddr::V6(address) => {
                vec![unsolicited_advertisement(address, hardware, forwards(&link.name))]
            }
        };
        let sent = self.packet_addresses.of(&link).and_then(|to| send(&to, &frames));
        sent.map_err(|errno| match errno {
            Errno::EPERM => {
                Error::NotPermitted { action: action(), capability: Capability::NetRaw }
            }
            errno => Error::Io { action: action(), source: io::Error::from(errno) },
        })?;
        debug!(vip = %address, interface, "announced");
        Ok(Announcement::Announced)
    }
}

impl Link {
    /// Returns the hardware address that announcements on it are sent from, or why none are needed.
    ///
    /// # Errors
    /// [`NotNeeded`]; in that case [`Host::announce`] needs no privileges.
    pub fn announcement_source(&self) -> Result<HardwareAddress, NotNeeded> {
        // Permanent reasons come first, so that a temporary one never hides them.
        if self.loopback {
            Err(NotNeeded::Loopback)
        } else if self.is_dummy() {
            Err(NotNeeded::Dummy)
        } else if self.no_arp {
            Err(NotNeeded::NoArp)
        } else if !self.ethernet {
            Err(NotNeeded::NotEthernet)
        } else if !self.up {
            Err(NotNeeded::Down)
        } else if !self.running {
            Err(NotNeeded::NoCarrier)
        } else {
            HardwareAddress::try_from(self.hardware_address.as_slice())
                .map_err(|_| NotNeeded::NotEthernet)
        }
    }
}

/// Whether the host is an IPv6 router on this interface, by the setting that the kernel uses for
/// its own advertisements. A kernel without IPv6 lacks the setting, and has no IPv6 address to
/// announce.
fn forwards(interface: &str) -> bool {
    let path: PathBuf = ["/proc/sys/net/ipv6/conf", interface, "forwarding"].iter().collect();
    setting(&path).is_ok_and(|value| value != 0)
}

fn send(to: &LinkAddr, frames: &[Vec<u8>]) -> Result<(), Errno> {
    // Without a protocol the socket receives nothing.
    let socket: OwnedFd =
        socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    for frame in frames {
        sendto(socket.as_raw_fd(), frame, to, MsgFlags::empty())?;
    }
    Ok(())
}

/// The interfaces as addresses of packet sockets, by index. A `sockaddr_ll` can only be had from the system
/// without unsafe code: getifaddrs(3) gives one for each interface, and reads all addresses of the host for
/// that, so each is kept. Of a complete frame's address the kernel uses the index alone.
#[derive(Debug, Default)]
pub(crate) struct PacketAddresses(Mutex<HashMap<u32, LinkAddr>>);

impl PacketAddresses {
    /// The address of an interface.
    pub(crate) fn of(&self, link: &Link) -> Result<LinkAddr, Errno> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains_key(&link.index) {
            let found = getifaddrs()?.filter_map(|entry| {
                let address = *entry.address?.as_link_addr()?;
                Some((u32::try_from(address.ifindex()).ok()?, address))
            });
            *known = found.collect();
        }
        known.get(&link.index).copied().ok_or(Errno::ENODEV)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::OperationalState;

    type Case = (fn(&mut Link), NotNeeded);

    fn ethernet() -> Link {
        Link {
            index: 2,
            name: "eth0".into(),
            kind: None,
            up: true,
            running: true,
            loopback: false,
            point_to_point: false,
            no_arp: false,
            ethernet: true,
            operational: OperationalState::Up,
            alias: None,
            mtu: 1500,
            hardware_address: vec![2, 0, 0, 0, 0, 1],
            tunnel: None,
        }
    }

    #[test]
    fn the_addresses_of_the_host_are_read_only_for_an_interface_that_is_not_known() {
        let interfaces = PacketAddresses::default();
        let of = |index| interfaces.of(&Link { index, ..ethernet() });
        assert_eq!(of(0x7FFF_0001), Err(Errno::ENODEV));
        // The system has no such interface, so it was not read for this one.
        let known =
            getifaddrs().unwrap().find_map(|it| Some(*it.address?.as_link_addr()?)).unwrap();
        interfaces.0.lock().unwrap().insert(0x7FFF_0001, known);
        assert_eq!(of(0x7FFF_0001), Ok(known));
    }

    #[test]
    fn a_working_ethernet_interface_is_announced_on() {
        assert_eq!(ethernet().announcement_source(), Ok([2, 0, 0, 0, 0, 1]));
    }

    #[test]
    fn an_interface_without_neighbours_is_passed_over_with_its_reason() {
        let cases: [Case; 7] = [
            (|link| link.loopback = true, NotNeeded::Loopback),
            (|link| link.kind = Some("dummy".into()), NotNeeded::Dummy),
            (|link| link.no_arp = true, NotNeeded::NoArp),
            (|link| link.ethernet = false, NotNeeded::NotEthernet),
            (|link| link.up = false, NotNeeded::Down),
            (|link| link.running = false, NotNeeded::NoCarrier),
            (|link| link.hardware_address = vec![0; 20], NotNeeded::NotEthernet),
        ];
        for (change, reason) in cases {
            let mut link = ethernet();
            change(&mut link);
            assert_eq!(link.announcement_source(), Err(reason));
        }
    }
}
