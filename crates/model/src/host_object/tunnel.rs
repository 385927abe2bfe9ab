//! What a real server needs to receive packets through a tunnel: a tunnel device, and for GUE a FOU
//! port.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{HostObject, HostValue};
use crate::{Family, TunnelKind};

/// The kernel's drivers of tunnels. Each has one device that accepts the packets of every sender, and
/// that the kernel creates with the driver in most network namespaces (its fallback device).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TunnelDriver {
    /// IPv4 in IPv4.
    Ipip,
    /// IPv6 in IPv4.
    Sit,
    /// Both families in IPv6.
    Ip6tnl,
    /// Both families in GRE over IPv4.
    Gre,
    /// Both families in GRE over IPv6.
    Ip6gre,
}

/// The identity of a tunnel device that accepts the packets of every sender. It exists while it is up:
/// the kernel leaves the device of a driver in place, set down, where its own driver made it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TunnelDevice {
    /// The interface's name, which is one of [`TunnelDriver::device`].
    pub interface: Box<str>,
}

/// What the kernel stores of a tunnel device beyond its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TunnelDeviceValue {
    /// Which packets it accepts.
    pub mode: TunnelMode,
}

/// Which packets a tunnel device accepts. Only ip6tnl0 has a choice, so the devices of the other
/// drivers have the mode that is named after what they are needed for, even if they accept more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TunnelMode {
    /// IPv4 in IPv4.
    Ipip,
    /// IPv6 in IPv4.
    Ip6ip,
    /// IPv6 in IPv6.
    Ip6ip6,
    /// IPv4 in IPv6.
    Ipip6,
    /// GRE with either family.
    Gre,
    /// Either family.
    Any,
    /// Something else; evenkeel never sets it.
    Other,
}

/// The identity of a FOU port: a UDP port of the host whose packets the kernel unpacks. It belongs to
/// no device: what is in the packets goes to a tunnel device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FouPort {
    /// The UDP port.
    pub port: u16,
    /// The family of the outer packets.
    pub family: Family,
}

/// What the kernel stores of a FOU port beyond its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FouPortValue {
    /// How the inner packet is packed.
    pub encapsulation: FouEncapsulation,
}

/// How packets are packed into UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FouEncapsulation {
    /// Generic UDP Encapsulation: a header says what is in the packet.
    Gue,
    /// Without a header: all packets of the port are of one protocol. evenkeel never sets it.
    Direct,
}

impl TunnelDriver {
    /// Every driver.
    pub const ALL: [Self; 5] = [Self::Ipip, Self::Sit, Self::Ip6tnl, Self::Gre, Self::Ip6gre];

    /// Returns the name of its device.
    pub fn device(self) -> &'static str {
        match self {
            Self::Ipip => "tunl0",
            Self::Sit => "sit0",
            Self::Ip6tnl => "ip6tnl0",
            Self::Gre => "gre0",
            Self::Ip6gre => "ip6gre0",
        }
    }

    /// Returns its name in rtnetlink (`IFLA_INFO_KIND`), as `ip link` writes it after `type`.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Ipip => "ipip",
            Self::Sit => "sit",
            Self::Ip6tnl => "ip6tnl",
            Self::Gre => "gre",
            Self::Ip6gre => "ip6gre",
        }
    }

    /// Returns the driver whose device has this name; `None` for any other interface.
    pub fn of_device(interface: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|driver| driver.device() == interface)
    }
}

impl TunnelDevice {
    /// Returns the device that receives the packets of a director that sends them through such a
    /// tunnel, and the value that it needs. `inner` is the family of the VIP, `outer` that of the real
    /// server. A GUE packet has one of IPIP in it. `None` for a kind that this version does not know.
    pub fn for_tunnel(
        kind: TunnelKind,
        inner: Family,
        outer: Family,
    ) -> Option<(Self, TunnelDeviceValue)> {
        let (driver, mode) = match (kind, inner, outer) {
            (TunnelKind::Gre, _, Family::Ipv4) => (TunnelDriver::Gre, TunnelMode::Gre),
            (TunnelKind::Gre, _, Family::Ipv6) => (TunnelDriver::Ip6gre, TunnelMode::Gre),
            (TunnelKind::Ipip | TunnelKind::Gue, Family::Ipv4, Family::Ipv4) => {
                (TunnelDriver::Ipip, TunnelMode::Ipip)
            }
            (TunnelKind::Ipip | TunnelKind::Gue, Family::Ipv6, Family::Ipv4) => {
                (TunnelDriver::Sit, TunnelMode::Ip6ip)
            }
            (TunnelKind::Ipip | TunnelKind::Gue, Family::Ipv6, Family::Ipv6) => {
                (TunnelDriver::Ip6tnl, TunnelMode::Ip6ip6)
            }
            (TunnelKind::Ipip | TunnelKind::Gue, Family::Ipv4, Family::Ipv6) => {
                (TunnelDriver::Ip6tnl, TunnelMode::Any)
            }
            (TunnelKind::Other(_), _, _) => return None,
        };
        Some((Self { interface: driver.device().into() }, TunnelDeviceValue { mode }))
    }

    /// Returns its driver; `None` if the name is not that of a driver's device.
    pub fn driver(&self) -> Option<TunnelDriver> {
        TunnelDriver::of_device(&self.interface)
    }
}

impl TunnelDeviceValue {
    /// Returns the value that serves both: of two services that use one device, each has its own
    /// demand.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self == other { self } else { Self { mode: TunnelMode::Any } }
    }
}

impl TunnelMode {
    /// Its name, as `ip -d link` shows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ipip => "ipip",
            Self::Ip6ip => "ip6ip",
            Self::Ip6ip6 => "ip6ip6",
            Self::Ipip6 => "ipip6",
            Self::Gre => "gre",
            Self::Any => "any",
            Self::Other => "other",
        }
    }
}

impl FouPort {
    /// Returns the value that evenkeel gives it.
    pub fn value(self) -> HostValue {
        FouPortValue { encapsulation: FouEncapsulation::Gue }.into()
    }
}

impl FouEncapsulation {
    /// Its name, as `ip fou show` writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gue => "gue",
            Self::Direct => "direct",
        }
    }
}

impl From<TunnelDevice> for HostObject {
    fn from(device: TunnelDevice) -> Self {
        Self::TunnelDevice(device)
    }
}

impl From<TunnelDeviceValue> for HostValue {
    fn from(value: TunnelDeviceValue) -> Self {
        Self::TunnelDevice(value)
    }
}

impl From<FouPort> for HostObject {
    fn from(port: FouPort) -> Self {
        Self::FouPort(port)
    }
}

impl From<FouPortValue> for HostValue {
    fn from(value: FouPortValue) -> Self {
        Self::FouPort(value)
    }
}

impl fmt::Display for TunnelDevice {
    /// `tunl0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.interface)
    }
}

impl fmt::Display for FouPort {
    /// `6080/ipv4`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, self.family)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Family::{Ipv4, Ipv6};
    use TunnelKind::{Gre, Gue, Ipip};

    #[test]
    fn every_tunnel_has_the_device_that_receives_its_packets() {
        let rows = [
            (Ipip, Ipv4, Ipv4, "tunl0", TunnelMode::Ipip),
            (Ipip, Ipv6, Ipv4, "sit0", TunnelMode::Ip6ip),
            (Ipip, Ipv6, Ipv6, "ip6tnl0", TunnelMode::Ip6ip6),
            (Ipip, Ipv4, Ipv6, "ip6tnl0", TunnelMode::Any),
            (Gue, Ipv4, Ipv4, "tunl0", TunnelMode::Ipip),
            (Gue, Ipv6, Ipv4, "sit0", TunnelMode::Ip6ip),
            (Gue, Ipv6, Ipv6, "ip6tnl0", TunnelMode::Ip6ip6),
            (Gue, Ipv4, Ipv6, "ip6tnl0", TunnelMode::Any),
            (Gre, Ipv4, Ipv4, "gre0", TunnelMode::Gre),
            (Gre, Ipv6, Ipv4, "gre0", TunnelMode::Gre),
            (Gre, Ipv4, Ipv6, "ip6gre0", TunnelMode::Gre),
            (Gre, Ipv6, Ipv6, "ip6gre0", TunnelMode::Gre),
        ];
        for (kind, inner, outer, interface, mode) in rows {
            let expected =
                (TunnelDevice { interface: interface.into() }, TunnelDeviceValue { mode });
            let found = TunnelDevice::for_tunnel(kind, inner, outer);
            assert_eq!(found, Some(expected), "{kind:?} {inner} {outer}");
            assert_eq!(
                TunnelDriver::of_device(interface).map(TunnelDriver::device),
                Some(interface)
            );
        }
        for (inner, outer) in [(Ipv4, Ipv4), (Ipv6, Ipv6)] {
            assert_eq!(TunnelDevice::for_tunnel(TunnelKind::Other(9), inner, outer), None);
        }
    }

    #[test]
    fn a_device_of_two_demands_accepts_both() {
        let value = |mode| TunnelDeviceValue { mode };
        let [six, any] = [TunnelMode::Ip6ip6, TunnelMode::Any].map(value);
        assert_eq!(six.and(six), six);
        assert_eq!(six.and(any), any);
        assert_eq!(any.and(six), any);
    }
}
