//! Lab tests.

mod apply;
mod cli;
mod console;
mod deploy;
mod docs;
mod dump;
mod engine;
mod hooked_kernel;
mod host;
mod ipvs;
mod kernel_facts;
mod kill;
mod load;
mod local_traffic;
mod networks;
mod options;
mod order;
mod snapshot;
mod soak;
mod sweep;
mod transcripts;
mod watch;
mod workflow;
