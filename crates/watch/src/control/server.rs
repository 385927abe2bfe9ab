//! The daemon's side of the control socket.

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
use crate::Status;

/// The longest request, in bytes: many long paths.
const LINE: u64 = 64 * 1024;

/// Who asks has so long to say what, and so long again to take the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The keeper has so long: it may be in the midst of a pass over a large table. Less than who asks
/// waits, so that they get an answer.
const RECONCILER: Duration = Duration::from_secs(25);

/// So many are served at a time; further ones wait to be accepted.
const CONNECTIONS: usize = 64;

/// How long no connection is accepted after one could not be, for want of descriptors say.
const PAUSE: Duration = Duration::from_millis(100);

/// The daemon's sign that it is there: nobody else can have it in the same network namespace.
#[derive(Debug)]
pub struct Socket(UnixListener);

/// Why the daemon cannot have its socket.
#[derive(Debug, Error)]
pub enum BindError {
    /// Someone has it.
    #[error("{}", taken(.0.as_ref()))]
    Taken(Option<Holder>),
    /// The system did not let it be made.
    #[error("cannot make the control socket")]
    Failed(#[source] io::Error),
}

/// An order for the keeper.
#[derive(Debug)]
pub struct Command {
    /// Anything but [`Request::Status`].
    pub request: Request,
    /// Where the answer goes. Dropped, the daemon is taken to end.
    pub reply: oneshot::Sender<Answer>,
}

impl Socket {
    /// In the calling thread's network namespace.
    ///
    /// # Errors
    /// [`BindError::Taken`] where another daemon, or anyone else, has it.
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

    /// Answers for ever; dropped, it accepts no more. `command` hands an order to the keeper and
    /// does not wait.
    ///
    /// # Errors
    /// When the socket cannot be used at all.
    pub async fn serve(
        self,
        status: watch::Receiver<Arc<Status>>,
        command: impl Fn(Command) + Send + Sync + 'static,
    ) -> io::Result<std::convert::Infallible> {
        let Self(listener) = self;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let command = Arc::new(command);
        loop {
            let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(connection(stream, status.clone(), Arc::clone(&command), place));
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
    _place: OwnedSemaphorePermit,
) {
    let answer = match stream.peer_cred() {
        Ok(peer) if is_allowed(peer.uid()) => match timeout(PATIENCE, request(&mut stream)).await {
            Ok(Ok(request)) => answer(request, &status, &*command).await,
            Ok(Err(answer)) => answer,
            Err(_) => Answer::Refused("no request came in time".to_owned()),
        },
        Ok(peer) => {
            let message = format!(
                "user {} may not ask: only root and the user of the daemon may",
                peer.uid()
            );
            Answer::Refused(message)
        }
        Err(error) => Answer::Refused(format!("who asks cannot be told: {error}")),
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

/// What is asked, or what to answer where that cannot be told.
async fn request(stream: &mut UnixStream) -> Result<Request, Answer> {
    let mut line = Vec::new();
    let mut reader = BufReader::new(stream.take(LINE));
    let read = reader.read_until(b'\n', &mut line).await;
    read.map_err(|error| Answer::Refused(format!("the request cannot be read: {error}")))?;
    if line.last() != Some(&b'\n') {
        return Err(Answer::Refused(format!(
            "the request is no line, or one of more than {LINE} bytes"
        )));
    }
    serde_json::from_slice(&line)
        .map_err(|error| Answer::Refused(format!("the request is not understood: {error}")))
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
    match timeout(RECONCILER, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Answer::Refused("the daemon is about to end".to_owned()),
        Err(_) => Answer::Refused(format!(
            "the daemon is busy and has not answered for {} s; what was asked may still be done",
            RECONCILER.as_secs()
        )),
    }
}

/// The refusal in words.
fn taken(holder: Option<&Holder>) -> String {
    match holder {
        None => "another daemon keeps this network namespace, or did a moment ago".to_owned(),
        Some(holder) if holder.is_trusted() => {
            format!("another daemon keeps this network namespace: {holder}")
        }
        Some(holder) => format!(
            "{holder}, which is neither root nor who runs this, has the daemon's control socket in \
             this network namespace; while it does no daemon can begin"
        ),
    }
}
