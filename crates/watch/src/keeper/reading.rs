//! When the keeper reads the spec: once its files are at rest and not while they are being written,
//! or after a limit ([`LIMIT`]).

use std::thread;
use std::time::{Duration, Instant};

use tracing::warn;

use super::{Ground, Keeper};
use crate::Reason;
use crate::settle::{LIMIT, Verdict, Writer};

/// How long the start and a reload wait for files that are being written.
const PATIENCE: Duration = Duration::from_secs(1);

/// Until the next look at files that changed while they were read, and the longest time between two
/// looks while the start or a reload waits for files.
const LOOK: Duration = Duration::from_millis(25);

impl<K: Ground> Keeper<K> {
    /// Reads the spec when its files are at rest, and at the latest when they have not come to rest
    /// for a while: then it is left for later.
    pub(super) fn read_at_rest(&mut self) {
        let end = Instant::now() + PATIENCE;
        self.due.settle = None;
        while Instant::now() < end {
            match self.look() {
                Verdict::WaitUntil(time) => {
                    // A writer may close its file before that.
                    thread::sleep(time.saturating_duration_since(Instant::now()).min(LOOK));
                    self.due.settle = Some(self.at(time));
                }
                // What does not come from files may be different all the same.
                verdict @ (Verdict::Idle | Verdict::Read | Verdict::ReadAnyway) => {
                    let is_read = self.read_spec();
                    self.due.settle = self.look_after_reading(verdict, is_read);
                    if is_read {
                        return;
                    }
                }
            }
        }
    }

    /// How the files are.
    fn look(&mut self) -> Verdict {
        let unheard = self.files.rearm();
        if unheard != self.unheard {
            for words in &unheard {
                warn!("{words}; they are looked at in each interval");
            }
            self.unheard = unheard;
        }
        let signature = self.files.signature();
        // After the signature: what is written by one that closes in between shows in the next.
        let is_written = !self.files.open_writers().is_empty();
        let writer = if is_written { Writer::Open } else { Writer::Closed };
        self.settle.look(Instant::now(), &signature, writer)
    }

    /// Reads the spec, unless it changes meanwhile: then nothing comes of it.
    pub(super) fn read_spec(&mut self) -> bool {
        let read = self.specs.read();
        if !self.settle.was_read(&self.files.signature()) {
            return false;
        }
        let result = self.specs.take(read, self.clock.wall());
        self.surroundings.metrics.reload(result);
        true
    }

    /// Reads the spec if its files are at rest and not as they were when they were read last.
    pub(super) fn look_at_files(&mut self) {
        let verdict = self.look();
        self.due.settle = match verdict {
            Verdict::Idle => None,
            Verdict::WaitUntil(time) => Some(self.at(time)),
            Verdict::Read | Verdict::ReadAnyway => {
                let is_read = self.read_spec();
                if is_read {
                    self.failing.retry_all();
                    self.pass(Reason::Spec);
                }
                self.look_after_reading(verdict, is_read)
            }
        };
    }

    /// When to look again after the files were read on that verdict. Logs a reading of files that
    /// were not at rest.
    fn look_after_reading(&self, verdict: Verdict, is_read: bool) -> Option<Duration> {
        let next = Some(self.clock.now() + LOOK);
        match verdict {
            _ if !is_read => next,
            Verdict::ReadAnyway => {
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
            Verdict::Idle | Verdict::Read | Verdict::WaitUntil(_) => None,
        }
    }

    /// That time on the keeper's own clock.
    pub(super) fn at(&self, time: Instant) -> Duration {
        self.clock.now() + time.saturating_duration_since(Instant::now())
    }

    /// What to report of files that keep changing; `None` while they have not done so for longer
    /// than the limit.
    pub(super) fn restlessness(&self) -> Option<String> {
        let since = self.settle.restless_since()?.elapsed();
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
