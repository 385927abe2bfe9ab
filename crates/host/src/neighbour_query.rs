//! Asks the hosts of a network who has an address (ARP, NDP), and collects the answers.
//!
//! The requests are those that the kernel sends when it resolves a neighbour. They are sent and received
//! beside it, so that its table stays as it is, and every host that answers is seen, not the first one only.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::num::NonZero;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{LinkAddr, MsgFlags, recvfrom, sendto};
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, ipproto, socket_with};

use crate::address::Address;
use crate::announce::{NotNeeded, PacketAddresses};
use crate::arp_ndp::{
    ETHERTYPE_ARP, HardwareAddress, arp_reply, arp_request, neighbour_advertisement,
    neighbour_solicitation,
};
use crate::capability::Capability;
use crate::error::{Action, Error};
use crate::host::Host;
use crate::link::Link;

/// How often each question is sent: a frame may be lost.
const ATTEMPTS: u32 = 3;
/// The time between two attempts, and after the last one.
const PAUSE: Duration = Duration::from_millis(350);
/// How many questions are sent before answers are received: the buffers of the sockets have room for the
/// answers of some 250.
const PORTION: usize = 64;
/// How often the sockets are looked at meanwhile.
const TICK: Duration = Duration::from_millis(10);
/// Enough for every ARP frame and neighbour advertisement.
const ROOM: usize = 2048;

/// A question to the hosts on the network of an interface: who has this address?
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NeighbourQuestion {
    /// The address.
    pub address: IpAddr,
    /// The interface's name.
    pub interface: String,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NeighbourAnswers {
    /// These other hosts said that they have the address; none if it is empty.
    From(BTreeSet<HardwareAddress>),
    /// It was not asked.
    NotAsked(NotAsked),
}

/// Why a question was not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAsked {
    /// There is no such interface.
    InterfaceMissing,
    /// The interface has no neighbours to ask.
    NoNeighbours(NotNeeded),
}

impl fmt::Display for NotAsked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InterfaceMissing => f.write_str("it does not exist"),
            Self::NoNeighbours(reason) => reason.fmt(f),
        }
    }
}

/// A question with what is needed to ask it.
struct Prepared<'a> {
    question: &'a NeighbourQuestion,
    link: &'a Link,
    to: LinkAddr,
    frame: Vec<u8>,
}

impl Host {
    /// Asks several questions at once, each of them three times, and waits about a second for the answers, and
    /// half a second more for each thousand questions.
    /// Answers of this host itself are left out, which come from other interfaces on the same network.
    ///
    /// The requests name an address of this host in the network of the question, as the kernel's would; hosts
    /// that answer may learn it.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] without CAP_NET_RAW; [`Error::OtherNamespace`]; the interfaces cannot be listed.
    pub fn ask_neighbours(
        &self,
        questions: &BTreeSet<NeighbourQuestion>,
    ) -> Result<BTreeMap<NeighbourQuestion, NeighbourAnswers>, Error> {
        let mut answers = BTreeMap::new();
        if questions.is_empty() {
            return Ok(answers);
        }
        let action = || Action::AskNeighbours;
        self.check_namespace(action())?;
        let (links, addresses) = self.links_and_addresses()?;
        let mut prepared = Vec::new();
        for question in questions {
            let answer = match prepare(question, &links, &addresses, &self.packet_addresses) {
                Ok(question) => {
                    prepared.push(question.map_err(|errno| failed(errno, action()))?);
                    NeighbourAnswers::From(BTreeSet::new())
                }
                Err(reason) => NeighbourAnswers::NotAsked(reason),
            };
            answers.insert(question.clone(), answer);
        }
        let sockets = Sockets::open().map_err(|errno| failed(errno, action()))?;
        let own: BTreeSet<&[u8]> = links.iter().map(|link| &*link.hardware_address).collect();
        let mut collect = || {
            let received = sockets.received().map_err(|errno| failed(errno, action()))?;
            for answer in received.iter().filter(|it| !own.contains(&it.hardware[..])) {
                for Prepared { question, link, .. } in &prepared {
                    if let Some(NeighbourAnswers::From(hosts)) = answers.get_mut(*question)
                        && answer.is_to(question, link)
                    {
                        hosts.insert(answer.hardware);
                    }
                }
            }
            Ok(())
        };
        for _ in 0..ATTEMPTS {
            for portion in prepared.chunks(PORTION) {
                for Prepared { to, frame, .. } in portion {
                    sendto(sockets.arp.as_raw_fd(), frame, to, MsgFlags::empty())
                        .map_err(|errno| failed(errno, action()))?;
                }
                sleep(TICK);
                collect()?;
            }
            let end = Instant::now() + PAUSE;
            while Instant::now() < end {
                sleep(TICK);
                collect()?;
            }
        }
        Ok(answers)
    }
}

fn failed(errno: Errno, action: Action) -> Error {
    match errno {
        Errno::EPERM | Errno::EACCES => {
            Error::NotPermitted { action, capability: Capability::NetRaw }
        }
        errno => Error::Io { action, source: io::Error::from(errno) },
    }
}

/// Builds the frame of a question, or says why it cannot be asked. The inner error is the system's.
fn prepare<'a>(
    question: &'a NeighbourQuestion,
    links: &'a [Link],
    addresses: &[Address],
    packet_addresses: &PacketAddresses,
) -> Result<Result<Prepared<'a>, Errno>, NotAsked> {
    let link = links.iter().find(|link| link.name == question.interface);
    let link = link.ok_or(NotAsked::InterfaceMissing)?;
    let hardware = link.announcement_source().map_err(NotAsked::NoNeighbours)?;
    let own = addresses.iter().filter(|own| own.index == link.index);
    let frame = match question.address {
        IpAddr::V4(target) => arp_request(source_ipv4(own, target), hardware, target),
        IpAddr::V6(target) => neighbour_solicitation(source_ipv6(own, target), hardware, target),
    };
    Ok(packet_addresses.of(link).map(|to| Prepared { question, link, to, frame }))
}

/// The address in the network of the target; without one, that of a probe.
fn source_ipv4<'a>(own: impl Iterator<Item = &'a Address>, target: Ipv4Addr) -> Ipv4Addr {
    let mut found = own.filter_map(|own| match own.address {
        IpAddr::V4(address) if address != target => {
            let host_bits = 32_u32.saturating_sub(own.prefix.into());
            let mask = u32::MAX.checked_shl(host_bits).unwrap_or(0);
            ((u32::from(address) ^ u32::from(target)) & mask == 0).then_some(address)
        }
        _ => None,
    });
    found.next().unwrap_or(Ipv4Addr::UNSPECIFIED)
}

/// The link-local address, which every interface has; without one, that of a probe.
fn source_ipv6<'a>(own: impl Iterator<Item = &'a Address>, target: Ipv6Addr) -> Ipv6Addr {
    let mut found = own.filter_map(|own| match own.address {
        IpAddr::V6(it) if it != target && it.is_unicast_link_local() => Some(it),
        _ => None,
    });
    found.next().unwrap_or(Ipv6Addr::UNSPECIFIED)
}

/// Where answers arrive. Frames of both families are sent by the first one.
struct Sockets {
    /// Receives ARP frames.
    arp: OwnedFd,
    /// Receives ICMPv6 messages; `None` on a kernel without IPv6.
    icmpv6: Option<UdpSocket>,
}

/// An answer.
struct Answer {
    /// The index of the interface by which it came; `None` if the kernel does not say.
    index: Option<u32>,
    address: IpAddr,
    hardware: HardwareAddress,
}

impl Answer {
    /// Whether it answers a question that was sent by this interface.
    fn is_to(&self, question: &NeighbourQuestion, link: &Link) -> bool {
        question.address == self.address && self.index.is_none_or(|index| index == link.index)
    }
}

impl Sockets {
    fn open() -> Result<Self, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let open = |family, protocol| {
            socket_with(family, SocketType::RAW, flags, protocol)
                .map_err(|errno| Errno::from_raw(errno.raw_os_error()))
        };
        let protocol = NonZero::new(u32::from(ETHERTYPE_ARP.to_be())).map(Protocol::from_raw);
        let icmpv6 = match open(AddressFamily::INET6, Some(ipproto::ICMPV6)) {
            Err(Errno::EAFNOSUPPORT) => None,
            socket => Some(UdpSocket::from(socket?)),
        };
        Ok(Self { arp: open(AddressFamily::PACKET, protocol)?, icmpv6 })
    }

    /// Returns the answers that came since the last call.
    fn received(&self) -> Result<Vec<Answer>, Errno> {
        let mut answers = Vec::new();
        let mut buffer = [0; ROOM];
        loop {
            match recvfrom::<LinkAddr>(self.arp.as_raw_fd(), &mut buffer) {
                Ok((length, from)) => {
                    let reply = arp_reply(&buffer[..length]);
                    if let (Some(from), Some((address, hardware))) = (from, reply) {
                        let index = u32::try_from(from.ifindex()).ok();
                        answers.push(Answer { index, address: address.into(), hardware });
                    }
                }
                Err(Errno::EAGAIN) => break,
                // An interface went down meanwhile: nothing more comes by it.
                Err(Errno::ENETDOWN | Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        while let Some(socket) = &self.icmpv6
            && let Ok((length, SocketAddr::V6(from))) = socket.recv_from(&mut buffer)
        {
            if let Some((address, hardware)) = neighbour_advertisement(&buffer[..length]) {
                // The kernel names the interface only with a link-local sender; most are the address itself.
                let index = Some(from.scope_id()).filter(|index| *index != 0);
                answers.push(Answer { index, address: address.into(), hardware });
            }
        }
        Ok(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{AddressFlags, AddressScope};

    fn own(address: &str, prefix: u8) -> Address {
        Address {
            address: address.parse().expect("an address"),
            peer: None,
            prefix,
            index: 2,
            interface: "eth0".into(),
            protocol: None,
            flags: AddressFlags(0),
            scope: AddressScope::Universe,
            label: None,
        }
    }

    #[test]
    fn requests_name_an_address_of_the_same_network() {
        let all = [own("198.51.100.2", 24), own("192.0.2.9", 32), own("192.0.2.2", 24)];
        let source = |target: [u8; 4]| source_ipv4(all.iter(), target.into()).to_string();
        assert_eq!(source([192, 0, 2, 21]), "192.0.2.2");
        assert_eq!(source([198, 51, 100, 21]), "198.51.100.2");
        assert_eq!(source([203, 0, 113, 1]), "0.0.0.0");
        assert_eq!(source([192, 0, 2, 9]), "192.0.2.2", "not the address that is asked for");
        let wide = [own("10.0.0.1", 0)];
        assert_eq!(source_ipv4(wide.iter(), [192, 0, 2, 21].into()).to_string(), "10.0.0.1");
    }

    #[test]
    fn solicitations_name_the_link_local_address() {
        let all = [own("2001:db8::2", 64), own("fe80::2", 64)];
        let target = "2001:db8::21".parse().unwrap();
        assert_eq!(source_ipv6(all.iter(), target).to_string(), "fe80::2");
        assert_eq!(source_ipv6(all[..1].iter(), target), Ipv6Addr::UNSPECIFIED);
    }
}
