//! Checks whether a plan may be executed: capabilities, guards, preconditions.

use evenkeel_engine::{Kernel, MissingCapabilities, missing_capabilities};
use evenkeel_plan::{Guard, GuardRefusal, Op, Plan, UnmetPrecondition};

use crate::error::WorkflowError;

/// Why a plan is not executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocked {
    /// Guards refuse it; at least one.
    Guards(Vec<GuardRefusal>),
    /// Steps cannot succeed as the host is; at least one reason.
    Preconditions(Vec<UnmetPrecondition>),
}

/// Checks that this process has the capabilities that the steps need.
///
/// # Errors
/// A capability is missing, or the interfaces cannot be read.
pub fn check_permitted(kernel: &mut dyn Kernel, steps: &[Op]) -> Result<(), WorkflowError> {
    let missing = missing_capabilities(kernel, steps)?;
    if missing.is_empty() { Ok(()) } else { Err(MissingCapabilities(missing).into()) }
}

/// Checks a plan; returns why it must not be executed. The guards in `allow` are overridden.
///
/// # Errors
/// As [`check_permitted`].
pub fn check_plan(
    kernel: &mut dyn Kernel,
    plan: &Plan,
    allow: &[Guard],
) -> Result<Option<Blocked>, WorkflowError> {
    check_permitted(kernel, &plan.steps)?;
    let refusals: Vec<GuardRefusal> = plan.refused(allow).cloned().collect();
    if !refusals.is_empty() {
        return Ok(Some(Blocked::Guards(refusals)));
    }
    let unmet = plan.unmet_preconditions.clone();
    Ok((!unmet.is_empty()).then_some(Blocked::Preconditions(unmet)))
}
