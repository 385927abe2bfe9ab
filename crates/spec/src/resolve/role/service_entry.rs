//! What one service of the spec says about its real servers as hosts.

use std::collections::BTreeSet;
use std::net::IpAddr;

use evenkeel_model::{Forward, RealServer, ServiceKey};

use crate::path::Path;
use crate::spec::ArpMethod;

/// What the real servers of a service get, beside its VIP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OnRealServers {
    pub(super) label: Option<Box<str>>,
    pub(super) route: bool,
    pub(super) arp: ArpMethod,
    /// The addresses of the packets of a service on a firewall mark.
    pub(super) vips: BTreeSet<IpAddr>,
    /// The addresses of the gateway; empty if none is asked for.
    pub(super) gateway: BTreeSet<IpAddr>,
}

/// A real server of a service.
pub(super) struct Listed<'a> {
    pub(super) service: ServiceKey,
    pub(super) address: IpAddr,
    pub(super) real_server: &'a RealServer,
    pub(super) is_full_nat: bool,
}

impl Listed<'_> {
    /// Whether its answers must be routed through the director: those under full NAT are addressed to it.
    pub(super) fn needs_return_path(&self) -> bool {
        self.real_server.forward == Forward::Nat && !self.is_full_nat
    }
}

/// What one service of the spec says.
pub(super) struct Entry {
    pub(super) at: Path,
    pub(super) keys: Vec<ServiceKey>,
    pub(super) side: OnRealServers,
    pub(super) has_side: bool,
    pub(super) has_gateway: bool,
    pub(super) has_arp: bool,
}

impl OnRealServers {
    /// Returns the gateway of a real server: of the director's addresses of its family the one that has
    /// most of its leading bits in common with the real server's.
    pub(super) fn gateway(&self, real_server: IpAddr) -> Option<IpAddr> {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(address) => u128::from(u32::from(address)) << 96,
            IpAddr::V6(address) => u128::from(address),
        };
        let same = self.gateway.iter().filter(|it| it.is_ipv4() == real_server.is_ipv4());
        same.copied().min_by_key(|it| bits(*it) ^ bits(real_server))
    }
}
