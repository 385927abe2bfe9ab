//! Two clocks: one that never jumps, for waiting, and the wall's, for telling.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use evenkeel_plan::ClockReading;

/// Both of them.
#[derive(Debug)]
pub(crate) struct Clock {
    begin: Instant,
}

/// Before every reading of a clock there is a day that no back-off or fight reaches behind.
const BEGIN: Duration = Duration::from_secs(24 * 60 * 60);

impl Clock {
    pub(crate) fn new() -> Self {
        Self { begin: Instant::now() }
    }

    /// The time on the clock that never jumps.
    pub(crate) fn now(&self) -> Duration {
        BEGIN + self.begin.elapsed()
    }

    /// The wall's time, in seconds since 1970; a clock before that is none.
    pub(crate) fn wall(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }

    /// The wall's time and the kernel's since its boot, for what is kept on disk.
    pub(crate) fn both(&self) -> ClockReading {
        evenkeel_engine::Clock::start().now()
    }

    /// What the wall's clock shows at a time of the other one, as far as can be told now.
    pub(crate) fn wall_at(&self, time: Duration) -> u64 {
        let now = self.now();
        match time.checked_sub(now) {
            Some(ahead) => self.wall().saturating_add(ahead.as_secs()),
            None => self.wall().saturating_sub((now - time).as_secs()),
        }
    }
}
