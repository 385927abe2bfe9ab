//! One writer at a time in a network namespace.
//!
//! The lock is an abstract unix socket (unix(7)) of a fixed name. The kernel keeps such names for
//! each network namespace apart, so that the lock has exactly the reach of what it protects: two
//! processes with different state directories, mount namespaces or users exclude each other when
//! they write the same table, and only then. A file could not do that: it would need a path that
//! both see and may write, and be left behind by one that was killed. The name is gone with the
//! process that held it, however that ends.
//!
//! Anyone in the namespace may bind the name, with no privilege at all. Someone who does keeps
//! evenkeel from changing anything, and nothing worse; the refusal names them, by what the kernel
//! says of who listens there. Readers take no lock.

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

/// The longest command line that is shown, in characters.
const SHOWN: usize = 120;

/// The right to change things in a network namespace, until it is dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    /// Nobody is ever let in; that somebody listens is all there is to it. Programs that are
    /// started meanwhile do not inherit it.
    _listener: UnixListener,
}

/// Why the lock was not taken.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("{}", held_text(.0.as_ref()))]
    Held(Option<Holder>),
    /// The system did not let it be taken or asked for.
    #[error("cannot take the lock of the network namespace")]
    Failed(#[source] io::Error),
}

/// A process that holds the lock, or listens on another socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its number; `None` where it runs in another pid namespace.
    pub pid: Option<u32>,
    /// The user it ran as when it began to listen.
    pub uid: u32,
    /// Its command line, made fit to be shown; `None` where it cannot be read.
    pub command: Option<String>,
}

impl Lock {
    /// Takes the lock of the calling thread's network namespace, without waiting for it.
    ///
    /// # Errors
    /// [`LockError::Held`] while another process, or another thread, has it.
    pub fn acquire() -> Result<Self, LockError> {
        Self::with_name(NAME)?.ok_or_else(|| LockError::Held(Holder::with_name(NAME)))
    }

    /// As [`Self::acquire`], for those who try again and again: who has it is not asked, since the
    /// kernel keeps each such question until the lock is free. `None` while another one has it.
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
    /// Who listens on that abstract name; `None` where nobody does any more, or where so many have
    /// asked that the kernel queues no further one. It does not wait for an answer: the kernel keeps
    /// who called listen(2), and tells it to whoever is connected.
    pub fn with_name(name: &[u8]) -> Option<Self> {
        probe_holder(name).flatten()
    }

    /// Who listens where that unix socket is connected to.
    pub fn of_peer(connected: &impl AsFd) -> Option<Self> {
        let found = getsockopt(connected, sockopt::PeerCredentials).ok()?;
        let pid = u32::try_from(found.pid()).ok().filter(|pid| *pid != 0);
        Some(Self { pid, uid: found.uid(), command: pid.and_then(command) })
    }

    /// Whether it runs as root, or as who runs this.
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

/// Who listens on that abstract name, where somebody does: [`Holder::with_name`].
pub(crate) fn probe_holder(name: &[u8]) -> Option<Option<Holder>> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let asking: OwnedFd = socket(AddressFamily::Unix, SockType::Stream, flags, None).ok()?;
    match connect(asking.as_raw_fd(), &UnixAddr::new_abstract(name).ok()?) {
        Ok(()) => Some(Holder::of_peer(&asking)),
        // Too many have asked.
        Err(Errno::EAGAIN) => Some(None),
        Err(_) => None,
    }
}

/// The command line of a process. Its owner writes it as they like: nothing in it reaches a
/// terminal as it is.
fn command(pid: u32) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let message = text.trim_end_matches('\0').replace('\0', " ");
    let shown: String = message.escape_debug().take(SHOWN).collect();
    (!shown.is_empty()).then_some(shown)
}

/// The refusal in words.
fn held_text(holder: Option<&Holder>) -> String {
    let Some(holder) = holder else {
        return "another process is changing this network namespace, or was a moment ago"
            .to_owned();
    };
    if holder.is_trusted() {
        return format!("another process is changing this network namespace: {holder}");
    }
    format!(
        "{holder}, which is neither root nor who runs this, holds the lock of this network namespace; \
         if it is no evenkeel, it keeps others from changing anything as long as it runs"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name of this test's own: the tests share a network namespace.
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
    fn one_that_is_asked_more_often_than_it_queues_still_refuses_without_waiting() {
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
        // Until the program is there, the line is that of this test.
        let shown = (0..500).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            command(child.id()).filter(|it| it.ends_with("60"))
        });
        child.kill().expect("it can be ended");
        child.wait().expect("it ends");
        assert_eq!(shown.as_deref(), Some("\\u{1b}[2J\\nhint: all is well 60"));
    }
}
