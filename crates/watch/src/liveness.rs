//! Tracks whether the reconciler loop is alive, for `/healthz` and the service manager's watchdog,
//! which compare its age with their own limits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// When the reconciler last marked itself alive.
#[derive(Debug)]
pub(crate) struct Liveness {
    began: Instant,
    /// Milliseconds from `began` to the last mark.
    last: AtomicU64,
}

impl Liveness {
    /// Creates it with the first mark now.
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), last: AtomicU64::new(0) }
    }

    /// Marks the loop alive; to be called in every iteration, waiting included.
    pub(crate) fn mark_alive(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// Returns how long ago the last mark was.
    pub(crate) fn age(&self) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ages_until_the_next_mark() {
        let liveness = Liveness::new();
        std::thread::sleep(Duration::from_millis(20));
        assert!(liveness.age() >= Duration::from_millis(20));
        liveness.mark_alive();
        assert!(liveness.age() < Duration::from_millis(20), "{:?}", liveness.age());
    }
}
