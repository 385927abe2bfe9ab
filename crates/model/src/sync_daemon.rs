//! Sync daemons, which copy connections from a director to its stand-ins.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Whether a daemon sends or receives. A namespace has at most one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyncState {
    /// Sends the connections of this host.
    Master,
    /// Receives those of another host.
    Backup,
}

impl fmt::Display for SyncState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Master => "master",
            Self::Backup => "backup",
        })
    }
}

/// A sync daemon without its state, which is the key it is stored under.
///
/// In a spec `None` takes whatever the kernel chooses, and is equal to any live value; the kernel
/// itself always shows a value (`make_send_sock`, `ip_vs_genl_new_daemon`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncDaemon {
    /// The interface it sends or listens on.
    pub interface: Box<str>,
    /// Daemons accept messages with the same id only; a backup with id 0 accepts all.
    pub id: u8,
    /// The largest message in bytes.
    pub max_length: Option<u16>,
    /// The multicast group; the kernel's choice is 224.0.0.81.
    pub group: Option<IpAddr>,
    /// The UDP port; the kernel's choice is 8848.
    pub port: Option<u16>,
    /// The multicast TTL; the kernel's choice is 1.
    pub ttl: Option<u8>,
}

impl SyncDaemon {
    /// Whether a live daemon satisfies this one.
    pub fn is_met_by(&self, live: &Self) -> bool {
        fn met<T: PartialEq>(asked: Option<&T>, live: Option<&T>) -> bool {
            asked.is_none() || asked == live
        }
        let Self { interface, id, max_length, group, port, ttl } = self;
        *interface == live.interface
            && *id == live.id
            && met(max_length.as_ref(), live.max_length.as_ref())
            && met(group.as_ref(), live.group.as_ref())
            && met(port.as_ref(), live.port.as_ref())
            && met(ttl.as_ref(), live.ttl.as_ref())
    }
}

impl fmt::Display for SyncDaemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interface, id, max_length, group, port, ttl } = self;
        write!(f, "interface {interface}, id {id}")?;
        if let Some(length) = max_length {
            write!(f, ", max_length {length}")?;
        }
        if let Some(group) = group {
            write!(f, ", group {group}")?;
        }
        if let Some(port) = port {
            write!(f, ", port {port}")?;
        }
        if let Some(ttl) = ttl {
            write!(f, ", ttl {ttl}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_spec_leaves_unset_is_met_by_any_value() {
        let live = SyncDaemon {
            interface: "eth1".into(),
            id: 7,
            max_length: Some(1472),
            group: Some([224, 0, 0, 81].into()),
            port: Some(8848),
            ttl: Some(1),
        };
        let asked =
            SyncDaemon { max_length: None, group: None, port: None, ttl: None, ..live.clone() };
        assert!(asked.is_met_by(&live));
        assert!(!SyncDaemon { ttl: Some(2), ..asked.clone() }.is_met_by(&live));
        assert!(!SyncDaemon { id: 8, ..asked }.is_met_by(&live));
    }
}
