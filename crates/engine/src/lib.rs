//! One pass over one host: observe, plan, execute, verify.
//!
//! As much as possible is decided in `evenkeel-plan`; this crate carries it out. It sees the
//! kernel through the [`Kernel`] trait only: [`HostKernel`] is the real one, on netlink, and
//! [`memory::MemoryKernel`] one that keeps its state in memory and answers as the real one does.
//! It prints nothing and asks nobody.

mod error;
mod host_kernel;
mod journal;
mod kernel;
pub mod memory;
mod pass;
mod report;
mod stage;
mod translate;

pub use error::{EngineError, KernelError};
pub use host_kernel::HostKernel;
pub use journal::{Journal, JournalError, StateDir};
pub use kernel::{Exception, Kernel, Refused, Replies, Sysctls};
pub use pass::{Pass, execute, execute_journalled};
pub use report::{Done, Outcome, Report};
