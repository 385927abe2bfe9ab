//! The keys of sysctls that evenkeel itself sets or judges.

/// Whether the host forwards IPv4 packets: one setting of the kernel under two keys
/// (`devinet_sysctl_forward`).
pub const FORWARDING: [&str; 2] = ["net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding"];

/// Whether the host forwards IPv6 packets.
pub const FORWARDING_IPV6: &str = "net.ipv6.conf.all.forwarding";

/// Whether the kernel's connection tracking has the connections of IPVS. Without it, no source NAT is
/// done for them (`ip_vs_notrack`).
pub const CONNECTION_TRACKING: &str = "net.ipv4.vs.conntrack";
