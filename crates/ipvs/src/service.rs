//! A virtual service: what identifies it and how it is configured. Its statistics are elsewhere
//! ([`crate::Statistics`]), so that comparing two services never compares counters.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use crate::{Family, Name};

/// Protocol numbers of `include/uapi/linux/in.h` for which IPVS has a transport module.
pub mod protocol {
    /// `IPPROTO_TCP`
    pub const TCP: u16 = 6;
    /// `IPPROTO_UDP`
    pub const UDP: u16 = 17;
    /// `IPPROTO_SCTP`
    pub const SCTP: u16 = 132;
}

/// The bits of [`Service::flags`]: `IP_VS_SVC_F_*` of `include/uapi/linux/ip_vs.h`.
pub mod flags {
    /// Clients stay with their destination for [`Service::timeout`](crate::Service::timeout).
    pub const PERSISTENT: u32 = 0x1;
    /// The kernel's own mark for "in the hash table": set in every reply and never sent.
    pub const HASHED: u32 = 0x2;
    /// Each packet is scheduled by itself (UDP).
    pub const ONE_PACKET: u32 = 0x4;
    /// First scheduler flag; for `sh` and `mh` the fallback.
    pub const SCHED1: u32 = 0x8;
    /// Second scheduler flag; for `sh` and `mh` the use of the port.
    pub const SCHED2: u32 = 0x10;
    /// Third scheduler flag.
    pub const SCHED3: u32 = 0x20;
    /// Every bit this crate knows and sends. Setting a service changes these bits and leaves the
    /// others, which a later kernel may know, as they are.
    pub const KNOWN: u32 = PERSISTENT | ONE_PACKET | SCHED1 | SCHED2 | SCHED3;
}

/// What identifies a virtual service within a network namespace.
///
/// The kernel's `ip_vs_genl_parse_service` takes either form; firewall marks of the two families
/// are different services even with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceKey {
    /// By destination of the client's packet.
    Address {
        /// The virtual address.
        address: IpAddr,
        /// The virtual port; 0 is any port, for persistent services.
        port: u16,
        /// The transport protocol's number, see [`protocol`].
        protocol: u16,
    },
    /// By the firewall mark of the client's packet.
    Fwmark {
        /// The family of the packets, and of the destinations unless they say otherwise.
        family: Family,
        /// The mark; 0 means "no mark" to the kernel and identifies no service.
        fwmark: u32,
    },
}

impl ServiceKey {
    /// The family of the service's packets.
    #[must_use]
    pub fn family(&self) -> Family {
        match *self {
            Self::Address { address, .. } => Family::of(address),
            Self::Fwmark { family, .. } => family,
        }
    }
}

impl fmt::Display for ServiceKey {
    /// `tcp 192.0.2.1:80`, `udp [2001:db8::1]:53`, `fwmark 5 (IPv4)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Address { address, port, protocol } => {
                match protocol {
                    protocol::TCP => f.write_str("tcp ")?,
                    protocol::UDP => f.write_str("udp ")?,
                    protocol::SCTP => f.write_str("sctp ")?,
                    other => write!(f, "protocol {other} ")?,
                }
                write!(f, "{}", std::net::SocketAddr::new(address, port))
            }
            Self::Fwmark { family, fwmark } => write!(f, "fwmark {fwmark} ({family})"),
        }
    }
}

/// Which clients share one persistence entry.
///
/// On the wire IPv4 has a mask in network order and IPv6 a prefix length in the host's order,
/// in the same attribute; the codec knows the difference. A netmask of the other family than
/// its service's has no meaning, and [`Netmask::host`] is sent in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Netmask {
    /// The mask laid over an IPv4 client's address. Any pattern of bits is kept as it is.
    Ipv4(Ipv4Addr),
    /// The prefix length for IPv6 clients. The kernel accepts 1 to 128, and asks for it of
    /// services without persistence too.
    Ipv6(u32),
    /// The raw number, for a family the kernel does not know today.
    Other(u32),
}

impl Netmask {
    /// Each client separately: 255.255.255.255 or 128. The kernel's own default for IPv4 would
    /// be 0, one entry for all clients.
    #[must_use]
    pub fn host(family: Family) -> Self {
        match family {
            Family::Ipv4 => Self::Ipv4(Ipv4Addr::BROADCAST),
            Family::Ipv6 => Self::Ipv6(128),
            Family::Other(_) => Self::Other(u32::MAX),
        }
    }
}

/// A virtual service's configuration: all that the kernel stores of it but statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Service {
    /// What identifies it.
    pub key: ServiceKey,
    /// Its scheduler; `none` in a reply when it has none.
    pub scheduler: Name,
    /// Its persistence engine. Absent means none, and setting a service without one removes it.
    pub persistence_engine: Option<Name>,
    /// Bits of [`flags`]. [`flags::HASHED`] is set in replies and left out of requests.
    pub flags: u32,
    /// How long a client stays with its destination, in seconds. Without
    /// [`flags::PERSISTENT`] it is stored and does nothing.
    pub timeout: u32,
    /// Which clients are taken for the same one.
    pub netmask: Netmask,
}

impl Service {
    /// A service without persistence and flags.
    #[must_use]
    pub fn new(key: ServiceKey, scheduler: Name) -> Self {
        Self {
            key,
            scheduler,
            persistence_engine: None,
            flags: 0,
            timeout: 0,
            netmask: Netmask::host(key.family()),
        }
    }
}
