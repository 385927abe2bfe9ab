//! A status for tests.

use crate::status::{FORMAT, Mode, SpecStatus, State, Status};

/// Returns the status of a daemon that has just started.
pub(crate) fn status() -> Status {
    Status {
        format: FORMAT,
        version: "1.2.3".to_owned(),
        pid: 7,
        owner: None,
        namespace: "init".to_owned(),
        started: 1_790_000_000,
        mode: Mode::Enforce,
        state: State::Starting,
        reasons: Vec::new(),
        spec: SpecStatus { sources: vec!["/etc/evenkeel".to_owned()], ..SpecStatus::default() },
        paused: None,
        last_pass: None,
        last_success: None,
        draining: 0,
        drains: Vec::new(),
        staying: Vec::new(),
        overrides: Vec::new(),
        health: None,
        pending_steps: Vec::new(),
        warnings: Vec::new(),
        failing: Vec::new(),
        conflicts: Vec::new(),
        known_writers: Vec::new(),
        unmanaged: 0,
        services_not_local: 0,
        services_without_servers: 0,
        services: 0,
        real_servers: 0,
        vips: 0,
    }
}
