//! The conversation with the kernel: one request at a time on one socket.

mod global;
mod read;
mod resolve;
mod write;

use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use nix::errno::Errno;

use crate::codec::{Answer, Encoder, Failure, Header, Message, messages};
use crate::socket::{ReceiveError, Socket};
use crate::{CommandObject, DecodeError, Error, Operation, Refusal, modules};

/// How long an answer may take. The kernel answers within the sending system call, so this is only
/// reached if an answer was lost.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// A connection to IPVS in the network namespace of the thread that made it.
///
/// It may be moved to another thread. Its requests exclude each other, as a netlink socket
/// carries one dump at a time.
pub struct Client {
    socket: Socket,
    encoder: Encoder,
    family: u16,
    sequence: u32,
    /// Whether answers to an earlier request may still be waiting.
    unfinished: bool,
}

impl Client {
    /// Opens a socket, enlarges its receive buffer as far as permitted and looks up the family,
    /// loading the module `ip_vs` if there is none.
    ///
    /// This needs no privileges where the module is loaded; every request then needs
    /// CAP_NET_ADMIN.
    ///
    /// # Errors
    /// [`Error::ModuleMissing`] when the kernel has no IPVS, and failures of the socket.
    pub fn connect() -> Result<Self, Error> {
        let socket = Socket::open().map_err(|source| Error::Socket { action: "open", source })?;
        let mut client =
            Self { socket, encoder: Encoder::default(), family: 0, sequence: 0, unfinished: false };
        if !client.resolve_family()? {
            modules::load("ip_vs")
                .map_err(|source| Error::ModuleMissing { source: Some(source) })?;
            if !client.resolve_family()? {
                return Err(Error::ModuleMissing { source: None });
            }
        }
        Ok(client)
    }

    fn header(&mut self) -> Header {
        self.sequence = self.sequence.wrapping_add(1);
        Header { family: self.family, sequence: self.sequence }
    }

    /// Sends the encoded request, after discarding unread answers to an earlier one.
    fn send(&mut self) -> Result<(), Error> {
        if self.unfinished {
            self.socket.drain().map_err(|error| Error::Socket {
                action: "receive",
                source: match error {
                    ReceiveError::Io(source) => source,
                    other => io::Error::other(format!("{other:?}")),
                },
            })?;
            self.unfinished = false;
        }
        self.socket
            .send(self.encoder.bytes())
            .map_err(|source| Error::Socket { action: "send", source })
    }

    /// Passes each received message to `take`, which returns whether it was the last one.
    fn receive(
        &mut self,
        sent_command: SentCommand,
        mut each: impl FnMut(Message<'_>, Answer<'_>) -> Result<ControlFlow<()>, Error>,
    ) -> Result<(), Error> {
        self.unfinished = true;
        loop {
            let received = self.socket.receive(ANSWER_LIMIT);
            let received = received.map_err(|error| sent_command.not_received(error))?;
            let mut finished = false;
            for datagram in self.socket.datagrams(received) {
                for message in messages(datagram) {
                    let message = message.map_err(|source| sent_command.malformed(source))?;
                    if message.is_interrupted() {
                        return Err(sent_command.interrupted());
                    }
                    let answer = message.answer();
                    let answer = answer.map_err(|source| sent_command.malformed(source))?;
                    finished |= each(message, answer)?.is_break();
                }
            }
            if finished {
                self.unfinished = false;
                return Ok(());
            }
        }
    }

    /// Sends one request and passes on each message of the answer. The request is either a dump or
    /// asks for an acknowledgement, so that the end of the answer is known.
    fn ask(
        &mut self,
        sent_command: SentCommand,
        header: Header,
        mut each: impl FnMut(&[u8]) -> Result<(), DecodeError>,
    ) -> Result<(), Error> {
        self.send()?;
        self.receive(sent_command, |message, answer| {
            if message.sequence != header.sequence {
                return Ok(ControlFlow::Continue(()));
            }
            match answer {
                Answer::Data(payload) if message.kind == header.family => {
                    each(payload).map_err(|source| sent_command.malformed(source))?;
                    Ok(ControlFlow::Continue(()))
                }
                Answer::Data(_) => {
                    Err(sent_command.malformed(DecodeError::UnexpectedMessage(message.kind)))
                }
                Answer::Nothing => Ok(ControlFlow::Continue(())),
                Answer::Done | Answer::Acknowledged => Ok(ControlFlow::Break(())),
                Answer::Failed(failure) => Err(sent_command.refused(failure)),
            }
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("family", &self.family)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

/// What a request was, for the errors that may answer it.
#[derive(Debug, Clone, Copy)]
struct SentCommand {
    operation: Operation,
    object: CommandObject,
}

impl SentCommand {
    fn not_received(self, error: ReceiveError) -> Error {
        let Self { operation, object } = self;
        match error {
            ReceiveError::TimedOut => Error::Timeout { operation, object, limit: ANSWER_LIMIT },
            ReceiveError::Overrun => Error::RepliesLost { operation, object },
            ReceiveError::Cut => self.malformed(DecodeError::CutDatagram),
            ReceiveError::Io(source) => Error::Socket { action: "receive", source },
        }
    }

    fn malformed(self, source: DecodeError) -> Error {
        let Self { operation, object } = self;
        Error::Malformed { operation, object, source }
    }

    fn interrupted(self) -> Error {
        let Self { operation, object } = self;
        Error::DumpInterrupted { operation, object }
    }

    fn refused(self, failure: Failure<'_>) -> Error {
        let Self { operation, object } = self;
        if failure.errno == Errno::EPERM as i32 {
            return Error::PermissionDenied { operation, object };
        }
        Error::Refused(self.refusal(failure))
    }

    fn refusal(self, Failure { errno, message }: Failure<'_>) -> Refusal {
        let Self { operation, object } = self;
        Refusal { operation, object, errno, message: message.map(|words| words.into()) }
    }
}
