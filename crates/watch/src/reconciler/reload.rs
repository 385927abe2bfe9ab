//! When the keeper reads the spec: once its files are at rest and not while they are being written,
//! or after a limit ([`LIMIT`]).

use std::thread;
use std::time::{Duration, Instant};

use evenkeel_engine::Kernel;
use tracing::warn;

use super::Reconciler;
use crate::Trigger;
use crate::debounce::{LIMIT, Stability, Writer};

/// How long the start and a reload wait for files that are being written.
const PATIENCE: Duration = Duration::from_secs(1);

/// Until the next look at files that changed while they were read, and the longest time between two
/// looks while the start or a reload waits for files.
const RECHECK: Duration = Duration::from_millis(25);

impl<K: Kernel> Reconciler<K> {
    /// Reads the spec when its files are at rest, and at the latest when they have not come to rest
    /// for a while: then it is left for later.
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
                // What does not come from files may be different all the same.
                verdict @ (Stability::Idle | Stability::Read | Stability::ReadAnyway) => {
                    let is_read = self.read_spec();
                    self.schedule.debounce = self.look_after_reading(verdict, is_read);
                    if is_read {
                        return;
                    }
                }
            }
        }
    }

    /// How the files are.
    fn check_stability(&mut self) -> Stability {
        let unreliable = self.files.rearm();
        if unreliable != self.unreliable {
            for message in &unreliable {
                warn!("{message}; they are looked at in each interval");
            }
            self.unreliable = unreliable;
        }
        let fingerprint = self.files.fingerprint();
        // After the signature: what is written by one that closes in between shows in the next.
        let is_written = !self.files.open_writers().is_empty();
        let writer = if is_written { Writer::Open } else { Writer::Closed };
        self.debounce.sample(Instant::now(), &fingerprint, writer)
    }

    /// Reads the spec, unless it changes meanwhile: then nothing comes of it.
    pub(super) fn read_spec(&mut self) -> bool {
        let read = self.specs.read();
        if !self.debounce.accept_read(&self.files.fingerprint()) {
            return false;
        }
        let result = self.specs.take(read, self.clock.wall());
        self.outputs.metrics.reload(result);
        true
    }

    /// Reads the spec if its files are at rest and not as they were when they were read last.
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
                self.look_after_reading(verdict, is_read)
            }
        };
    }

    /// When to look again after the files were read on that verdict. Logs a reading of files that
    /// were not at rest.
    fn look_after_reading(&self, verdict: Stability, is_read: bool) -> Option<Duration> {
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
                    "the files of the spec did not come to rest within {limit} s{open}: they were read as they are"
                );
                next
            }
            Stability::Idle | Stability::Read | Stability::WaitUntil(_) => None,
        }
    }

    /// That time on the keeper's own clock.
    pub(super) fn at(&self, time: Instant) -> Duration {
        self.clock.now() + time.saturating_duration_since(Instant::now())
    }

    /// What to report of files that keep changing; `None` while they have not done so for longer
    /// than the limit.
    pub(super) fn instability(&self) -> Option<String> {
        let since = self.debounce.unstable_since()?.elapsed();
        (since > LIMIT).then(|| {
            format!(
                "the files of the spec have kept changing for {} s without coming to rest; they are \
                 read as they are every {} s, unless they change during the reading",
                since.as_secs(),
                LIMIT.as_secs()
            )
        })
    }
}
