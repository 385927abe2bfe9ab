//! A process together with everything it starts: watched, given a limit, and always ended as a whole.
//!
//! UML is one process with helpers. They leave together on SIGTERM; after SIGKILL of the first the
//! helpers stay behind, hence a process group that is killed as one.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// How long a group may take to leave on SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(2);
/// How often the process is checked and its output is streamed.
const TICK: Duration = Duration::from_millis(20);

/// A running process and its descendants, ended when dropped.
#[derive(Debug)]
pub(crate) struct ProcessGroup {
    child: Child,
    id: Pid,
    reaped: bool,
}

/// How a watch over a group ended.
#[derive(Debug)]
pub(crate) enum End {
    Exited(ExitStatus),
    TimedOut,
}

impl ProcessGroup {
    /// Starts `command` at the head of a process group of its own.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let child = command.process_group(0).spawn()?;
        let id = Pid::from_child(&child);
        Ok(Self { child, id, reaped: false })
    }

    /// Waits until the process ends or `limit` is over; calls `tick` about fifty times a second.
    ///
    /// Nothing of the group is alive afterwards.
    pub(crate) fn watch<E: From<io::Error>>(
        mut self,
        limit: Option<Duration>,
        mut tick: impl FnMut() -> Result<(), E>,
    ) -> Result<End, E> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        loop {
            if self.has_ended()? {
                return Ok(End::Exited(self.reap()?));
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                self.end()?;
                return Ok(End::TimedOut);
            }
            tick()?;
            std::thread::sleep(TICK);
        }
    }

    /// Whether the first process is over. It stays unreaped, so that the group's id stays taken.
    fn has_ended(&self) -> io::Result<bool> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(self.id), options)?.is_some())
    }

    fn end(&mut self) -> io::Result<()> {
        self.signal(Signal::TERM)?;
        let deadline = Instant::now() + GRACE;
        while !self.has_ended()? && Instant::now() < deadline {
            std::thread::sleep(TICK);
        }
        self.reap().map(drop)
    }

    /// Kills what is left of the group and collects the first process's status.
    fn reap(&mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::KILL)?;
        self.reaped = true;
        self.child.wait()
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        match kill_process_group(self.id, signal) {
            // No process is left in the group, as intended.
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if !self.reaped {
            // Nothing more can be done about a group that cannot be ended.
            drop(self.end());
        }
    }
}

/// An exit status in words.
pub(crate) fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no exit status".to_owned(),
    }
}

#[cfg(test)]
mod tests;
