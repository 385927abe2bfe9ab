//! Lab tests.

mod host;
