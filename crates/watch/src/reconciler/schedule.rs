//! The reconciler's clock and its timers.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use evenkeel_control::Trigger;

use super::backoff::{delay, jittered};
use super::pass_error::PassProblem;
use crate::clock::DaemonClock;

/// Between two checks of running drains.
const DRAIN: Duration = Duration::from_secs(1);

/// At least this time is between two passes for services that this real server leaves.
const LEFT: Duration = Duration::from_millis(50);

/// Between two attempts to take a lock that another process holds.
const LOCK: Duration = Duration::from_millis(200);

/// Between the end of a pass and the next one that address events trigger, however many there are:
/// nine times as long as the pass took, so that a storm of events costs a tenth of a processor, but
/// never so long that a VIP whose removal was not reported would be missing for a tenth of a second.
/// The first such pass does not wait, nor does one for a VIP that is reported as removed: conflict
/// detection limits these.
const ADDRESSES: RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_millis(80);

/// The upper bound on sleeping, so that the liveness check does not expire.
const MAX_SLEEP: Duration = Duration::from_secs(10);

/// Between two searches for other programs.
const KNOWN_WRITERS: Duration = Duration::from_secs(60);

/// As long as one is reported, so that the report ends soon after the program.
const REPORTED_WRITERS: Duration = Duration::from_secs(5);

/// The deadlines of the timers, by the monotonic clock.
#[derive(Debug)]
pub(super) struct Schedule {
    pub(super) clock: DaemonClock,
    /// Between two checks of the host.
    interval: Duration,
    resync: Duration,
    pub(super) retry: Option<Duration>,
    drain: Option<Duration>,
    health: Option<Duration>,
    pub(super) debounce: Option<Duration>,
    pub(super) address: Option<Duration>,
    /// Before this time, address events trigger no further pass.
    pub(super) addresses_from: Duration,
    /// When to look for other programs again, in the pass after it; it is not a timer.
    known_writers: Option<Duration>,
}

/// What the timers depend on after a pass.
pub(super) struct PassEnd {
    pub(super) at: Duration,
    pub(super) took: Duration,
    /// How the pass went wrong, if it did.
    pub(super) problem: Option<PassProblem>,
    /// Another pass at once can do what this one left.
    pub(super) needs_follow_up: bool,
    /// Whether a drain is to be checked.
    pub(super) is_draining: bool,
    /// The time until this real server has left a service, an override ends, or a pending apply is overdue;
    /// `None` if there is nothing of that, or the daemon may not change anything.
    pub(super) left: Option<Duration>,
    /// The time until health changes something without a result; `None` if nothing does, or the daemon may not
    /// change anything.
    pub(super) health: Option<Duration>,
    /// When the next failed object is due; `None` if none is, or the daemon may not change anything.
    pub(super) failed_object: Option<Duration>,
    /// As `failed_object`, for the next conflict.
    pub(super) conflict: Option<Duration>,
}

/// The timers that were due together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    address: bool,
    drain: bool,
    health: bool,
    retry: bool,
}

impl Schedule {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            clock: DaemonClock::new(),
            interval,
            resync: Duration::ZERO,
            retry: None,
            drain: None,
            health: None,
            debounce: None,
            address: None,
            addresses_from: Duration::ZERO,
            known_writers: None,
        }
    }

    /// Returns how long the loop may sleep; a pause that ends at this time is a timer too.
    pub(super) fn wait(&self, pause_end: Option<u64>) -> Duration {
        self.next(pause_end).saturating_sub(self.clock.now()).min(MAX_SLEEP)
    }

    /// Returns the next deadline.
    fn next(&self, pause_end: Option<u64>) -> Duration {
        let resumed = pause_end.map(|until| {
            self.clock.now() + Duration::from_secs(until.saturating_sub(self.clock.wall()))
        });
        let all = [self.retry, self.drain, self.health, self.debounce, self.address, resumed];
        all.into_iter().flatten().fold(self.resync, Duration::min)
    }

    /// Whether the source is to be checked for a change, and resets that timer.
    pub(super) fn take_debounce(&mut self, now: Duration) -> bool {
        take(&mut self.debounce, now)
    }

    /// Returns the timers of passes that are due, and resets them.
    pub(super) fn take_due(&mut self, now: Duration) -> Due {
        Due {
            address: take(&mut self.address, now),
            drain: take(&mut self.drain, now),
            health: take(&mut self.health, now),
            retry: take(&mut self.retry, now),
        }
    }

    pub(super) fn is_resync_due(&self, now: Duration) -> bool {
        self.resync <= now
    }

    /// Schedules a pass for addresses that changed, at once if a VIP was removed.
    pub(super) fn on_addresses(&mut self, now: Duration, is_vip_gone: bool) {
        let from = if is_vip_gone { now } else { self.addresses_from.max(now) };
        self.address = Some(self.address.map_or(from, |time| time.min(from)));
    }

    /// Schedules a pass for a verdict that changed.
    pub(super) fn on_health(&mut self, now: Duration) {
        self.health = Some(now);
    }

    /// Schedules a sample of the source, or keeps an earlier one.
    pub(super) fn sample_at(&mut self, time: Duration) {
        self.debounce = Some(self.debounce.map_or(time, |due| due.min(time)));
    }

    /// Converts a time to the reconciler's own clock.
    pub(super) fn at(&self, time: Instant) -> Duration {
        self.clock.now() + time.saturating_duration_since(Instant::now())
    }

    /// Sets the timers after a pass.
    pub(super) fn after_pass(&mut self, end: &PassEnd) {
        let now = end.at;
        self.resync = now + jittered(self.interval);
        self.addresses_from = now + (end.took * 9).clamp(*ADDRESSES.start(), *ADDRESSES.end());
        // Events before the pass are in what it read, if it got to read anything.
        let received = self.address.filter(|_| end.problem.is_some());
        self.address = received.map(|time| time.max(self.addresses_from));
        // A time that is over already was over only after the pass: the next one removes what stayed.
        let left = end.left.map(|left| left.max(LEFT));
        self.drain =
            end.is_draining.then_some(DRAIN).into_iter().chain(left).min().map(|it| now + it);
        // A time that is over already needs the next reading only.
        self.health = end.health.map(|left| now + left.max(LEFT));
        self.retry = match end.problem {
            Some(PassProblem::Locked) => Some(now + LOCK),
            Some(PassProblem::Failed(times)) => Some(now + delay(times)),
            None if end.needs_follow_up => Some(now),
            None => {
                let failed_object = end.failed_object.map(|next| next.max(now + LOCK));
                failed_object.into_iter().chain(end.conflict).min()
            }
        };
    }

    /// Whether to search for other programs, which reads every process, so it is not done each time.
    /// The next search follows an interval later, a shorter one while programs are reported.
    pub(super) fn take_known_writers(&mut self, is_reported: bool, is_urgent: bool) -> bool {
        let now = self.clock.now();
        let interval = if is_reported { REPORTED_WRITERS } else { KNOWN_WRITERS };
        let is_due = is_urgent || self.known_writers.is_none_or(|last| last + interval <= now);
        if is_due {
            self.known_writers = Some(now);
        }
        is_due
    }
}

impl Due {
    /// Returns the trigger of the one pass that serves all: the most specific one.
    pub(super) fn trigger(self, is_resync: bool) -> Option<Trigger> {
        match self {
            Self { address: true, .. } => Some(Trigger::Address),
            Self { health: true, .. } => Some(Trigger::Health),
            Self { drain: true, .. } => Some(Trigger::Drain),
            Self { retry: true, .. } => Some(Trigger::Retry),
            _ => is_resync.then_some(Trigger::Resync),
        }
    }
}

/// Whether the timer is due, and resets it then.
fn take(timer: &mut Option<Duration>, now: Duration) -> bool {
    timer.take_if(|time| *time <= now).is_some()
}

#[cfg(test)]
mod tests;
