//! One pass over one host: observe, plan, execute, verify.
//!
//! `evenkeel-plan` decides as much as possible; this crate executes it. It accesses the kernel through the [`Kernel`] trait only: [`HostKernel`] is the real one, on netlink, and
//! [`fake_kernel::FakeKernel`] one that keeps its state in memory and answers as the real one does.
//! It prints nothing and asks no questions.

mod apply_options;
mod capabilities;
mod clock;
mod confirm;
mod connections;
mod context;
mod convert;
mod drain_dependents;
mod drain_wait;
mod error;
mod execute;
mod execute_stages;
pub mod fake_kernel;
mod host_kernel;
mod journal;
mod kernel;
mod notice;
mod partial_apply;
mod pending;
mod plan_file;
mod plan_origin;
mod planning;
mod probe;
mod refresh;
mod report;
mod rollback;
mod stages;
mod store;
mod take_back;
mod warning;
#[cfg(test)]
mod wording;
mod write_ahead;

pub use apply_options::{ApplyOptions, OnFailure, Recording};
pub use capabilities::{MissingCapabilities, MissingCapability, missing_capabilities};
pub use clock::Clock;
pub use confirm::{pending_request, roll_back_pending, steps_to_roll_back};
pub use connections::{Connection, connections};
pub use context::{DrainProgress, ExecutionContext, NoopContext};
pub use error::{KernelError, error_chain};
pub use execute::{Pass, execute};
pub use host_kernel::{HostKernel, IpvsUse};
pub use journal::{
    EarlierSpecs, Found, Journal, JournalError, JournalVersion, ParameterValues, SpecUnavailable,
    StoredSpec, StoredSpecTexts, StoredText,
};
pub use kernel::{Exception, Journalled, Kernel, ReadRequest, Refused, Replies};
pub use notice::Notice;
pub use partial_apply::PartialApplies;
pub use pending::{Pending, PendingState, Unconfirmed};
pub use plan_file::{PlanFile, PlanFileProblem, PlanText};
pub use plan_origin::PlanOrigin;
pub use planning::{CONNECTION_SYSCTLS, LastApplied, Wanted, plan_changes};
pub use probe::{TableDigest, not_in_proc};
pub use report::{Done, Outcome, Report, Rollback, explain, explain_zero};
pub use store::{
    DEFAULT_STATE_DIR, Directory, FileError, FileUse, NewOverride, StateDir, StoredOverrides,
    hexadecimal,
};
pub use warning::ExecutionWarning;
pub use write_ahead::execute_journalled;
