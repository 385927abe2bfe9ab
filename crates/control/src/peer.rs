//! Identifies the process at the other end of a unix socket, and decides whether to trust it.
//!
//! The user id decides who may read the daemon's status, and nothing else: what needs privileges needs a
//! [claim](crate::claim).

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::AsFd;

use nix::sys::socket::{UnixCredentials, getsockopt, sockopt};

/// The maximum length of a shown command line, in characters.
const SHOWN: usize = 120;

/// A process, as the kernel identifies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its process id; `None` where it runs in another pid namespace.
    pub pid: Option<u32>,
    /// The user it ran as when it connected, or when it called listen(2).
    pub uid: u32,
    /// Its command line, escaped and truncated for display; `None` where it cannot be read.
    pub command: Option<String>,
}

/// Why a peer is not trusted.
#[cfg(feature = "server")]
#[derive(Debug)]
pub(crate) enum UntrustedPeer {
    /// It runs as this user, neither root nor the current one.
    Other(u32),
    /// The kernel does not identify it.
    Unknown(io::Error),
}

/// Checks that the peer of a connected socket runs as root or as the current user.
///
/// For the client of a listener, the peer is the process that called listen(2), not the one that
/// accepts.
#[cfg(feature = "server")]
pub(crate) fn check(connected: &impl AsFd) -> Result<(), UntrustedPeer> {
    let found = credentials(connected).map_err(UntrustedPeer::Unknown)?;
    match is_trusted(found.uid()) {
        true => Ok(()),
        // No more is read of it: any process may connect as often as it likes.
        false => Err(UntrustedPeer::Other(found.uid())),
    }
}

impl Process {
    /// The peer of a connected socket; `None` where the kernel does not identify it.
    pub(crate) fn of_peer(connected: &impl AsFd) -> Option<Self> {
        credentials(connected).ok().map(Self::from_credentials)
    }

    fn from_credentials(found: UnixCredentials) -> Self {
        let pid = u32::try_from(found.pid()).ok().filter(|pid| *pid != 0);
        Self { pid, uid: found.uid(), command: pid.and_then(command) }
    }

    /// Whether it runs as root or as the current user.
    #[cfg(all(test, feature = "server"))]
    fn is_trusted(&self) -> bool {
        is_trusted(self.uid)
    }
}

impl fmt::Display for Process {
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

fn credentials(connected: &impl AsFd) -> io::Result<UnixCredentials> {
    Ok(getsockopt(connected, sockopt::PeerCredentials)?)
}

#[cfg(feature = "server")]
fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::os::unix::process::CommandExt;
    use std::process::Command;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_peer_is_identified_by_pid_user_and_command_line() {
        let (one, _other) = UnixStream::pair().expect("a pair of sockets");
        let process = Process::of_peer(&one).expect("it is connected");
        assert_eq!(process.pid, Some(std::process::id()));
        assert_eq!(process.uid, rustix::process::getuid().as_raw());
        let program = std::env::args().next().expect("a program");
        assert!(process.command.as_ref().is_some_and(|it| it.starts_with(&program)), "{process:?}");
        assert!(process.is_trusted());
        check(&one).expect("it is this process");
    }

    #[test]
    fn a_peer_that_the_kernel_does_not_identify_is_not_trusted() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let tcp = std::net::TcpStream::connect(socket.local_addr().expect("an address"));
        let checked = check(&tcp.expect("it listens"));
        // The kernel answers for a TCP socket with user and process -1, or not at all.
        assert!(checked.is_err(), "{checked:?}");
    }

    #[test]
    fn only_root_and_the_current_user_are_trusted() {
        let own = rustix::process::geteuid().as_raw();
        let of = |uid| Process { pid: Some(7), uid, command: None };
        assert!(of(0).is_trusted());
        assert!(of(own).is_trusted());
        assert!(!of(own.max(1) + 1).is_trusted());
        assert!(!of(u32::MAX).is_trusted());
    }

    #[test]
    fn the_command_line_is_escaped() {
        let mut child = Command::new("sleep");
        child.arg0("\x1b[2J\nhint: all is well");
        let mut child = child.arg("60").spawn().expect("sleep");
        // Until exec(2), the command line is that of this test.
        let shown = (0..500).find_map(|_| {
            thread::sleep(Duration::from_millis(10));
            command(child.id()).filter(|it| it.ends_with("60"))
        });
        child.kill().expect("it can be ended");
        child.wait().expect("it ends");
        assert_eq!(shown.as_deref(), Some("\\u{1b}[2J\\nhint: all is well 60"));
    }

    #[test]
    fn a_process_of_another_pid_namespace_has_no_pid() {
        let elsewhere = Process { pid: None, uid: 0, command: None };
        assert_eq!(elsewhere.to_string(), "a process of user 0 in another pid namespace");
    }
}
