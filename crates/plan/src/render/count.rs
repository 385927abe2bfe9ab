//! Numbers with their nouns.

use std::fmt;

/// Formats a number with its noun: `1 service`, `2 services`.
pub fn count<N: fmt::Display + From<u8> + PartialEq>(number: N, noun: &str) -> String {
    format!("{number} {noun}{}", if number == N::from(1) { "" } else { "s" })
}
