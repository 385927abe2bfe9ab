//! What a spec in force asks of a network namespace beside its services, which are in its scope.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Binding, Desired, DesiredTimeouts, HostObject, HostValue, Scope, SyncState};

/// The objects that a spec in force asks for. Two owners of one network namespace compare them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// The VIPs.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub vips: BTreeSet<Binding>,
    /// The dummy devices on which VIPs are bound.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub dummies: BTreeSet<Box<str>>,
    /// The host objects with their values.
    #[serde(default, with = "pairs", skip_serializing_if = "BTreeMap::is_empty")]
    pub host_objects: BTreeMap<HostObject, HostValue>,
    /// The sysctls with their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<Box<str>, Box<str>>,
    /// The timeouts.
    #[serde(default, skip_serializing_if = "DesiredTimeouts::is_empty")]
    pub timeouts: DesiredTimeouts,
    /// The states of sync daemons that it manages. `sync: []` manages both.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub sync: BTreeSet<SyncState>,
}

impl Claims {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The claims of a desired state.
    pub fn of(desired: &Desired) -> Self {
        let dummies = desired.vips.iter().filter(|(_, vip)| vip.dummy);
        let sync = match &desired.sync {
            None => BTreeSet::new(),
            // A list is complete: a daemon that it does not have is stopped.
            Some(_) => [SyncState::Master, SyncState::Backup].into(),
        };
        Self {
            vips: desired.vips.keys().cloned().collect(),
            dummies: dummies.map(|(binding, _)| binding.interface.clone()).collect(),
            host_objects: desired.host_objects.clone(),
            sysctls: desired.sysctls.clone(),
            timeouts: desired.timeouts,
            sync,
        }
    }
}

/// What a spec asks for whose apply has begun and is not recorded as in force: anything of it may be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptedClaims {
    /// Its scope.
    pub scope: Scope,
    /// What it asks for beside services.
    pub claims: Claims,
}

impl AttemptedClaims {
    /// Those of a desired state.
    pub fn of(desired: &Desired) -> Self {
        Self { scope: desired.scope.clone(), claims: Claims::of(desired) }
    }
}

/// JSON has no maps with structured keys.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use crate::{HostObject, HostValue};

    pub(super) fn serialize<S: Serializer>(
        objects: &BTreeMap<HostObject, HostValue>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(objects)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<HostObject, HostValue>, D::Error> {
        let pairs: Vec<(HostObject, HostValue)> = Vec::deserialize(deserializer)?;
        Ok(pairs.into_iter().collect())
    }
}
