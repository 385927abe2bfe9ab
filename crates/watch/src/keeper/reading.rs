//! When the keeper reads the spec: once its files are at rest, and not while they are being written.

use std::thread;
use std::time::{Duration, Instant};

use tracing::warn;

use super::{Ground, Keeper};
use crate::Reason;
use crate::settle::Verdict;

/// How long the start and a reload wait for files that are being written.
const PATIENCE: Duration = Duration::from_secs(1);

/// Until the next look at files that changed while they were read.
const LOOK: Duration = Duration::from_millis(25);

/// How long a file may be in the midst of being written before that is told.
const RESTLESS: Duration = Duration::from_secs(10);

impl<K: Ground> Keeper<K> {
    /// Reads the spec when its files are at rest, and at the latest when they have not come to rest
    /// for a while: then it is left for later.
    pub(super) fn read_at_rest(&mut self) {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            match self.look() {
                Verdict::WaitUntil(time) => {
                    thread::sleep(time.saturating_duration_since(Instant::now()));
                }
                // What does not come from files may be different all the same.
                Verdict::Idle | Verdict::Read => {
                    if self.read_spec() {
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
        self.settle.look(Instant::now(), &self.files.signature())
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
        self.due.settle = match self.look() {
            Verdict::Idle => None,
            Verdict::WaitUntil(time) => Some(self.at(time)),
            Verdict::Read => {
                if self.read_spec() {
                    self.failing.retry_all();
                    self.pass(Reason::Spec);
                    None
                } else {
                    Some(self.clock.now() + LOOK)
                }
            }
        };
    }

    /// That time on the keeper's own clock.
    pub(super) fn at(&self, time: Instant) -> Duration {
        self.clock.now() + time.saturating_duration_since(Instant::now())
    }

    /// Why the files are not read though they changed.
    pub(super) fn restlessness(&self) -> Option<String> {
        let since = self.settle.restless_since()?;
        (since.elapsed() > RESTLESS).then(|| {
            format!(
                "the files of the spec have not come to rest for {} s, and are read when they do",
                since.elapsed().as_secs()
            )
        })
    }
}
