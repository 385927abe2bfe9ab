//! `evenkeel watchdog`: rolls an apply with `--confirm` back if it is not confirmed in time, or if
//! the apply ends prematurely.
//!
//! `apply` starts it before the first change, in a session of its own, so that it survives the loss
//! of the terminal. [`roll_back_at_timeout`] waits and rolls back.

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use evenkeel_control::PendingMarker;
use evenkeel_engine::{HostKernel, Journal};
use evenkeel_workflow::{TimeoutEnd, roll_back_at_timeout};
use signal_hook::consts::SIGHUP;

use crate::args::{GlobalArgs, WatchdogArgs};
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::host::state_dir;

/// Printed when the loss of the terminal can no longer end it, and its pending marker is visible.
const READY: &[u8] = b"ready\n";

/// Starts a watchdog for the apply with that id, waits until it is ready, and returns its process id.
pub(crate) fn start(id: &str, global: &GlobalArgs) -> io::Result<u32> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["watchdog", id]).arg("--state-dir").arg(&global.state_dir);
    if let Some(netns) = &global.netns {
        command.args(["--netns", netns]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let mut ready = [0; READY.len()];
    child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?.read_exact(&mut ready)?;
    Ok(child.id())
}

pub(crate) fn run(arguments: &WatchdogArgs, global: &GlobalArgs) -> Result<CommandExit, Error> {
    // Fails only for a process that already leads a session.
    let _session = rustix::process::setsid();
    // The SIGHUP of the session in which it was started may still be pending.
    let hangup = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGHUP, hangup).map_err(Error::Signal)?;
    let state = state_dir(global)?;
    let marker = PendingMarker::begin().map_err(Error::Watchdog)?;
    let mut stdout = io::stdout();
    stdout.write_all(READY).and_then(|()| stdout.flush()).map_err(Error::Output)?;
    let connect = |journal: &Journal| HostKernel::connect(journal.addresses.clone());
    Ok(match roll_back_at_timeout(state, &arguments.id, marker, connect)? {
        TimeoutEnd::NotPending | TimeoutEnd::RolledBack { is_complete: true } => CommandExit::Done,
        TimeoutEnd::RolledBack { is_complete: false } => CommandExit::Failed,
    })
}
