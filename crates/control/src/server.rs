//! The daemon's end of the control socket.
//!
//! The socket belongs to the daemon's [claim](crate::claim), of which there is one in a network namespace.
//! Any process may connect. The daemon obeys those that prove by a claim of their own that they have
//! CAP_NET_ADMIN: the user id 0 proves nothing, as root of a container has it too. Root and the daemon's
//! own user may read its status without that.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::{sleep, timeout};

use crate::abstract_socket::Name;
use crate::claim::{Claim, Role, holder};
use crate::event_publisher::{EventPublisher, Feed, NoFeed};
use crate::peer::{self, Process, UntrustedPeer};
use crate::protocol::{
    Answer, Form, LineError, PROTOCOL_VERSION, Request, decode_request, encode_answer,
};
use crate::status::Status;

/// The longest request, in bytes: many long paths.
const LINE: u64 = 64 * 1024;

/// How long a client may take to send its request, and again to receive the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the daemon may take to answer: it may be in a pass over a large table. Shorter than the
/// client's timeout, so that the client gets an answer.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(25);

/// The number of concurrent connections with each kind of [`Rights`], more than that of subscribers. Clients
/// that may command wait for a place, those that may only read are refused without one: so the places of
/// the latter, which processes without privileges can hold, are no others' business.
pub(crate) const CONNECTIONS: usize = 64;

/// How long to wait after a connection could not be accepted, for example because the process has no
/// file descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// The listening control socket.
#[derive(Debug)]
pub struct Server(Claim);

/// Why the daemon cannot bind its socket.
#[derive(Debug, Error)]
pub enum BindError {
    /// Another daemon has it.
    #[error("{}", taken(.0.as_ref()))]
    Taken(Option<Process>),
    /// The system did not allow to create it.
    #[error("cannot create the control socket")]
    Failed(#[source] io::Error),
}

/// A command for the daemon.
#[derive(Debug)]
pub struct Command {
    /// Any request but [`Request::Status`] and [`Request::Subscribe`].
    pub request: Request,
    /// Takes the answer. If it is dropped, the client gets the answer that the daemon is stopping.
    pub reply: oneshot::Sender<Answer>,
}

/// What the connections share.
struct Context<C> {
    status: watch::Receiver<Arc<Status>>,
    events: EventPublisher,
    command: C,
    commanding: Arc<Semaphore>,
    reading: Arc<Semaphore>,
}

/// A client with a place.
struct Admitted {
    rights: Rights,
    _place: OwnedSemaphorePermit,
}

impl<C> Context<C> {
    /// Gives a client a place, or returns a message why it has none.
    async fn admit(&self, rights: Rights) -> Result<Admitted, String> {
        let place = match rights {
            Rights::Command => Arc::clone(&self.commanding).acquire_owned().await.ok(),
            Rights::Read => Arc::clone(&self.reading).try_acquire_owned().ok(),
        };
        match place {
            Some(place) => Ok(Admitted { rights, _place: place }),
            None => Err(format!(
                "the daemon has {CONNECTIONS} clients without CAP_NET_ADMIN, the maximum; try again later"
            )),
        }
    }
}

/// The result of a request.
struct Reply {
    answer: Answer,
    form: Form,
    /// The events to write after the answer.
    feed: Option<Feed>,
}

impl Server {
    /// Binds the socket of an owner's daemon in the calling thread's network namespace; `None` is the owner
    /// without a name.
    ///
    /// # Errors
    /// [`BindError::Taken`] if another daemon of this owner has it.
    pub fn bind(owner: Option<&str>) -> Result<Self, BindError> {
        Self::of_role(Role::DAEMON.of_owner(owner))
    }

    pub(crate) fn of_role(role: Role) -> Result<Self, BindError> {
        let claim = role.claim().map_err(BindError::Failed)?;
        claim.map(Self).ok_or_else(|| BindError::Taken(holder(role)))
    }

    /// Serves requests until it is dropped. `command` sends a command to the daemon and does not
    /// wait; subscribers receive what is published with `events`.
    ///
    /// # Errors
    /// The socket cannot be used at all.
    pub async fn serve(
        self,
        status: watch::Receiver<Arc<Status>>,
        events: EventPublisher,
        command: impl Fn(Command) + Send + Sync + 'static,
    ) -> io::Result<std::convert::Infallible> {
        let Self(claim) = self;
        let listener = claim.listener().try_clone()?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        let [commanding, reading] = [(); 2].map(|()| Arc::new(Semaphore::new(CONNECTIONS)));
        let context = Arc::new(Context { status, events, command, commanding, reading });
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(connection(stream, Arc::clone(&context)));
                }
                Err(error) => {
                    tracing::debug!(%error, "a control connection could not be accepted");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

async fn connection<C: Fn(Command)>(mut stream: UnixStream, context: Arc<Context<C>>) {
    let admitted = match rights(&stream) {
        Ok(rights) => context.admit(rights).await,
        Err(message) => Err(message),
    };
    let Reply { answer, form, feed } = match &admitted {
        Ok(Admitted { rights, .. }) => reply(&mut stream, *rights, &context).await,
        Err(message) => Reply::refused(message.clone()),
    };
    let line = match encode_answer(&answer, form) {
        Ok(line) => line,
        Err(error) => {
            tracing::error!(%error, "an answer could not be written");
            return;
        }
    };
    match timeout(PATIENCE, stream.write_all(line.as_bytes())).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return tracing::debug!(%error, "an answer was not taken"),
        Err(_) => return tracing::debug!("an answer was not taken in time"),
    }
    if let Some(feed) = feed {
        feed.serve(stream).await;
    }
}

async fn reply(
    stream: &mut UnixStream,
    rights: Rights,
    context: &Context<impl Fn(Command)>,
) -> Reply {
    let line = match timeout(PATIENCE, read_line(stream)).await {
        Ok(Ok(line)) => line,
        Ok(Err(message)) => return Reply::refused(message),
        Err(_) => return Reply::refused("no request arrived in time".to_owned()),
    };
    match decode_request(&line) {
        Ok((request, form)) if rights == Rights::Read && !is_reading(&request) => {
            let message = "not permitted: only processes with CAP_NET_ADMIN in this network namespace \
                           may change what the daemon does";
            Reply { answer: Answer::Refused(message.to_owned()), form, feed: None }
        }
        Ok((request, form)) => {
            let (answer, feed) = answer(request, context).await;
            Reply { answer, form, feed }
        }
        Err(LineError::Invalid(error)) => Reply::refused(format!("invalid request: {error}")),
        Err(LineError::OtherVersion(_)) => Reply::refused(format!(
            "the daemon uses version {PROTOCOL_VERSION} of the control protocol, and the request \
             another one"
        )),
    }
}

/// What a client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rights {
    /// Read the status.
    Read,
    /// Everything.
    Command,
}

/// Determines what a client may do; a message if it may do nothing.
fn rights(client: &UnixStream) -> Result<Rights, String> {
    let is_proven = match Name::of_peer(client) {
        Ok(Some(name)) => Role::CLIENT.is_held_by(&name),
        Ok(None) => Ok(false),
        Err(error) => Err(error),
    };
    match is_proven {
        Ok(true) => return Ok(Rights::Command),
        Ok(false) => {}
        Err(error) => return Err(format!("cannot find out what the peer may do: {error}")),
    }
    match peer::check(client) {
        Ok(()) => Ok(Rights::Read),
        Err(UntrustedPeer::Other(uid)) => Err(format!(
            "user {uid} is not permitted: only root and the daemon's user are, and processes with \
             CAP_NET_ADMIN"
        )),
        Err(UntrustedPeer::Unknown(error)) => Err(format!("cannot identify the peer: {error}")),
    }
}

fn is_reading(request: &Request) -> bool {
    matches!(request, Request::Status | Request::Subscribe)
}

impl Reply {
    /// The refusal of something that is no request.
    fn refused(message: String) -> Self {
        Self { answer: Answer::Refused(message), form: Form::Versioned, feed: None }
    }
}

/// Reads the line of a request, or returns why there is none.
async fn read_line(stream: &mut UnixStream) -> Result<Vec<u8>, String> {
    let mut line = Vec::new();
    let mut reader = BufReader::new(stream.take(LINE));
    let read = reader.read_until(b'\n', &mut line).await;
    read.map_err(|error| format!("cannot read the request: {error}"))?;
    match line.last() {
        Some(b'\n') => Ok(line),
        _ => Err(format!("the request must be one line of at most {LINE} bytes")),
    }
}

async fn answer(request: Request, context: &Context<impl Fn(Command)>) -> (Answer, Option<Feed>) {
    let status = || Answer::Status(Box::new(context.status.borrow().at_present()));
    match request {
        Request::Status => (status(), None),
        // The subscription begins before the status is read, so that no event is missing.
        Request::Subscribe => match context.events.subscribe() {
            Ok(feed) => (status(), Some(feed)),
            Err(NoFeed::TooMany(maximum)) => {
                let message = format!(
                    "the daemon has {maximum} subscribers, the maximum; end one of them first"
                );
                (Answer::Refused(message), None)
            }
            Err(NoFeed::Ended) => (stopping(), None),
        },
        request => (send_command(request, &context.command).await, None),
    }
}

async fn send_command(request: Request, command: &impl Fn(Command)) -> Answer {
    let (reply, answer) = oneshot::channel();
    command(Command { request, reply });
    match timeout(COMMAND_TIMEOUT, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => stopping(),
        Err(_) => Answer::Refused(format!(
            "the daemon is busy and did not answer within {} s; the request may still be executed",
            COMMAND_TIMEOUT.as_secs()
        )),
    }
}

fn stopping() -> Answer {
    Answer::Refused("the daemon is stopping".to_owned())
}

/// Returns the message that another daemon runs.
fn taken(holder: Option<&Process>) -> String {
    match holder {
        None => "another daemon manages this network namespace, or did a moment ago".to_owned(),
        Some(holder) => format!("another daemon manages this network namespace: {holder}"),
    }
}
