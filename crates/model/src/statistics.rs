//! Numbers that change by themselves. They are shown, never compared.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Protocol, RealServerKey, ServiceKey};

/// The counters of the whole table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// By service.
    pub services: BTreeMap<ServiceKey, ServiceStatistics>,
}

/// The counters of a service and its real servers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatistics {
    /// What passed through the service.
    pub traffic: Traffic,
    /// By real server.
    pub real_servers: BTreeMap<RealServerKey, RealServerStatistics>,
}

/// The counters of a real server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealServerStatistics {
    /// Connections that are established (ActiveConn of `ipvsadm -Ln`).
    pub active_connections: u32,
    /// Connections in any other state (InActConn).
    pub inactive_connections: u32,
    /// Persistence entries that point to it.
    pub persistent_connections: u32,
    /// What passed through it.
    pub traffic: Traffic,
}

impl RealServerStatistics {
    /// How many connections still need it, as a real server of that service.
    ///
    /// For TCP and SCTP only active connections count: ended ones stay in the table as inactive for
    /// minutes, in DR and TUN even longer, as the director does not see them end. All other
    /// protocols have inactive connections only, and a fwmark service may carry any protocol.
    pub fn open(&self, service: &ServiceKey) -> u64 {
        let active = u64::from(self.active_connections);
        match service {
            ServiceKey::Address { protocol: Protocol::Tcp | Protocol::Sctp, .. } => active,
            _ => active + u64::from(self.inactive_connections),
        }
    }

    /// Whether the connection table has no connection to it, neither active nor inactive.
    pub fn is_idle(&self) -> bool {
        self.active_connections == 0 && self.inactive_connections == 0
    }
}

/// Counted since the object was added, or since its counters were reset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets to clients; 0 in DR and TUN, whose answers do not pass here.
    pub packets_out: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients; 0 in DR and TUN.
    pub bytes_out: u64,
    /// The kernel's running estimates of these; 0 where they were not read.
    #[serde(default)]
    pub rates: Rates,
}

/// Per second, as the kernel estimates it every two seconds from what it counts
/// (`ip_vs_read_estimator`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
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
}
