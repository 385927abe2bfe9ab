//! Source NAT of the connections to one real server of a service: the real server then answers to the
//! director, whatever its routes are (full NAT).

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{HostObject, HostValue};
use crate::{RealServerKey, ServiceKey};

/// The connections of a service to one of its real servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SourceNat {
    /// The service.
    pub service: ServiceKey,
    /// The real server, of the service's family. Port 0 stands for every port.
    pub real_server: RealServerKey,
}

/// The source address that the real server gets to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "source", content = "address", rename_all = "snake_case")]
pub enum SourceNatValue {
    /// The address of the interface by which packets leave.
    Masquerade,
    /// This one.
    Address(IpAddr),
    /// Another program changed the rule: it does something else, which evenkeel never sets.
    Other,
}

impl From<SourceNatValue> for HostValue {
    fn from(value: SourceNatValue) -> Self {
        Self::SourceNat(value)
    }
}

impl From<SourceNat> for HostObject {
    fn from(source_nat: SourceNat) -> Self {
        Self::SourceNat(source_nat)
    }
}

impl fmt::Display for SourceNat {
    /// `192.0.2.1:80/tcp to 10.0.0.2:8080`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.service, self.real_server)
    }
}

impl fmt::Display for SourceNatValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Masquerade => f.write_str("masquerade"),
            Self::Address(address) => address.fmt(f),
            Self::Other => f.write_str("other"),
        }
    }
}
