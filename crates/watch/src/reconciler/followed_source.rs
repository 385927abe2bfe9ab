//! The source of the spec as the reconciler follows it: samples, readings and what is reported of them.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use evenkeel_model::Binding;
use evenkeel_source::{Follower, LIMIT, Macs, Reading, Stability};
use tracing::warn;

/// The source of the spec.
pub(super) struct FollowedSource {
    follower: Follower,
    /// Changes that the source may not report, a message each.
    unreliable: Vec<String>,
}

impl FollowedSource {
    pub(super) fn new(follower: Follower) -> Self {
        Self { follower, unreliable: Vec::new() }
    }

    /// Takes a sample of the source and the parameters. The addresses are those that the journal
    /// records as evenkeel's.
    pub(super) fn sample(&mut self, journalled: &BTreeSet<Binding>) -> Stability {
        self.follower.set_journalled(journalled);
        let stability = self.follower.sample();
        let unreliable = self.follower.unreliable();
        if unreliable != self.unreliable {
            for message in unreliable {
                warn!("{message}; polling every interval");
            }
            self.unreliable = unreliable.to_vec();
        }
        stability
    }

    /// Replaces the MAC addresses that were learned by those of another applied spec.
    pub(super) fn replace_macs(&mut self, macs: &Macs) {
        self.follower.replace_macs(macs);
    }

    /// Reads the spec; `None` if the source changed meanwhile.
    pub(super) fn read(&mut self) -> Option<Reading> {
        self.follower.read()
    }

    /// Whether a change of addresses may change the spec.
    pub(super) fn uses_addresses(&self) -> bool {
        self.follower.uses_addresses()
    }

    /// Returns when a sample may be taken after a change now.
    pub(super) fn next_sample(&self) -> Instant {
        self.follower.next_sample(Instant::now())
    }

    /// Makes the repetition of a failed reading due.
    pub(super) fn retry_now(&mut self) {
        self.follower.retry_now();
    }

    /// Returns when a reading is to be repeated.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.follower.retry_at()
    }

    /// Logs that a source was read which was not stable.
    pub(super) fn warn_of_unstable_reading(&self) {
        let limit = LIMIT.as_secs();
        let writers = self.follower.open_writers();
        let writers: Vec<String> = writers.iter().map(|path| display(path)).collect();
        let open = match writers.is_empty() {
            true => String::new(),
            false => format!(" (open for writing: {})", writers.join(", ")),
        };
        warn!("the spec files did not become stable within {limit} s{open}; they were read anyway");
    }

    /// Returns a message if the source has kept changing for longer than the limit.
    pub(super) fn instability(&self) -> Option<String> {
        let since = self.follower.unstable_since()?.elapsed();
        (since > LIMIT).then(|| {
            format!(
                "the spec files have kept changing for {} s; they are read anyway every {} s, unless \
                 they change while they are read",
                since.as_secs(),
                LIMIT.as_secs()
            )
        })
    }
}

fn display(path: &Path) -> String {
    path.display().to_string()
}
