//! Decodes arbitrary bytes as IPVS datagrams.

#![no_main]

#[path = "../../../crates/ipvs/tests/corpus/datagram.rs"]
mod datagram;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| datagram::check(bytes));
