//! Reads arbitrary bytes as a spec.

#![no_main]

#[path = "../../../crates/spec/tests/corpus/spec.rs"]
mod spec;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spec::check(bytes));
