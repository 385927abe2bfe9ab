//! Decides when a changing source is stable enough to be read. Its texts are called files here.
//!
//! A program may write a spec in several steps: truncate the file and fill it, remove it and create
//! another, write one file of a directory after the other. The states in between are not meant as a
//! spec. So a change is read only once nothing has changed for [`STABLE_FOR`] and no program that
//! modified a file still has it open ([`Writer`]).
//!
//! That may never happen: a program may keep a file open, or modify it all the time. So after
//! [`LIMIT`] the files are read anyway. If they do not change during that reading, its result counts,
//! and the guards check it like any other spec; the status reports it by
//! [`Debounce::unstable_since`].
//!
//! This module neither reads files nor the clock; it compares only the samples it is given.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

/// How long files must not have changed to count as stable.
///
/// It is longer than a clock tick, to which the times of files are rounded: two changes within one
/// tick may have the same fingerprint, but a file whose change is this old cannot get a second change
/// with the same time. And it is far below the half second within which a new spec becomes active.
pub(crate) const STABLE_FOR: Duration = Duration::from_millis(100);

/// How long a change waits at most for files to become stable.
///
/// It is longer than any stall of a program that is writing a file, and short enough for a user who
/// left the file open and waits for the spec to become active.
pub const LIMIT: Duration = Duration::from_secs(10);

/// How many samples are taken per quiet period while events arrive. A change is detected at most one
/// part of the period late, and a file that is replaced all the time costs no more samples than this.
const SAMPLES_PER_PERIOD: u32 = 4;

/// Decides when to read the files. `S` is the fingerprint of all that a reading depends on: equal
/// fingerprints mean equal contents.
#[derive(Debug)]
pub(crate) struct Debounce<S> {
    quiet: Duration,
    limit: Duration,
    last: Option<Sample<S>>,
    read: Option<S>,
    unstable_since: Option<Instant>,
    /// When the files are read even if they are not stable; `None` while nothing has to be read.
    read_anyway_at: Option<Instant>,
}

#[derive(Debug)]
struct Sample<S> {
    at: Instant,
    fingerprint: S,
    unchanged_since: Instant,
}

/// Whether a program is writing one of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writer {
    /// No writer is known: the programs that modified a file have closed it.
    Closed,
    /// A program has modified a file and still has it open.
    Open,
}

/// What to do after a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stability {
    /// Nothing: source and parameters are as they were last read. The next sample is due after an event
    /// or at the next resync.
    Idle,
    /// Take another sample at this time, or after an event before it.
    WaitUntil(Instant),
    /// Read: they have changed and are stable, or the last reading is to be repeated.
    Read,
    /// Read: they have changed and are not stable, but [`LIMIT`] is over.
    ReadAnyway,
}

impl<S: Clone + PartialEq> Debounce<S> {
    /// Creates a state in which nothing was read yet. Files are stable once they have not changed for
    /// `quiet` and no writer has one open; after `limit` they are read in any case. Outside of tests
    /// these are [`STABLE_FOR`] and [`LIMIT`].
    pub(crate) fn new(quiet: Duration, limit: Duration) -> Self {
        Self { quiet, limit, last: None, read: None, unstable_since: None, read_anyway_at: None }
    }

    /// Returns when to take a sample after an event at `now`: at once, unless one was taken a moment
    /// ago.
    pub(crate) fn next_sample(&self, now: Instant) -> Instant {
        let pause = self.quiet / SAMPLES_PER_PERIOD;
        self.last.as_ref().map_or(now, |last| now.max(last.at + pause))
    }

    /// Takes a sample: the fingerprint of the files at `now`, and the state of their writers, which
    /// must not be older. Another sample is due when a writer closes its file.
    pub(crate) fn sample(&mut self, now: Instant, fingerprint: &S, writer: Writer) -> Stability {
        let unchanged_since = match &self.last {
            Some(last) if last.fingerprint == *fingerprint => last.unchanged_since,
            _ => now,
        };
        self.last = Some(Sample { at: now, fingerprint: fingerprint.clone(), unchanged_since });
        if self.read.as_ref() == Some(fingerprint) {
            self.unstable_since = None;
            self.read_anyway_at = None;
            return Stability::Idle;
        }
        self.unstable_since.get_or_insert(now);
        let read_anyway_at = *self.read_anyway_at.get_or_insert(now + self.limit);
        let quiet_at = unchanged_since + self.quiet;
        match writer {
            Writer::Closed if quiet_at <= now => Stability::Read,
            _ if read_anyway_at <= now => {
                // The next attempt, if they change during the reading.
                self.read_anyway_at = Some(now + self.quiet);
                Stability::ReadAnyway
            }
            Writer::Closed => Stability::WaitUntil(quiet_at.min(read_anyway_at)),
            Writer::Open => Stability::WaitUntil(read_anyway_at),
        }
    }

    /// Replaces the fingerprint of the last sample by one that describes the same state in more detail.
    pub(crate) fn refine(&mut self, fingerprint: S) {
        if let Some(last) = &mut self.last {
            last.fingerprint = fingerprint;
        }
    }

    /// Returns the fingerprint of the last sample.
    pub(crate) fn last(&self) -> Option<&S> {
        self.last.as_ref().map(|last| &last.fingerprint)
    }

    /// Decides whether a reading counts, successful or not. `after` is the fingerprint after it. True
    /// means that the fingerprint is still that of the last sample, so the contents did not change
    /// during the reading. False means that they changed: what was read may be a mixture and must be
    /// discarded; pass `after` to [`Self::sample`], which returns when to read again.
    ///
    /// If the last change is more recent than the quiet time, equal fingerprints may still belong to
    /// different contents. Then the reading counts, but the change remains to be read: when the files
    /// are stable, or after another limit.
    #[must_use]
    pub(crate) fn accept_read(&mut self, after: &S) -> bool {
        let Some(last) = self.last.as_ref().filter(|last| last.fingerprint == *after) else {
            return false;
        };
        if self.read.as_ref() == Some(after) || last.unchanged_since + self.quiet <= last.at {
            self.read = Some(after.clone());
            self.unstable_since = None;
            self.read_anyway_at = None;
        } else {
            // The state read earlier does not count as read any more: a return to it is a change.
            self.read = None;
            self.read_anyway_at = Some(last.at + self.limit);
        }
        true
    }

    /// Returns since when there is a change that was not read in a stable state; `None` while the
    /// files are as they were last read.
    pub(crate) fn unstable_since(&self) -> Option<Instant> {
        self.unstable_since
    }
}
