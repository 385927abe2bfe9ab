//! What evenkeel made and the scope of a spec no longer covers.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{Binding, DesiredTimeouts, HostObject, ServiceKey, SyncState};

/// What becomes of what leaves the scope (`scope.left`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenLeft {
    /// It stays as it is, and evenkeel forgets it: it is another program's from then on.
    Keep,
    /// It is removed, like what a spec no longer lists.
    Remove,
}

impl WhenLeft {
    /// Returns the word of a spec.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Remove => "remove",
        }
    }
}

/// Objects that left the scope.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftScope {
    /// The services, with their real servers.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub services: BTreeSet<ServiceKey>,
    /// The VIPs.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub vips: BTreeSet<Binding>,
    /// The host objects.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub host_objects: BTreeSet<HostObject>,
    /// The dummy devices.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub dummies: BTreeSet<Box<str>>,
    /// The keys of sysctls.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub sysctls: BTreeSet<Box<str>>,
    /// The sync daemons.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub sync: BTreeSet<SyncState>,
    /// The timeouts, with the values from before evenkeel set them.
    #[serde(default, skip_serializing_if = "DesiredTimeouts::is_empty")]
    pub timeouts: DesiredTimeouts,
}

impl LeftScope {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds the objects of another one.
    pub fn extend(&mut self, other: Self) {
        let Self { services, vips, host_objects, dummies, sysctls, sync, timeouts } = other;
        self.services.extend(services);
        self.vips.extend(vips);
        self.host_objects.extend(host_objects);
        self.dummies.extend(dummies);
        self.sysctls.extend(sysctls);
        self.sync.extend(sync);
        self.timeouts = timeouts.or(self.timeouts);
    }
}
