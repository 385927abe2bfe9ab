//! Records which objects are adopted, and removes them when they are no longer adopted.

use std::collections::BTreeSet;

use evenkeel_model::{Desired, Live, ServiceKey};
use evenkeel_plan::{Governed, Op, Verb};

use super::Journal;
use crate::{Done, Outcome, PartialApplies, Report, Rollback};

/// The specs before the one that is about to be applied.
#[derive(Debug, Clone, Copy, Default)]
pub struct EarlierSpecs<'a> {
    /// The last applied spec with what was applied to single services since; `None` where none is
    /// known.
    pub last: Option<&'a Desired>,
    /// The spec of an unfinished attempt ([`Journal::next`]).
    pub attempted: Option<&'a Desired>,
}

impl Journal {
    /// Whether adoption can change: not on a host without services, sync daemons and adopted
    /// objects.
    pub fn may_adopt(&self, live: &Live) -> bool {
        !(live.services.is_empty() && live.sync.is_empty() && self.adopted.is_empty())
    }

    /// Adopts the live objects that the spec lists and that evenkeel did not create.
    ///
    /// The journal must be written before the first change.
    pub fn adopt(&mut self, desired: &Desired, live: &Live, earlier: EarlierSpecs<'_>) {
        let attempted = self.attempted.over(earlier.attempted.cloned());
        let governed = Governed {
            last: earlier.last,
            attempted: attempted.as_ref(),
            drains: &self.record.drains,
        };
        self.adopted.adopt(desired, live, governed);
    }

    /// Adopts as [`Self::adopt`] does, but only these services, and records what is asked for until
    /// the outcome is known.
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
        self.attempted.extend(PartialApplies::new(services, desired));
    }

    /// Records that what was asked for single services is applied.
    pub fn targeted_is_applied(&mut self, asked: PartialApplies) {
        self.targeted.extend(asked);
        self.attempted = PartialApplies::default();
    }

    /// Updates adoption with the outcome of a pass.
    ///
    /// While an apply is pending, deleted objects stay adopted: a rollback may restore them.
    pub(crate) fn conclude_adoption(&mut self, report: &Report) {
        if self.pending.is_none() {
            let is_gone = |it: &Outcome| matches!(it, Outcome::Applied | Outcome::AlreadyInPlace);
            let done = report
                .iter()
                .filter(|Done { op, outcome }| op.verb() == Verb::Add || is_gone(outcome));
            self.adopted.forget_deleted(done.map(|done| done.op));
        }
        // Everything is as before: objects found by the next apply were not created by this
        // attempt.
        if report.rollback.as_ref().is_some_and(Rollback::is_clean) {
            self.next = None;
            self.attempted = PartialApplies::default();
        }
    }

    /// Updates adoption when the steps of a pending apply are confirmed.
    pub(crate) fn confirm_adoption(&mut self, steps: &[Op]) {
        self.adopted.forget_deleted(steps);
        self.attempted = PartialApplies::default();
    }
}

#[cfg(test)]
mod tests;
