//! Captures the changes that programs in a namespace request from the kernel.
//!
//! An `nlmon` device passes every netlink message of its namespace to packet sockets. The messages
//! are decoded here from bytes, without evenkeel's own codec, because this checks what evenkeel
//! sends. Numbers are those of `include/uapi/linux/{netlink,rtnetlink,if_addr,ip_vs}.h`.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use evenkeel_model::{Family, Protocol, RealServerKey, ServiceKey};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket,
    sockopt::RcvBufForce,
};

use crate::run;

/// `NLM_F_REQUEST`: set in requests and not in answers.
const REQUEST: u16 = 1;
/// `ARPHRD_NETLINK`
const NETLINK_DEVICE: u16 = 824;
/// `NETLINK_ROUTE` and `NETLINK_GENERIC`, in the field of the Ethernet protocol.
const ROUTE: u16 = 0;
const GENERIC: u16 = 16;
/// Large enough for the largest batch with its answers.
const RECEIVE_BUFFER: usize = 16 << 20;

/// One message that requests a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The requested action.
    pub verb: Verb,
    /// The object of the change.
    pub object: Object,
}

/// The action that a message requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `IPVS_CMD_NEW_*`, `RTM_NEW*`
    New,
    /// `IPVS_CMD_SET_*`
    Set,
    /// `IPVS_CMD_DEL_*`, `RTM_DEL*`
    Delete,
    /// `IPVS_CMD_ZERO` of one service
    Zero,
}

/// The object of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// A service.
    Service(ServiceKey),
    /// A destination of a service.
    Destination(ServiceKey, RealServerKey),
    /// An address on any interface.
    Address(IpAddr),
    /// An interface.
    Link,
    /// Any other IPVS object, by its command: the whole table, timeouts, daemons.
    Other(u8),
}

/// A packet socket in a namespace with an `nlmon` device.
#[derive(Debug)]
pub struct Capture {
    socket: OwnedFd,
    ipvs: u16,
}

impl Capture {
    /// Starts to capture in the calling thread's namespace, in which there is no other capture yet.
    ///
    /// # Panics
    /// Panics if the device or the socket cannot be created.
    #[must_use]
    pub fn start() -> Self {
        run("ip link add nlmon0 up type nlmon");
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket =
            socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll).unwrap();
        setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER).unwrap();
        Self { socket, ipvs: ipvs_family() }
    }

    /// Returns the changes requested since the last call. The kernel passes a message to the device
    /// before the call that sends it returns, so none can arrive later.
    ///
    /// # Panics
    /// Panics on invalid netlink messages.
    #[must_use]
    pub fn changes(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            let (length, source) = match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut buffer)
            {
                Ok(received) => received,
                Err(Errno::EAGAIN) => return changes,
                Err(error) => panic!("{error}"),
            };
            assert!(length < buffer.len(), "cut");
            let source = source.expect("where it comes from");
            if source.hatype() == NETLINK_DEVICE {
                let protocol = u16::from_be(source.protocol());
                self.read(protocol, &buffer[..length], &mut changes);
            }
        }
    }

    fn read(&self, protocol: u16, mut bytes: &[u8], changes: &mut Vec<Change>) {
        while bytes.len() >= 16 {
            let length = usize::try_from(u32_at(bytes, 0)).unwrap();
            let (kind, flags) = (u16_at(bytes, 4), u16_at(bytes, 6));
            // As in `NLMSG_OK`: some programs send zeros behind their last message.
            if length < 16 {
                break;
            }
            let payload = &bytes[16..length];
            if flags & REQUEST != 0 && protocol == GENERIC && kind == self.ipvs {
                changes.extend(ipvs_change(payload));
            } else if flags & REQUEST != 0 && protocol == ROUTE {
                changes.extend(route_change(kind, payload));
            }
            bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

/// Returns the number of the IPVS family, as another program reports it.
fn ipvs_family() -> u16 {
    let shown = run("genl ctrl get name IPVS");
    let (_, rest) = shown.split_once("ID: 0x").expect("an identity");
    let number = rest.split_whitespace().next().expect("a number");
    u16::from_str_radix(number, 16).expect("a number")
}

fn ipvs_change(payload: &[u8]) -> Option<Change> {
    let command = payload[0];
    // IPVS_CMD_NEW_SERVICE to IPVS_CMD_FLUSH; GET_SERVICE, GET_DEST, GET_DAEMON, GET_CONFIG and
    // GET_INFO only read.
    let (verb, has_destination) = match command {
        1 => (Verb::New, false),
        2 => (Verb::Set, false),
        3 => (Verb::Delete, false),
        5 => (Verb::New, true),
        6 => (Verb::Set, true),
        7 => (Verb::Delete, true),
        16 if attribute(&payload[4..], 1).is_some() => (Verb::Zero, false),
        4 | 8 | 11 | 13 | 15 => return None,
        other => return Some(Change { verb: Verb::Set, object: Object::Other(other) }),
    };
    let attributes = &payload[4..];
    let service = service(attribute(attributes, 1).expect("a service"));
    let object = if has_destination {
        let nested = attribute(attributes, 2).expect("a destination");
        let family = attribute(nested, 11).map_or(service.family(), family);
        let address = address(attribute(nested, 1).expect("an address"), family);
        let port = port(attribute(nested, 2).expect("a port"));
        Object::Destination(service, RealServerKey { address, port })
    } else {
        Object::Service(service)
    };
    Some(Change { verb, object })
}

fn service(nested: &[u8]) -> ServiceKey {
    let family = family(attribute(nested, 1).expect("a family"));
    if let Some(mark) = attribute(nested, 5) {
        return ServiceKey::Fwmark { family, fwmark: u32_at(mark, 0) };
    }
    ServiceKey::Address {
        protocol: Protocol::from(u16_at(attribute(nested, 2).expect("a protocol"), 0)),
        address: address(attribute(nested, 3).expect("an address"), family),
        port: port(attribute(nested, 4).expect("a port")),
    }
}

fn route_change(kind: u16, payload: &[u8]) -> Option<Change> {
    let (verb, is_address) = match kind {
        16 => (Verb::New, false),
        17 => (Verb::Delete, false),
        20 => (Verb::New, true),
        21 => (Verb::Delete, true),
        _ => return None,
    };
    let object = if is_address {
        // struct ifaddrmsg, then IFA_LOCAL or, where that is absent, IFA_ADDRESS.
        let attributes = &payload[8..];
        let bytes = attribute(attributes, 2).or(attribute(attributes, 1)).expect("an address");
        Object::Address(address(bytes, family(&u16::from(payload[0]).to_ne_bytes())))
    } else {
        Object::Link
    };
    Some(Change { verb, object })
}

fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    while bytes.len() >= 4 {
        let length = usize::from(u16_at(bytes, 0));
        // The two highest bits are flags.
        if u16_at(bytes, 2) & 0x3fff == wanted {
            return Some(&bytes[4..length]);
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    None
}

fn family(bytes: &[u8]) -> Family {
    match u16_at(bytes, 0) {
        2 => Family::Ipv4,
        10 => Family::Ipv6,
        other => panic!("family {other}"),
    }
}

fn address(bytes: &[u8], family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => <[u8; 4]>::try_from(&bytes[..4]).unwrap().into(),
        Family::Ipv6 => <[u8; 16]>::try_from(&bytes[..16]).unwrap().into(),
    }
}

fn port(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}
