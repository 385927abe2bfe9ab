//! A real server of a service.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::Forward;

/// The largest weight the kernel takes: 2^31 - 1 (`ip_vs_genl_parse_dest` reads an `int`).
pub const MAX_WEIGHT: u32 = i32::MAX as u32;

/// The identity of a real server within its service (`ip_vs_lookup_dest`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RealServerKey {
    /// Its address; of the service's family, except through a tunnel.
    pub address: IpAddr,
    /// Its port; the service's own except under NAT, 0 for a fwmark service that keeps ports.
    pub port: u16,
}

impl fmt::Display for RealServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", SocketAddr::new(self.address, self.port))
    }
}

/// All that can be edited on a real server in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RealServer {
    /// How packets reach it.
    pub forward: Forward,
    /// Its share of new connections, 0 to [`MAX_WEIGHT`]. 0 is a value: no new connections.
    pub weight: u32,
    /// No new connections from this many on; 0 means no limit.
    pub upper_threshold: u32,
    /// After an overload, new connections again below this many; 0 means three quarters of
    /// `upper_threshold`.
    pub lower_threshold: u32,
}

impl RealServer {
    /// A real server without thresholds.
    pub fn new(forward: Forward, weight: u32) -> Self {
        Self { forward, weight, upper_threshold: 0, lower_threshold: 0 }
    }

    /// The same with weight 0.
    pub fn drained(self) -> Self {
        Self { weight: 0, ..self }
    }
}
