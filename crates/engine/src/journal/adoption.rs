//! When objects that were there before are adopted, and when that is over.

use std::collections::BTreeSet;

use evenkeel_model::{Desired, Live, ServiceKey};
use evenkeel_plan::{Governed, Op, Verb};

use super::Journal;
use crate::{Done, Outcome, Report, Rollback, Targeted};

/// The specs before the one that is about to come into force.
#[derive(Debug, Clone, Copy, Default)]
pub struct EarlierSpecs<'a> {
    /// The last applied one with what was applied to single services since; `None` where none is
    /// known.
    pub last: Option<&'a Desired>,
    /// The one of an attempt that did not finish ([`Journal::next`]).
    pub attempted: Option<&'a Desired>,
}

impl Journal {
    /// Whether anything can become adopted, or cease to be: not on a host without services and
    /// sync daemons.
    pub fn may_adopt(&self, live: &Live) -> bool {
        !(live.services.is_empty() && live.sync.is_empty() && self.adopted.is_empty())
    }

    /// Adopts what a spec lists that is about to come into force, is live, and is not evenkeel's.
    /// To be written before the first change.
    pub fn adopt(&mut self, desired: &Desired, live: &Live, earlier: EarlierSpecs<'_>) {
        let attempted = self.attempted.over(earlier.attempted.cloned());
        let governed = Governed {
            last: earlier.last,
            attempted: attempted.as_ref(),
            drains: &self.record.drains,
        };
        self.adopted.adopt(desired, live, governed);
    }

    /// The same for these services alone, and remembers what is asked of them until it is known
    /// whether that came into force.
    pub fn adopt_targeted(
        &mut self,
        services: &BTreeSet<ServiceKey>,
        desired: &Desired,
        live: &Live,
        earlier: EarlierSpecs<'_>,
    ) {
        let attempted = self.attempted.over(earlier.attempted.cloned());
        let governed = Governed {
            last: earlier.last,
            attempted: attempted.as_ref(),
            drains: &self.record.drains,
        };
        self.adopted.adopt_services(services, desired, live, governed);
        self.attempted.extend(Targeted::new(services, desired));
    }

    /// What was asked of single services is in force.
    pub fn targeted_is_applied(&mut self, asked: Targeted) {
        self.targeted.extend(asked);
        self.attempted = Targeted::default();
    }

    /// What became of adopted objects. While an apply waits for its confirmation they may still
    /// come back.
    pub(crate) fn conclude_adoption(&mut self, report: &Report) {
        if self.pending.is_none() {
            let is_gone = |it: &Outcome| matches!(it, Outcome::Applied | Outcome::AlreadyInPlace);
            let done = report
                .iter()
                .filter(|Done { op, outcome }| op.verb() == Verb::Add || is_gone(outcome));
            self.adopted.forget_deleted(done.map(|done| done.op));
        }
        // All is as before: what is found next time was not created by this attempt.
        if report.rollback.as_ref().is_some_and(Rollback::is_clean) {
            self.next = None;
            self.attempted = Targeted::default();
        }
    }

    /// The steps of an apply that waited are confirmed.
    pub(crate) fn confirm_adoption(&mut self, steps: &[Op]) {
        self.adopted.forget_deleted(steps);
        self.attempted = Targeted::default();
    }
}

#[cfg(test)]
mod tests;
