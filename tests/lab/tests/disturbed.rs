//! What the soak and the hostile test share: a host whose spec is written again and again while other programs
//! change its table.

use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use evenkeel_lab_tests::say;

pub(crate) mod fixture;
pub(crate) mod leaks;
pub(crate) mod specs;
pub(crate) mod table;
pub(crate) mod wanted;

/// How many failures are recorded: a few of a kind are enough.
const MOST_FAILURES: usize = 20;

/// How soon a pausing thread ends with the run.
const LOOK: Duration = Duration::from_millis(50);

/// Returns the seed of a run: from the environment, else a random one.
pub(crate) fn seed() -> u64 {
    let seed = std::env::var("EVENKEEL_LAB_SEED").ok();
    seed.map_or_else(|| RandomState::new().hash_one("seed"), |text| text.parse().unwrap())
}

/// Whether the disturbances go on, and what went wrong.
#[derive(Debug, Default)]
pub(crate) struct Run {
    is_over: AtomicBool,
    failures: Mutex<Vec<String>>,
}

impl Run {
    pub(crate) fn is_running(&self) -> bool {
        !self.is_over.load(Ordering::SeqCst)
    }

    /// Waits for that time, or until the run is over; returns whether it continues.
    pub(crate) fn pause(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        while self.is_running() && Instant::now() < end {
            sleep(LOOK.min(end.saturating_duration_since(Instant::now())));
        }
        self.is_running()
    }

    /// Ends the run when the value is dropped, also by a panic.
    pub(crate) fn ending(&self) -> Ending<'_> {
        Ending(self)
    }

    /// Records a failure. The test continues.
    pub(crate) fn fail(&self, text: String) {
        let mut failures = self.failures.lock().unwrap();
        if failures.len() < MOST_FAILURES {
            say(&format!("FAILURE: {text}"));
            failures.push(text);
        }
    }

    /// Returns the failures so far.
    pub(crate) fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap().clone()
    }
}

/// Ends a run.
pub(crate) struct Ending<'a>(&'a Run);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::SeqCst);
    }
}
