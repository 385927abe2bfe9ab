//! Numbers that change by themselves. They are shown, never compared.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{RealServerKey, ServiceKey};

/// The counters of the whole table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// By service.
    pub services: BTreeMap<ServiceKey, ServiceStatistics>,
}

/// The counters of a service and its real servers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatistics {
    /// What passed through the service since it was added.
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
    /// What passed through it since it was added.
    pub traffic: Traffic,
}

/// Counted since the object was added.
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
}
