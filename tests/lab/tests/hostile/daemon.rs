//! The daemon under test, whose log is a socket, as under systemd, that is read, not read, or closed.

use std::io::{BufRead, BufReader};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{MsgFlags, send};
use nix::unistd::Pid;

use crate::disturbed::fixture::Fixture;

/// How many lines of logs are kept: as many as a run of half an hour has.
const LINES: usize = 400_000;

/// Written for each of many connections that send nothing.
const OF_NO_USE: &str = "the oldest idle connection";

/// How soon the reader of a log follows a request.
const LOOK: Duration = Duration::from_millis(100);

/// Neither waits nor ends the process.
const QUIETLY: MsgFlags = MsgFlags::MSG_DONTWAIT.union(MsgFlags::MSG_NOSIGNAL);

/// A line of the daemon's log.
#[derive(Debug, Clone)]
pub(super) struct LogLine {
    /// When it was read.
    pub(super) at: Instant,
    pub(super) text: String,
}

/// The lines that were read from the logs of all daemons of a run.
#[derive(Debug, Default)]
pub(super) struct Log(Mutex<Vec<LogLine>>);

impl Log {
    /// Returns the lines that were read from `begin` to `end`.
    pub(super) fn between(&self, begin: Instant, end: Instant) -> Vec<LogLine> {
        let lines = self.lines();
        lines.iter().filter(|line| (begin..=end).contains(&line.at)).cloned().collect()
    }

    pub(super) fn lines(&self) -> MutexGuard<'_, Vec<LogLine>> {
        self.0.lock().unwrap()
    }

    fn push(&self, text: &str) {
        let mut lines = self.lines();
        let is_of_use = !text.trim().is_empty() && !text.contains(OF_NO_USE);
        if is_of_use && lines.len() < LINES {
            lines.push(LogLine { at: Instant::now(), text: text.trim_end().to_owned() });
        }
    }
}

/// What the reader of a log is to do.
#[derive(Debug, Default)]
struct Orders {
    is_held: AtomicBool,
    is_closed: AtomicBool,
}

/// A running daemon.
struct Running {
    child: Child,
    orders: Arc<Orders>,
    /// Where it writes its log.
    log_end: UnixStream,
}

/// The daemon, which is started again at times.
pub(super) struct Daemon {
    running: Mutex<Running>,
    pub(super) log: Arc<Log>,
}

impl Daemon {
    pub(super) fn start(fixture: &Fixture) -> Self {
        let log = Arc::new(Log::default());
        Self { running: Mutex::new(start(fixture, &log)), log }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap()
    }

    pub(super) fn pid(&self) -> u32 {
        self.running().child.id()
    }

    pub(super) fn signal(&self, signal: Signal) {
        signal_to(&self.running().child, signal);
    }

    /// Stops the process for as long as `meanwhile` runs; it is not restarted then.
    pub(super) fn stopped(&self, meanwhile: impl FnOnce()) {
        let running = self.running();
        signal_to(&running.child, Signal::SIGSTOP);
        meanwhile();
        signal_to(&running.child, Signal::SIGCONT);
    }

    /// No longer reads the log, and fills its socket; or reads it again.
    pub(super) fn hold_log(&self, is_held: bool) {
        let running = self.running();
        running.orders.is_held.store(is_held, Ordering::SeqCst);
        if is_held {
            // Until it has no room, or was closed.
            let fill = |size| {
                let room = send(running.log_end.as_raw_fd(), &vec![b'\n'; size], QUIETLY);
                room.is_ok()
            };
            for size in [4096, 1] {
                while fill(size) {}
            }
        }
    }

    /// Closes the log: who writes to it gets an error from now on.
    pub(super) fn close_log(&self) {
        let running = self.running();
        running.orders.is_closed.store(true, Ordering::SeqCst);
    }

    /// Ends the daemon by SIGTERM, starts another one and waits by `wait` until it is up; returns how the first one
    /// ended, if not as it should. Signals wait meanwhile: before its handlers are installed, they would end it.
    pub(super) fn restart(&self, fixture: &Fixture, wait: impl FnOnce()) -> Option<String> {
        let mut running = self.running();
        signal_to(&running.child, Signal::SIGTERM);
        let ended = running.child.wait().unwrap();
        running.orders.is_closed.store(true, Ordering::SeqCst);
        *running = start(fixture, &self.log);
        wait();
        (!ended.success()).then(|| ended.to_string())
    }

    /// Returns how it ended, if it did.
    pub(super) fn has_ended(&self) -> Option<String> {
        self.running().child.try_wait().unwrap().map(|status| status.to_string())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let running = self.running.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        let _killed = running.child.kill();
        let _reaped = running.child.wait();
        running.orders.is_closed.store(true, Ordering::SeqCst);
    }
}

fn signal_to(child: &Child, signal: Signal) {
    // It may have ended by itself, which is found elsewhere.
    let _sent = kill(Pid::from_raw(child.id().try_into().unwrap()), signal);
}

fn start(fixture: &Fixture, log: &Arc<Log>) -> Running {
    let (reader, log_end) = UnixStream::pair().unwrap();
    reader.set_read_timeout(Some(LOOK)).unwrap();
    let its = || Stdio::from(OwnedFd::from(log_end.try_clone().unwrap()));
    let mut command = fixture.watch_command();
    let child = command.arg("-v").stdout(its()).stderr(its()).spawn().unwrap();
    let orders = Arc::new(Orders::default());
    let (reading, log) = (Arc::clone(&orders), Arc::clone(log));
    spawn(move || read(reader, &reading, &log));
    Running { child, orders, log_end }
}

/// Reads lines until a request to close the log.
fn read(reader: UnixStream, orders: &Orders, log: &Log) {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while !orders.is_closed.load(Ordering::SeqCst) {
        if orders.is_held.load(Ordering::SeqCst) {
            sleep(LOOK);
        } else if reader.read_until(b'\n', &mut line).is_ok() {
            log.push(&String::from_utf8_lossy(&line));
            line.clear();
        }
    }
}
