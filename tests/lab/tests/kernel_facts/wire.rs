//! Generic netlink encoded byte by byte: requests that no codec would send, and the raw content of
//! replies. Numbers are those of `include/uapi/linux/{netlink,genetlink,ip_vs}.h`.

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

/// `IPVS_CMD_*`
pub(super) mod command {
    pub(crate) const NEW_SERVICE: u8 = 1;
    pub(crate) const SET_SERVICE: u8 = 2;
    pub(crate) const GET_SERVICE: u8 = 4;
    pub(crate) const NEW_DESTINATION: u8 = 5;
    pub(crate) const SET_DESTINATION: u8 = 6;
    pub(crate) const GET_DESTINATION: u8 = 8;
    pub(crate) const GET_DAEMON: u8 = 11;
}

/// `IPVS_CMD_ATTR_SERVICE`, `_DEST` and `_DAEMON`
pub(super) const SERVICE: u16 = 1;
pub(super) const DESTINATION: u16 = 2;
pub(super) const DAEMON: u16 = 3;

/// `GENL_ID_CTRL` and `CTRL_CMD_GETFAMILY`
const CONTROLLER: u16 = 16;
const GET_FAMILY: u8 = 3;
/// `CTRL_ATTR_FAMILY_ID` and `CTRL_ATTR_FAMILY_NAME`
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

/// `NLMSG_ERROR` and `NLMSG_DONE`
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `NLM_F_REQUEST`, `NLM_F_ACK` and `NLM_F_DUMP`
const REQUEST: u16 = 0x1;
const ACKNOWLEDGE: u16 = 0x4;
const DUMP: u16 = 0x300;
/// `NLM_F_DUMP_INTR`
const INTERRUPTED: u16 = 0x10;
/// The kernel fills a dump's datagrams up to the longest buffer with which a socket has received;
/// this is the smallest.
const DATAGRAM: usize = 4096;

/// A socket, and the number that the kernel assigned to the IPVS family.
pub(super) struct Wire {
    socket: OwnedFd,
    family: u16,
}

/// One message, of which only the header is decoded.
struct Message {
    kind: u16,
    flags: u16,
    payload: Vec<u8>,
}

impl Wire {
    /// Opens a socket in the thread's namespace.
    pub(super) fn open() -> Self {
        let socket = open();
        let answer = family(&socket).unwrap();
        let id = find(&answer, FAMILY_ID).unwrap();
        Self { socket, family: u16::from_ne_bytes(id.try_into().unwrap()) }
    }

    /// Requests a change or a single object, and returns the attributes of the reply, if there are
    /// any.
    pub(super) fn ask(&self, command: u8, attributes: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
        ask(&self.socket, self.family, command, attributes)
    }

    /// Starts a dump. The kernel has its first datagram ready when this returns, and makes another
    /// one at each [`Dump::next`].
    pub(super) fn dump(&self, command: u8, attributes: &[u8]) -> Dump<'_> {
        say(&self.socket, self.family, REQUEST | DUMP, command, attributes);
        Dump { socket: &self.socket, is_done: false, was_interrupted: false }
    }
}

/// A dump in progress.
pub(super) struct Dump<'a> {
    socket: &'a OwnedFd,
    is_done: bool,
    /// Whether a message reported that the table changed during the dump.
    pub(super) was_interrupted: bool,
}

impl Iterator for Dump<'_> {
    type Item = Vec<Vec<u8>>;

    /// Returns the attributes of the objects in the next datagram.
    fn next(&mut self) -> Option<Vec<Vec<u8>>> {
        if self.is_done {
            return None;
        }
        let mut objects = Vec::new();
        for Message { kind, flags, payload } in receive(self.socket) {
            self.was_interrupted |= flags & INTERRUPTED != 0;
            match kind {
                DONE => self.is_done = true,
                ERROR => panic!("{}", errno(&payload)),
                _ => objects.push(payload[4..].to_vec()),
            }
        }
        Some(objects)
    }
}

/// Returns the attributes with which the kernel describes the IPVS family, or its refusal.
pub(super) fn lookup() -> Result<Vec<u8>, Errno> {
    family(&open())
}

fn family(socket: &OwnedFd) -> Result<Vec<u8>, Errno> {
    let answer = ask(socket, CONTROLLER, GET_FAMILY, &attribute(FAMILY_NAME, b"IPVS\0"))?;
    Ok(answer.expect("a family"))
}

fn open() -> OwnedFd {
    let flags = SockFlag::SOCK_CLOEXEC;
    socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkGeneric).unwrap()
}

fn ask(
    socket: &OwnedFd,
    family: u16,
    command: u8,
    attributes: &[u8],
) -> Result<Option<Vec<u8>>, Errno> {
    say(socket, family, REQUEST | ACKNOWLEDGE, command, attributes);
    let mut answer = None;
    loop {
        for Message { kind, payload, .. } in receive(socket) {
            match (kind, errno(&payload)) {
                (ERROR, Errno::UnknownErrno) => return Ok(answer),
                (ERROR, errno) => return Err(errno),
                _ => answer = Some(payload[4..].to_vec()),
            }
        }
    }
}

fn say(socket: &OwnedFd, family: u16, flags: u16, command: u8, attributes: &[u8]) {
    let length = u32::try_from(20 + attributes.len()).unwrap();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(family.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    // Sequence and port; the socket has no other user.
    bytes.extend([0; 8]);
    bytes.extend([command, 1, 0, 0]);
    bytes.extend(attributes);
    assert_eq!(send(socket.as_raw_fd(), &bytes, MsgFlags::empty()).unwrap(), bytes.len());
}

fn receive(socket: &OwnedFd) -> Vec<Message> {
    let mut buffer = [0; DATAGRAM];
    let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_TRUNC).unwrap();
    let mut rest = buffer.get(..length).expect("a datagram that fits");
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let length = u32::from_ne_bytes(rest[..4].try_into().unwrap()) as usize;
        messages.push(Message {
            kind: u16_at(rest, 4),
            flags: u16_at(rest, 6),
            payload: rest[16..length].to_vec(),
        });
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    messages
}

/// Returns the error number of an error message; an acknowledgement is the unknown error 0.
fn errno(payload: &[u8]) -> Errno {
    Errno::from_raw(-i32::from_ne_bytes(payload[..4].try_into().unwrap()))
}

/// Encodes one attribute, padded to four bytes.
pub(super) fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(4 + payload.len()).unwrap().to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Encodes the attributes of an object, each a number and its bytes, in the attribute that contains
/// them.
pub(super) fn nest(kind: u16, attributes: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let inner: Vec<u8> =
        attributes.iter().flat_map(|(kind, payload)| attribute(*kind, payload)).collect();
    // NLA_F_NESTED
    attribute(kind | 0x8000, &inner)
}

/// Returns the bytes of an attribute.
pub(super) fn find(attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    each(attributes).find(|(kind, _)| *kind == wanted).map(|(_, payload)| payload)
}

/// Returns the numbers of all attributes.
pub(super) fn kinds(attributes: &[u8]) -> BTreeSet<u16> {
    each(attributes).map(|(kind, _)| kind).collect()
}

fn each(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest.get(..4)?, 0));
        let item = (u16_at(rest, 2) & 0x3fff, &rest[4..length]);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(item)
    })
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}
