//! The other side: asks the daemon of this network namespace, if there is one.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use evenkeel_engine::Holder;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use thiserror::Error;

use super::{Answer, NAME, Request};

/// How long each step of the conversation may take; the daemon answers a little earlier that it has
/// no answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest answer, in bytes: a status with very many objects that fail.
const LINE: u64 = 64 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum AskError {
    /// No daemon keeps this network namespace.
    #[error("no daemon runs in this network namespace")]
    NoDaemon,
    /// Who listens may be anyone: neither root nor who asks.
    #[error(
        "{0}, which is neither root nor who asks, poses as the daemon of this network namespace"
    )]
    Untrusted(String),
    /// The conversation failed.
    #[error("cannot talk to the daemon")]
    Failed(#[source] io::Error),
}

/// Asks the daemon of the calling thread's network namespace, and waits for its answer.
///
/// # Errors
/// [`AskError::NoDaemon`] where there is none.
pub fn ask(request: &Request) -> Result<Answer, AskError> {
    ask_at(NAME, request, PATIENCE)
}

pub(super) fn ask_at(
    name: &[u8],
    request: &Request,
    patience: Duration,
) -> Result<Answer, AskError> {
    let mut stream = connected(name, patience)?;
    // The kernel's word on who called listen(2), whoever has accepted since.
    match Holder::of_peer(&stream) {
        Some(holder) if holder.is_trusted() => {}
        Some(holder) => return Err(AskError::Untrusted(holder.to_string())),
        None => return Err(AskError::Untrusted("an unknown process".to_owned())),
    }
    talk(&mut stream, request).map_err(AskError::Failed)
}

fn connected(name: &[u8], patience: Duration) -> Result<UnixStream, AskError> {
    let open = || {
        let flags = SockFlag::SOCK_CLOEXEC;
        let stream: OwnedFd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        let stream = UnixStream::from(stream);
        stream.set_read_timeout(Some(patience))?;
        // This one holds for connect(2) too, which waits while too many others do.
        stream.set_write_timeout(Some(patience))?;
        Ok::<_, io::Error>(stream)
    };
    let stream = open().map_err(AskError::Failed)?;
    let address = UnixAddr::new_abstract(name).map_err(|errno| AskError::Failed(errno.into()))?;
    match connect(stream.as_raw_fd(), &address) {
        Ok(()) => Ok(stream),
        Err(nix::errno::Errno::ECONNREFUSED) => Err(AskError::NoDaemon),
        Err(errno) => Err(AskError::Failed(in_time(errno.into()))),
    }
}

fn talk(stream: &mut UnixStream, request: &Request) -> io::Result<Answer> {
    let line = serde_json::to_string(request)? + "\n";
    match stream.write_all(line.as_bytes()) {
        Ok(()) => {}
        // Refused before it was asked: the answer says why.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(error) => return Err(in_time(error)),
    }
    let mut line = String::new();
    BufReader::new(stream.take(LINE)).read_line(&mut line).map_err(in_time)?;
    if !line.ends_with('\n') {
        return Err(io::Error::new(ErrorKind::UnexpectedEof, "it gave no whole answer"));
    }
    Ok(serde_json::from_str(&line)?)
}

/// A time limit shows as "resource temporarily unavailable", which tells nobody anything.
fn in_time(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock => io::Error::new(ErrorKind::TimedOut, "it gave no answer in time"),
        _ => error,
    }
}
