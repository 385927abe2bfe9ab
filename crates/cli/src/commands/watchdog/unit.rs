//! Starts the watchdog as a transient unit of systemd.
//!
//! A service that waits, not a timer: an apply that is killed half-way is rolled back at once, and the
//! deadline is not known before the last step. The service manager starts it again if it is killed.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use tracing::warn;

use super::add_arguments;
use crate::args::GlobalArgs;

/// Starts it, waits until it is ready, and returns its process id; `None` where no service manager can start
/// it in the namespaces of this process.
pub(super) fn start(id: &str, global: &GlobalArgs) -> Option<u32> {
    let is_at_home =
        ["mnt", "pid"].into_iter().all(is_shared) && (global.netns.is_some() || is_shared("net"));
    if !Path::new("/run/systemd/system").is_dir() || !is_at_home {
        return None;
    }
    let unit = format!("evenkeel-confirm-{id}.service");
    let mut command = Command::new("systemd-run");
    command.args(["--quiet", "--collect", "--no-ask-password", "--service-type=notify"]);
    command.arg(format!("--unit={unit}"));
    command.arg("--description=evenkeel: rolls an apply back unless it is confirmed");
    // A stop is an order of the administrator or a shutdown, of which SIGTERM is no proof.
    for property in
        ["Restart=on-failure", "RestartSec=500ms", "StartLimitIntervalSec=0", "KillSignal=SIGKILL"]
    {
        command.args(["--property", property]);
    }
    command.arg("--").arg(std::env::current_exe().ok()?);
    add_arguments(&mut command, id, global).ok()?;
    command.stdin(Stdio::null());
    let why = match command.output() {
        Ok(output) if output.status.success() => return Some(main_pid(&unit).unwrap_or_default()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    // Otherwise systemd would start it again and again.
    let _stopped = Command::new("systemctl")
        .args(["--no-ask-password", "stop", &unit])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    warn!(
        %unit, %why,
        "systemd did not start the watchdog; it is a process of this session and may end with it"
    );
    None
}

/// Whether this thread is in the namespace of process 1.
fn is_shared(namespace: &str) -> bool {
    let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/{namespace}"));
    match (of("1"), of("thread-self")) {
        (Ok(first), Ok(own)) => first == own,
        _ => false,
    }
}

fn main_pid(unit: &str) -> Option<u32> {
    let mut command = Command::new("systemctl");
    command.args(["show", "--value", "--property=MainPID", unit]).stderr(Stdio::null());
    let output = command.output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
