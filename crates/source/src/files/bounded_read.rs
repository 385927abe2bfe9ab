//! Reads a text up to a maximum length.

use std::io::{self, Read};

/// Reads a text of about the expected length, up to one byte more than it may have, which shows that it is
/// too long.
pub(super) fn bounded(reader: impl Read, expected: u64, most: usize) -> io::Result<Vec<u8>> {
    let most = most as u64 + 1;
    // One byte more than expected, so that reading to the end does not double the buffer.
    let mut text = Vec::with_capacity(usize::try_from(most.min(expected) + 1).unwrap_or_default());
    reader.take(most).read_to_end(&mut text)?;
    Ok(text)
}
