//! Allows one writer at a time in a network namespace.
//!
//! The lock is an abstract unix socket (unix(7)) of a fixed name. The kernel keeps such names per
//! network namespace, so that the scope of the lock is exactly what it protects: two processes
//! with different state directories, mount namespaces or users exclude each other if, and only if,
//! they write the same table. A lock file could not do that: it would need a path that both see and
//! may write, and a killed process would leave it behind. The kernel frees the name when its
//! process ends for any reason.
//!
//! Any process in the namespace may bind the name, without privileges. That prevents evenkeel from
//! changing anything, but does no other harm; the refusal names the process, as the kernel
//! identifies the listener. Readers take no lock.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket, sockopt,
};
use thiserror::Error;

/// The name, without the zero byte that makes it abstract.
const NAME: &[u8] = b"evenkeel/lock";

/// The maximum length of a shown command line, in characters.
const SHOWN: usize = 120;

/// The right to change things in a network namespace; released on drop or when the process ends.
#[derive(Debug)]
pub struct Lock {
    /// Only listens; accepts no connection. Child processes do not inherit it.
    _listener: UnixListener,
}

/// Why the lock was not taken.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("{}", held_text(.0.as_ref()))]
    Held(Option<Holder>),
    /// A system call failed.
    #[error("cannot take the lock of the network namespace")]
    Failed(#[source] io::Error),
}

/// A process that holds the lock, or listens on another socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process id; `None` where it runs in another pid namespace.
    pub pid: Option<u32>,
    /// The user it ran as when it called listen(2).
    pub uid: u32,
    /// Its command line, escaped and truncated for display; `None` where it cannot be read.
    pub command: Option<String>,
}

impl Lock {
    /// Takes the lock of the calling thread's network namespace, without waiting for it.
    ///
    /// # Errors
    /// [`LockError::Held`] while another process, or another thread, holds it.
    pub fn acquire() -> Result<Self, LockError> {
        Self::with_name(NAME)?.ok_or_else(|| LockError::Held(Holder::with_name(NAME)))
    }

    /// Takes the lock as [`Self::acquire`] does, for callers that retry; `None` while it is held.
    ///
    /// Does not identify the holder, since each such query stays in the socket's backlog until the
    /// lock is free.
    ///
    /// # Errors
    /// [`LockError::Failed`].
    pub fn try_acquire() -> Result<Option<Self>, LockError> {
        Self::with_name(NAME)
    }

    fn with_name(name: &[u8]) -> Result<Option<Self>, LockError> {
        let address = SocketAddr::from_abstract_name(name).map_err(LockError::Failed)?;
        match UnixListener::bind_addr(&address) {
            Ok(listener) => Ok(Some(Self { _listener: listener })),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
            Err(error) => Err(LockError::Failed(error)),
        }
    }
}

impl Holder {
    /// The process that listens on that abstract name; `None` where none does, or where the
    /// socket's backlog is full.
    ///
    /// Does not wait for the process: the kernel stores the credentials of the caller of listen(2)
    /// and returns them to connected peers.
    pub fn with_name(name: &[u8]) -> Option<Self> {
        probe_holder(name).flatten()
    }

    /// The peer that the unix socket is connected to.
    pub fn of_peer(connected: &impl AsFd) -> Option<Self> {
        let found = getsockopt(connected, sockopt::PeerCredentials).ok()?;
        let pid = u32::try_from(found.pid()).ok().filter(|pid| *pid != 0);
        Some(Self { pid, uid: found.uid(), command: pid.and_then(command) })
    }

    /// Whether it runs as root or as the current user.
    pub fn is_trusted(&self) -> bool {
        self.uid == 0 || self.uid == rustix::process::geteuid().as_raw()
    }
}

impl fmt::Display for Holder {
    /// ``process 7 of user 0 (`evenkeel watch`)``.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, uid, command } = self;
        match (pid, command) {
            (Some(pid), Some(command)) => write!(f, "process {pid} of user {uid} (`{command}`)"),
            (Some(pid), None) => write!(f, "process {pid} of user {uid}"),
            (None, _) => write!(f, "a process of user {uid} in another pid namespace"),
        }
    }
}

/// The listener on that abstract name: `None` if there is none, `Some(None)` if it cannot be
/// identified.
pub(crate) fn probe_holder(name: &[u8]) -> Option<Option<Holder>> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let probe: OwnedFd = socket(AddressFamily::Unix, SockType::Stream, flags, None).ok()?;
    match connect(probe.as_raw_fd(), &UnixAddr::new_abstract(name).ok()?) {
        Ok(()) => Some(Holder::of_peer(&probe)),
        // The backlog is full.
        Err(Errno::EAGAIN) => Some(None),
        Err(_) => None,
    }
}

/// The command line of a process. Its owner controls the content, so it is escaped before it
/// reaches a terminal.
fn command(pid: u32) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let message = text.trim_end_matches('\0').replace('\0', " ");
    let shown: String = message.escape_debug().take(SHOWN).collect();
    (!shown.is_empty()).then_some(shown)
}

/// The text of the refusal.
fn held_text(holder: Option<&Holder>) -> String {
    let Some(holder) = holder else {
        return "another process is changing this network namespace, or was a moment ago"
            .to_owned();
    };
    if holder.is_trusted() {
        return format!("another process is changing this network namespace: {holder}");
    }
    format!(
        "{holder}, which is neither root nor the current user, holds the lock of this network \
         namespace; if it is not evenkeel, it blocks all changes for as long as it runs"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name for this test alone: the tests share a network namespace.
    fn name(of: &str) -> Vec<u8> {
        format!("evenkeel/lock/test/{of}/{}", std::process::id()).into_bytes()
    }

    fn take(name: &[u8]) -> Option<Lock> {
        Lock::with_name(name).expect("it can be asked for")
    }

    #[test]
    fn it_is_held_once_and_free_again_when_dropped() {
        let name = name("once");
        let lock = take(&name).expect("it is free");
        assert!(take(&name).is_none());
        drop(lock);
        assert!(take(&name).is_some());
    }

    #[test]
    fn the_refusal_names_the_holder_by_pid_user_and_command_line() {
        let name = name("named");
        let _lock = take(&name).expect("it is free");
        let holder = Holder::with_name(&name).expect("it is held");
        assert_eq!(holder.pid, Some(std::process::id()));
        assert_eq!(holder.uid, rustix::process::getuid().as_raw());
        let program = std::env::args().next().expect("a program");
        assert!(holder.command.as_ref().is_some_and(|it| it.starts_with(&program)), "{holder:?}");
        let message = LockError::Held(Some(holder)).to_string();
        assert!(message.contains(&format!("process {} of user", std::process::id())), "{message}");
        assert!(!message.contains("neither root"), "{message}");
    }

    #[test]
    fn a_lock_with_a_full_backlog_still_refuses_without_waiting() {
        let name = name("queue");
        let _lock = take(&name).expect("it is free");
        let limit = fs::read_to_string("/proc/sys/net/core/somaxconn").expect("a limit");
        let limit: usize = limit.trim().parse().expect("a number");
        assert!(Holder::with_name(&name).is_some());
        for _ in 0..limit + 2 {
            Holder::with_name(&name);
            assert!(take(&name).is_none());
        }
        assert_eq!(Holder::with_name(&name), None);
        assert!(LockError::Held(None).to_string().contains("another process is changing"));
    }

    #[test]
    fn an_untrusted_holder_is_named_as_such_and_cannot_write_to_a_terminal() {
        let own = rustix::process::geteuid().as_raw();
        let untrusted =
            Holder { pid: Some(7), uid: own.max(1) + 1, command: Some("nc -lU".into()) };
        let message = LockError::Held(Some(untrusted)).to_string();
        assert!(message.contains("`nc -lU`") && message.contains("neither root"), "{message}");
        let elsewhere = Holder { pid: None, uid: 0, command: None };
        let message = LockError::Held(Some(elsewhere)).to_string();
        assert!(message.contains("user 0 in another pid namespace"), "{message}");

        let mut child = std::process::Command::new("sleep");
        std::os::unix::process::CommandExt::arg0(&mut child, "\x1b[2J\nhint: all is well");
        let mut child = child.arg("60").spawn().expect("sleep");
        // Until exec(2), the command line is that of this test.
        let shown = (0..500).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            command(child.id()).filter(|it| it.ends_with("60"))
        });
        child.kill().expect("it can be ended");
        child.wait().expect("it ends");
        assert_eq!(shown.as_deref(), Some("\\u{1b}[2J\\nhint: all is well 60"));
    }
}
