//! One pass over one host: observe, plan, execute, verify.
//!
//! As much as possible is decided in `evenkeel-plan`; this crate carries it out. It sees the
//! kernel through the [`Kernel`] trait only: [`HostKernel`] is the real one, on netlink, and
//! [`memory::MemoryKernel`] one that keeps its state in memory and answers as the real one does.
//! It prints nothing and asks nobody.

mod attendant;
mod clock;
mod confirm;
mod connections;
mod drain;
mod error;
mod host_kernel;
mod journal;
mod journalled;
mod kernel;
mod lock;
pub mod memory;
mod pass;
mod pending;
mod permission;
mod prepare;
mod report;
mod rollback;
mod run;
mod stage;
mod targeted;
mod translate;
mod vigil;

pub use attendant::{Attendant, DrainProgress, Unattended};
pub use clock::Clock;
pub use confirm::{pending_sysctls, steps_to_undo, take_pending_back};
pub use connections::{Connection, connections};
pub use error::{KernelError, in_full};
pub use host_kernel::{Glance, HostKernel, hidden};
pub use journal::{
    EarlierSpecs, Found, Journal, JournalError, LastSpec, LostSpec, ParameterValues, StateDir,
    StoredSpec, StoredText,
};
pub use journalled::execute_journalled;
pub use kernel::{Exception, Kernel, Refused, Replies, Sysctls};
pub use lock::{Holder, Lock, LockError};
pub use pass::{OnFailure, Pass, Terms, execute};
pub use pending::{Pending, PendingState, Unconfirmed};
pub use permission::{Missing, NotPermitted, missing};
pub use prepare::{CONNECTION_SYSCTLS, History, prepare};
pub use report::{Done, Outcome, Report, Rollback, explain};
pub use targeted::Targeted;
pub use vigil::Vigil;
