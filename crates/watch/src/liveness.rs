//! A sign of life of the keeper, for those who judge from outside whether it still works: `/healthz`
//! and the service manager's watchdog. It judges nothing itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// When the keeper was last heard of.
#[derive(Debug)]
pub(crate) struct Liveness {
    began: Instant,
    /// Milliseconds from `began` to the last beat.
    last: AtomicU64,
}

impl Liveness {
    /// The first beat is now.
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), last: AtomicU64::new(0) }
    }

    /// I work: to be called at least once in every turn of the loop, waiting included.
    pub(crate) fn mark_alive(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// How long ago the last beat was.
    pub(crate) fn age(&self) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ages_until_the_next_beat() {
        let liveness = Liveness::new();
        std::thread::sleep(Duration::from_millis(20));
        assert!(liveness.age() >= Duration::from_millis(20));
        liveness.mark_alive();
        assert!(liveness.age() < Duration::from_millis(20), "{:?}", liveness.age());
    }
}
