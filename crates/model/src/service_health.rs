//! How the real servers of a service are checked, and what follows from it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::check::Check;
use crate::{Quorum, RealServer, RealServerKey, RealServers};

/// The checks of real servers, all of which must pass. A real server without an entry is not checked and counts
/// as up.
pub type Checks = BTreeMap<RealServerKey, Arc<[Check]>>;

/// The health checks of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceHealth {
    /// The checks of its real servers.
    #[serde(with = "entries")]
    pub checks: Checks,
    /// What follows.
    pub policy: HealthPolicy,
    /// The real servers that serve while the quorum is lost; `None`: there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
}

/// A fallback pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallback {
    /// The name of the pool.
    pub pool: Box<str>,
    /// Its real servers; none of them is one of the service's own.
    pub real_servers: RealServers,
    /// Their checks.
    #[serde(with = "entries")]
    pub checks: Checks,
}

/// What follows from verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HealthPolicy {
    /// What a failure does to a real server.
    pub on_failure: OnFailure,
    /// How long one that is down stays at weight 0 if it still has connections or persistence entries; then it is
    /// removed.
    pub cut_after: Duration,
    /// What holds until the first results.
    pub initial: Initial,
    /// How long a VIP that is not bound waits for the quorum; zero: it does not.
    pub startup: Duration,
    /// How much must be up.
    pub quorum: Quorum,
    /// The share of real servers that health may take out, in percent.
    pub max_out: u8,
    /// What happens if none is left.
    pub when_none: WhenNone,
    /// How long the weight of a real server grows after it came up; zero: it has all of it at once.
    pub slow_start: Duration,
    /// What the VIP does without quorum.
    pub vip: VipWithoutQuorum,
}

/// What a failure does to a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Weight 0, then removal.
    Weight0,
    /// Removal at once.
    Remove,
}

/// What holds of a real server until its first results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Initial {
    /// Up if the kernel has it with a weight, else down.
    AsLive,
    /// Up.
    Up,
    /// Down.
    Down,
}

/// What happens if health leaves no real server of a service in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenNone {
    /// Those that failed last stay in use.
    Keep,
    /// None is in use, and clients are refused.
    Refuse,
}

/// What the VIP of a service does without quorum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VipWithoutQuorum {
    /// It stays.
    Keep,
    /// It is unbound, if evenkeel binds it.
    Unbind,
}

impl Default for HealthPolicy {
    fn default() -> Self {
        Self {
            on_failure: OnFailure::Weight0,
            cut_after: Duration::from_secs(10),
            initial: Initial::AsLive,
            startup: Duration::from_secs(3),
            quorum: Quorum::default(),
            max_out: 100,
            when_none: WhenNone::Keep,
            slow_start: Duration::ZERO,
            vip: VipWithoutQuorum::Keep,
        }
    }
}

impl ServiceHealth {
    /// The checks of a real server of the service or of its fallback pool; none if it is not checked.
    pub fn checks_of(&self, key: &RealServerKey) -> &[Check] {
        let fallback = self.fallback.iter().find_map(|it| it.checks.get(key));
        self.checks.get(key).or(fallback).map_or(&[], |it| it)
    }

    /// A real server of the fallback pool.
    pub fn fallback_server(&self, key: &RealServerKey) -> Option<&RealServer> {
        self.fallback.as_ref()?.real_servers.get(key)
    }
}

/// The serialized form of a map by real servers: JSON has no maps with structured keys.
mod entries {
    use serde::{Deserializer, Serializer};

    use super::*;

    pub(super) fn serialize<S: Serializer>(checks: &Checks, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(checks)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Checks, D::Error> {
        let entries = Vec::<(RealServerKey, Arc<[Check]>)>::deserialize(from)?;
        Ok(entries.into_iter().collect())
    }
}
