//! How long the kernel remembers idle connections, for the whole namespace.

/// The timeouts that the family reads and sets (`IPVS_CMD_GET_CONFIG`, `IPVS_CMD_SET_CONFIG`), in
/// whole seconds. SCTP has its own, which it does not.
///
/// 0 in a request leaves a timeout as it is: none can be set to 0. 0 in an answer is one that the
/// kernel has none of, being built without the protocol. The largest is `INT_MAX` ticks: 2,147,483
/// seconds at 1000 ticks a second, the most that kernels are built with (`ip_vs_set_timeout`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Timeouts {
    /// An established TCP connection without a packet.
    pub tcp: u32,
    /// A TCP connection after a FIN.
    pub tcp_fin: u32,
    /// A UDP conversation without a packet.
    pub udp: u32,
}
