//! Times on the command line.

/// A time in seconds, of at least one.
pub(super) fn positive_time(text: &str) -> Result<u32, String> {
    match evenkeel_spec::seconds(text) {
        Some(0) => Err("the shortest time is one second".to_owned()),
        None => Err("write a time such as 90s, 2m or 1h".to_owned()),
        Some(seconds) => Ok(seconds),
    }
}
