//! Sessions between programs on the host and others: the sockets that unbinding an address breaks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::Protocol;

/// The sessions over some addresses of a host, as they were read at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalSessions {
    /// The sessions.
    pub sessions: BTreeSet<LocalSession>,
    /// Why the sessions of a protocol are not known.
    pub unread: BTreeMap<Protocol, String>,
}

/// A session of a program on the host: a connected socket, or an association of SCTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalSession {
    /// The protocol.
    pub protocol: Protocol,
    /// The address and port on this host.
    pub local: SocketAddr,
    /// The address and port of the other end.
    pub remote: SocketAddr,
}
