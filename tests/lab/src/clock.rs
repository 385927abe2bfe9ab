//! Steps the wall clock, which is shared by the whole kernel of the lab: only one test runs at a
//! time there.

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};

/// A step of the wall clock, reversed on drop.
#[derive(Debug)]
pub struct Stepped(i64);

impl Stepped {
    /// Steps the clock by this many seconds, backwards if negative.
    ///
    /// # Panics
    /// Panics if the process may not set the clock.
    #[must_use]
    pub fn by(seconds: i64) -> Self {
        step(seconds);
        Self(seconds)
    }
}

impl Drop for Stepped {
    fn drop(&mut self) {
        step(-self.0);
    }
}

fn step(seconds: i64) {
    let now = clock_gettime(ClockId::CLOCK_REALTIME).expect("the time");
    let then = TimeSpec::new(now.tv_sec() + seconds, now.tv_nsec());
    clock_settime(ClockId::CLOCK_REALTIME, then).expect("a clock that can be set");
}
