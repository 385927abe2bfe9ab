//! How packets reach a real server.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The forwarding method of a real server (`IP_VS_CONN_F_FWD_MASK` of its flags).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Forward {
    /// Direct routing (`-g`): the packet goes out unchanged to the real server's MAC address.
    Dr,
    /// Masquerading (`-m`): addresses and port are rewritten, answers pass this host.
    Nat,
    /// Tunnelling (`-i`): the packet is wrapped and sent to the real server.
    Tun(Tunnel),
    /// Delivered on this host. Other tools write it; a spec cannot.
    Local,
    /// Forwarded past the real servers (`cache_bypass`). Other tools write it; a spec cannot.
    Bypass,
    /// A method this version does not know.
    Other(u8),
}

impl Forward {
    /// Whether the packet keeps its destination port, so that a real server's port must be the
    /// service's: true for all but NAT.
    pub fn keeps_port(self) -> bool {
        !matches!(self, Self::Nat)
    }

    /// The same without the parameters that its tunnel does not have: only GUE has a port, and
    /// ipip has no checksum (`ip_vs_tunnel_xmit` uses neither). The kernel stores and returns them.
    #[must_use]
    pub fn canonical(self) -> Self {
        let Self::Tun(Tunnel { kind, port, checksum }) = self else {
            return self;
        };
        Self::Tun(match kind {
            TunnelKind::Ipip => Tunnel::IPIP,
            TunnelKind::Gre => Tunnel { kind, port: 0, checksum },
            TunnelKind::Gue | TunnelKind::Other(_) => Tunnel { kind, port, checksum },
        })
    }

    /// The method without its parameters, as the spec names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dr => "dr",
            Self::Nat => "nat",
            Self::Tun(_) => "tun",
            Self::Local => "local",
            Self::Bypass => "bypass",
            Self::Other(_) => "unknown",
        }
    }
}

impl fmt::Display for Forward {
    /// `dr`, `nat`, `tun`, `tun(gue port 6080 checksum remote)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tun(tunnel) if *tunnel != Tunnel::IPIP => write!(f, "tun({tunnel})"),
            Self::Other(number) => write!(f, "unknown({number})"),
            plain => f.write_str(plain.name()),
        }
    }
}

/// The encapsulation for a tunnelled real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tunnel {
    /// The kind of tunnel.
    pub kind: TunnelKind,
    /// The UDP port of a GUE tunnel, never 0 there; 0 for every other kind.
    pub port: u16,
    /// The checksum of the outer packet; [`Checksum::None`] for ipip, which has none.
    pub checksum: Checksum,
}

impl Tunnel {
    /// The default: plain IP in IP.
    pub const IPIP: Self = Self { kind: TunnelKind::Ipip, port: 0, checksum: Checksum::None };
}

impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if self.port != 0 {
            write!(f, " port {}", self.port)?;
        }
        if self.checksum != Checksum::None {
            write!(f, " checksum {}", self.checksum)?;
        }
        Ok(())
    }
}

/// The kind of a tunnel (`IP_VS_CONN_F_TUNNEL_TYPE_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TunnelKind {
    /// IP in IP.
    Ipip,
    /// Generic UDP encapsulation.
    Gue,
    /// Generic routing encapsulation.
    Gre,
    /// A kind this version does not know.
    Other(u8),
}

impl fmt::Display for TunnelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipip => f.write_str("ipip"),
            Self::Gue => f.write_str("gue"),
            Self::Gre => f.write_str("gre"),
            Self::Other(number) => write!(f, "unknown-{number}"),
        }
    }
}

/// The checksum of the outer packet (`IP_VS_TUNNEL_ENCAP_FLAG_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    /// None; the default.
    None,
    /// A checksum over the whole packet; GUE and GRE.
    Full,
    /// Remote checksum offload; GUE only.
    Remote,
    /// A combination of flags this version does not know.
    Other(u16),
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Full => f.write_str("full"),
            Self::Remote => f.write_str("remote"),
            Self::Other(flags) => write!(f, "unknown-{flags:#x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tunnel_does_not_have_is_dropped() {
        let tunnel = |kind, port, checksum| Forward::Tun(Tunnel { kind, port, checksum });
        let stored = tunnel(TunnelKind::Ipip, 6080, Checksum::Full);
        assert_eq!(stored.canonical(), Forward::Tun(Tunnel::IPIP));
        let stored = tunnel(TunnelKind::Gre, 6080, Checksum::Full);
        assert_eq!(stored.canonical(), tunnel(TunnelKind::Gre, 0, Checksum::Full));
        let stored = tunnel(TunnelKind::Gue, 6080, Checksum::Remote);
        assert_eq!(stored.canonical(), stored);
    }
}
