//! What makes a service itself: two services are the same exactly when their keys are equal.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{Family, Protocol};

/// The identity of a service, as `ip_vs_genl_parse_service` looks it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceKey {
    /// A service on an address, a port and a protocol.
    Address {
        /// The VIP.
        address: IpAddr,
        /// The port; 0 takes every port, which the kernel serves only with persistence.
        port: u16,
        /// The transport protocol.
        protocol: Protocol,
    },
    /// A service on packets that carry a firewall mark. The same mark in the two families is two
    /// services.
    Fwmark {
        /// The family of the marked packets.
        family: Family,
        /// The mark, not 0.
        fwmark: u32,
    },
}

impl ServiceKey {
    /// The first of all services on an address in their order, to search sorted collections.
    pub fn first_on(address: IpAddr) -> Self {
        Self::Address { address, port: 0, protocol: Protocol::Tcp }
    }

    /// The first of all fwmark services of a family in their order, as [`Self::first_on`].
    pub fn first_marked(family: Family) -> Self {
        Self::Fwmark { family, fwmark: 0 }
    }

    /// The family of the service's clients.
    pub fn family(&self) -> Family {
        match *self {
            Self::Address { address, .. } => address.into(),
            Self::Fwmark { family, .. } => family,
        }
    }

    /// The VIP; `None` for a fwmark service, which has none of its own.
    pub fn vip(&self) -> Option<IpAddr> {
        match *self {
            Self::Address { address, .. } => Some(address),
            Self::Fwmark { .. } => None,
        }
    }

    /// Whether it is a fwmark service to which packets with that address may belong.
    pub fn is_marked_in(&self, address: IpAddr) -> bool {
        matches!(self, Self::Fwmark { family, .. } if *family == address.into())
    }

    /// Whether clients of that address may be its own: packets get their mark whatever their address.
    pub fn may_be_reached_by(&self, address: IpAddr) -> bool {
        self.vip() == Some(address) || self.is_marked_in(address)
    }

    /// The port; 0 for a fwmark service, as the kernel has it.
    pub fn port(&self) -> u16 {
        match *self {
            Self::Address { port, .. } => port,
            Self::Fwmark { .. } => 0,
        }
    }
}

impl ServiceKey {
    /// The key that is shown as `text`; `None` if none is.
    pub fn parse(text: &str) -> Option<Self> {
        let (what, kind) = text.rsplit_once('/')?;
        if let Some(fwmark) = what.strip_prefix("fwmark-") {
            let family = [Family::Ipv4, Family::Ipv6].into_iter().find(|it| it.to_string() == kind);
            return Some(Self::Fwmark { family: family?, fwmark: fwmark.parse().ok()? });
        }
        let socket: SocketAddr = what.parse().ok()?;
        let protocol = match kind.strip_prefix("protocol-") {
            Some(number) => Protocol::from(number.parse::<u16>().ok()?),
            None => [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
                .into_iter()
                .find(|protocol| protocol.to_string() == kind)?,
        };
        Some(Self::Address { address: socket.ip(), port: socket.port(), protocol })
    }
}

impl fmt::Display for ServiceKey {
    /// `192.0.2.1:80/tcp`, `[2001:db8::1]:53/udp`, `fwmark-7/ipv4`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Address { address, port, protocol } => {
                write!(f, "{}/{protocol}", SocketAddr::new(address, port))
            }
            Self::Fwmark { family, fwmark } => write!(f, "fwmark-{fwmark}/{family}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_as_address_port_protocol_or_as_mark_and_family() {
        let key = |address: &str, protocol| ServiceKey::Address {
            address: address.parse().expect("an address"),
            port: 80,
            protocol,
        };
        assert_eq!(key("192.0.2.1", Protocol::Tcp).to_string(), "192.0.2.1:80/tcp");
        assert_eq!(key("2001:db8::1", Protocol::Sctp).to_string(), "[2001:db8::1]:80/sctp");
        let mark = ServiceKey::Fwmark { family: Family::Ipv6, fwmark: 7 };
        assert_eq!(mark.to_string(), "fwmark-7/ipv6");
    }

    #[test]
    fn what_is_shown_is_read_as_the_same() {
        for text in [
            "192.0.2.1:80/tcp",
            "[2001:db8::1]:0/sctp",
            "192.0.2.1:53/udp",
            "192.0.2.1:0/protocol-47",
            "fwmark-7/ipv6",
            "fwmark-4294967295/ipv4",
        ] {
            assert_eq!(ServiceKey::parse(text).map(|key| key.to_string()).as_deref(), Some(text));
        }
        for text in
            ["", "web", "192.0.2.1:80", "192.0.2.1/tcp", "192.0.2.1:80/icmp", "fwmark-x/ipv4"]
        {
            assert_eq!(ServiceKey::parse(text), None, "{text}");
        }
    }
}
