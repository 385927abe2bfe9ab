//! Lab tests.

mod engine;
mod host;
