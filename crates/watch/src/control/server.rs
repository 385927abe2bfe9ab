//! The server of the control socket.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_engine::Holder;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::{sleep, timeout};

use super::{Answer, NAME, Request};
use crate::status::Status;

/// The longest request, in bytes: many long paths.
const LINE: u64 = 64 * 1024;

/// How long a client may take to send its request, and again to receive the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the reconciler may take to answer: it may be in a pass over a large table. Shorter than
/// the client's timeout, so that the client gets an answer.
const RECONCILER_TIMEOUT: Duration = Duration::from_secs(25);

/// The number of concurrent connections; further ones wait to be accepted.
const CONNECTIONS: usize = 64;

/// How long to wait after a connection could not be accepted, for example because the process has no
/// file descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// The listening control socket. Only one process in a network namespace can have it, so it also shows
/// that a daemon runs.
#[derive(Debug)]
pub struct Socket(UnixListener);

/// Why the daemon cannot bind its socket.
#[derive(Debug, Error)]
pub enum BindError {
    /// Another process has it.
    #[error("{}", taken(.0.as_ref()))]
    Taken(Option<Holder>),
    /// The system did not allow to create it.
    #[error("cannot create the control socket")]
    Failed(#[source] io::Error),
}

/// A command for the reconciler.
#[derive(Debug)]
pub struct Command {
    /// Any request but [`Request::Status`].
    pub request: Request,
    /// Takes the answer. If it is dropped, the client gets the answer that the daemon is stopping.
    pub reply: oneshot::Sender<Answer>,
}

impl Socket {
    /// Binds the socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`BindError::Taken`] if another daemon or another process has it.
    pub fn bind() -> Result<Self, BindError> {
        Self::with_name(NAME)
    }

    pub(super) fn with_name(name: &[u8]) -> Result<Self, BindError> {
        let address = SocketAddr::from_abstract_name(name).map_err(BindError::Failed)?;
        match UnixListener::bind_addr(&address) {
            Ok(listener) => Ok(Self(listener)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                Err(BindError::Taken(Holder::with_name(name)))
            }
            Err(error) => Err(BindError::Failed(error)),
        }
    }

    /// Serves requests until it is dropped. `command` sends a command to the reconciler and does not
    /// wait.
    ///
    /// # Errors
    /// The socket cannot be used at all.
    pub async fn serve(
        self,
        status: watch::Receiver<Arc<Status>>,
        command: impl Fn(Command) + Send + Sync + 'static,
    ) -> io::Result<std::convert::Infallible> {
        let Self(listener) = self;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        let command = Arc::new(command);
        loop {
            let permit = Arc::clone(&permits).acquire_owned().await.map_err(io::Error::other)?;
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(connection(stream, status.clone(), Arc::clone(&command), permit));
                }
                Err(error) => {
                    tracing::debug!(%error, "a control connection could not be accepted");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

async fn connection(
    mut stream: UnixStream,
    status: watch::Receiver<Arc<Status>>,
    command: Arc<impl Fn(Command)>,
    _permit: OwnedSemaphorePermit,
) {
    let answer = match stream.peer_cred() {
        Ok(peer) if is_allowed(peer.uid()) => match timeout(PATIENCE, request(&mut stream)).await {
            Ok(Ok(request)) => answer(request, &status, &*command).await,
            Ok(Err(answer)) => answer,
            Err(_) => Answer::Refused("no request arrived in time".to_owned()),
        },
        Ok(peer) => {
            let message = format!(
                "user {} is not permitted: only root and the daemon's user are",
                peer.uid()
            );
            Answer::Refused(message)
        }
        Err(error) => Answer::Refused(format!("cannot identify the peer: {error}")),
    };
    let line = match serde_json::to_string(&answer) {
        Ok(text) => text + "\n",
        Err(error) => {
            tracing::error!(%error, "an answer could not be written");
            return;
        }
    };
    if let Ok(Err(error)) = timeout(PATIENCE, stream.write_all(line.as_bytes())).await {
        tracing::debug!(%error, "an answer was not taken");
    }
}

fn is_allowed(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

/// Reads the request, or returns the answer to an unreadable one.
async fn request(stream: &mut UnixStream) -> Result<Request, Answer> {
    let mut line = Vec::new();
    let mut reader = BufReader::new(stream.take(LINE));
    let read = reader.read_until(b'\n', &mut line).await;
    read.map_err(|error| Answer::Refused(format!("cannot read the request: {error}")))?;
    if line.last() != Some(&b'\n') {
        return Err(Answer::Refused(format!(
            "the request must be one line of at most {LINE} bytes"
        )));
    }
    serde_json::from_slice(&line)
        .map_err(|error| Answer::Refused(format!("invalid request: {error}")))
}

async fn answer(
    request: Request,
    status: &watch::Receiver<Arc<Status>>,
    command: &impl Fn(Command),
) -> Answer {
    if request == Request::Status {
        return Answer::Status(Box::new(Status::clone(&status.borrow())));
    }
    let (reply, answer) = oneshot::channel();
    command(Command { request, reply });
    match timeout(RECONCILER_TIMEOUT, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Answer::Refused("the daemon is stopping".to_owned()),
        Err(_) => Answer::Refused(format!(
            "the daemon is busy and did not answer within {} s; the request may still be executed",
            RECONCILER_TIMEOUT.as_secs()
        )),
    }
}

/// Returns the message that the socket is taken.
fn taken(holder: Option<&Holder>) -> String {
    match holder {
        None => "another daemon manages this network namespace, or did a moment ago".to_owned(),
        Some(holder) if holder.is_trusted() => {
            format!("another daemon manages this network namespace: {holder}")
        }
        Some(holder) => format!(
            "{holder}, which is neither root nor the current user, has the daemon's control socket in \
             this network namespace; no daemon can start here until it ends"
        ),
    }
}
