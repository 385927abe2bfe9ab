//! Reads the clocks. What is made of them is in [`ClockReading`].

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use evenkeel_plan::{BootId, ClockReading, Uptime};
use rustix::time::{ClockId, clock_gettime};

/// A clock that begins as the wall's and that nobody can step: a pass that takes its time goes by
/// it.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    wall: Duration,
    since_boot: Duration,
    boot: Option<BootId>,
}

impl Clock {
    /// Begins with the time of now.
    pub fn start() -> Self {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self {
            // A clock before 1970 is none; drains without another one then end at their first look.
            wall: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            since_boot: since_boot(),
            boot: text.parse().ok(),
        }
    }

    /// Both clocks, the wall's as it has gone since the beginning.
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
