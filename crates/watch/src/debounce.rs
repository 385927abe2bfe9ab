//! When files that change are at rest.
//!
//! Whoever writes a spec may do it in several steps: empty the file and fill it, remove it and make
//! another, one file of a directory after the other. What it looks like in between is nobody's
//! spec. So a change is read only once nothing has changed for [`STABLE_FOR`] and no program that
//! modified a file still has it open ([`Writer`]).
//!
//! Both may never come about: a program keeps a file open, another touches it all the time. So
//! after [`LIMIT`] the files are read as they are. If they do not change during that reading, its
//! result counts, and the guards judge it like any other; [`Debounce::unstable_since`] is there so
//! that the status can report it.
//!
//! It neither looks at files nor knows the time, and compares nothing but what it is shown.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

/// How long nothing may have changed before files count as at rest.
///
/// Longer than a clock tick, to which the times of files are rounded: two changes of one tick may
/// leave the same signature, but none that is that old can get a second change. And far below the
/// half second within which a new spec is to be in force.
pub(crate) const STABLE_FOR: Duration = Duration::from_millis(100);

/// How long a change waits for files to come to rest, at most.
///
/// Longer than any stall of a program that is at work on a file, and short enough for somebody who
/// waits for a spec to be in force and has left the file open.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// Into so many parts the quiet time is divided by looks while changes are heard of: one is seen
/// that much late at most, and a file that is replaced all the time costs no more looks than this.
const SAMPLES_PER_PERIOD: u32 = 4;

/// Decides when to read. `S` says how the files are (a [`Fingerprint`](crate::spec_watcher::Signature)):
/// equal ones, the same content.
#[derive(Debug)]
pub(crate) struct Debounce<S> {
    quiet: Duration,
    limit: Duration,
    last: Option<Sample<S>>,
    read: Option<S>,
    unstable_since: Option<Instant>,
    /// When the files are read even if they are not at rest; `None` while nothing is to be read.
    read_anyway_at: Option<Instant>,
}

#[derive(Debug)]
struct Sample<S> {
    at: Instant,
    fingerprint: S,
    unchanged_since: Instant,
}

/// Whether a program is in the midst of writing one of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writer {
    /// None is known: those that modified a file have closed it.
    Closed,
    /// One has modified a file and still has it open.
    Open,
}

/// What to do after a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stability {
    /// Nothing: the files are as they were read last. The next look is due when something is heard
    /// of, or at the next resync.
    Idle,
    /// Look again at that time, or when something is heard of before.
    WaitUntil(Instant),
    /// Read the files, take their signature again, and hand that to [`Debounce::accept_read`].
    Read,
    /// The same, but the files are not at rest: the limit is over.
    ReadAnyway,
}

impl<S: Clone + PartialEq> Debounce<S> {
    /// Nothing was read yet. Files are at rest once they have not changed for `quiet` and no writer
    /// has one open; after `limit` they are read in any case. These are [`STABLE_FOR`] and [`LIMIT`]
    /// outside of tests.
    pub(crate) fn new(quiet: Duration, limit: Duration) -> Self {
        Self { quiet, limit, last: None, read: None, unstable_since: None, read_anyway_at: None }
    }

    /// Something was heard of the files at `now`. Tells when to look at them: at once, unless that
    /// was done a moment ago.
    pub(crate) fn next_sample(&self, now: Instant) -> Instant {
        let pause = self.quiet / SAMPLES_PER_PERIOD;
        self.last.as_ref().map_or(now, |last| now.max(last.at + pause))
    }

    /// The files were looked at, at `now`, and are as `signature` says; what is known of their
    /// writers is not older than that. When a writer closes its file, a look is due.
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
                // Should they change during the reading, the next attempt is due then.
                self.read_anyway_at = Some(now + self.quiet);
                Stability::ReadAnyway
            }
            Writer::Closed => Stability::WaitUntil(quiet_at.min(read_anyway_at)),
            Writer::Open => Stability::WaitUntil(read_anyway_at),
        }
    }

    /// The files were read, well or in vain, and `after` that are as this signature says. True: it
    /// is still the one of the last look, and what was read is what stood there all the time.
    /// False: they were changed meanwhile, what was read may be half one thing and half another and
    /// is to be thrown away; hand `after` to [`Self::sample`], which says when to read again.
    ///
    /// Where the last change is more recent than the quiet time, the same signature may yet belong
    /// to other contents. Then what was read counts, but the change stays to be read: when the
    /// files are at rest, or after another limit.
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
            // Not what was read before either: going back to that is a change.
            self.read = None;
            self.read_anyway_at = Some(last.at + self.limit);
        }
        true
    }

    /// Since when there is a change that was not read at rest. `None` while the files are as they
    /// were read last.
    pub(crate) fn unstable_since(&self) -> Option<Instant> {
        self.unstable_since
    }
}
