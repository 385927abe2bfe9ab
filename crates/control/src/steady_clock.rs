//! The wall clock as it would be if it had not been set since the process began to read it.
//!
//! What the daemon remembers of the past is in this time, so that a step of the wall clock, by NTP or by
//! hand, makes nothing older or younger. It is converted to the present wall clock when it is shown.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// A reading of both clocks.
#[derive(Debug, Clone, Copy)]
struct Reading {
    wall: Duration,
    /// Since boot, suspend included; it cannot be set.
    uptime: Duration,
}

/// The first reading of the process.
static ORIGIN: OnceLock<Reading> = OnceLock::new();

impl Reading {
    fn now() -> Self {
        let uptime = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(uptime.tv_sec).unwrap_or_default();
        let nanoseconds = u32::try_from(uptime.tv_nsec).unwrap_or_default();
        Self {
            wall: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            uptime: Duration::new(seconds, nanoseconds),
        }
    }

    /// The wall clock that this reading would have if it had not been set since the origin.
    fn steady(self, origin: Self) -> Duration {
        origin.wall + self.uptime.saturating_sub(origin.uptime)
    }

    /// By how many seconds the wall clock was set forward since the origin. Less than one counts as none: the
    /// two clocks are read one after the other, and NTP corrects one of them.
    fn step(self, origin: Self) -> i64 {
        let (wall, steady) = (self.wall.as_millis(), self.steady(origin).as_millis());
        let whole = |milliseconds: u128| i64::try_from(milliseconds / 1_000).unwrap_or(i64::MAX);
        if wall >= steady { whole(wall - steady) } else { -whole(steady - wall) }
    }
}

/// Returns the time, in seconds since 1970 by the wall clock of the beginning.
pub fn steady_time() -> u64 {
    let now = Reading::now();
    now.steady(*ORIGIN.get_or_init(|| now)).as_secs()
}

/// Returns by how many seconds the wall clock is ahead of [`steady_time`]; negative if it is behind.
pub(crate) fn step() -> i64 {
    let now = Reading::now();
    now.step(*ORIGIN.get_or_init(|| now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_moves_the_wall_clock_and_no_steady_time() {
        let reading = |wall, uptime| Reading {
            wall: Duration::from_millis(wall),
            uptime: Duration::from_millis(uptime),
        };
        let origin = reading(1_000_000_000, 50_000);
        for (wall, step) in
            [(1_000_010_000, 0), (1_000_010_900, 0), (1_003_610_050, 3_600), (996_410_000, -3_600)]
        {
            let now = reading(wall, 60_000);
            assert_eq!(now.steady(origin), Duration::from_secs(1_000_010));
            assert_eq!(now.step(origin), step, "{wall}");
        }
    }
}
