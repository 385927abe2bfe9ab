//! The keys of sysctls that evenkeel itself sets or judges.

use crate::Family;

/// The name of the sysctl of an interface that lets the kernel keep the secondary addresses of a subnet when their
/// primary is unbound (IPv4).
pub const PROMOTE_SECONDARIES: &str = "promote_secondaries";

/// The name of the sysctl that keeps an interface from having IPv6 addresses.
pub const DISABLE_IPV6: &str = "disable_ipv6";

/// The key of a sysctl of an interface, or of `all` or `default`: `net.ipv4.conf.eth0/100.rp_filter` for `eth0.100`.
pub fn interface_sysctl(family: Family, interface: &str, name: &str) -> String {
    let protocol = match family {
        Family::Ipv4 => "ipv4",
        Family::Ipv6 => "ipv6",
    };
    format!("net.{protocol}.conf.{}.{name}", interface.replace('.', "/"))
}

/// Whether the host forwards IPv4 packets: one setting of the kernel under two keys
/// (`devinet_sysctl_forward`).
pub const FORWARDING: [&str; 2] = ["net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding"];

/// Whether the host forwards IPv6 packets.
pub const FORWARDING_IPV6: &str = "net.ipv6.conf.all.forwarding";

/// Whether the kernel's connection tracking has the connections of IPVS. Without it, no source NAT is
/// done for them (`ip_vs_notrack`).
pub const CONNECTION_TRACKING: &str = "net.ipv4.vs.conntrack";
