//! Reads the spec once its files are stable and no program is writing them, or after a limit
//! ([`LIMIT`]).

use std::thread;
use std::time::{Duration, Instant};

use evenkeel_control::Trigger;
use evenkeel_engine::Kernel;
use tracing::warn;

use super::Reconciler;
use crate::debounce::{LIMIT, Stability, Writer};

/// How long the start and a reload wait for files that are being written.
const PATIENCE: Duration = Duration::from_secs(1);

/// Until the next sample of files that changed while they were read, and the longest time between two
/// samples while the start or a reload waits for files.
const RECHECK: Duration = Duration::from_millis(25);

impl<K: Kernel> Reconciler<K> {
    /// Reads the spec when its files are stable. If they do not become stable within [`PATIENCE`], they
    /// are read later.
    pub(super) fn read_when_stable(&mut self) {
        let end = Instant::now() + PATIENCE;
        self.schedule.debounce = None;
        while Instant::now() < end {
            match self.check_stability() {
                Stability::WaitUntil(time) => {
                    // A writer may close its file before that.
                    thread::sleep(time.saturating_duration_since(Instant::now()).min(RECHECK));
                    self.schedule.debounce = Some(self.at(time));
                }
                // Idle too: a spec that does not come from files may have changed.
                verdict @ (Stability::Idle | Stability::Read | Stability::ReadAnyway) => {
                    let is_read = self.read_spec();
                    self.schedule.debounce = self.next_sample_after_reading(verdict, is_read);
                    if is_read {
                        return;
                    }
                }
            }
        }
    }

    /// Takes a sample of the files.
    fn check_stability(&mut self) -> Stability {
        let unreliable = self.files.rearm();
        if unreliable != self.unreliable {
            for message in &unreliable {
                warn!("{message}; polling every interval");
            }
            self.unreliable = unreliable;
        }
        let fingerprint = self.files.fingerprint();
        // After the fingerprint: a write by a program that closes the file in between shows in the
        // next fingerprint.
        let is_written = !self.files.open_writers().is_empty();
        let writer = if is_written { Writer::Open } else { Writer::Closed };
        self.debounce.sample(Instant::now(), &fingerprint, writer)
    }

    /// Reads the spec. Returns false if it changed during the reading, whose result is discarded then.
    pub(super) fn read_spec(&mut self) -> bool {
        let read = self.specs.read();
        if !self.debounce.accept_read(&self.files.fingerprint()) {
            return false;
        }
        let result = self.specs.take(read, self.clock.wall());
        self.outputs.metrics.reload(result);
        true
    }

    /// Reads the spec if its files are stable and not as they were last read.
    pub(super) fn check_files(&mut self) {
        let verdict = self.check_stability();
        self.schedule.debounce = match verdict {
            Stability::Idle => None,
            Stability::WaitUntil(time) => Some(self.at(time)),
            Stability::Read | Stability::ReadAnyway => {
                let is_read = self.read_spec();
                if is_read {
                    self.failing.retry_all();
                    self.pass(Trigger::Spec);
                }
                self.next_sample_after_reading(verdict, is_read)
            }
        };
    }

    /// Returns when to take the next sample after a reading with this verdict. Logs a reading of files
    /// that were not stable.
    fn next_sample_after_reading(&self, verdict: Stability, is_read: bool) -> Option<Duration> {
        let next = Some(self.clock.now() + RECHECK);
        match verdict {
            _ if !is_read => next,
            Stability::ReadAnyway => {
                let limit = LIMIT.as_secs();
                let writers = self.files.open_writers();
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
            Stability::Idle | Stability::Read | Stability::WaitUntil(_) => None,
        }
    }

    /// Converts a time to the reconciler's own clock.
    pub(super) fn at(&self, time: Instant) -> Duration {
        self.clock.now() + time.saturating_duration_since(Instant::now())
    }

    /// Returns a message if files have kept changing for longer than the limit.
    pub(super) fn instability(&self) -> Option<String> {
        let since = self.debounce.unstable_since()?.elapsed();
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
