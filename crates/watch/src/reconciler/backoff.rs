//! Exponential back-off with jitter.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The delay after the first failure.
const FIRST: Duration = Duration::from_secs(1);

/// The longest delay.
pub(crate) const LONGEST: Duration = Duration::from_secs(5 * 60);

/// Returns the delay after so many failures in a row: 1 s, 2 s, 4 s ... up to 5 minutes, each
/// shortened by up to a fifth.
pub(crate) fn delay(failures: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
    jittered(FIRST.saturating_mul(doubled).min(LONGEST))
}

/// Shortens the time by up to a fifth at random, so that hosts which were started together do not act
/// at the same moments. It never lengthens it: the time is a promised upper bound.
pub(crate) fn jittered(time: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8) % 1_000;
    time.saturating_sub(time / 5 * u32::try_from(random).unwrap_or_default() / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_about(delay: Duration, seconds: u64) -> bool {
        let whole = Duration::from_secs(seconds);
        delay <= whole && delay >= whole / 5 * 4
    }

    #[test]
    fn the_delay_doubles_from_a_second_to_five_minutes_and_never_beyond() {
        for (failures, seconds) in [(1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (u32::MAX, 300)] {
            assert!(is_about(delay(failures), seconds), "{failures}: {:?}", delay(failures));
        }
    }

    #[test]
    fn delays_are_jittered() {
        let delays: std::collections::BTreeSet<Duration> = (0..100).map(|_| delay(5)).collect();
        assert!(delays.len() > 10, "{delays:?}");
    }
}
