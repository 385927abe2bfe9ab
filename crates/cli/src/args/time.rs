//! Times on the command line.

use evenkeel_spec::InvalidDuration;

/// A time in seconds, of at least one.
pub(super) fn positive_time(text: &str) -> Result<u32, String> {
    match evenkeel_spec::seconds(text) {
        Ok(0) => Err("the shortest time is one second".to_owned()),
        Ok(seconds) => Ok(seconds),
        Err(InvalidDuration::Malformed) => Err("write a time such as 90s, 2m or 1h".to_owned()),
        Err(InvalidDuration::TooLong) => {
            Err("the time is too long; write one of at most 49710 days".to_owned())
        }
    }
}
