//! When files that change are at rest.
//!
//! Whoever writes a spec may do it in several steps: empty the file and fill it, remove it and make
//! another, one file of a directory after the other. What it looks like in between is nobody's
//! spec. So a change is read only once nothing has changed for [`QUIET`] and no program that
//! modified a file still has it open ([`Writer`]).
//!
//! Both may never come about: a program keeps a file open, another touches it all the time. So
//! after [`LIMIT`] the files are read as they are. If they do not change during that reading, its
//! result counts, and the guards judge it like any other; [`Settle::restless_since`] is there so
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
pub(crate) const QUIET: Duration = Duration::from_millis(100);

/// How long a change waits for files to come to rest, at most.
///
/// Longer than any stall of a program that is at work on a file, and short enough for somebody who
/// waits for a spec to be in force and has left the file open.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// Into so many parts the quiet time is divided by looks while changes are heard of: one is seen
/// that much late at most, and a file that is replaced all the time costs no more looks than this.
const LOOKS_IN_QUIET: u32 = 4;

/// Decides when to read. `S` says how the files are (a [`Signature`](crate::files::Signature)):
/// equal ones, the same content.
#[derive(Debug)]
pub(crate) struct Settle<S> {
    quiet: Duration,
    limit: Duration,
    last: Option<Look<S>>,
    read: Option<S>,
    restless_since: Option<Instant>,
    /// When the files are read even if they are not at rest; `None` while nothing is to be read.
    read_anyway_at: Option<Instant>,
}

#[derive(Debug)]
struct Look<S> {
    at: Instant,
    signature: S,
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
pub(crate) enum Verdict {
    /// Nothing: the files are as they were read last. The next look is due when something is heard
    /// of, or at the next resync.
    Idle,
    /// Look again at that time, or when something is heard of before.
    WaitUntil(Instant),
    /// Read the files, take their signature again, and hand that to [`Settle::was_read`].
    Read,
    /// The same, but the files are not at rest: the limit is over.
    ReadAnyway,
}

impl<S: Clone + PartialEq> Settle<S> {
    /// Nothing was read yet. Files are at rest once they have not changed for `quiet` and no writer
    /// has one open; after `limit` they are read in any case. These are [`QUIET`] and [`LIMIT`]
    /// outside of tests.
    pub(crate) fn new(quiet: Duration, limit: Duration) -> Self {
        Self { quiet, limit, last: None, read: None, restless_since: None, read_anyway_at: None }
    }

    /// Something was heard of the files at `now`. Tells when to look at them: at once, unless that
    /// was done a moment ago.
    pub(crate) fn heard(&self, now: Instant) -> Instant {
        let pause = self.quiet / LOOKS_IN_QUIET;
        self.last.as_ref().map_or(now, |last| now.max(last.at + pause))
    }

    /// The files were looked at, at `now`, and are as `signature` says; what is known of their
    /// writers is not older than that. When a writer closes its file, a look is due.
    pub(crate) fn look(&mut self, now: Instant, signature: &S, writer: Writer) -> Verdict {
        let unchanged_since = match &self.last {
            Some(last) if last.signature == *signature => last.unchanged_since,
            _ => now,
        };
        self.last = Some(Look { at: now, signature: signature.clone(), unchanged_since });
        if self.read.as_ref() == Some(signature) {
            self.restless_since = None;
            self.read_anyway_at = None;
            return Verdict::Idle;
        }
        self.restless_since.get_or_insert(now);
        let read_anyway_at = *self.read_anyway_at.get_or_insert(now + self.limit);
        let quiet_at = unchanged_since + self.quiet;
        match writer {
            Writer::Closed if quiet_at <= now => Verdict::Read,
            _ if read_anyway_at <= now => {
                // Should they change during the reading, the next attempt is due then.
                self.read_anyway_at = Some(now + self.quiet);
                Verdict::ReadAnyway
            }
            Writer::Closed => Verdict::WaitUntil(quiet_at.min(read_anyway_at)),
            Writer::Open => Verdict::WaitUntil(read_anyway_at),
        }
    }

    /// The files were read, well or in vain, and `after` that are as this signature says. True: it
    /// is still the one of the last look, and what was read is what stood there all the time.
    /// False: they were changed meanwhile, what was read may be half one thing and half another and
    /// is to be thrown away; hand `after` to [`Self::look`], which says when to read again.
    ///
    /// Where the last change is more recent than the quiet time, the same signature may yet belong
    /// to other contents. Then what was read counts, but the change stays to be read: when the
    /// files are at rest, or after another limit.
    #[must_use]
    pub(crate) fn was_read(&mut self, after: &S) -> bool {
        let Some(last) = self.last.as_ref().filter(|last| last.signature == *after) else {
            return false;
        };
        if self.read.as_ref() == Some(after) || last.unchanged_since + self.quiet <= last.at {
            self.read = Some(after.clone());
            self.restless_since = None;
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
    pub(crate) fn restless_since(&self) -> Option<Instant> {
        self.restless_since
    }
}
