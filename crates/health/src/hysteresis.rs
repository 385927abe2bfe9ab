//! From results to a verdict: how many in a row decide, and what holds before the first ones are in.
//!
//! A pure state machine. Its clock is what it is given.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use evenkeel_model::Verdict;
use evenkeel_model::check::Check;

use crate::clock::Moment;
use crate::outcome::{Failure, Outcome};

/// On what a verdict rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Nothing was probed yet: what the kernel had, or down if it had nothing.
    Assumed,
    /// The verdict of the check before it was changed.
    Carried,
    /// Its own results.
    Probed,
}

/// The interval that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pace {
    /// `interval`.
    Normal,
    /// `fast`: the verdict is open.
    Fast,
}

/// A change of a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The verdict since then.
    pub to: Verdict,
    /// When.
    pub at: Moment,
    /// The last failure, of one to `Down`.
    pub failure: Option<Failure>,
}

/// The state of a check of a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hysteresis {
    verdict: Verdict,
    basis: Basis,
    since: Moment,
    /// Passes in a row; results that are unknown do not count at all.
    passes: u32,
    /// Failures in a row.
    failures: u32,
    last_failure: Option<Failure>,
    /// When the verdict changed, within the time of the check's `flap`.
    changes: VecDeque<Moment>,
    held_until: Option<Moment>,
    /// When it came up, after it was down; `None` of what was never seen down.
    #[serde(default)]
    risen: Option<Moment>,
}

impl Hysteresis {
    /// The state before the first result: what the kernel has if the target is in use, else down.
    ///
    /// A first pass brings it up. What is assumed up needs `fall` failures to go down, as any other: a
    /// packet that is lost just then takes nothing out.
    pub fn assumed(verdict: Verdict, now: Moment) -> Self {
        Self {
            verdict,
            basis: Basis::Assumed,
            since: now,
            passes: 0,
            failures: 0,
            last_failure: None,
            changes: VecDeque::new(),
            held_until: None,
            risen: None,
        }
    }

    /// The state after a check that was made as often as needed, once and for all; `None` if the result is
    /// unknown.
    pub fn decided(now: Moment, outcome: &Outcome) -> Option<Self> {
        let (verdict, last_failure) = match outcome {
            Outcome::Unknown(_) => return None,
            Outcome::Passed => (Verdict::Up, None),
            Outcome::Failed(failure) => (Verdict::Down, Some(failure.clone())),
        };
        Some(Self { basis: Basis::Probed, last_failure, ..Self::assumed(verdict, now) })
    }

    /// The state of a changed check: it keeps the verdict until its own results decide, as what is assumed.
    pub fn carried(&self) -> Self {
        Self { basis: Basis::Carried, passes: 0, failures: 0, ..self.clone() }
    }

    /// Counts a result.
    pub fn record(&mut self, check: &Check, now: Moment, outcome: &Outcome) -> Option<Transition> {
        match outcome {
            Outcome::Unknown(_) => None,
            Outcome::Passed => {
                self.failures = 0;
                self.passes = self.passes.saturating_add(1);
                let needed = match self.basis {
                    Basis::Assumed | Basis::Carried => 1,
                    Basis::Probed => check.rise.get(),
                };
                match self.verdict {
                    Verdict::Up => {
                        self.basis = Basis::Probed;
                        None
                    }
                    Verdict::Down if self.held_until.is_some() => {
                        self.basis = Basis::Probed;
                        self.release(check, now)
                    }
                    Verdict::Down if self.passes >= needed => {
                        self.basis = Basis::Probed;
                        self.rise(check, now)
                    }
                    Verdict::Down => None,
                }
            }
            Outcome::Failed(failure) => {
                self.passes = 0;
                self.failures = self.failures.saturating_add(1);
                self.last_failure = Some(failure.clone());
                match self.verdict {
                    Verdict::Up if self.failures >= check.fall.get() => {
                        self.basis = Basis::Probed;
                        self.note_change(check, now);
                        Some(self.change(Verdict::Down, now))
                    }
                    Verdict::Up => None,
                    Verdict::Down => {
                        self.basis = Basis::Probed;
                        None
                    }
                }
            }
        }
    }

    /// Ends the hold of a flapping target once its time is over: up if it passes.
    pub fn release(&mut self, check: &Check, now: Moment) -> Option<Transition> {
        if self.held_until? > now {
            return None;
        }
        self.held_until = None;
        self.changes.clear();
        (self.passes >= check.rise.get()).then(|| self.rise(check, now)).flatten()
    }

    fn rise(&mut self, check: &Check, now: Moment) -> Option<Transition> {
        self.note_change(check, now);
        if let Some(flap) = check.flap
            && self.changes.len() >= flap.changes.get() as usize
        {
            self.held_until = Some(now + flap.hold);
            return None;
        }
        Some(self.change(Verdict::Up, now))
    }

    fn change(&mut self, to: Verdict, now: Moment) -> Transition {
        self.verdict = to;
        self.since = now;
        self.risen = (to == Verdict::Up).then_some(now);
        let failure = match to {
            Verdict::Up => None,
            Verdict::Down => self.last_failure.clone(),
        };
        Transition { to, at: now, failure }
    }

    fn note_change(&mut self, check: &Check, now: Moment) {
        let Some(flap) = check.flap else {
            self.changes.clear();
            return;
        };
        self.changes.push_back(now);
        while self.changes.front().is_some_and(|it| now.since(*it) > flap.within) {
            self.changes.pop_front();
        }
        // A hold needs no more of them, and what is stored stays small.
        while self.changes.len() > flap.changes.get() as usize {
            self.changes.pop_front();
        }
    }

    /// The verdict.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// On what it rests.
    pub fn basis(&self) -> Basis {
        self.basis
    }

    /// Since when it holds.
    pub fn since(&self) -> Moment {
        self.since
    }

    /// When it came up; `None` if it is down, or was never seen down.
    pub fn risen(&self) -> Option<Moment> {
        self.risen
    }

    /// Passes in a row.
    pub fn passes(&self) -> u32 {
        self.passes
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The last failure, also of what has passed since.
    pub fn last_failure(&self) -> Option<&Failure> {
        self.last_failure.as_ref()
    }

    /// Until when a flapping target is kept out; `None`: it is not.
    pub fn held_until(&self) -> Option<Moment> {
        self.held_until
    }

    /// Whether the next probe is due after `fast` or after `interval`.
    pub fn pace(&self) -> Pace {
        let open = match self.verdict {
            Verdict::Up => self.failures > 0,
            Verdict::Down => self.passes > 0 && self.held_until.is_none(),
        };
        match self.basis {
            Basis::Assumed | Basis::Carried => Pace::Fast,
            Basis::Probed if open => Pace::Fast,
            Basis::Probed => Pace::Normal,
        }
    }
}

#[cfg(test)]
#[path = "hysteresis/tests.rs"]
mod tests;
