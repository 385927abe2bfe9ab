//! What is to be probed.

use crate::check_id::CheckId;
use evenkeel_model::Verdict;
use evenkeel_model::check::Check;
use evenkeel_model::check::Target;

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
