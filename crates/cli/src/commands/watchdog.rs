//! `evenkeel watchdog`: rolls an apply with `--confirm` back if it is not confirmed in time, or if
//! the apply ends prematurely.
//!
//! `apply` starts it before the first change, in a session of its own, so that it survives the loss
//! of the terminal. It reads the pending apply from the journal and remembers it, so that it can
//! roll back even if the journal is removed or damaged meanwhile. Only an intact journal without
//! the apply ends the wait: that is how `confirm` confirms it.

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use evenkeel_control::{Lock, LockGuard, PendingMarker};
use evenkeel_engine::{HostKernel, Journal, Notice, Pending, PendingState, StateDir};
use evenkeel_workflow::{PendingWatch, Session, TimeLeft, abort_in, now};
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
    let Some((journal, pending, lock)) = wait(&state, &arguments.id, &marker)? else {
        return Ok(CommandExit::Done);
    };
    let is_unfinished = matches!(pending.state(now()), PendingState::Unfinished);
    // A damaged journal is set aside, and does not prevent the rollback.
    let _aside = state.read(true);
    let kernel = HostKernel::connect(journal.addresses.clone())?;
    let mut session = Session { kernel, state, journal, lock: Some(lock) };
    let is_complete = abort_in(&mut session)?.rollback.is_clean();
    let notice = Notice::RolledBack { begun: pending.begun, is_unfinished, is_complete };
    session.journal.notices.push(notice);
    session.state.write(&session.journal)?;
    // Released before the lock, so that the next writer does not find a marker without an apply.
    drop(marker);
    Ok(if is_complete { CommandExit::Done } else { CommandExit::Failed })
}

/// Waits until the apply has to be rolled back; returns the lock, and the journal with the apply.
/// `None` if the apply is no longer pending.
fn wait(
    state: &StateDir,
    id: &str,
    marker: &PendingMarker,
) -> Result<Option<(Journal, Pending, LockGuard)>, Error> {
    let mut watch = PendingWatch { id, known: None };
    let mut end = None;
    loop {
        marker.maintain();
        let remaining = match watch.poll(state) {
            TimeLeft::Nothing => return Ok(None),
            remaining => remaining,
        };
        // The wall clock may be stepped, so the remaining time is measured from here on.
        let is_over = match remaining {
            TimeLeft::Time(remaining) => {
                Instant::now() >= *end.get_or_insert(Instant::now() + remaining)
            }
            TimeLeft::Nothing | TimeLeft::Unknown | TimeLeft::Unfinished => true,
        };
        // The applying process holds the lock while it runs.
        if is_over && let Some(lock) = Lock::of_namespace().try_acquire()? {
            // The apply may have finished between the reading and the lock.
            match (remaining, watch.poll(state)) {
                (_, TimeLeft::Nothing | TimeLeft::Unknown) => return Ok(None),
                (TimeLeft::Unknown | TimeLeft::Unfinished, TimeLeft::Time(_)) => {}
                _ => {
                    return Ok(watch.known.map(|(journal, pending)| (*journal, pending, lock)));
                }
            }
        }
        std::thread::sleep(PendingMarker::POLL_INTERVAL);
    }
}
