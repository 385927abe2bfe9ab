//! Readings of two clocks, and times on disk that are recorded with both.
//!
//! The wall clock is stepped, by NTP and by hand, and survives a reboot; the kernel's time since
//! boot is not stepped and does not survive a reboot. A start time is recorded with both, and
//! within the same boot the second one decides. Nothing here reads a clock.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The uncertainty of the difference between the two clocks, in milliseconds: they are read one
/// after the other.
const JITTER: u128 = 50;

/// Identifies one boot of a kernel, as in `/proc/sys/kernel/random/boot_id` (random(4)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BootId(u128);

/// The time since boot, including suspend, on a clock that cannot be set (`CLOCK_BOOTTIME` of
/// clock_gettime(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uptime {
    /// The boot.
    pub boot: BootId,
    /// The milliseconds since that boot.
    pub milliseconds: u64,
}

/// A reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockReading {
    /// The wall clock: the time since 1970.
    pub wall: Duration,
    /// The time since boot; `None` if the kernel does not report a boot ID.
    pub uptime: Option<Uptime>,
}

impl ClockReading {
    /// Converts a wall-clock time, in seconds since 1970, to a time since boot, which is recorded
    /// beside it so that a step of the wall clock does not move it; `None` if it was before this
    /// boot.
    pub fn uptime_at(&self, wall: u64) -> Option<Uptime> {
        let Uptime { boot, milliseconds } = self.uptime?;
        let at = u128::from(wall) * 1_000 + u128::from(milliseconds);
        let milliseconds = at.checked_sub(self.wall.as_millis())?;
        Some(Uptime { boot, milliseconds: u64::try_from(milliseconds).ok()? })
    }

    /// Converts a recorded time to the present wall clock, in seconds since 1970, as if that clock
    /// had never been stepped. In another boot, and without a recorded time since boot, `since` is
    /// used as it is. Never in the future: a recorded start is in the past, or in the present
    /// second, as starts are rounded up.
    pub fn wall_at(&self, since: u64, stored: Option<Uptime>) -> u64 {
        let rebased = match (stored, self.uptime) {
            (Some(stored), Some(now)) if stored.boot == now.boot => {
                let at = self.wall.as_millis() + u128::from(stored.milliseconds);
                let milliseconds = at.saturating_sub(u128::from(now.milliseconds));
                // Rounded up: no drain ends before its time.
                u64::try_from(milliseconds.saturating_sub(JITTER).div_ceil(1_000)).unwrap_or(since)
            }
            _ => since,
        };
        rebased.min(self.wall.as_secs() + 1)
    }

    /// Whether that time was recorded in this boot.
    pub fn is_of_this_boot(&self, stored: Option<Uptime>) -> bool {
        let (stored, now) = (stored.map(|it| it.boot), self.uptime.map(|it| it.boot));
        stored.is_some() && stored == now
    }
}

/// The error for a text that is not a boot ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidBootId;

impl std::error::Error for InvalidBootId {}

impl fmt::Display for InvalidBootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a boot ID")
    }
}

impl FromStr for BootId {
    type Err = InvalidBootId;

    fn from_str(text: &str) -> Result<Self, InvalidBootId> {
        let digits: String = text.trim().chars().filter(|it| *it != '-').collect();
        let is_whole = digits.len() == 32 && digits.chars().all(|it| it.is_ascii_hexdigit());
        let number = u128::from_str_radix(&digits, 16).map_err(|_| InvalidBootId)?;
        if is_whole { Ok(Self(number)) } else { Err(InvalidBootId) }
    }
}

impl TryFrom<String> for BootId {
    type Error = InvalidBootId;

    fn try_from(text: String) -> Result<Self, InvalidBootId> {
        text.parse()
    }
}

impl From<BootId> for String {
    fn from(boot: BootId) -> Self {
        boot.to_string()
    }
}

impl fmt::Display for BootId {
    /// Writes it as the kernel does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:032x}", self.0);
        let pieces = [0..8, 8..12, 12..16, 16..20, 20..32].map(|piece| &digits[piece]);
        f.write_str(&pieces.join("-"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 1_767_268_800;
    const HOUR: u64 = 3_600;

    /// A reading on a host with that uptime and wall clock, in seconds.
    fn reading(boot: u128, wall: u64, uptime: u64) -> ClockReading {
        let uptime = Uptime { boot: BootId(boot), milliseconds: uptime * 1_000 + 120 };
        ClockReading { wall: Duration::from_millis(wall * 1_000 + 480), uptime: Some(uptime) }
    }

    #[test]
    fn a_start_moves_with_the_wall_clock_when_that_is_stepped() {
        let stored = reading(1, NOON, 500).uptime_at(NOON);
        assert!(stored.is_some());
        // Twenty seconds later by the clock since boot, with the wall clock stepped.
        for step in [0, HOUR, 1_000 * HOUR] {
            let ahead = reading(1, NOON + 20 + step, 520);
            assert_eq!(ahead.wall_at(NOON, stored), NOON + step);
            let back = reading(1, NOON + 20 - step, 520);
            assert_eq!(back.wall_at(NOON, stored), NOON - step);
        }
    }

    #[test]
    fn a_start_is_never_moved_before_the_true_start() {
        for milliseconds in [0, 1, 51, 499, 500, 999] {
            let began =
                ClockReading { wall: Duration::from_millis(NOON * 1_000), ..reading(1, 0, 500) };
            let stored = began.uptime_at(NOON);
            let step = Duration::from_millis(20_000 + milliseconds);
            let mut now = ClockReading { wall: began.wall + step, ..reading(1, 0, 500) };
            now.uptime.as_mut().expect("it is known").milliseconds += 20_000;
            let rebased = Duration::from_secs(now.wall_at(NOON, stored));
            let truly = Duration::from_millis(NOON * 1_000 + milliseconds);
            assert!(rebased + Duration::from_millis(50) >= truly, "{milliseconds}");
            assert!(rebased < truly + Duration::from_secs(1), "{milliseconds}");
        }
    }

    #[test]
    fn in_another_boot_or_without_a_recorded_uptime_the_wall_clock_counts() {
        let stored = reading(1, NOON, 500).uptime_at(NOON);
        let later = reading(2, NOON + HOUR, 20);
        for stored in [stored, None] {
            assert_eq!(later.wall_at(NOON, stored), NOON);
            assert!(!later.is_of_this_boot(stored));
        }
        let nameless = ClockReading { uptime: None, ..later };
        assert_eq!(nameless.wall_at(NOON, stored), NOON);
        assert!(!nameless.is_of_this_boot(None));
        assert_eq!(nameless.uptime_at(NOON), None);
    }

    #[test]
    fn a_start_in_the_future_becomes_the_present() {
        let stored = reading(1, NOON, 500).uptime_at(NOON);
        let back = reading(2, NOON - HOUR, 20);
        for stored in [stored, None] {
            assert_eq!(back.wall_at(NOON, stored), NOON - HOUR + 1);
        }
    }

    #[test]
    fn a_time_before_this_boot_has_no_uptime() {
        let now = reading(2, NOON, 20);
        assert_eq!(now.uptime_at(NOON - HOUR), None);
        assert!(now.is_of_this_boot(now.uptime_at(NOON - 10)));
    }

    #[test]
    fn a_boot_is_written_as_the_kernel_writes_it() {
        let name = "3c8a4a5e-0b1f-4d6e-9a57-00c0ffee0001";
        let boot: BootId = format!("{name}\n").parse().expect("it is one");
        assert_eq!(boot.to_string(), name);
        let text = serde_json::to_string(&boot).expect("it can be written");
        assert_eq!(serde_json::from_str::<BootId>(&text).expect("it can be read"), boot);
        for bad in ["", "none", "+3c8a4a5e0b1f4d6e9a5700c0ffee001", &name[1..]] {
            assert_eq!(bad.parse::<BootId>(), Err(InvalidBootId), "{bad}");
        }
    }
}
