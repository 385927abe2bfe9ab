//! What a link is as a tunnel device.

use rtnetlink::packet_core::NlasIterator;
use rtnetlink::packet_route::link::InfoKind;

/// Attributes of include/uapi/linux/if_tunnel.h: those of the GRE drivers, and those of the others.
const IFLA_GRE_LOCAL: u16 = 6;
const IFLA_GRE_REMOTE: u16 = 7;
const IFLA_IPTUN_LOCAL: u16 = 2;
const IFLA_IPTUN_REMOTE: u16 = 3;
pub(crate) const IFLA_IPTUN_FLAGS: u16 = 8;
pub(crate) const IFLA_IPTUN_PROTO: u16 = 9;

/// A driver of tunnels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TunnelDriver {
    /// IPv4 in IPv4.
    Ipip,
    /// IPv6 in IPv4.
    Sit,
    /// Both families in IPv6.
    Ip6tnl,
    /// GRE over IPv4.
    Gre,
    /// GRE over IPv6.
    Ip6gre,
}

/// The protocols that ip6tnl0 accepts (`IFLA_IPTUN_PROTO`). The devices of the other drivers accept all
/// that they can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ip6tnlMode {
    /// IPv6 only, as the kernel creates it.
    Ip6ip6,
    /// IPv4 and IPv6.
    Any,
}

/// What a tunnel device is for, beyond the properties of every link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkTunnel {
    /// The driver.
    pub driver: TunnelDriver,
    /// The protocol of the inner packets (`IPPROTO_*`); 0 accepts all, and the GRE drivers have none.
    pub protocol: u8,
    /// Whether it accepts the packets of every sender to every address of the host.
    pub is_any_to_any: bool,
    /// The flags of ip6tnl, as read.
    pub(crate) flags: Vec<u8>,
}

impl TunnelDriver {
    /// The name of its device.
    #[must_use]
    pub fn device(self) -> &'static str {
        match self {
            Self::Ipip => "tunl0",
            Self::Sit => "sit0",
            Self::Ip6tnl => "ip6tnl0",
            Self::Gre => "gre0",
            Self::Ip6gre => "ip6gre0",
        }
    }

    /// Its name in rtnetlink (`IFLA_INFO_KIND`).
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Ipip => "ipip",
            Self::Sit => "sit",
            Self::Ip6tnl => "ip6tnl",
            Self::Gre => "gre",
            Self::Ip6gre => "ip6gre",
        }
    }

    /// Its kernel module.
    pub(crate) fn module(self) -> &'static str {
        match self {
            Self::Ipip => "ipip",
            Self::Sit => "sit",
            Self::Ip6tnl => "ip6_tunnel",
            Self::Gre => "ip_gre",
            Self::Ip6gre => "ip6_gre",
        }
    }

    /// The option with which the kernel is built for it.
    pub(crate) fn kernel_option(self) -> &'static str {
        match self {
            Self::Ipip => "CONFIG_NET_IPIP",
            Self::Sit => "CONFIG_IPV6_SIT",
            Self::Ip6tnl => "CONFIG_IPV6_TUNNEL",
            Self::Gre => "CONFIG_NET_IPGRE",
            Self::Ip6gre => "CONFIG_IPV6_GRE",
        }
    }

    pub(crate) fn info_kind(self) -> InfoKind {
        match self {
            Self::Ipip => InfoKind::IpIp,
            Self::Sit => InfoKind::SitTun,
            Self::Ip6tnl => InfoKind::Other(self.kind().to_owned()),
            Self::Gre => InfoKind::GreTun,
            Self::Ip6gre => InfoKind::GreTun6,
        }
    }

    fn is_gre(self) -> bool {
        matches!(self, Self::Gre | Self::Ip6gre)
    }

    /// The name in messages.
    pub(crate) fn object(self) -> String {
        format!("tunnel device {}", self.device())
    }
}

impl Ip6tnlMode {
    pub(crate) fn protocol(self) -> u8 {
        const IPPROTO_IPV6: u8 = 41;
        match self {
            Self::Ip6ip6 => IPPROTO_IPV6,
            Self::Any => 0,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ip6ip6 => "ip6ip6",
            Self::Any => "any",
        }
    }
}

impl LinkTunnel {
    /// Reads the attributes of a link's kind (`IFLA_INFO_DATA`); `None` for any other kind of link.
    pub(crate) fn decode(kind: &str, nested: &[u8]) -> Result<Option<Self>, String> {
        use TunnelDriver::{Gre, Ip6gre, Ip6tnl, Ipip, Sit};
        let known = [Ipip, Sit, Ip6tnl, Gre, Ip6gre].into_iter().find(|it| it.kind() == kind);
        let Some(driver) = known else { return Ok(None) };
        let mut tunnel = Self { driver, protocol: 0, is_any_to_any: true, flags: Vec::new() };
        for attribute in NlasIterator::new(nested) {
            let attribute = attribute.map_err(|error| error.to_string())?;
            let value = attribute.value();
            match (attribute.kind(), driver.is_gre()) {
                (IFLA_GRE_LOCAL | IFLA_GRE_REMOTE, true)
                | (IFLA_IPTUN_LOCAL | IFLA_IPTUN_REMOTE, false) => {
                    tunnel.is_any_to_any &= value.iter().all(|byte| *byte == 0);
                }
                (IFLA_IPTUN_PROTO, false) => {
                    tunnel.protocol = *value.first().ok_or("the tunnel's protocol is empty")?;
                }
                (IFLA_IPTUN_FLAGS, false) => tunnel.flags = value.to_vec(),
                _ => {}
            }
        }
        Ok(Some(tunnel))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_is_any_to_any_while_neither_end_is_set() {
        let decode = |kind, bytes: &[u8]| LinkTunnel::decode(kind, bytes).unwrap();
        // IFLA_IPTUN_LOCAL, IFLA_IPTUN_REMOTE, IFLA_IPTUN_PROTO, as ipip gives them.
        let mut ipip = [8, 0, 2, 0, 0, 0, 0, 0, 8, 0, 3, 0, 0, 0, 0, 0, 5, 0, 9, 0, 4, 0, 0, 0];
        let found = decode("ipip", &ipip).unwrap();
        assert_eq!((found.driver, found.protocol), (TunnelDriver::Ipip, 4));
        assert!(found.is_any_to_any);
        ipip[15] = 1;
        assert!(!decode("ipip", &ipip).unwrap().is_any_to_any);
        // IFLA_GRE_REMOTE; attribute 3 is a GRE flag.
        let gre = [6, 0, 3, 0, 1, 0, 0, 0, 8, 0, 7, 0, 0, 0, 0, 0];
        assert!(decode("gre", &gre).unwrap().is_any_to_any);
        let gre = [8, 0, 7, 0, 192, 0, 2, 1];
        assert!(!decode("gre", &gre).unwrap().is_any_to_any);
        assert_eq!(decode("vxlan", &gre), None);
        assert!(LinkTunnel::decode("ipip", &ipip[..6]).is_err());
    }
}
