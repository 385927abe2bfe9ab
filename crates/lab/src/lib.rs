//! Boots a real Linux kernel with IPVS as an ordinary process, and builds test networks inside it.
//!
//! The kernel is User-Mode Linux (UML): one process that needs no root and no hardware
//! virtualisation. As a second opinion a distribution's own kernel runs on an emulated machine of
//! two processors. Either's root file system is the host's own, read-only beneath an overlay in
//! memory, so a program just built runs in the guest under the path it has on the host.
//!
//! On the host: [`fetch()`] gets the kernel and the tools that tests check with, [`Boot::run`] runs
//! one command in a fresh guest. Inside the guest: [`net`] builds namespaces, links and HTTP
//! servers.
//! [`reexec()`] is the part between the two, to be called by the program that boots.
//!
//! The crate prints nothing and reads no environment; a guest's output goes to the writers
//! that the caller passes. It does not depend on evenkeel.

mod boot;
mod cpu_pin;
mod error;
mod fetch;
mod guest;
mod guest_protocol;
mod machine;
pub mod net;
mod process_group;
mod pty;
mod reexec;
mod run_dir;
mod tail;
mod usr_merge;
mod xstate;

pub use boot::{Boot, Input, Outcome};
pub use error::Error;
pub use fetch::{DebianKernel, Kernel, Source, fetch};
pub use guest_protocol::GuestJob;
pub use reexec::stage;
