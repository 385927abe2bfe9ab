//! The client of the control socket: sends a request to the daemon of a network namespace.
//!
//! It finds the daemon by its [claim](crate::claim), which proves that the daemon has CAP_NET_ADMIN, and
//! proves the same of itself by a claim of its own if it can.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use thiserror::Error;

use crate::abstract_socket::{Name, Owner};
use crate::claim::Role;
use crate::event::{Event, EventKind};
use crate::protocol::{
    Answer, LineError, PROTOCOL_VERSION, Request, decode_answer, encode_request,
};
use crate::status::Status;

/// The timeout of each step; the daemon's own timeout is a little shorter, so that its message arrives.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest line, in bytes: a status with very many failing objects.
const LINE: u64 = 64 * 1024 * 1024;

/// A client of the daemon in a network namespace.
#[derive(Debug)]
pub struct Client {
    daemon: Role,
    patience: Duration,
}

/// A subscription to the daemon's events: iterates over them, and waits for each. The last one is
/// [`EventKind::End`], or an error.
#[derive(Debug)]
pub struct Subscription {
    /// The status when the subscription began. The first events may report changes that it shows
    /// already; none is missing.
    pub status: Box<Status>,
    reader: BufReader<UnixStream>,
    is_over: bool,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum AskError {
    /// No daemon manages this network namespace.
    #[error("no daemon runs in this network namespace")]
    NoDaemon,
    /// The daemon is of another version of evenkeel; `None` if it is from before there were versions.
    #[error(
        "the daemon uses {} of the control protocol, and this program uses version {PROTOCOL_VERSION}",
        .0.map_or_else(|| "an earlier version".to_owned(), |version| format!("version {version}"))
    )]
    OtherVersion(Option<u64>),
    /// The daemon refused the subscription; the reason.
    #[error("{0}")]
    Refused(String),
    /// The communication failed.
    #[error("cannot communicate with the daemon")]
    Failed(#[source] io::Error),
}

impl Client {
    /// The client of the daemon of an owner in the network namespace of the thread that asks; `None` is the
    /// owner without a name.
    pub fn of_owner(name: Option<&str>) -> Self {
        Self { daemon: Role::DAEMON.of_owner(name), patience: PATIENCE }
    }

    /// For tests, which share a network namespace.
    #[cfg(test)]
    pub(crate) fn of_role(daemon: Role, patience: Duration) -> Self {
        Self { daemon, patience }
    }

    /// Whether the daemon runs; false where the system does not show it.
    pub fn is_daemon_running(&self) -> bool {
        self.daemon.holders().is_ok_and(|holders| {
            // Of owners with the same part, only one can have this name.
            holders.iter().any(|name| !matches!(name.owner(), Owner::None))
        })
    }

    /// Sends a request, and waits for its answer.
    ///
    /// # Errors
    /// [`AskError::NoDaemon`] if there is none.
    pub fn ask(&self, request: &Request) -> Result<Answer, AskError> {
        self.send(request).map(|(answer, _)| answer)
    }

    /// Subscribes to the daemon's events.
    ///
    /// # Errors
    /// As [`Self::ask`]; [`AskError::Refused`] if the daemon has too many subscribers.
    pub fn subscribe(&self) -> Result<Subscription, AskError> {
        let (answer, reader) = self.send(&Request::Subscribe)?;
        let status = match answer {
            Answer::Status(status) => status,
            Answer::Refused(message) => return Err(AskError::Refused(message)),
            Answer::Done(_) => return Err(invalid("the answer to a subscription has no status")),
        };
        // Events may be days apart.
        reader.get_ref().set_read_timeout(None).map_err(AskError::Failed)?;
        Ok(Subscription { status, reader, is_over: false })
    }

    fn send(&self, request: &Request) -> Result<(Answer, BufReader<UnixStream>), AskError> {
        let (proof, stream) = self.connect()?;
        write_request(&stream, request).map_err(AskError::Failed)?;
        let mut reader = BufReader::new(stream);
        // Held until the answer is there; declared last, so that it goes before the name does.
        let _proof = proof;
        let line = read_line(&mut reader).map_err(AskError::Failed)?;
        match decode_answer(&line) {
            Ok(answer) => Ok((answer, reader)),
            Err(LineError::OtherVersion(version)) => Err(AskError::OtherVersion(version)),
            Err(LineError::Invalid(error)) => Err(AskError::Failed(error.into())),
        }
    }

    /// Connects to the daemon, with the proof that this process has CAP_NET_ADMIN, if it has.
    fn connect(&self) -> Result<(Option<OwnedFd>, UnixStream), AskError> {
        let listed = self.daemon.holders().map_err(AskError::Failed)?;
        for name in listed {
            let (proof, stream) = socket().map_err(AskError::Failed)?;
            let connected = name.connect(stream, self.patience);
            let connected = connected.map_err(|error| AskError::Failed(timeout_error(error)))?;
            // If it ended before the connection, another process may have taken the name.
            if let Some(stream) = connected
                && self.daemon.is_held_by(&name).map_err(AskError::Failed)?
            {
                return Ok((proof, stream));
            }
        }
        Err(AskError::NoDaemon)
    }
}

/// A socket, which has the name of a claim if this process may claim anything.
fn socket() -> io::Result<(Option<OwnedFd>, OwnedFd)> {
    match Role::CLIENT.claim_for(Name::bind_stream) {
        Ok((proof, stream)) => Ok((Some(proof), stream)),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok((None, Name::stream()?)),
        Err(error) => Err(error),
    }
}

impl Iterator for Subscription {
    type Item = Result<Event, AskError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let event = read_line(&mut self.reader)
            .map_err(missing_end)
            .and_then(|line| Ok(serde_json::from_str::<Event>(&line)?))
            .map_err(AskError::Failed);
        self.is_over = match &event {
            Ok(event) => matches!(event.kind, EventKind::End { .. }),
            Err(_) => true,
        };
        Some(event)
    }
}

fn write_request(mut stream: &UnixStream, request: &Request) -> io::Result<()> {
    let line = encode_request(request)?;
    match stream.write_all(line.as_bytes()) {
        // The daemon refused the peer before it read the request: its answer says why.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(timeout_error),
    }
}

fn read_line(reader: &mut BufReader<UnixStream>) -> io::Result<String> {
    let mut line = String::new();
    reader.take(LINE).read_line(&mut line).map_err(timeout_error)?;
    if line.ends_with('\n') {
        return Ok(line);
    }
    let message = match line.is_empty() {
        true => "the daemon closed the connection",
        false => "the answer is incomplete",
    };
    Err(io::Error::new(ErrorKind::UnexpectedEof, message))
}

/// Replaces the error of a connection that ended without [`EventKind::End`].
fn missing_end(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => io::Error::new(
            ErrorKind::UnexpectedEof,
            "the connection ended without a last event: the daemon was killed, or this program read \
             its events too slowly",
        ),
        _ => error,
    }
}

fn invalid(message: &'static str) -> AskError {
    AskError::Failed(io::Error::new(ErrorKind::InvalidData, message))
}

/// Replaces the error of a timeout, "resource temporarily unavailable", by a clear message.
fn timeout_error(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock => io::Error::new(ErrorKind::TimedOut, "no answer in time"),
        _ => error,
    }
}
