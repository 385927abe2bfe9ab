//! The process between evenkeel and the program of an `exec` check.
//!
//! evenkeel starts itself once more as the supervisor of one program: only a process of its own can give up
//! what the program must not have (limits and "no new privileges" belong to a process and cannot be taken
//! back), and adopt what the program leaves behind. It reads an order from its standard input, starts the
//! program, and writes how that ended to its standard output. When its standard input is closed, as when
//! evenkeel is killed, or at the deadline, it kills the program with all its descendants; as it does after
//! the program has ended. It then ends itself.

mod descendants;
mod limits;

use std::io::{self, BufRead, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, PidfdFlags, WaitOptions, WaitStatus, pidfd_open, wait};
use serde::{Deserialize, Serialize};

/// How long an order may be.
const LONGEST_ORDER: u64 = 256 * 1024;

/// How much of the program's output is kept; the rest is read and dropped.
const OUTPUT: usize = 512;

/// How often to look for the program's end on a kernel that cannot say (before Linux 5.3).
const LOOK: Duration = Duration::from_millis(10);

/// What to run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) variables: Vec<Variable>,
    /// As whom; `None`: as who started the supervisor.
    pub(crate) identity: Option<Identity>,
    pub(crate) timeout: Duration,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// A user, with the group that is its first and only one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) user: u32,
    pub(crate) group: u32,
}

/// How it ended.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ended {
    /// By itself.
    Exited { code: i32, output: String },
    /// By a signal that was not the supervisor's.
    Signalled { signal: i32 },
    /// Killed at the deadline.
    DeadlinePassed,
    /// Killed because evenkeel no longer waits for it.
    Cancelled,
    /// It did not begin.
    NotStarted { error: String },
    /// It did not begin: the supervisor may not do what it has to.
    NotPermitted,
}

/// Runs a supervisor. Call it at the start of a process of its own, the one that
/// [`ExecEnvironment::supervisor`](crate::ExecEnvironment::supervisor) starts.
pub fn run() -> ExitCode {
    let mut line = String::new();
    let input = io::stdin();
    if input.lock().take(LONGEST_ORDER).read_line(&mut line).is_err() {
        return ExitCode::FAILURE;
    }
    let Ok(order) = serde_json::from_str::<Order>(&line) else { return ExitCode::FAILURE };
    let ended = supervise(&order, input.as_fd());
    let Ok(mut text) = serde_json::to_vec(&ended) else { return ExitCode::FAILURE };
    text.push(b'\n');
    match io::stdout().write_all(&text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn supervise(order: &Order, lifeline: impl AsFd) -> Ended {
    let deadline = Instant::now() + order.timeout;
    if let Err(error) = limits::give_up(order.identity.is_some(), order.timeout) {
        return not_started(&error);
    }
    let started = io::pipe().and_then(|(reader, writer)| {
        let flags = fcntl_getfl(&reader)?;
        fcntl_setfl(&reader, flags | OFlags::NONBLOCK)?;
        Ok((reader, start(order, writer)?))
    });
    let (reader, program) = match started {
        Ok(started) => started,
        Err(error) => return not_started(&error),
    };
    let mut output = Output { reader, kept: Vec::new(), is_open: true };
    let ended = watch(program, &mut output, lifeline, deadline);
    descendants::kill_all(program);
    ended
}

fn not_started(error: &io::Error) -> Ended {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Ended::NotPermitted,
        _ => Ended::NotStarted { error: error.to_string() },
    }
}

fn start(order: &Order, writer: PipeWriter) -> io::Result<Pid> {
    let mut command = Command::new(&order.program);
    command
        .args(&order.arguments)
        .env_clear()
        .envs(order.variables.iter().map(|it| (&it.name, &it.value)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0);
    if let Some(identity) = order.identity {
        // It then has no other groups, and as another user than root no capabilities.
        command.uid(identity.user).gid(identity.group);
    }
    let child = command.spawn()?;
    // Reaped below, with all that it leaves behind.
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    id.ok_or_else(|| io::Error::other("the program has no process number"))
}

/// Waits until the program ends, its time is over, or evenkeel no longer waits for it.
fn watch(program: Pid, output: &mut Output, lifeline: impl AsFd, deadline: Instant) -> Ended {
    let handle: Option<OwnedFd> = pidfd_open(program, PidfdFlags::empty()).ok();
    loop {
        output.read();
        match descendants::reap(program) {
            Some(status) => {
                output.read();
                return output.ended(status);
            }
            None if Instant::now() >= deadline => return Ended::DeadlinePassed,
            None => {}
        }
        let mut left = deadline.saturating_duration_since(Instant::now());
        let mut sources = vec![PollFd::new(&lifeline, PollFlags::IN)];
        match &handle {
            Some(handle) => sources.push(PollFd::new(handle, PollFlags::IN)),
            None => left = left.min(LOOK),
        }
        if output.is_open {
            sources.push(PollFd::new(&output.reader, PollFlags::IN));
        }
        let timeout = Timespec::try_from(left).unwrap_or_default();
        // Interrupted or not: what there is to see is looked at again.
        let _ = poll(&mut sources, Some(&timeout));
        // Nothing more is ever written to it: it is readable at its end.
        if !sources[0].revents().is_empty() {
            return Ended::Cancelled;
        }
    }
}

/// What the program prints.
struct Output {
    reader: PipeReader,
    kept: Vec<u8>,
    is_open: bool,
}

impl Output {
    /// Reads what is there, but not for ever.
    fn read(&mut self) {
        let mut buffer = [0; 16 * 1024];
        for _ in 0..16 {
            match self.reader.read(&mut buffer) {
                Ok(0) => {
                    self.is_open = false;
                    return;
                }
                Ok(length) => {
                    let room = OUTPUT - self.kept.len();
                    self.kept.extend_from_slice(&buffer[..length.min(room)]);
                }
                Err(_) => return,
            }
        }
    }

    fn ended(&self, status: WaitStatus) -> Ended {
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => {
                Ended::Exited { code, output: String::from_utf8_lossy(&self.kept).into_owned() }
            }
            (None, signal) => Ended::Signalled { signal: signal.unwrap_or_default() },
        }
    }
}

/// Reaps one process that has ended, whichever.
fn reap_one() -> rustix::io::Result<Option<(Pid, WaitStatus)>> {
    wait(WaitOptions::NOHANG)
}
