//! `evenkeel watchdog`: rolls an apply with `--confirm` back if it is not confirmed in time, or if
//! the apply ends prematurely.
//!
//! `apply` starts it before the first change: as a transient unit where systemd runs, so that it survives
//! the end of the session and is started again if it is killed ([`unit`]), and otherwise as a process in a
//! session of its own. [`roll_back_at_timeout`] waits and rolls back. It ignores SIGTERM: that may be meant
//! for all processes of a session. A shutdown ends it with SIGKILL soon after, and the changes of the apply
//! with the kernel.

mod reserve;
mod unit;

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use evenkeel_control::PendingMarker;
use evenkeel_engine::{HostKernel, IpvsUse, Journal};
use evenkeel_model::OwnerName;
use evenkeel_workflow::{TimeoutEnd, roll_back_at_timeout};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::args::{GlobalArgs, WatchdogArgs};
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::host::state_dir;

use reserve::Reserve;

/// Printed when signals can no longer end it, and its pending marker is visible.
const READY: &[u8] = b"ready\n";

/// Starts a watchdog for the apply with that id, waits until it is ready, and returns its process id.
pub(crate) fn start(id: &str, global: &GlobalArgs) -> io::Result<u32> {
    match unit::start(id, global) {
        Some(pid) => Ok(pid),
        None => start_process(id, global),
    }
}

fn start_process(id: &str, global: &GlobalArgs) -> io::Result<u32> {
    let mut command = Command::new(std::env::current_exe()?);
    add_arguments(&mut command, id, global)?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let mut ready = [0; READY.len()];
    child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?.read_exact(&mut ready)?;
    Ok(child.id())
}

fn add_arguments(command: &mut Command, id: &str, global: &GlobalArgs) -> io::Result<()> {
    let state_dir = std::path::absolute(&global.state_dir)?;
    command.args(["watchdog", id]).arg("--state-dir").arg(state_dir);
    if let Some(netns) = &global.netns {
        command.args(["--netns", netns]);
    }
    if let Some(name) = global.owner.as_ref().and_then(OwnerName::as_str) {
        command.args(["--owner", name]);
    }
    Ok(())
}

pub(crate) fn run(arguments: &WatchdogArgs, global: &GlobalArgs) -> Result<CommandExit, Error> {
    // Fails only for a process that already leads a session.
    let _session = rustix::process::setsid();
    // The SIGHUP of the session in which it was started may still be pending.
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        let received = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal, received).map_err(Error::Signal)?;
    }
    let mut reserve = Reserve::new();
    let state = state_dir(global)?;
    let marker = PendingMarker::begin().map_err(Error::Watchdog)?;
    if !evenkeel_watch::notify_ready() {
        let mut stdout = io::stdout();
        stdout.write_all(READY).and_then(|()| stdout.flush()).map_err(Error::Output)?;
    }
    let connect = |journal: &Journal| HostKernel::connect_for(IpvsUse::IfPresent, journal.into());
    let set_aside = |is_set_aside| match is_set_aside {
        true => reserve.fill(),
        false => reserve.release(),
    };
    // Done, even if not everything could be restored: systemd would start the unit again. The next writer
    // tries again.
    match roll_back_at_timeout(state, &arguments.id, marker, connect, set_aside) {
        TimeoutEnd::NotPending | TimeoutEnd::RolledBack { .. } => Ok(CommandExit::Done),
    }
}
