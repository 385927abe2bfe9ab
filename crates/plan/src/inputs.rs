//! The inputs of a plan.

use evenkeel_model::statistics::Statistics;
use evenkeel_model::{Desired, Live, LocalSessions, Overlays, Scope};

use crate::{CutOff, LostFile, PriorState};

/// All inputs that a plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The desired state of the spec.
    pub desired: &'a Desired,
    /// The desired state by which guards judge what begins to leave a real server
    /// ([`crate::Leaving::judged`]); `None` if nothing does.
    pub judged: Option<&'a Desired>,
    /// What holds real servers at another weight, or out. The steps follow it, guards judge without it.
    pub overlays: &'a Overlays,
    /// The live state as read from the kernel.
    pub live: &'a Live,
    /// The recorded state of earlier applies to this network namespace.
    pub record: &'a PriorState,
    /// The desired state of the last applied spec; `None` if unknown, in which case the causes of
    /// steps are unknown too.
    pub last: Option<&'a Desired>,
    /// The spec file that may be incomplete ([`crate::cut_off`]).
    pub cut_off: Option<&'a CutOff>,
    /// The files of the last applied spec whose content is gone ([`crate::lost_files`]).
    pub lost_files: &'a [LostFile],
    /// The connections of the services that the plan touches, as far as they were counted; they
    /// affect only the reported impacts and the guards, never the steps.
    pub statistics: Option<&'a Statistics>,
    /// The sessions of programs on the host over [the addresses](crate::interrupted_addresses) that the plan
    /// takes from it; `None` if they were not read. They affect only a guard and warnings.
    pub sessions: Option<&'a LocalSessions>,
}

impl<'a> Inputs<'a> {
    /// Creates inputs without overlays, a last applied spec and connection counts.
    pub fn new(desired: &'a Desired, live: &'a Live, record: &'a PriorState) -> Self {
        Self {
            desired,
            judged: None,
            overlays: Overlays::none(),
            live,
            record,
            last: None,
            cut_off: None,
            lost_files: &[],
            statistics: None,
            sessions: None,
        }
    }

    /// Returns the scope of the spec in force; `None` if nothing was applied yet or the scope is
    /// unknown.
    pub(crate) fn scope_in_force(&self) -> Option<&'a Scope> {
        let Self { record, last, .. } = *self;
        let known = record.scope.as_ref().or(last.map(|last| &last.scope));
        known.filter(|_| record.applied)
    }
}
