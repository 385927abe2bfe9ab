//! When files that change are at rest.
//!
//! Whoever writes a spec may do it in several steps: empty the file and fill it, remove it and make
//! another, one file of a directory after the other. What it looks like in between is nobody's
//! spec. So a change is read only once nothing has changed for [`QUIET`]. There is no upper limit
//! to that: a file that is still being written is not read however long that takes, and
//! [`Settle::restless_since`] is there so that it can be told.
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

/// Into so many parts the quiet time is divided by looks while changes are heard of: one is seen
/// that much late at most, and a file that is replaced all the time costs no more looks than this.
const LOOKS_IN_QUIET: u32 = 4;

/// Decides when to read. `S` says how the files are (a [`Signature`](crate::files::Signature)):
/// equal ones, the same content.
#[derive(Debug)]
pub(crate) struct Settle<S> {
    quiet: Duration,
    last: Option<Look<S>>,
    read: Option<S>,
    restless_since: Option<Instant>,
}

#[derive(Debug)]
struct Look<S> {
    at: Instant,
    signature: S,
    unchanged_since: Instant,
}

/// What to do after a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing: the files are as they were read last. The next look is due when something is heard
    /// of, or at the next resync.
    Idle,
    /// Look again at that time.
    WaitUntil(Instant),
    /// Read the files, take their signature again, and hand that to [`Settle::was_read`].
    Read,
}

impl<S: Clone + PartialEq> Settle<S> {
    /// Nothing was read yet. Files are at rest once they have not changed for `quiet`; that is
    /// [`QUIET`] outside of tests.
    pub(crate) fn new(quiet: Duration) -> Self {
        Self { quiet, last: None, read: None, restless_since: None }
    }

    /// Something was heard of the files at `now`. Tells when to look at them: at once, unless that
    /// was done a moment ago.
    pub(crate) fn heard(&self, now: Instant) -> Instant {
        let pause = self.quiet / LOOKS_IN_QUIET;
        self.last.as_ref().map_or(now, |last| now.max(last.at + pause))
    }

    /// The files were looked at, at `now`, and are as `signature` says.
    pub(crate) fn look(&mut self, now: Instant, signature: &S) -> Verdict {
        let unchanged_since = match &self.last {
            Some(last) if last.signature == *signature => last.unchanged_since,
            _ => now,
        };
        self.last = Some(Look { at: now, signature: signature.clone(), unchanged_since });
        if self.read.as_ref() == Some(signature) {
            self.restless_since = None;
            return Verdict::Idle;
        }
        self.restless_since.get_or_insert(now);
        let at_rest = unchanged_since + self.quiet;
        if at_rest <= now { Verdict::Read } else { Verdict::WaitUntil(at_rest) }
    }

    /// The files were read, well or in vain, and `after` that are as this signature says. True: it
    /// is still the one of the last look, and what was read is what stood there all the time.
    /// False: they were changed meanwhile, what was read may be half one thing and half another and
    /// is to be thrown away; hand `after` to [`Self::look`], which says when to read again.
    #[must_use]
    pub(crate) fn was_read(&mut self, after: &S) -> bool {
        let is_whole = self.last.as_ref().is_some_and(|last| last.signature == *after);
        if is_whole {
            self.read = Some(after.clone());
            self.restless_since = None;
        }
        is_whole
    }

    /// Since when there is a change that could not be read because others followed. `None` while
    /// the files are as they were read last.
    pub(crate) fn restless_since(&self) -> Option<Instant> {
        self.restless_since
    }
}
