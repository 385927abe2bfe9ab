//! Lab tests.

mod apply;
mod cli;
mod deploy;
mod docs;
mod dump;
mod engine;
mod host;
mod ipvs;
mod kernel_facts;
mod kill;
mod load;
mod options;
mod order;
mod snapshot;
mod soak;
mod sweep;
mod watch;
