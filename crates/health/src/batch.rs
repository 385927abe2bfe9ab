//! What the prober reports.

use std::time::Duration;

use crate::check_id::CheckId;
use crate::clock::Moment;
use crate::hysteresis::{Hysteresis, Transition};
use crate::outcome::Outcome;
use crate::stored::StoredVerdict;
use evenkeel_model::check::KindName;
use evenkeel_model::check::Target;

/// A check with its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Which one.
    pub id: CheckId,
    /// What is probed.
    pub target: Target,
    /// How.
    pub kind: KindName,
    /// The verdict, since when, and the counters.
    pub state: Hysteresis,
    /// The last probe; `None`: there was none yet.
    pub last: Option<LastProbe>,
    /// All probes so far.
    pub counts: Counts,
}

impl Report {
    /// As it is stored for a restart.
    pub fn to_stored(&self) -> StoredVerdict {
        StoredVerdict {
            id: self.id,
            target: self.target,
            kind: self.kind,
            state: self.state.clone(),
        }
    }
}

/// A probe that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastProbe {
    /// What it found.
    pub outcome: Outcome,
    /// When it ended.
    pub at: Moment,
    /// How long it took.
    pub duration: Duration,
}

/// How many probes there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// That passed.
    pub passed: u64,
    /// That failed.
    pub failed: u64,
    /// That found nothing out.
    pub unknown: u64,
    /// That started late.
    pub late: u64,
}

/// A change of a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Of which check.
    pub id: CheckId,
    /// Of which target.
    pub target: Target,
    /// How it was probed.
    pub kind: KindName,
    /// The change.
    pub transition: Transition,
    /// How long the probe took that decided; zero for the end of a hold.
    pub duration: Duration,
}

/// What happened since the last batch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// Checks with new results, and new checks; each as it is now.
    pub reports: Vec<Report>,
    /// Changes of verdicts, in their order.
    pub changes: Vec<Change>,
    /// How many changes more there were than are kept for a receiver that takes none.
    pub left_out: u64,
    /// Checks that are no longer made.
    pub removed: Vec<CheckId>,
}
