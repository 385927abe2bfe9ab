//! `evenkeel watchdog`: rolls an apply with `--confirm` back if it is not confirmed in time, or if
//! the apply ends prematurely.
//!
//! `apply` starts it before the first change, in a session of its own, so that it survives the loss
//! of the terminal. It reads the pending apply from the journal and remembers it, so that it can
//! roll back even if the journal is removed or damaged meanwhile. Only an intact journal without
//! the apply ends the wait: that is how `confirm` confirms it.

use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use evenkeel_control::{Lock, LockGuard, PendingMarker};
use evenkeel_engine::{Found, HostKernel, Journal, Notice, Pending, PendingState, StateDir};
use signal_hook::consts::SIGHUP;

use crate::args::{GlobalArgs, WatchdogArgs};
use crate::commands::confirm::abort;
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::host_session::{HostSession, now, state_dir};
use crate::output::Output;

/// Printed when the loss of the terminal can no longer end it, and its pending marker is visible.
const READY: &[u8] = b"ready\n";

/// Starts a watchdog for the apply with that id, and waits until it is ready.
pub(crate) fn start(id: &str, global: &GlobalArgs) -> Result<Child, Error> {
    let start = || {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["watchdog", id]).arg("--state-dir").arg(&global.state_dir);
        if let Some(netns) = &global.netns {
            command.args(["--netns", netns]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let mut ready = [0; READY.len()];
        child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?.read_exact(&mut ready)?;
        Ok(child)
    };
    start().map_err(Error::Watchdog)
}

pub(crate) fn run(
    arguments: &WatchdogArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
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
    let mut host = HostSession { kernel, state, journal, lock: Some(lock) };
    let status = abort(&mut host, output)?;
    let is_complete = status == CommandExit::Done;
    let notice = Notice::RolledBack { begun: pending.begun, is_unfinished, is_complete };
    host.journal.notices.push(notice);
    host.state.write(&host.journal)?;
    // Released before the lock, so that the next writer does not find a marker without an apply.
    drop(marker);
    Ok(status)
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

/// Follows the pending apply in the journal.
struct PendingWatch<'a> {
    id: &'a str,
    /// The last journal with the apply, and the apply itself.
    known: Option<(Box<Journal>, Pending)>,
}

/// The time that is left to confirm an apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TimeLeft {
    /// It is no longer pending.
    Nothing,
    /// It is not in the journal yet.
    Unknown,
    /// Its steps are not done.
    Unfinished,
    Time(Duration),
}

impl PendingWatch<'_> {
    fn poll(&mut self, state: &StateDir) -> TimeLeft {
        match state.find() {
            Ok(Found::Valid(journal)) => match &journal.pending {
                Some(pending) if *pending.id == *self.id => {
                    let pending = pending.clone();
                    self.known = Some((journal, pending));
                }
                _ if self.known.is_some() => return TimeLeft::Nothing,
                _ => {}
            },
            // The journal is lost or cannot be read now; its last content is remembered.
            Ok(Found::Nothing | Found::Damaged(_)) | Err(_) => {}
        }
        let Some((_, pending)) = &self.known else { return TimeLeft::Unknown };
        match pending.state(now()) {
            PendingState::EarlierBoot => TimeLeft::Nothing,
            PendingState::Unfinished => TimeLeft::Unfinished,
            PendingState::Waiting { remaining } => {
                TimeLeft::Time(Duration::from_secs(remaining.into()))
            }
            PendingState::Overdue => TimeLeft::Time(Duration::ZERO),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A journal in a directory of its own, with a pending apply whose deadline is in so many seconds.
    fn waiting(seconds: u64) -> (tempfile::TempDir, StateDir, Journal, Pending) {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateDir::new(folder.path(), "init");
        let pending = Pending::begin(now(), 600, Vec::new()).expect("this boot has a name");
        let pending = Pending { deadline: Some(now() + seconds), ..pending };
        let journal = Journal { pending: Some(pending.clone()), ..Journal::default() };
        state.write(&journal).expect("it can be written");
        (folder, state, journal, pending)
    }

    #[test]
    fn a_journal_that_is_lost_meanwhile_is_remembered() {
        let (folder, state, journal, pending) = waiting(600);
        let file = folder.path().join("init/journal.json");
        let losses: [fn(&std::path::Path); 4] = [
            |file| fs::remove_file(file).expect("it is there"),
            |file| fs::write(file, "{\"version\":2,").expect("it can be written"),
            |file| fs::write(file, "{\"version\":9}").expect("it can be written"),
            |file| {
                fs::remove_file(file).expect("it is there");
                fs::create_dir(file).expect("a folder");
            },
        ];
        let mut watch = PendingWatch { id: &pending.id, known: None };
        for lose in losses {
            state.write(&journal).expect("it can be written");
            assert!(matches!(watch.poll(&state), TimeLeft::Time(_)));
            lose(&file);
            assert!(matches!(watch.poll(&state), TimeLeft::Time(_)));
            let known = watch.known.as_ref().map(|(journal, _)| (**journal).clone());
            assert_eq!(known, Some(journal.clone()));
        }
    }

    #[test]
    fn an_intact_journal_without_the_apply_ends_the_wait() {
        let (_folder, state, journal, pending) = waiting(600);
        let mut watch = PendingWatch { id: &pending.id, known: None };
        assert!(matches!(watch.poll(&state), TimeLeft::Time(_)));
        state.write(&Journal { pending: None, ..journal }).expect("it can be written");
        assert_eq!(watch.poll(&state), TimeLeft::Nothing);
    }

    #[test]
    fn an_apply_that_was_never_recorded_is_unknown() {
        let (_folder, state, _, _) = waiting(600);
        let mut watch = PendingWatch { id: "another", known: None };
        assert_eq!(watch.poll(&state), TimeLeft::Unknown);
    }
}
