//! What the kernel counts: kept apart from what is configured, so that no comparison of
//! configuration ever looks at a counter.

/// Counters and rates of a service or a destination (`struct ip_vs_stats_user` and its 64-bit
/// successor). They start at 0 when the object is made, and again when
/// [`Command::ZeroService`](crate::Command::ZeroService) resets them.
///
/// "In" is from the clients, "out" towards them; with direct routing and tunnels the answers
/// do not pass here and "out" stays 0. Kernels before 4.1 count connections and packets in 32
/// bits and wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets to clients.
    pub packets_out: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
    /// The kernel's estimate of these per second.
    pub rates: Rates,
}

/// The kernel's running estimates, each per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates {
    /// Connections.
    pub connections: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets to clients.
    pub packets_out: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
}

/// A destination's connections at the moment of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Connections {
    /// In a state that counts as active for the protocol (established TCP). UDP has none.
    pub active: u32,
    /// All others, those winding down included.
    pub inactive: u32,
    /// Persistence templates that point at the destination.
    pub persistent: u32,
}
