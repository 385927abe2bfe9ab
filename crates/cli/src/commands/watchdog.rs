//! `evenkeel watchdog`: waits beside an apply with `--confirm`, and takes it back when nobody
//! confirms it, or when the apply ends without an end.
//!
//! It is started by `apply` before the first change, in a session of its own, so that the loss of
//! the terminal ends neither it nor the wait. All it knows is in the journal.

use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use evenkeel_engine::{Lock, LockError, Pending, PendingState, StateDir};
use signal_hook::consts::SIGHUP;

use crate::args::{Global, Watchdog};
use crate::commands::confirm::abort;
use crate::error::Error;
use crate::live::{Access, Host, now, state_dir};
use crate::output::Output;
use crate::status::Status;

/// Between two looks at the journal.
const LOOK: Duration = Duration::from_millis(200);

/// What it says when nothing that happens to the terminal can end it any more.
const READY: &[u8] = b"ready\n";

/// Starts one for the apply of that id, and waits until the loss of the terminal cannot end it.
pub(crate) fn start(id: &str, global: &Global) -> Result<Child, Error> {
    let start = || {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["watchdog", id]).arg("--state-dir").arg(&global.state_dir);
        if let Some(netns) = &global.netns {
            command.args(["--netns", netns]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let mut said = [0; READY.len()];
        child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?.read_exact(&mut said)?;
        Ok(child)
    };
    start().map_err(Error::Watchdog)
}

pub(crate) fn run(
    arguments: &Watchdog,
    global: &Global,
    output: &mut Output,
) -> Result<Status, Error> {
    // Fails only for one that leads a session already.
    let _session = rustix::process::setsid();
    // The hang-up of the session it was started in may still be on its way.
    let heard = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGHUP, heard).map_err(Error::Signal)?;
    let mut stdout = io::stdout();
    stdout.write_all(READY).and_then(|()| stdout.flush()).map_err(Error::Output)?;
    let state = state_dir(global)?;
    let (mut end, mut is_written) = (None, false);
    let mut host = loop {
        let found = time_left(&state, &arguments.id)?;
        if is_written && found.is_none() {
            return Ok(Status::Done);
        }
        is_written |= found.is_some();
        let left = found.unwrap_or(Left::Unfinished);
        // The clock of the journal may be set; from here on the time is measured.
        let is_over = match left {
            Left::Unfinished => true,
            Left::Time(left) => Instant::now() >= *end.get_or_insert(Instant::now() + left),
        };
        // As long as the process that applies lives, it has the lock.
        if is_over && Lock::try_acquire()?.is_some() {
            match Host::connect(global, Access::Settle, output) {
                Err(Error::Lock(LockError::Held(_))) => {}
                // The apply may have come to its end between the look and the lock.
                connected => {
                    let host = connected?;
                    let is_waiting = |pending: &Pending| {
                        matches!(pending.state(now()), PendingState::Waiting { .. })
                    };
                    let was_unfinished = matches!(left, Left::Unfinished);
                    if !(was_unfinished && host.journal.pending.as_ref().is_some_and(is_waiting)) {
                        break host;
                    }
                }
            }
        }
        std::thread::sleep(LOOK);
    };
    let pending = host.journal.pending.clone().filter(|pending| *pending.id == *arguments.id);
    let Some(pending) = pending else {
        return Ok(Status::Done);
    };
    let why = match pending.state(now()) {
        PendingState::Unfinished => "ended half-way",
        _ => "was not confirmed in time",
    };
    let status = abort(&mut host, output)?;
    let how = match status {
        Status::Done => "what it touched is as it was before",
        _ => "not all it touched could be put back: `evenkeel plan` shows what differs",
    };
    let begun = pending.begun_words();
    host.journal.add_notice(&format!("an apply of {begun} {why} and was taken back; {how}"));
    host.state.write(&host.journal)?;
    Ok(status)
}

enum Left {
    /// The apply has not come to its end, or is not written down yet.
    Unfinished,
    Time(Duration),
}

/// How long that apply may still wait; `None` where it waits no longer.
fn time_left(state: &StateDir, id: &str) -> Result<Option<Left>, Error> {
    let (journal, _) = state.read(false)?;
    let Some(pending) = journal.pending.filter(|pending| *pending.id == *id) else {
        return Ok(None);
    };
    Ok(match pending.state(now()) {
        PendingState::Moot => None,
        PendingState::Unfinished => Some(Left::Unfinished),
        PendingState::Waiting { left } => Some(Left::Time(Duration::from_secs(left.into()))),
        PendingState::Overdue => Some(Left::Time(Duration::ZERO)),
    })
}
