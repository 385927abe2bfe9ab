//! ARP rules that hide an IPv4 VIP of a real server, in place of the sysctls `arp_ignore` and
//! `arp_announce`.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::{HostObject, HostValue};

/// The identity of the rules for a VIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ArpRules {
    /// The VIP.
    pub address: Ipv4Addr,
}

/// What the rules for a VIP do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ArpRulesValue {
    /// Whether ARP packets that ask for the VIP are dropped.
    pub drops_incoming: bool,
    /// The source that the host's own ARP packets get in place of the VIP; `None` if they keep it.
    pub source: Option<Ipv4Addr>,
    /// Whether another program changed them so that they do something else, too.
    pub has_others: bool,
}

impl ArpRulesValue {
    /// Returns what evenkeel sets: that `source` is the only address that neighbours learn.
    pub fn with_source(source: Ipv4Addr) -> Self {
        Self { drops_incoming: true, source: Some(source), has_others: false }
    }
}

impl From<ArpRulesValue> for HostValue {
    fn from(value: ArpRulesValue) -> Self {
        Self::ArpRules(value)
    }
}

impl From<ArpRules> for HostObject {
    fn from(rules: ArpRules) -> Self {
        Self::ArpRules(rules)
    }
}

impl fmt::Display for ArpRules {
    /// `192.0.2.1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}
