//! Reads a text up to the maximum length of a spec.

use std::io::{self, Read};

use evenkeel_spec::MAX_SOURCE;

/// Reads a text of about the expected length, up to one byte more than a spec may have, which shows
/// that it is too long.
pub(super) fn bounded(reader: impl Read, expected: u64) -> io::Result<Vec<u8>> {
    let most = MAX_SOURCE as u64 + 1;
    // One byte more than expected, so that reading to the end does not double the buffer.
    let mut text = Vec::with_capacity(usize::try_from(most.min(expected) + 1).unwrap_or_default());
    reader.take(most).read_to_end(&mut text)?;
    Ok(text)
}
