//! A status for tests.

use crate::{Mode, SpecStatus, State, Status};

/// Of a daemon that has just begun.
pub(crate) fn status() -> Status {
    Status {
        format: 1,
        version: "1.2.3".into(),
        pid: 7,
        namespace: "4026531840".into(),
        started: 1_790_000_000,
        mode: Mode::Enforce,
        state: State::Starting,
        reasons: Vec::new(),
        spec: SpecStatus::default(),
        paused: None,
        last_pass: None,
        last_success: None,
        draining: 0,
        to_do: Vec::new(),
        warnings: Vec::new(),
        failing: Vec::new(),
        fights: Vec::new(),
        other_hands: Vec::new(),
        unmanaged: 0,
        services: 0,
        real_servers: 0,
        vips: 0,
    }
}
