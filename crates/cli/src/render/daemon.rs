//! The documents of commands to the daemon: `approve`, `pause`, `resume`, and those of overrides.

use serde_json::{Map, Value, json};

use super::fields;

/// A command that the daemon answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DaemonCommand<'a> {
    pub(crate) is_done: bool,
    /// The daemon's answer, for people.
    pub(crate) message: &'a str,
    /// The length of a pause or an override, and when it ends; `None` for other commands and for one without
    /// end.
    pub(crate) pause: Option<PauseEnd>,
}

/// The end of a pause or an override.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PauseEnd {
    pub(crate) seconds: u64,
    /// In seconds since 1970.
    pub(crate) until: u64,
}

pub(crate) fn daemon_command(command: DaemonCommand<'_>) -> Map<String, Value> {
    let DaemonCommand { is_done, message, pause } = command;
    fields([
        ("result", json!(if is_done { "done" } else { "refused" })),
        ("message", json!(message)),
        ("seconds", json!(pause.map(|it| it.seconds))),
        ("until", json!(pause.map(|it| it.until))),
    ])
}
