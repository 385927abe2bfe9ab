//! Abstract unix sockets (unix(7)): names in a network namespace that identify a process.
//!
//! Any process may take a free name, without privileges. So the names of evenkeel end with a number that
//! no other process can know before the name is taken; which name counts is decided by a
//! [claim](crate::claim). The kernel frees a name when its process ends for any reason.

use std::borrow::Cow;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, connect, socket};

use crate::peer::Process;

/// A name, without the zero byte that makes it abstract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name(Cow<'static, [u8]>);

/// Who has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owner {
    /// No process has it.
    None,
    /// A process has it; `None` where that cannot be identified, because the backlog of its socket
    /// is full.
    Process(Option<Process>),
}

impl Name {
    pub(crate) fn new(text: String) -> Self {
        Self(text.into_bytes().into())
    }

    /// The name that the peer of a connection is bound to; `None` if it is bound to none.
    #[cfg(feature = "server")]
    pub(crate) fn of_peer(connected: &impl std::os::fd::AsFd) -> io::Result<Option<Self>> {
        let address: UnixAddr = nix::sys::socket::getpeername(connected.as_fd().as_raw_fd())?;
        Ok(address.as_abstract().map(|name| Self(name.to_vec().into())))
    }

    /// Takes the name in the calling thread's network namespace; `None` while another process, or
    /// another thread, has it. Child processes do not inherit it.
    pub(crate) fn bind(&self) -> io::Result<Option<UnixListener>> {
        match UnixListener::bind_addr(&SocketAddr::from_abstract_name(&self.0)?) {
            Ok(listener) => Ok(Some(listener)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Finds out who has the name.
    ///
    /// Does not wait for that process: the kernel stores the credentials of the caller of listen(2)
    /// and returns them to connected peers. Each such query stays in the socket's backlog until its
    /// owner accepts it, or ends.
    pub(crate) fn owner(&self) -> Owner {
        match self.try_connect() {
            Ok(connected) => Owner::Process(Process::of_peer(&connected)),
            Err(Errno::EAGAIN) => Owner::Process(None),
            Err(_) => Owner::None,
        }
    }

    fn try_connect(&self) -> nix::Result<OwnedFd> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let probe = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        connect(probe.as_raw_fd(), &UnixAddr::new_abstract(&self.0)?)?;
        Ok(probe)
    }

    /// Binds a new socket to the name, for [`Self::connect`]; `None` while another one has it.
    pub(crate) fn bind_stream(&self) -> io::Result<Option<OwnedFd>> {
        let stream = Self::stream()?;
        match bind(stream.as_raw_fd(), &UnixAddr::new_abstract(&self.0)?) {
            Ok(()) => Ok(Some(stream)),
            Err(Errno::EADDRINUSE) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// A new socket without a name, for [`Self::connect`].
    pub(crate) fn stream() -> io::Result<OwnedFd> {
        Ok(socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?)
    }

    /// Connects a socket to the process that has the name; `None` if none has it. Waits for at most
    /// `timeout`, as each later reading and writing on the socket does.
    pub(crate) fn connect(
        &self,
        stream: OwnedFd,
        timeout: Duration,
    ) -> io::Result<Option<UnixStream>> {
        let stream = UnixStream::from(stream);
        stream.set_read_timeout(Some(timeout))?;
        // This timeout applies to connect(2) too, which waits while the backlog is full.
        stream.set_write_timeout(Some(timeout))?;
        match connect(stream.as_raw_fd(), &UnixAddr::new_abstract(&self.0)?) {
            Ok(()) => Ok(Some(stream)),
            Err(Errno::ECONNREFUSED) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

#[cfg(test)]
impl Name {
    /// A name for one test: the tests share a network namespace.
    pub(crate) fn for_test(of: &str) -> Self {
        Self(format!("evenkeel/test/{of}/{}", std::process::id()).into_bytes().into())
    }
}

/// The length of a listener's backlog.
#[cfg(test)]
pub(crate) fn backlog() -> usize {
    let limit = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("a limit");
    limit.trim().parse().expect("a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect_to(name: &Name, timeout: Duration) -> io::Result<Option<UnixStream>> {
        name.connect(Name::stream()?, timeout)
    }

    #[test]
    fn a_name_is_had_once_and_free_again_when_dropped() {
        let name = Name::for_test("once");
        assert_eq!(name.owner(), Owner::None);
        let bound = name.bind().expect("it can be asked for").expect("it is free");
        assert!(name.bind().expect("it can be asked for").is_none());
        let Owner::Process(Some(owner)) = name.owner() else { panic!("it is held") };
        assert_eq!(owner.pid, Some(std::process::id()));
        drop(bound);
        assert_eq!(name.owner(), Owner::None);
        assert!(name.bind().expect("it can be asked for").is_some());
    }

    #[test]
    fn a_name_that_another_thread_has_is_taken() {
        let name = Name::for_test("thread");
        let elsewhere = name.clone();
        let bound = std::thread::spawn(move || elsewhere.bind()).join().expect("it ends");
        assert!(bound.as_ref().is_ok_and(Option::is_some));
        assert!(name.bind().expect("it can be asked for").is_none());
    }

    #[test]
    fn with_a_full_backlog_the_owner_exists_and_is_unknown() {
        let name = Name::for_test("backlog");
        let _bound = name.bind().expect("it can be asked for").expect("it is free");
        for _ in 0..=backlog() {
            assert!(matches!(name.owner(), Owner::Process(Some(_))));
        }
        assert_eq!(name.owner(), Owner::Process(None));
        assert!(name.bind().expect("it can be asked for").is_none());
    }

    #[test]
    fn connecting_waits_only_for_a_process_that_has_the_name() {
        let name = Name::for_test("connect");
        let limit = Duration::from_millis(50);
        assert!(connect_to(&name, limit).expect("it can be asked for").is_none());
        let _bound = name.bind().expect("it can be asked for").expect("it is free");
        let queue: Vec<_> = (0..=backlog()).map(|_| connect_to(&name, limit)).collect();
        assert!(queue.iter().all(|it| it.as_ref().is_ok_and(Option::is_some)));
        let error = connect_to(&name, limit).expect_err("the backlog is full");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn an_impossible_name_is_an_error() {
        let name = Name::new("x".repeat(200));
        assert!(name.bind().is_err());
        assert_eq!(name.owner(), Owner::None);
        assert!(connect_to(&name, Duration::from_millis(50)).is_err());
    }
}
