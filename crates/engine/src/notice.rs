//! Notices: events in the background that the next command reports.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

/// An event that no running command could report. The journal stores it until one does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// The host went down before an apply was confirmed.
    LostAtBoot {
        /// The start of the apply, in seconds since 1970.
        begun: u64,
    },
    /// The network namespace was deleted before an apply was confirmed.
    LostWithNamespace {
        /// The start of the apply, in seconds since 1970.
        begun: u64,
    },
    /// An unconfirmed apply was rolled back in the background.
    RolledBack {
        /// The start of the apply, in seconds since 1970.
        begun: u64,
        /// Whether it did not finish; otherwise it was not confirmed in time.
        is_unfinished: bool,
        /// Whether everything that it touched was restored.
        is_complete: bool,
    },
    /// A message that an earlier version of evenkeel wrote.
    Message(String),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lost = |f: &mut fmt::Formatter<'_>, begun, end| {
            write!(
                f,
                "an apply of {} was not confirmed when {end}; its changes to the kernel were lost \
                 with it, and nothing is left to confirm or roll back",
                utc(begun)
            )
        };
        match self {
            Self::LostAtBoot { begun } => lost(f, *begun, "this host went down"),
            Self::LostWithNamespace { begun } => {
                lost(f, *begun, "its network namespace was deleted")
            }
            Self::RolledBack { begun, is_unfinished, is_complete } => write!(
                f,
                "an apply of {} {} and was rolled back; {}",
                utc(*begun),
                if *is_unfinished { "did not finish" } else { "was not confirmed in time" },
                match is_complete {
                    true => "everything that it touched is as it was before",
                    false => {
                        "not everything that it touched could be restored: `evenkeel plan` shows \
                         what differs"
                    }
                },
            ),
            Self::Message(message) => f.write_str(message),
        }
    }
}

/// Reads notices: versions up to 3 of the journal have one text, or null.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Notice>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Notices(Vec<Notice>),
        Message(Option<String>),
    }
    Ok(match Written::deserialize(from)? {
        Written::Notices(notices) => notices,
        Written::Message(message) => message.map(Notice::Message).into_iter().collect(),
    })
}

/// A time formatted for users.
pub(crate) fn utc(seconds: u64) -> String {
    let found = i64::try_from(seconds).ok().and_then(|it| Timestamp::from_second(it).ok());
    // A time beyond the year 9999 cannot be formatted as a date.
    found.map_or_else(|| format!("{seconds} s"), |it| it.strftime("%F %T UTC").to_string())
}
