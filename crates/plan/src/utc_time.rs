//! Times for people, in UTC.

use std::time::Duration;

use jiff::Timestamp;

/// A time, in seconds since 1970, for people.
pub(crate) fn utc(seconds: u64) -> String {
    let time = Timestamp::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    // A time beyond the year 9999 cannot be formatted as a date.
    time.map_or_else(
        |_| format!("{seconds} s after 1970"),
        |time| time.strftime("%F %T UTC").to_string(),
    )
}
