//! The client of the control socket: sends a request to the daemon of this network namespace.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use evenkeel_engine::Holder;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use thiserror::Error;

use super::{Answer, NAME, Request};

/// The timeout of each step; the daemon's own timeout is a little shorter, so that its message arrives.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest answer, in bytes: a status with very many failing objects.
const LINE: u64 = 64 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum AskError {
    /// No daemon manages this network namespace.
    #[error("no daemon runs in this network namespace")]
    NoDaemon,
    /// The process that listens runs neither as root nor as the client's user.
    #[error(
        "the control socket of this network namespace belongs to {0}, which is neither root nor the \
         current user; it is not trusted as the daemon"
    )]
    Untrusted(String),
    /// The communication failed.
    #[error("cannot communicate with the daemon")]
    Failed(#[source] io::Error),
}

/// Sends a request to the daemon of the calling thread's network namespace, and waits for its answer.
///
/// # Errors
/// [`AskError::NoDaemon`] if there is none.
pub fn ask(request: &Request) -> Result<Answer, AskError> {
    ask_at(NAME, request, PATIENCE)
}

pub(super) fn ask_at(
    name: &[u8],
    request: &Request,
    patience: Duration,
) -> Result<Answer, AskError> {
    let mut stream = connected(name, patience)?;
    // The kernel reports the process that called listen(2), not the one that accepts.
    match Holder::of_peer(&stream) {
        Some(holder) if holder.is_trusted() => {}
        Some(holder) => return Err(AskError::Untrusted(holder.to_string())),
        None => return Err(AskError::Untrusted("an unknown process".to_owned())),
    }
    exchange(&mut stream, request).map_err(AskError::Failed)
}

fn connected(name: &[u8], patience: Duration) -> Result<UnixStream, AskError> {
    let open = || {
        let flags = SockFlag::SOCK_CLOEXEC;
        let stream: OwnedFd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        let stream = UnixStream::from(stream);
        stream.set_read_timeout(Some(patience))?;
        // This timeout applies to connect(2) too, which waits while the backlog is full.
        stream.set_write_timeout(Some(patience))?;
        Ok::<_, io::Error>(stream)
    };
    let stream = open().map_err(AskError::Failed)?;
    let address = UnixAddr::new_abstract(name).map_err(|errno| AskError::Failed(errno.into()))?;
    match connect(stream.as_raw_fd(), &address) {
        Ok(()) => Ok(stream),
        Err(nix::errno::Errno::ECONNREFUSED) => Err(AskError::NoDaemon),
        Err(errno) => Err(AskError::Failed(timeout_error(errno.into()))),
    }
}

fn exchange(stream: &mut UnixStream, request: &Request) -> io::Result<Answer> {
    let line = serde_json::to_string(request)? + "\n";
    match stream.write_all(line.as_bytes()) {
        Ok(()) => {}
        // The daemon refused the peer before it read the request: its answer says why.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(error) => return Err(timeout_error(error)),
    }
    let mut line = String::new();
    BufReader::new(stream.take(LINE)).read_line(&mut line).map_err(timeout_error)?;
    if !line.ends_with('\n') {
        return Err(io::Error::new(ErrorKind::UnexpectedEof, "the answer is incomplete"));
    }
    Ok(serde_json::from_str(&line)?)
}

/// Replaces the error of a timeout, "resource temporarily unavailable", by a clear message.
fn timeout_error(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock => io::Error::new(ErrorKind::TimedOut, "no answer in time"),
        _ => error,
    }
}
