//! Lab tests.

mod apply;
mod cli;
mod deploy;
mod dump;
mod engine;
mod host;
mod ipvs;
mod kill;
mod load;
mod notes;
mod options;
mod order;
mod snapshot;
mod soak;
mod sweep;
mod watch;
