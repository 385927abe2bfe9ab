//! Lists connected sockets by their local address, over the kernel's socket diagnostics
//! (include/uapi/linux/inet_diag.h). The kernel selects them, so that a host with many sockets copies only
//! those that are asked for.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use nix::errno::Errno;
use rtnetlink::packet_core::NlasIterator;
use rtnetlink::sys::protocols::NETLINK_SOCK_DIAG;

use crate::error::{Action, Error};
use crate::netlink::{Failure, Netlink, uninterrupted};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// `struct inet_diag_sockid`.
const SOCKET_ID: usize = 48;
/// `struct inet_diag_msg`.
const REPLY: usize = 72;
/// `struct sockaddr_storage`.
const SOCKET_ADDRESS: usize = 128;

const REQUEST_BYTECODE: u16 = 1;
const REPLY_LOCALS: u16 = 12;
const REPLY_PEERS: u16 = 13;

/// A step of the kernel's filter: a jump, and a condition on the local address.
const BYTECODE_JUMP: u8 = 1;
const BYTECODE_LOCAL: u8 = 7;
/// `struct inet_diag_bc_op`.
const OPERATION: usize = 4;
/// Addresses in one filter: its jumps have 16 bits.
const FILTERED: usize = 500;

/// States of include/net/tcp_states.h.
const ESTABLISHED: u8 = 1;
const SYN_SENT: u8 = 2;
const FIN_WAIT1: u8 = 4;
const FIN_WAIT2: u8 = 5;
const CLOSE_WAIT: u8 = 8;
const LAST_ACK: u8 = 9;
const CLOSING: u8 = 11;
/// A socket of TCP in use. One that waits for the end of a handshake, of a listening socket, belongs to no
/// program yet; one in TIME_WAIT does not any more.
const TCP_STATES: [u8; 7] =
    [ESTABLISHED, SYN_SENT, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, CLOSING];
/// `SCTP_STATE_ESTABLISHED`; later states are those of a shutdown.
const SCTP_ESTABLISHED: u8 = 3;

/// SCTP in the kernel: asking for its sockets would load its modules.
const SCTP: &str = "/proc/thread-self/net/sctp";

/// A protocol whose sockets can be listed; its number is that of IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SocketProtocol {
    /// TCP.
    Tcp = 6,
    /// UDP: sockets that are connected to another one.
    Udp = 17,
    /// SCTP: associations.
    Sctp = 132,
}

impl SocketProtocol {
    /// Every protocol.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// The name in messages.
    fn sockets(self) -> &'static str {
        match self {
            Self::Tcp => "sockets of TCP",
            Self::Udp => "sockets of UDP",
            Self::Sctp => "associations of SCTP",
        }
    }

    /// The states that are asked for, one bit each. Those of SCTP have other numbers; the mask only says that
    /// its listening sockets are left out.
    fn states(self) -> u32 {
        let states: &[u8] = match self {
            Self::Udp => &[ESTABLISHED],
            Self::Tcp | Self::Sctp => &TCP_STATES,
        };
        states.iter().map(|state| 1 << state).sum()
    }
}

/// A connected socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectedSocket {
    /// The local address and port. IPv4 is never shown as a mapped address.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
}

/// Lists the connected sockets of a protocol with one of these local addresses, in the calling thread's
/// network namespace. A session over `::ffff:192.0.2.1` is one over 192.0.2.1. Sockets that are connected to a
/// multicast group are left out.
///
/// An association of SCTP has several local addresses. It is listed, with the first, if all of them are among
/// `addresses`: otherwise it continues over the others.
///
/// # Errors
/// [`Error::NoSocketDiagnostics`] if the kernel cannot list them; otherwise the list could not be read
/// completely: a part of it is never returned.
pub fn connected_sockets(
    protocol: SocketProtocol,
    addresses: &BTreeSet<IpAddr>,
) -> Result<Vec<ConnectedSocket>, Error> {
    if addresses.is_empty() || (protocol == SocketProtocol::Sctp && !Path::new(SCTP).exists()) {
        return Ok(Vec::new());
    }
    let unavailable = || Error::NoSocketDiagnostics { sockets: protocol.sockets() };
    let action = || Action::List(protocol.sockets());
    let netlink = match Netlink::open(NETLINK_SOCK_DIAG) {
        Err(error) if error.raw_os_error() == Some(Errno::EPROTONOSUPPORT as i32) => {
            return Err(unavailable());
        }
        netlink => netlink.map_err(|source| Error::Io { action: action(), source })?,
    };
    let all: Vec<IpAddr> = addresses.iter().copied().collect();
    let mut found = Vec::new();
    // All addresses of an association are compared, which the kernel does not do.
    let pieces: Vec<&[IpAddr]> = match protocol {
        SocketProtocol::Sctp => vec![&all],
        SocketProtocol::Tcp | SocketProtocol::Udp => all.chunks(FILTERED).collect(),
    };
    for piece in pieces {
        for family in [AF_INET, AF_INET6] {
            // Sockets of IPv6 may have mapped addresses.
            if family == AF_INET && piece.iter().all(IpAddr::is_ipv6) {
                continue;
            }
            let request = request(protocol, family, piece);
            let replies = uninterrupted(|| netlink.dump_raw(SOCK_DIAG_BY_FAMILY, &request));
            let replies = replies.map_err(|failure| match failure.is(Errno::ENOENT) {
                true => unavailable(),
                false => failure.during(action()),
            })?;
            for reply in &replies {
                let socket = decode(protocol, reply, addresses);
                let malformed = |what: &str| Failure::Malformed(what.to_owned()).during(action());
                found.extend(socket.map_err(malformed)?);
            }
        }
    }
    Ok(found)
}

/// `struct inet_diag_req_v2` with the filter.
fn request(protocol: SocketProtocol, family: u8, addresses: &[IpAddr]) -> Vec<u8> {
    let mut bytes = vec![family, protocol as u8, 0, 0];
    bytes.extend(protocol.states().to_ne_bytes());
    bytes.extend([0; SOCKET_ID]);
    if protocol != SocketProtocol::Sctp {
        let bytecode = bytecode(addresses);
        let length = u16::try_from(OPERATION + bytecode.len()).unwrap_or(u16::MAX);
        bytes.extend(length.to_ne_bytes());
        bytes.extend(REQUEST_BYTECODE.to_ne_bytes());
        bytes.extend(bytecode);
    }
    bytes
}

/// The filter "one of these local addresses": for each address a condition and a jump. A condition that holds
/// continues with the jump, which accepts the socket by jumping to the end; one that does not hold passes
/// over it. The last one rejects the socket by jumping beyond the end.
fn bytecode(addresses: &[IpAddr]) -> Vec<u8> {
    let condition = |address: &IpAddr| OPERATION + 8 + if address.is_ipv4() { 4 } else { 16 };
    let mut rest: usize = addresses.iter().map(|it| condition(it) + OPERATION).sum();
    rest = rest.saturating_sub(OPERATION);
    let mut bytes = Vec::with_capacity(rest);
    let operation = |bytes: &mut Vec<u8>, code: u8, yes: usize, no: usize| {
        bytes.extend([code, u8::try_from(yes).unwrap_or(u8::MAX)]);
        bytes.extend(u16::try_from(no).unwrap_or(u16::MAX).to_ne_bytes());
    };
    for (place, address) in addresses.iter().enumerate() {
        let length = condition(address);
        let is_last = place + 1 == addresses.len();
        let no = if is_last { rest + OPERATION } else { length + OPERATION };
        operation(&mut bytes, BYTECODE_LOCAL, length, no);
        let (family, prefix, octets) = match address {
            IpAddr::V4(address) => (AF_INET, 32, address.octets().to_vec()),
            IpAddr::V6(address) => (AF_INET6, 128, address.octets().to_vec()),
        };
        bytes.extend([family, prefix, 0, 0]);
        // Any port.
        bytes.extend((-1_i32).to_ne_bytes());
        bytes.extend(octets);
        rest -= length;
        if !is_last {
            operation(&mut bytes, BYTECODE_JUMP, OPERATION, rest);
            rest -= OPERATION;
        }
    }
    bytes
}

/// Reads `struct inet_diag_msg`; `None` for a socket that is not asked for.
fn decode(
    protocol: SocketProtocol,
    reply: &[u8],
    addresses: &BTreeSet<IpAddr>,
) -> Result<Option<ConnectedSocket>, &'static str> {
    let short = "an entry is cut short";
    let (message, attributes) = reply.split_at_checked(REPLY).ok_or(short)?;
    let (family, state) = (message[0], message[1]);
    let port = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
    let address = |at: usize| match family {
        AF_INET => message[at..].first_chunk().map(|it| IpAddr::from(Ipv4Addr::from(*it))),
        _ => message[at..].first_chunk().map(|it| Ipv6Addr::from(*it).to_canonical()),
    };
    let mut local = SocketAddr::new(address(8).ok_or(short)?, port(4));
    let mut remote = SocketAddr::new(address(24).ok_or(short)?, port(6));
    if protocol == SocketProtocol::Sctp {
        let locals = addresses_of(attributes, REPLY_LOCALS, local.port());
        let leaves = |it: &SocketAddr| it.ip().is_loopback() || addresses.contains(&it.ip());
        let first = locals.iter().find(|it| !it.ip().is_loopback());
        let Some(first) = first.filter(|_| locals.iter().all(leaves)) else { return Ok(None) };
        if state < SCTP_ESTABLISHED {
            return Ok(None);
        }
        local = *first;
        let peers = addresses_of(attributes, REPLY_PEERS, remote.port());
        remote = peers.first().copied().unwrap_or(remote);
    }
    // The kernel keeps a closed socket for a minute that waits for the other end: no program has it.
    let inode = message[REPLY - 4..].first_chunk().map_or(0, |it| u32::from_ne_bytes(*it));
    let is_abandoned = protocol == SocketProtocol::Tcp && state == FIN_WAIT2 && inode == 0;
    // A sender to a group has no session with any of its members, as the kernel's own sync daemon.
    let is_asked = addresses.contains(&local.ip()) && !remote.ip().is_multicast() && !is_abandoned;
    Ok(is_asked.then_some(ConnectedSocket { local, remote }))
}

/// The addresses of an association in an attribute of `struct sockaddr_storage`.
fn addresses_of(attributes: &[u8], kind: u16, port: u16) -> Vec<SocketAddr> {
    let found = NlasIterator::new(attributes).filter_map(Result::ok).find(|it| it.kind() == kind);
    let Some(found) = found else { return Vec::new() };
    let entries = found.value().chunks_exact(SOCKET_ADDRESS);
    let address = |entry: &[u8]| {
        let family = u16::from_ne_bytes(*entry.first_chunk()?);
        let ip = if family == u16::from(AF_INET) {
            IpAddr::from(Ipv4Addr::from(*entry[4..].first_chunk::<4>()?))
        } else {
            Ipv6Addr::from(*entry[8..].first_chunk::<16>()?).to_canonical()
        };
        Some(SocketAddr::new(ip, port))
    };
    entries.filter_map(address).collect()
}

#[cfg(test)]
mod tests;
