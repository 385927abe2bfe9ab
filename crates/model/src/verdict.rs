//! Verdicts: whether a real server is up by its checks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{RealServerKey, ServiceKey};

/// Whether a target is up by a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is.
    Up,
    /// It is not.
    Down,
}

/// What is known of a real server in a service by all of its checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerHealth {
    /// Up if it is by each of them.
    pub verdict: Verdict,
    /// For how long.
    pub age: Duration,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// How long ago it came up; `None` if it was not seen down before.
    pub risen: Option<Duration>,
    /// Why it is down, as a short text; empty if it is up.
    pub reason: Box<str>,
    /// Whether nothing was probed yet.
    pub is_assumed: bool,
    /// Whether it has connections or persistence entries, or was removed because it had; needed only of one
    /// that is down for longer than `cut_after`.
    pub holds_connections: bool,
}

/// What is known of all real servers that have checks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthFacts {
    /// The real servers; one without an entry counts as up.
    pub servers: BTreeMap<(ServiceKey, RealServerKey), ServerHealth>,
    /// The services that had their quorum.
    pub had_quorum: BTreeSet<ServiceKey>,
    /// The services whose `startup` lasts: first results are awaited.
    pub starting: BTreeSet<ServiceKey>,
}

impl ServerHealth {
    /// Whether it is up.
    pub fn is_up(&self) -> bool {
        self.verdict == Verdict::Up
    }
}

impl HealthFacts {
    /// What is known of a real server.
    pub fn of(&self, service: &ServiceKey, real_server: &RealServerKey) -> Option<&ServerHealth> {
        // Most hosts check nothing.
        if self.servers.is_empty() { None } else { self.servers.get(&(*service, *real_server)) }
    }
}
