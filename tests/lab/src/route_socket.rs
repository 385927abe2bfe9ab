//! Changes addresses and links, and receives events about addresses, by messages of rtnetlink that are encoded
//! here: a change takes one system call, and no program has to start.
//!
//! Numbers are those of `include/uapi/linux/{netlink,rtnetlink,if_addr,if_link}.h`.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::sockopt::{RcvBufForce, ReceiveTimeout};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// `NLM_F_REQUEST`, and `NLM_F_EXCL` with `NLM_F_CREATE`
const REQUEST: u16 = 1;
const NEW: u16 = 0x600;
/// `RTM_NEWLINK`, `RTM_NEWADDR`, `RTM_DELADDR`
const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
/// `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR`
const GROUPS: u32 = 0x110;
/// `IFA_ADDRESS`, `IFA_LOCAL`, `IFA_F_NODAD`
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
const NODAD: u8 = 2;
/// `IFF_UP`, `IFLA_CARRIER`
const UP: u32 = 1;
const CARRIER: u16 = 33;
/// Room for all events of a storm while the receiving thread waits for the processor.
const ROOM: usize = 32 << 20;

/// Whether an address comes or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// It is added, or was.
    Add,
    /// It is removed, or was.
    Remove,
}

/// An address (/32 or /128) of a link that comes or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressChange {
    /// Which of both.
    pub verb: Verb,
    /// The address.
    pub address: IpAddr,
    /// The index of the link.
    pub link: u32,
}

/// Returns the index of a link in the namespace of the calling thread.
///
/// # Panics
/// Panics if there is none of that name.
#[must_use]
pub fn link_index(name: &str) -> u32 {
    if_nametoindex(name).expect("a link of that name")
}

/// A socket for changes in the namespace of the thread that opened it.
#[derive(Debug)]
pub struct RouteSocket(OwnedFd);

impl RouteSocket {
    /// Opens it.
    ///
    /// # Panics
    /// Panics if the kernel has no such socket.
    #[must_use]
    pub fn open() -> Self {
        Self(open(0))
    }

    /// Changes addresses, with one system call.
    ///
    /// Returns how many changes the kernel refused, as those of addresses that are as requested.
    ///
    /// # Panics
    /// Panics if the kernel accepts no message.
    pub fn change(&self, changes: &[AddressChange]) -> usize {
        self.send(&changes.iter().flat_map(AddressChange::message).collect::<Vec<u8>>())
    }

    /// Sets a link up or down.
    ///
    /// # Panics
    /// Panics if the kernel refuses it.
    pub fn set_up(&self, link: u32, is_up: bool) {
        let flags = if is_up { UP } else { 0 };
        assert_eq!(self.send(&link_message(link, flags, UP, &[])), 0, "link {link}");
    }

    /// Gives the carrier of a dummy device, or takes it. Its addresses stay.
    ///
    /// # Panics
    /// Panics if the kernel refuses it.
    pub fn set_carrier(&self, link: u32, has_carrier: bool) {
        let carrier = attribute(CARRIER, &[u8::from(has_carrier)]);
        assert_eq!(self.send(&link_message(link, 0, 0, &carrier)), 0, "link {link}");
    }

    /// Sends messages and returns the number of refusals: without a request for it, the kernel answers to
    /// nothing else, and it has answered when the call returns.
    fn send(&self, messages: &[u8]) -> usize {
        let fd = self.0.as_raw_fd();
        send(fd, messages, MsgFlags::empty()).expect("the kernel accepts messages");
        let mut refusal = [0; 4096];
        let mut refusals = 0;
        while recv(fd, &mut refusal, MsgFlags::MSG_DONTWAIT).is_ok() {
            refusals += 1;
        }
        refusals
    }
}

/// A subscription to the changes of addresses.
#[derive(Debug)]
pub struct AddressEvents {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

/// What a subscription receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// These changes.
    Changes(Vec<AddressChange>),
    /// None for a tenth of a second.
    Nothing,
    /// The kernel had no room for some, which are lost.
    Overrun,
}

impl AddressEvents {
    /// Subscribes in the namespace of the calling thread.
    ///
    /// # Panics
    /// Panics without the privilege for a large buffer.
    #[must_use]
    pub fn subscribe() -> Self {
        let socket = open(GROUPS);
        setsockopt(&socket, RcvBufForce, &ROOM).expect("a large buffer");
        let tenth = Duration::from_millis(100).as_millis();
        let tenth = TimeVal::milliseconds(i64::try_from(tenth).expect("it fits"));
        setsockopt(&socket, ReceiveTimeout, &tenth).expect("a timeout");
        Self { socket, buffer: vec![0; 64 << 10] }
    }

    /// Waits for events.
    ///
    /// # Panics
    /// Panics if the socket fails.
    pub fn receive(&mut self) -> Received {
        match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
            Ok(length) => Received::Changes(changes(&self.buffer[..length])),
            Err(Errno::EAGAIN | Errno::EINTR) => Received::Nothing,
            Err(Errno::ENOBUFS) => Received::Overrun,
            Err(error) => panic!("{error}"),
        }
    }
}

fn open(groups: u32) -> OwnedFd {
    let flags = SockFlag::SOCK_CLOEXEC;
    let route = SockProtocol::NetlinkRoute;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, route).expect("a socket");
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups)).expect("a free port");
    socket
}

impl AddressChange {
    fn message(&self) -> Vec<u8> {
        let (family, bytes) = match self.address {
            IpAddr::V4(address) => (AddressFamily::Inet, address.octets().to_vec()),
            IpAddr::V6(address) => (AddressFamily::Inet6, address.octets().to_vec()),
        };
        let prefix = u8::try_from(bytes.len() * 8).expect("it fits");
        let is_new_ipv6 = self.address.is_ipv6() && self.verb == Verb::Add;
        let flags = if is_new_ipv6 { NODAD } else { 0 };
        let mut payload = vec![family as u8, prefix, flags, 0];
        payload.extend(self.link.to_ne_bytes());
        payload.extend(attribute(LOCAL, &bytes));
        match self.verb {
            Verb::Add => message(NEW_ADDRESS, NEW, &payload),
            Verb::Remove => message(DELETE_ADDRESS, 0, &payload),
        }
    }
}

fn link_message(link: u32, flags: u32, mask: u32, attributes: &[u8]) -> Vec<u8> {
    let mut payload = vec![0; 4];
    payload.extend([link, flags, mask].map(u32::to_ne_bytes).as_flattened());
    payload.extend(attributes);
    message(NEW_LINK, 0, &payload)
}

fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + payload.len()).expect("it fits");
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend([kind, REQUEST | flags].map(u16::to_ne_bytes).as_flattened());
    bytes.resize(16, 0);
    bytes.extend(payload);
    bytes
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).expect("it fits");
    let mut bytes = [length, kind].map(u16::to_ne_bytes).as_flattened().to_vec();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Decodes the changes in a datagram.
fn changes(mut bytes: &[u8]) -> Vec<AddressChange> {
    let mut changes = Vec::new();
    while bytes.len() >= 16 {
        let length = usize::try_from(u32_at(bytes, 0)).expect("it fits");
        if length > bytes.len() {
            break;
        }
        let verb = match u16_at(bytes, 4) {
            NEW_ADDRESS => Some(Verb::Add),
            DELETE_ADDRESS => Some(Verb::Remove),
            _ => None,
        };
        let change = verb.and_then(|verb| {
            let address = address(bytes.get(24..length)?)?;
            Some(AddressChange { verb, address, link: u32_at(bytes, 20) })
        });
        changes.extend(change);
        bytes = bytes.get(length.max(16).next_multiple_of(4)..).unwrap_or_default();
    }
    changes
}

/// Returns the address in the attributes of an event: the local one, if there is one.
fn address(mut attributes: &[u8]) -> Option<IpAddr> {
    let mut found = None;
    while attributes.len() >= 4 {
        let length = usize::from(u16_at(attributes, 0)).max(4);
        let kind = u16_at(attributes, 2);
        let value = attributes.get(4..length)?;
        let address = || match value.len() {
            4 => <[u8; 4]>::try_from(value).ok().map(IpAddr::from),
            _ => <[u8; 16]>::try_from(value).ok().map(IpAddr::from),
        };
        match kind {
            LOCAL => return address(),
            ADDRESS => found = address(),
            _ => {}
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_are_encoded_are_decoded_as_the_same() {
        let all = [
            AddressChange { verb: Verb::Add, address: [192, 0, 2, 1].into(), link: 7 },
            AddressChange {
                verb: Verb::Remove,
                address: [0x2001, 1, 2, 3, 4, 5, 6, 7].into(),
                link: 1,
            },
        ];
        let bytes: Vec<u8> = all.iter().flat_map(AddressChange::message).collect();
        assert_eq!(changes(&bytes), all);
        for length in 0..bytes.len() {
            assert!(changes(&bytes[..length]).len() < 2, "{length}");
        }
    }
}
