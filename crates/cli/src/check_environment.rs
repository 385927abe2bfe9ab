//! What this host offers to health checks.

use evenkeel_health::Environment;

/// The argument with which evenkeel starts itself as the supervisor of a program that checks. No user gives it.
const SUPERVISOR: &str = "check-supervisor";

/// Returns the usual directories, with evenkeel itself as the supervisor of `exec` checks.
pub(crate) fn check_environment() -> Environment {
    // Of the process that is started: it has the same program, also after that was replaced on the disk.
    Environment::of_host(vec!["/proc/self/exe".into(), SUPERVISOR.into()])
}

/// Whether this process was started as such a supervisor.
pub(crate) fn is_check_supervisor() -> bool {
    let mut arguments = std::env::args_os().skip(1);
    arguments.next().is_some_and(|it| it == SUPERVISOR) && arguments.next().is_none()
}
