//! Errors that end a use case.

use std::io;

use evenkeel_control::{AskError, LockError};
use evenkeel_engine::{
    JournalError, KernelError, MissingCapabilities, SpecUnavailable, Unconfirmed,
};
use evenkeel_model::{Scope, ServiceKey};
use evenkeel_plan::{Overlap, UnknownSelection};
use thiserror::Error;

use crate::health::HealthProblem;
use crate::saved_plan::SavedPlanError;

/// Why a use case failed. Unless a variant says otherwise, nothing was changed.
#[derive(Debug, Error)]
pub enum WorkflowError {
    /// The kernel cannot be read, or not be reached.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The journal cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Another process is changing this network namespace, or the lock cannot be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// An apply is pending.
    #[error(transparent)]
    Unconfirmed(#[from] Unconfirmed),
    /// The process lacks capabilities that the plan needs.
    #[error(transparent)]
    NotPermitted(#[from] MissingCapabilities),
    /// A selector names no service.
    #[error(transparent)]
    UnknownSelection(#[from] UnknownSelection),
    /// A selected service is not governed by the spec.
    #[error(
        "service {service} is out of the scope of the spec, which is {scope}; evenkeel leaves it to \
         others"
    )]
    OutOfScope {
        /// The service.
        service: ServiceKey,
        /// The scope.
        scope: Scope,
    },
    /// The spec overlaps with what another owner has in force.
    #[error(transparent)]
    Overlap(Box<Overlap>),
    /// No spec says which services are in scope.
    #[error("no spec is known for this network namespace: none was applied as a whole")]
    NoSpec,
    /// The last applied spec, which says which services are in scope, is not available.
    #[error(transparent)]
    SpecUnavailable(#[from] SpecUnavailable),
    /// No apply is pending.
    #[error("no apply is waiting for confirmation")]
    NothingPending,
    /// The process that would roll back an apply with a confirm timeout did not start.
    #[error("cannot start the watchdog that --confirm needs")]
    Watchdog(#[source] io::Error),
    /// An apply was rolled back, but the journal still records it as pending.
    #[error("the unconfirmed apply was rolled back, but the journal could not be updated")]
    Unrecorded(#[source] JournalError),
    /// A running daemon enforces another spec.
    #[error("{0}")]
    Watched(String),
    /// The daemon does not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The health checks cannot be made.
    #[error(transparent)]
    Health(#[from] HealthProblem),
    /// A saved plan is not applied.
    #[error(transparent)]
    SavedPlan(#[from] SavedPlanError),
}

impl From<Overlap> for WorkflowError {
    fn from(overlap: Overlap) -> Self {
        Self::Overlap(Box::new(overlap))
    }
}
