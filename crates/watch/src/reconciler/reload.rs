//! Reads the spec once its source is stable and no program is writing it, or after a limit ([`LIMIT`]).
//! When that is, [`Follower`](evenkeel_source::Follower) decides; this module sets the timers, and makes
//! a pass after a reading.

use std::thread;
use std::time::{Duration, Instant};

use evenkeel_control::Trigger;
use evenkeel_engine::Kernel;
use evenkeel_source::{LIMIT, Stability};
use tracing::warn;

use super::Reconciler;

/// How long the start and a reload wait for files that are being written.
const PATIENCE: Duration = Duration::from_secs(1);

/// Until the next sample of files that changed while they were read, and the longest time between two
/// samples while the start or a reload waits for files.
const RECHECK: Duration = Duration::from_millis(25);

/// What became of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The source changed during the reading, whose result was discarded.
    Discarded,
    /// The spec cannot be read or is invalid, for the same reason as before.
    SameProblem,
    /// A spec, or another reason why there is none.
    New,
}

impl<K: Kernel> Reconciler<K> {
    /// Reads the spec when its source is stable. If it does not become stable within [`PATIENCE`], it is
    /// read later.
    pub(super) fn read_when_stable(&mut self) {
        let end = Instant::now() + PATIENCE;
        self.schedule.debounce = None;
        self.follower.retry_now();
        while Instant::now() < end {
            match self.sample() {
                Stability::WaitUntil(time) => {
                    // A writer may close its file before that.
                    thread::sleep(time.saturating_duration_since(Instant::now()).min(RECHECK));
                    self.schedule.debounce = Some(self.at(time));
                }
                // Idle too: the reading was requested.
                stability @ (Stability::Idle | Stability::Read | Stability::ReadAnyway) => {
                    let outcome = self.read_spec();
                    self.schedule.debounce = self.next_sample_after_reading(stability, outcome);
                    if outcome != Outcome::Discarded {
                        return;
                    }
                }
            }
        }
    }

    /// Takes a sample of the source and the parameters.
    fn sample(&mut self) -> Stability {
        self.follower.set_journalled(&self.journal.addresses);
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

    /// Reads the spec.
    pub(super) fn read_spec(&mut self) -> Outcome {
        let Some(reading) = self.follower.read() else { return Outcome::Discarded };
        let before = self.specs.problem().cloned();
        let result = self.specs.take(reading, self.clock.wall());
        self.outputs.metrics.reload(result);
        match before {
            Some(problem) if self.specs.problem() == Some(&problem) => Outcome::SameProblem,
            _ => Outcome::New,
        }
    }

    /// Reads the spec if its source is stable and not as it was last read, or if the last reading is to
    /// be repeated.
    pub(super) fn check_source(&mut self) {
        let stability = self.sample();
        self.schedule.debounce = match stability {
            Stability::Idle => None,
            Stability::WaitUntil(time) => Some(self.at(time)),
            Stability::Read | Stability::ReadAnyway => {
                let outcome = self.read_spec();
                if outcome == Outcome::New {
                    self.failing.retry_all();
                    self.pass(Trigger::Spec);
                }
                self.next_sample_after_reading(stability, outcome)
            }
        };
    }

    /// Returns when to take the next sample after a reading. Logs a reading of a source that was not
    /// stable.
    fn next_sample_after_reading(
        &self,
        stability: Stability,
        outcome: Outcome,
    ) -> Option<Duration> {
        let next = Some(self.clock.now() + RECHECK);
        match stability {
            _ if outcome == Outcome::Discarded => next,
            Stability::ReadAnyway => {
                let limit = LIMIT.as_secs();
                let writers = self.follower.open_writers();
                let mut open = writers
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", ");
                if !open.is_empty() {
                    open = format!(" (open for writing: {open})");
                }
                warn!(
                    "the spec files did not become stable within {limit} s{open}; they were read anyway"
                );
                next
            }
            Stability::Idle | Stability::Read | Stability::WaitUntil(_) => {
                self.follower.retry_at().map(|time| self.at(time))
            }
        }
    }

    /// Converts a time to the reconciler's own clock.
    pub(super) fn at(&self, time: Instant) -> Duration {
        self.clock.now() + time.saturating_duration_since(Instant::now())
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
