//! The daemon's clocks: a monotonic one for deadlines, the wall clock for points in time that are reported, and
//! the wall clock without its steps for ages.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use evenkeel_plan::ClockReading;

/// Both clocks.
#[derive(Debug)]
pub(crate) struct DaemonClock {
    begin: Instant,
}

/// The first reading of the monotonic clock: a day, more than any back-off or conflict reaches back.
const BEGIN: Duration = Duration::from_secs(24 * 60 * 60);

impl DaemonClock {
    pub(crate) fn new() -> Self {
        Self { begin: Instant::now() }
    }

    /// Returns the monotonic time.
    pub(crate) fn now(&self) -> Duration {
        BEGIN + self.begin.elapsed()
    }

    /// Returns the wall clock in seconds since 1970; 0 if it is set to a time before that.
    pub(crate) fn wall(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }

    /// Returns the time for ages in the status: the wall clock without its steps.
    pub(crate) fn steady(&self) -> u64 {
        evenkeel_control::steady_time()
    }

    /// Reads the wall clock and the time since boot together, for what is stored on disk.
    pub(crate) fn both(&self) -> ClockReading {
        evenkeel_engine::Clock::start().now()
    }

    /// Converts a monotonic time to the wall clock, by their current difference.
    pub(crate) fn wall_at(&self, time: Duration) -> u64 {
        let now = self.now();
        match time.checked_sub(now) {
            Some(ahead) => self.wall().saturating_add(ahead.as_secs()),
            None => self.wall().saturating_sub((now - time).as_secs()),
        }
    }
}
