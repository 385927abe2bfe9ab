//! Lab tests.

mod engine;
mod host;
mod ipvs;
