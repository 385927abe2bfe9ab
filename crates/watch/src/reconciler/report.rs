//! What the passes found and left undone, for the status.

use std::collections::BTreeSet;

use evenkeel_control::PassStatus;
use evenkeel_host::KnownWriter;
use evenkeel_model::{Binding, Names};
use evenkeel_plan::render::{Labels, Line, count, kept};
use evenkeel_plan::{HeldServer, Plan, Warning};
use tracing::{info, warn};

use super::pass_error::{PassError, PassProblem};

/// The maximum number of pending steps in the status.
const LINES: usize = 200;

/// After how many failures to take the lock its holder is determined.
const PATIENCE: u32 = 10;

/// The findings of the last passes.
#[derive(Debug, Default)]
pub(super) struct PassReport {
    /// Why no pass can be made, and how many passes in a row have failed.
    error: Option<PassError>,
    consecutive_failures: u32,
    /// Why some steps cannot be tried.
    unmet_preconditions: Vec<String>,
    pending_steps: Vec<String>,
    /// The warnings of the last plan.
    held_servers: Vec<HeldServer>,
    warnings: Vec<Warning>,
    /// The VIPs that are another program's.
    foreign_vips: BTreeSet<Binding>,
    /// The programs found on the host that are known to change the same things.
    known_writers: Vec<KnownWriter>,
    unmanaged: usize,
    last_pass: Option<PassStatus>,
    last_success: Option<u64>,
}

impl PassReport {
    /// Forgets what the last pass left undone; this one finds it again.
    pub(super) fn begin_pass(&mut self) {
        (self.unmet_preconditions, self.pending_steps) = (Vec::new(), Vec::new());
    }

    /// Records that a pass was made.
    pub(super) fn pass_made(&mut self) {
        if self.error.take().is_some() {
            info!("passes succeed again");
        }
        self.consecutive_failures = 0;
    }

    /// Records that no pass could be made.
    pub(super) fn pass_failed(&mut self, error: PassError) {
        self.consecutive_failures = self.consecutive_failures.saturating_add(1);
        if let PassError::Other(message) = &error
            && self.consecutive_failures.is_power_of_two()
        {
            warn!(times = self.consecutive_failures, "{message}");
        }
        self.error = Some(error);
    }

    pub(super) fn error(&self) -> Option<&PassError> {
        self.error.as_ref()
    }

    /// Returns what the next attempt depends on.
    pub(super) fn problem(&self) -> Option<PassProblem> {
        self.error.as_ref().map(|error| match error {
            PassError::Locked(_) => PassProblem::Locked,
            PassError::Other(_) => PassProblem::Failed(self.consecutive_failures),
        })
    }

    /// Whether the lock has been held for so long that its holder should be determined, which is slow.
    pub(super) fn should_find_lock_holder(&self) -> bool {
        self.consecutive_failures == PATIENCE
    }

    /// Returns the error of a pass that cannot take the lock; a known holder is named again.
    pub(super) fn locked(&self) -> PassError {
        match &self.error {
            Some(locked @ PassError::Locked(_)) => locked.clone(),
            _ => {
                let message = "another process is changing this network namespace";
                PassError::Locked(message.to_owned())
            }
        }
    }

    /// Stores what a plan reports, and logs the new warnings.
    pub(super) fn planned(&mut self, plan: &Plan) {
        self.unmanaged = plan.out_of_scope;
        for warning in plan.warnings.iter().filter(|it| !self.warnings.contains(it)) {
            warn!("{warning}");
        }
        self.warnings.clone_from(&plan.warnings);
        self.held_servers.clone_from(&plan.held);
    }

    /// The real servers that overlays hold, as of the last pass.
    pub(super) fn held_servers(&self) -> &[HeldServer] {
        &self.held_servers
    }

    pub(super) fn set_foreign_vips(&mut self, foreign: BTreeSet<Binding>) {
        self.foreign_vips = foreign;
    }

    /// The VIPs that the last pass found to be another program's.
    pub(super) fn foreign_vips(&self) -> &BTreeSet<Binding> {
        &self.foreign_vips
    }

    pub(super) fn set_known_writers(&mut self, writers: Vec<KnownWriter>) {
        self.known_writers = writers;
    }

    pub(super) fn known_writers(&self) -> &[KnownWriter] {
        &self.known_writers
    }

    /// Records why something cannot be done now.
    pub(super) fn prevented(&mut self, why: String) {
        self.unmet_preconditions.push(why);
    }

    pub(super) fn unmet_preconditions(&self) -> &[String] {
        &self.unmet_preconditions
    }

    /// Stores the steps of a plan that is not applied, as a plan shows them.
    pub(super) fn set_pending(&mut self, plan: &Plan, names: Names<'_>) {
        self.pending_steps = lines(plan, names);
    }

    pub(super) fn pending_steps(&self) -> &[String] {
        &self.pending_steps
    }

    pub(super) fn set_last_pass(&mut self, pass: &PassStatus) {
        self.last_pass = Some(pass.clone());
    }

    pub(super) fn last_pass(&self) -> Option<&PassStatus> {
        self.last_pass.as_ref()
    }

    /// Records that the host was as the spec asks at this time, in seconds since 1970.
    pub(super) fn succeeded(&mut self, now: u64) {
        self.last_success = Some(now);
    }

    pub(super) fn last_success(&self) -> Option<u64> {
        self.last_success
    }

    pub(super) fn unmanaged(&self) -> usize {
        self.unmanaged
    }

    /// The number of services whose address is not local.
    pub(super) fn services_not_local(&self) -> usize {
        self.warnings.iter().map(|it| it.not_local().len()).sum()
    }

    /// The number of services without a real server of positive weight.
    pub(super) fn services_without_servers(&self) -> usize {
        self.warnings.iter().map(|it| it.without_servers().len()).sum()
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        self.warnings.iter().map(ToString::to_string).collect()
    }

    /// Lists what went wrong with the last pass.
    pub(super) fn problems(&self) -> impl Iterator<Item = &str> {
        let error = match &self.error {
            Some(PassError::Other(message)) => Some(message),
            // An apply that waits for drains may hold the lock for long.
            Some(PassError::Locked(message)) => (self.consecutive_failures > 1).then_some(message),
            None => None,
        };
        error.into_iter().chain(&self.unmet_preconditions).map(String::as_str)
    }
}

/// Returns the steps as a plan shows them.
fn lines(plan: &Plan, names: Names<'_>) -> Vec<String> {
    let labels = Labels::new(names);
    let scope = plan.wider_scope.iter().map(ToString::to_string);
    let kept = kept(plan, names).map(|line| line.trim_start().to_owned()).take(LINES);
    let steps = plan.steps.iter().take(LINES);
    let steps = steps.map(|op| Line { op, labels: &labels }.to_string());
    let mut lines: Vec<String> = scope.chain(kept).chain(steps).collect();
    if plan.steps.len() > LINES {
        lines.push(format!("... and {} more", count(plan.steps.len() - LINES, "operation")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use evenkeel_model::Desired;
    use evenkeel_plan::Op;

    use super::*;

    fn locked(holder: &str) -> PassError {
        PassError::Locked(holder.to_owned())
    }

    #[test]
    fn a_failed_pass_is_a_problem_until_one_is_made() {
        let mut report = PassReport::default();
        assert_eq!(report.problem(), None);
        for times in 1..=3 {
            report.pass_failed(PassError::Other("no".to_owned()));
            assert_eq!(report.problem(), Some(PassProblem::Failed(times)));
            assert_eq!(report.problems().collect::<Vec<_>>(), ["no"]);
        }
        report.pass_made();
        assert_eq!((report.problem(), report.problems().count()), (None, 0));
        report.pass_failed(PassError::Other("no".to_owned()));
        assert_eq!(report.problem(), Some(PassProblem::Failed(1)));
    }

    #[test]
    fn a_lock_is_a_problem_only_if_it_is_held_for_longer_and_its_holder_is_kept() {
        let mut report = PassReport::default();
        report.pass_failed(report.locked());
        assert_eq!((report.problem(), report.problems().count()), (Some(PassProblem::Locked), 0));
        report.pass_failed(locked("process 7"));
        assert_eq!(report.problems().collect::<Vec<_>>(), ["process 7"]);
        assert_eq!(report.locked(), locked("process 7"));
        while !report.should_find_lock_holder() {
            report.pass_failed(report.locked());
        }
        assert_eq!(report.consecutive_failures, PATIENCE);
    }

    #[test]
    fn what_a_pass_leaves_undone_is_forgotten_when_the_next_one_begins() {
        let mut report = PassReport::default();
        let steps = vec![Op::AddDummy { interface: "ipvs0".into() }; LINES + 2];
        let desired = Desired::default();
        report.set_pending(&Plan { steps, ..Plan::default() }, (&desired).into());
        report.prevented("the journal cannot be written".to_owned());
        assert_eq!(report.pending_steps().len(), LINES + 1);
        assert_eq!(report.pending_steps()[LINES], "... and 2 operations more");
        assert_eq!(report.problems().count(), 1);
        report.begin_pass();
        assert_eq!((report.pending_steps().len(), report.problems().count()), (0, 0));
    }
}
