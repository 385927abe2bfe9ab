//! Shared parts of the lab tests.
