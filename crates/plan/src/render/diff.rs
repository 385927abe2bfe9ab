//! Writes two states as a unified diff.

use similar::TextDiff;

/// Returns a unified diff from the live to the desired state, both written by the caller in the
/// syntax of specs; empty if they are equal.
pub fn unified_diff(live: &str, desired: &str) -> String {
    TextDiff::from_lines(live, desired)
        .unified_diff()
        .context_radius(3)
        .header("live", "desired")
        .to_string()
}
