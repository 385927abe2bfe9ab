//! The law with other writers.
