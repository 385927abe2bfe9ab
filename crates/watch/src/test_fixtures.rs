//! Options and a status for tests.

use std::path::Path;
use std::time::Duration;

use evenkeel_control::{Mode, Status};
use evenkeel_engine::StateDir;

use crate::metrics::TrafficOptions;
use crate::options::Options;
use crate::status;

/// Returns the options of a daemon with its journal in this directory.
pub(crate) fn options(folder: &Path, mode: Mode) -> Options {
    Options {
        version: "1.2.3",
        interval: Duration::from_secs(30),
        full_interval: Duration::from_secs(300),
        mode,
        namespace: "init".to_owned(),
        netns: None,
        ipvs_use: evenkeel_engine::IpvsUse::Required,
        state: StateDir::new(folder, "init"),
        sources: vec!["/etc/evenkeel".to_owned()],
        traffic: TrafficOptions::default(),
        allowed_hosts: Vec::new(),
        checks: evenkeel_health::Environment::of_host(Vec::new()),
    }
}

/// Returns the status of a daemon that has just started, the same in every process and on every host.
pub(crate) fn status() -> Status {
    Status {
        pid: 7,
        reasons: Vec::new(),
        known_writers: Vec::new(),
        ..status::starting(&options(Path::new("/nowhere"), Mode::Enforce), 1_790_000_000)
    }
}
