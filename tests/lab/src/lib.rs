//! Shared parts of the lab tests.

use std::fs::File;
use std::process::Command;

use nix::sched::{CloneFlags, setns, unshare};

/// Puts the calling thread, and the programs it starts from now on, into a new network namespace with `lo` up.
///
/// # Panics
/// Where that is not permitted: the tests are run as root, inside the lab.
pub fn fresh_namespace() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a new network namespace");
    run("ip link set lo up");
}

/// The calling thread's network namespace, which lives while this is open. See [`enter_namespace`].
///
/// # Panics
/// Without `/proc`.
#[must_use]
pub fn this_namespace() -> File {
    File::open("/proc/thread-self/ns/net").expect("the thread's network namespace")
}

/// Puts the calling thread back into a namespace that it or another thread made.
///
/// # Panics
/// Where that is not permitted.
pub fn enter_namespace(namespace: &File) {
    setns(namespace, CloneFlags::CLONE_NEWNET).expect("the other network namespace");
}

/// Runs a program with its arguments, split at blanks, and returns what it wrote to standard output.
///
/// # Panics
/// If it cannot be started or fails, with what it wrote to standard error.
pub fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let program = words.next().expect("a program");
    let output = Command::new(program)
        .args(words)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {}: {errors}", output.status);
    String::from_utf8(output.stdout).expect("text")
}
