//! What is to be probed.

use crate::check::Check;
use crate::check_id::CheckId;
use crate::hysteresis::Verdict;
use crate::target::Target;

/// A check of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The target.
    pub target: Target,
    /// The check.
    pub check: Check,
    /// What holds until something is known of it: up if the kernel has it in use, down if it is new.
    pub first: Verdict,
}

impl Job {
    /// Its identity: jobs of many services that have the same one are one probe.
    pub fn id(&self) -> CheckId {
        CheckId::of(self.target, &self.check)
    }
}
