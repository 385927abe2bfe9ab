//! Runs property tests on random values, with a configurable number of cases and seed.

use std::hash::{BuildHasher, RandomState};

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};

/// Returns the number of cases for a property: `EVENKEEL_LAB_CASES`, else `usual`.
///
/// # Panics
/// Panics if that is not a number.
#[must_use]
pub fn cases(usual: u32) -> u32 {
    let cases = std::env::var("EVENKEEL_LAB_CASES").ok();
    cases.map_or(usual, |text| text.parse().expect("EVENKEEL_LAB_CASES is a number"))
}

/// Runs `test` on this many values. A failure prints the seed; `EVENKEEL_LAB_SEED` repeats the run
/// with it.
///
/// # Panics
/// Panics if a value fails, with the smallest failing value found.
pub fn check<S: Strategy>(
    cases: u32,
    strategy: &S,
    test: impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    let seed = std::env::var("EVENKEEL_LAB_SEED").ok();
    let seed = seed.map(|text| text.parse().expect("EVENKEEL_LAB_SEED is a number"));
    let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(cases));
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_time: 60_000,
        rng_seed: RngSeed::Fixed(seed),
        ..ProptestConfig::default()
    };
    if let Err(error) = TestRunner::new(config).run(strategy, test) {
        panic!("EVENKEEL_LAB_SEED={seed}: {error}");
    }
}
