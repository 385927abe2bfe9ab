//! How long the verdicts of a group of checks are awaited when it is new.

use std::time::Duration;

use crate::clock::Moment;
use crate::hysteresis::{Basis, Hysteresis};

/// The time in which first results are awaited before anything relies on the verdicts, as before a VIP
/// without quorum is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Startup {
    ends: Moment,
}

impl Startup {
    /// Begins to wait.
    pub fn new(now: Moment, time: Duration) -> Self {
        Self { ends: now + time }
    }

    /// Whether the wait is over: every check has results that decide, or the time has passed.
    pub fn is_over<'a>(
        self,
        now: Moment,
        mut checks: impl Iterator<Item = &'a Hysteresis>,
    ) -> bool {
        now >= self.ends || checks.all(|it| it.basis() == Basis::Probed)
    }

    /// When the time ends.
    pub fn ends(self) -> Moment {
        self.ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Fault, Outcome};
    use evenkeel_model::Verdict;
    use evenkeel_model::check::{Check, Kind};

    #[test]
    fn the_wait_ends_with_the_last_first_result_or_with_its_time() {
        let at = |seconds| Moment(Duration::from_secs(seconds));
        let startup = Startup::new(at(10), Duration::from_secs(3));
        let check = Check::new(Kind::Icmp);
        let mut states = vec![Hysteresis::assumed(Verdict::Down, at(10)); 2];
        states[0].record(&check, at(11), &Outcome::Passed);
        states[1].record(&check, at(11), &Fault::Memory.into());
        assert!(!startup.is_over(at(11), states.iter()));
        assert!(startup.is_over(at(13), states.iter()));
        states[1].record(&check, at(12), &Outcome::Passed);
        assert!(startup.is_over(at(12), states.iter()));
        assert!(startup.is_over(at(10), [].iter()));
    }
}
