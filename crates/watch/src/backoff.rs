//! When to try again what failed: soon at first, then less and less often.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The wait after the first failure.
const FIRST: Duration = Duration::from_secs(1);

/// The longest wait.
pub(crate) const LONGEST: Duration = Duration::from_secs(5 * 60);

/// How long to wait after that many failures in a row: 1 s, 2 s, 4 s ... up to 5 minutes, each
/// shortened by up to a fifth.
pub(crate) fn delay(failures: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
    jittered(FIRST.saturating_mul(doubled).min(LONGEST))
}

/// That time, shortened by up to a fifth at random: hosts that were started together do not stay in
/// step, and no bound that is promised is missed.
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
    fn it_doubles_from_a_second_to_five_minutes_and_never_beyond() {
        for (failures, seconds) in [(1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (u32::MAX, 300)] {
            assert!(is_about(delay(failures), seconds), "{failures}: {:?}", delay(failures));
        }
    }

    #[test]
    fn no_two_hosts_keep_step() {
        let delays: std::collections::BTreeSet<Duration> = (0..100).map(|_| delay(5)).collect();
        assert!(delays.len() > 10, "{delays:?}");
    }
}
