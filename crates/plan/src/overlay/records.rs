//! What the journal records of overlays: the weights before them, and which are in force.

use std::collections::BTreeMap;

use evenkeel_model::{OverlayCause, OverlayEffect, Overlays, RealServerKey, ServiceKey};
use serde::{Deserialize, Serialize};

/// The real servers that overlays hold or held, until they are back as the spec asks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Entry>", into = "Vec<Entry>")]
pub struct OverlayRecords(pub BTreeMap<(ServiceKey, RealServerKey), OverlaidServer>);

/// A real server that an overlay holds, as the journal records it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverlaidServer {
    /// What the overlay does: a weight, or out.
    pub effect: OverlayEffect,
    /// The live weight before the overlay; `None` if the real server was not there.
    pub before: Option<u32>,
    /// Who asked for it.
    #[serde(default)]
    pub origin: OverlayOrigin,
}

/// Who asks for an overlay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverlayOrigin {
    /// An operator.
    #[default]
    Operator,
    /// Health checks.
    Health,
}

impl OverlayOrigin {
    /// The origin of a cause.
    pub fn of(cause: &OverlayCause) -> Self {
        match cause {
            OverlayCause::Override { .. } => Self::Operator,
            OverlayCause::SlowStart
            | OverlayCause::Health
            | OverlayCause::Quorum
            | OverlayCause::Fallback
            | OverlayCause::Kept(_) => Self::Health,
        }
    }
}

impl OverlayRecords {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets the overlay of a real server on which an operation was applied, if it has ended.
    pub fn forget_if_ended(
        &mut self,
        service: &ServiceKey,
        key: &RealServerKey,
        overlays: &Overlays,
    ) {
        if overlays.get(service, key).is_none() {
            self.0.remove(&(*service, *key));
        }
    }

    /// Forgets the overlays of a service that is deleted.
    pub fn forget_service(&mut self, service: &ServiceKey) {
        self.0.retain(|(it, _), _| it != service);
    }
}

/// The serialized form: JSON has no maps with structured keys.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    service: ServiceKey,
    real_server: RealServerKey,
    #[serde(flatten)]
    overlaid: OverlaidServer,
}

impl From<Vec<Entry>> for OverlayRecords {
    fn from(entries: Vec<Entry>) -> Self {
        let keyed = entries.into_iter().map(|it| ((it.service, it.real_server), it.overlaid));
        Self(keyed.collect())
    }
}

impl From<OverlayRecords> for Vec<Entry> {
    fn from(records: OverlayRecords) -> Self {
        let entries = records.0.into_iter();
        entries
            .map(|((service, real_server), overlaid)| Entry { service, real_server, overlaid })
            .collect()
    }
}
