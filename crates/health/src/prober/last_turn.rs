//! When the loop last turned, for other threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Moment;

/// In milliseconds since the boot.
#[derive(Debug, Clone)]
pub(crate) struct LastTurn(Arc<AtomicU64>);

impl Default for LastTurn {
    fn default() -> Self {
        let last_turn = Self(Arc::default());
        last_turn.set(Moment::now());
        last_turn
    }
}

impl LastTurn {
    pub(crate) fn set(&self, now: Moment) {
        self.0.store(u64::try_from(now.0.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Moment {
        Moment(Duration::from_millis(self.0.load(Ordering::Relaxed)))
    }
}
