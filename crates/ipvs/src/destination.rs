//! A destination (the kernel's word; a real server): what identifies it within its service and
//! how it is configured. Counters are elsewhere ([`crate::Connections`], [`crate::Statistics`]).

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The values of [`Destination::forward`]: `IP_VS_CONN_F_*` under `IP_VS_CONN_F_FWD_MASK`.
pub mod forward {
    /// Network address translation.
    pub const MASQ: u32 = 0;
    /// To a socket of this host.
    pub const LOCALNODE: u32 = 1;
    /// Encapsulated, see [`Tunnel`](crate::Tunnel).
    pub const TUNNEL: u32 = 2;
    /// Unchanged to the destination's link address ("direct routing").
    pub const DROUTE: u32 = 3;
    /// Past IPVS to the packet's own destination; the kernel's own use.
    pub const BYPASS: u32 = 4;
}

/// The values of [`Tunnel::kind`]: `IP_VS_CONN_F_TUNNEL_TYPE_*`.
pub mod tunnel_kind {
    /// IP in IP.
    pub const IPIP: u8 = 0;
    /// Generic UDP encapsulation; needs a port.
    pub const GUE: u8 = 1;
    /// Generic routing encapsulation.
    pub const GRE: u8 = 2;
}

/// The bits of [`Tunnel::flags`]: `IP_VS_TUNNEL_ENCAP_FLAG_*`.
pub mod tunnel_flags {
    /// No checksum, the absence of bits.
    pub const NOCSUM: u16 = 0;
    /// Checksum (GUE, GRE).
    pub const CSUM: u16 = 0x1;
    /// Remote checksum offload (GUE).
    pub const REMCSUM: u16 = 0x2;
}

/// What identifies a destination within its service (`ip_vs_lookup_dest`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DestinationKey {
    /// Its address; the family may differ from the service's for tunnels only.
    pub address: IpAddr,
    /// Its port; 0 with a firewall-mark service, for the packet's own.
    pub port: u16,
}

impl fmt::Display for DestinationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", SocketAddr::new(self.address, self.port))
    }
}

/// How packets to a destination are encapsulated when it is reached by [`forward::TUNNEL`].
///
/// The default, all zero, is plain IP in IP. Kernels before 5.3 know nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Tunnel {
    /// See [`tunnel_kind`].
    pub kind: u8,
    /// The UDP port for GUE, else 0.
    pub port: u16,
    /// Bits of [`tunnel_flags`].
    pub flags: u16,
}

/// A destination's configuration: all that the kernel stores of it but counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Destination {
    /// See [`DestinationKey::address`].
    pub address: IpAddr,
    /// See [`DestinationKey::port`].
    pub port: u16,
    /// The forwarding method, see [`forward`]; the low three bits.
    pub forward: u32,
    /// The weight; 0 takes no new clients. The kernel refuses more than 2^31 - 1.
    pub weight: u32,
    /// Connections at which it counts as overloaded; 0 for no limit.
    pub upper_threshold: u32,
    /// Connections below which it takes clients again; not above the upper threshold.
    pub lower_threshold: u32,
    /// The encapsulation. It is sent for [`forward::TUNNEL`] only: the kernel stores it for
    /// other methods too, to no effect.
    pub tunnel: Tunnel,
}

impl Destination {
    /// A destination of weight 1, without thresholds.
    #[must_use]
    pub fn new(key: DestinationKey, forward: u32) -> Self {
        Self {
            address: key.address,
            port: key.port,
            forward,
            weight: 1,
            upper_threshold: 0,
            lower_threshold: 0,
            tunnel: Tunnel::default(),
        }
    }

    /// What identifies it within its service.
    #[must_use]
    pub fn key(&self) -> DestinationKey {
        DestinationKey { address: self.address, port: self.port }
    }
}
