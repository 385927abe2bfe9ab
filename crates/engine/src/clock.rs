//! Reads the clocks; [`ClockReading`] interprets the readings.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use evenkeel_host::boot_id;
use evenkeel_plan::{BootId, ClockReading, Uptime};
use rustix::time::{ClockId, clock_gettime};

/// A clock that starts at wall-clock time and then advances with the time since boot.
///
/// A step of the wall clock does not affect it, so it can time a long pass.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    wall: Duration,
    since_boot: Duration,
    boot: Option<BootId>,
}

impl Clock {
    /// Starts at the current time.
    pub fn start() -> Self {
        Self {
            // A wall clock before 1970 reads as 0; drains that have no other clock then end at the
            // first check.
            wall: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            since_boot: since_boot(),
            boot: boot_id().ok().and_then(|boot| boot.parse().ok()),
        }
    }

    /// Reads both clocks; the wall clock is the start time plus the time that has passed since.
    pub fn now(&self) -> ClockReading {
        let Self { wall, since_boot: begin, boot } = *self;
        let now = since_boot();
        let milliseconds = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let uptime = boot.map(|boot| Uptime { boot, milliseconds });
        ClockReading { wall: wall + now.saturating_sub(begin), uptime }
    }
}

fn since_boot() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}
