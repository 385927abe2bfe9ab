//! Tests the texts of errors against `tests/wording/watch.txt`.

use std::io;

use evenkeel_control::BindError;

use crate::DaemonError;
use crate::netns_monitor::NamespaceLost;

#[path = "../../../tests/wording/golden.rs"]
mod golden;

use golden::{Golden, chained, section};

#[test]
fn every_text_is_as_reviewed() {
    let mut golden = Golden::new("watch.txt");
    let lost = || {
        vec![NamespaceLost::Replaced("blue".to_owned()), NamespaceLost::Deleted("blue".to_owned())]
    };
    let refusal = || io::Error::from_raw_os_error(24);
    let mut errors = vec![
        DaemonError::Control(BindError::Taken(None)),
        DaemonError::Descriptors(evenkeel_host::TooFewDescriptors { limit: 20, needed: 256 }),
        DaemonError::AddressMonitor(evenkeel_host::Error::Connect(refusal())),
        DaemonError::System { tried: "install signal handlers", source: refusal() },
        DaemonError::ReconcilerHangs,
        DaemonError::ReconcilerDied,
    ];
    errors.extend(lost().into_iter().map(DaemonError::NamespaceLost));
    section!(
        golden,
        DaemonError {
            Control,
            Descriptors,
            AddressMonitor,
            System,
            ReconcilerHangs,
            ReconcilerDied,
            NamespaceLost,
        },
        chained(errors)
    );
    section!(golden, NamespaceLost { Replaced, Deleted }, chained(lost()));
    golden.check();
}
