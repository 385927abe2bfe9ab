//! Reads the spec once its source is stable and no program is writing it, or after a limit ([`LIMIT`](evenkeel_source::LIMIT)).
//! When that is, [`Follower`](evenkeel_source::Follower) decides; this module sets the timers, and makes
//! a pass after a reading.

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use evenkeel_control::Trigger;
use evenkeel_engine::Kernel;
use evenkeel_model::MacAddress;
use evenkeel_source::{Stability, macs_of};

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
        self.source.retry_now();
        while Instant::now() < end {
            match self.sample() {
                Stability::WaitUntil(time) => {
                    // A writer may close its file before that.
                    thread::sleep(time.saturating_duration_since(Instant::now()).min(RECHECK));
                    self.schedule.debounce = Some(self.schedule.at(time));
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

    fn sample(&mut self) -> Stability {
        self.source.sample(&self.host.journal().addresses)
    }

    /// Reads the spec again if another apply recorded other MAC addresses of directors than the daemon
    /// learned: they were reviewed there, and the daemon would undo them.
    pub(super) fn follow_recorded_macs(&mut self) {
        let recorded = self.host.journal().applied_parameters().map(macs_of).unwrap_or_default();
        let is_other = |(address, mac): (IpAddr, MacAddress)| {
            recorded.get(&address).is_some_and(|recorded| *recorded != mac)
        };
        // While the newest spec is not in force, the active one keeps what it was read with.
        let spec = self.specs.newest().or_else(|| self.specs.active());
        let mut learned = spec.iter().flat_map(|spec| macs_of(&spec.parameters));
        if learned.any(is_other) {
            self.source.replace_macs(&recorded);
            self.read_when_stable();
        }
    }

    /// Reads the spec.
    pub(super) fn read_spec(&mut self) -> Outcome {
        let Some(reading) = self.source.read() else { return Outcome::Discarded };
        let before = self.specs.problem().cloned();
        let result = self.specs.take(reading, self.schedule.clock.steady());
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
            Stability::WaitUntil(time) => Some(self.schedule.at(time)),
            Stability::Read | Stability::ReadAnyway => {
                let outcome = self.read_spec();
                if outcome == Outcome::New {
                    self.retries.retry_all();
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
        let next = Some(self.schedule.clock.now() + RECHECK);
        match stability {
            _ if outcome == Outcome::Discarded => next,
            Stability::ReadAnyway => {
                self.source.warn_of_unstable_reading();
                next
            }
            Stability::Idle | Stability::Read | Stability::WaitUntil(_) => {
                self.source.retry_at().map(|time| self.schedule.at(time))
            }
        }
    }
}
