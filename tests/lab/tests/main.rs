//! Lab tests.

mod cli;
mod dump;
mod engine;
mod host;
mod ipvs;
mod notes;
mod options;
mod snapshot;
