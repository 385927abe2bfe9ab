//! Identifies the boot of the host.

use std::fs;
use std::io;
use std::sync::OnceLock;

/// The file with the boot id.
pub(crate) const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Returns the kernel's name for the time from one boot to the next (random(4)). It is read once: a process
/// ends with the boot at the latest.
///
/// # Errors
/// `/proc` is not there.
pub fn boot_id() -> io::Result<&'static str> {
    static KNOWN: OnceLock<Box<str>> = OnceLock::new();
    if let Some(known) = KNOWN.get() {
        return Ok(known);
    }
    let text = fs::read_to_string(BOOT_ID)?;
    Ok(KNOWN.get_or_init(|| text.trim().into()))
}
