//! Fields that a spec leaves to other programs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A field that an `ignore:` list can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IgnoredField {
    /// The weight of every real server: an external health checker sets it.
    Weight,
    /// The upper threshold of every real server.
    UpperThreshold,
    /// The lower threshold of every real server.
    LowerThreshold,
    /// The scheduler and its flags.
    Scheduler,
    /// Persistence with its timeout, netmask and engine.
    Persistence,
    /// Which real servers the service has, from when it exists on. The spec lists those of a new one.
    RealServers,
}

impl IgnoredField {
    /// Every field, in the order of the documentation.
    pub const ALL: [Self; 6] = [
        Self::Weight,
        Self::UpperThreshold,
        Self::LowerThreshold,
        Self::Scheduler,
        Self::Persistence,
        Self::RealServers,
    ];

    /// The field as the spec names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::UpperThreshold => "upper_threshold",
            Self::LowerThreshold => "lower_threshold",
            Self::Scheduler => "scheduler",
            Self::Persistence => "persistence",
            Self::RealServers => "real_servers",
        }
    }
}

impl fmt::Display for IgnoredField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The set of fields that a service leaves to other programs. On add the spec's values are used; on
/// edit the live ones are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<IgnoredField>", into = "Vec<IgnoredField>")]
pub struct Ignore(u8);

impl Ignore {
    /// The empty set, the default.
    pub const NOTHING: Self = Self(0);

    /// Whether that field is left alone.
    pub fn contains(self, field: IgnoredField) -> bool {
        self.0 & (1 << field as u8) != 0
    }

    /// The fields, in the order of [`IgnoredField::ALL`].
    pub fn iter(self) -> impl Iterator<Item = IgnoredField> {
        IgnoredField::ALL.into_iter().filter(move |field| self.contains(*field))
    }
}

impl FromIterator<IgnoredField> for Ignore {
    fn from_iter<I: IntoIterator<Item = IgnoredField>>(fields: I) -> Self {
        Self(fields.into_iter().fold(0, |set, field| set | 1 << field as u8))
    }
}

impl From<Vec<IgnoredField>> for Ignore {
    fn from(fields: Vec<IgnoredField>) -> Self {
        fields.into_iter().collect()
    }
}

impl From<Ignore> for Vec<IgnoredField> {
    fn from(set: Ignore) -> Self {
        set.iter().collect()
    }
}
