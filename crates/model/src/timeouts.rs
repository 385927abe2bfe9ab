//! How long idle connections are remembered.

use serde::{Deserialize, Serialize};

/// The timeouts of a network namespace that can be set (`IPVS_CMD_SET_CONFIG`). Those of SCTP
/// cannot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// Seconds an established TCP connection may be idle.
    pub tcp: u32,
    /// Seconds a TCP connection is remembered after a FIN.
    pub tcp_fin: u32,
    /// Seconds a UDP conversation may be idle.
    pub udp: u32,
}

impl Timeouts {
    /// The initial values of a network namespace (`tcp_timeouts`, `udp_timeouts` of the kernel).
    pub const INITIAL: Self = Self { tcp: 900, tcp_fin: 120, udp: 300 };
}

/// The timeouts that a spec sets; `None` where it sets none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredTimeouts {
    /// See [`Timeouts::tcp`].
    pub tcp: Option<u32>,
    /// See [`Timeouts::tcp_fin`].
    pub tcp_fin: Option<u32>,
    /// See [`Timeouts::udp`].
    pub udp: Option<u32>,
}

impl DesiredTimeouts {
    /// The largest value the kernel takes, in seconds: it counts in ticks, at most 1000 of them a
    /// second, in an `int` (`ip_vs_set_timeout`).
    pub const MAX: u32 = (i32::MAX / 1000) as u32;

    /// Whether it sets none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Each timeout, or that of the other one where this sets none.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let Self { tcp, tcp_fin, udp } = self;
        Self { tcp: tcp.or(other.tcp), tcp_fin: tcp_fin.or(other.tcp_fin), udp: udp.or(other.udp) }
    }

    /// Those of the timeouts that the other one sets, or does not set.
    #[must_use]
    pub fn only(self, other: Self, is_set: bool) -> Self {
        let Self { tcp, tcp_fin, udp } = self;
        Self {
            tcp: tcp.filter(|_| other.tcp.is_some() == is_set),
            tcp_fin: tcp_fin.filter(|_| other.tcp_fin.is_some() == is_set),
            udp: udp.filter(|_| other.udp.is_some() == is_set),
        }
    }

    /// The live timeouts, replaced by those that the spec sets.
    pub fn over(self, live: Timeouts) -> Timeouts {
        let Self { tcp, tcp_fin, udp } = self;
        Timeouts {
            tcp: tcp.unwrap_or(live.tcp),
            tcp_fin: tcp_fin.unwrap_or(live.tcp_fin),
            udp: udp.unwrap_or(live.udp),
        }
    }
}
