//! Lab tests.

mod cli;
mod engine;
mod host;
mod ipvs;
