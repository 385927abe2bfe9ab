//! Options and a status for tests.

use std::path::Path;
use std::time::Duration;

use evenkeel_engine::StateDir;

use crate::{Mode, Options, Status, TrafficOptions};

/// Of a daemon that keeps its journal in that folder.
pub(crate) fn options(folder: &Path, mode: Mode) -> Options {
    Options {
        version: "1.2.3",
        interval: Duration::from_secs(30),
        full_interval: Duration::from_secs(300),
        mode,
        namespace: "init".to_owned(),
        netns: None,
        state: StateDir::new(folder, "init"),
        sources: vec!["/etc/evenkeel".to_owned()],
        traffic: TrafficOptions::default(),
    }
}

/// Of a daemon that has just begun, the same in every process and on every host.
pub(crate) fn status() -> Status {
    Status {
        pid: 7,
        reasons: Vec::new(),
        known_writers: Vec::new(),
        ..Status::starting(&options(Path::new("/nowhere"), Mode::Enforce), 1_790_000_000)
    }
}
