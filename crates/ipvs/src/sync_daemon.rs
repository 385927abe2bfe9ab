//! A sync daemon: the kernel thread that sends the connections of one director to others by
//! multicast, or receives them.

use std::fmt;
use std::net::IpAddr;

use crate::uapi::{IP_VS_STATE_BACKUP, IP_VS_STATE_MASTER};
use crate::{Name, UnknownAttributes};

/// Whether a daemon sends or receives. It identifies the daemon: a namespace has at
/// most one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SyncState {
    /// `IP_VS_STATE_MASTER`: sends this host's connections.
    Master,
    /// `IP_VS_STATE_BACKUP`: receives those of other hosts.
    Backup,
    /// Any other number. The kernel itself knows none.
    Other(u32),
}

/// A sync daemon's configuration (`struct ipvs_sync_daemon_cfg`).
///
/// `None` in a request leaves the value to the kernel, and so does 0. An answer has every value,
/// as the kernel chose or changed it; kernels before 4.3 send only the first three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SyncDaemon {
    /// See [`SyncState`].
    pub state: SyncState,
    /// The interface it sends or listens on.
    pub interface: Name,
    /// Sent with each message by a master, in its low 8 bits only. A backup passes over messages
    /// of other ids; at 0 it takes all.
    pub sync_id: u32,
    /// The longest message in bytes, without IP and UDP headers. The kernel makes a backup's at
    /// least 1024, cuts both at what an IP packet holds, and chooses what fits into 1500 bytes,
    /// or for a backup into the interface's larger MTU.
    pub max_length: Option<u16>,
    /// The multicast group; the kernel chooses 224.0.0.81.
    pub group: Option<IpAddr>,
    /// The UDP port; the kernel chooses 8848. With the sysctl `sync_ports` above 1 it is the
    /// first of so many.
    pub port: Option<u16>,
    /// The time to live or hop limit of messages; the kernel chooses 1.
    pub ttl: Option<u8>,
}

/// A sync daemon as the kernel answered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncDaemonEntry {
    /// Its configuration.
    pub daemon: SyncDaemon,
    /// Attributes a later kernel may have added.
    pub unknown: UnknownAttributes,
}

impl SyncDaemon {
    /// A daemon of sync id 0 that leaves all else to the kernel.
    #[must_use]
    pub fn new(state: SyncState, interface: Name) -> Self {
        Self { state, interface, sync_id: 0, max_length: None, group: None, port: None, ttl: None }
    }
}

impl From<u32> for SyncState {
    fn from(raw: u32) -> Self {
        match raw {
            IP_VS_STATE_MASTER => Self::Master,
            IP_VS_STATE_BACKUP => Self::Backup,
            other => Self::Other(other),
        }
    }
}

impl From<SyncState> for u32 {
    fn from(state: SyncState) -> Self {
        match state {
            SyncState::Master => IP_VS_STATE_MASTER,
            SyncState::Backup => IP_VS_STATE_BACKUP,
            SyncState::Other(raw) => raw,
        }
    }
}

impl fmt::Display for SyncState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Master => f.write_str("master"),
            Self::Backup => f.write_str("backup"),
            Self::Other(raw) => write!(f, "state {raw}"),
        }
    }
}
