//! One request over HTTP/1.1 or HTTP/2 on a connection of its own.
//!
//! All of it ends with the future: nothing is left on the event loop when the deadline drops it.

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

use crate::outcome::{Failure, Stage};

use super::Progress;
use super::problem::Problem;
use super::reply::{LIMIT, contains};

/// How much of the header of a response is accepted.
const HEADER: usize = 32 * 1024;

/// Which version is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    Http2,
}

/// What of the body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted<'a> {
    Nothing,
    /// Until these bytes have arrived.
    Until(&'a [u8]),
    /// All of it, and the trailers.
    All,
}

/// A response as far as it was read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) header: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Whether the body ended within the limit.
    pub(crate) is_complete: bool,
    pub(crate) trailers: Option<HeaderMap>,
}

pub(crate) async fn exchange<S>(
    stream: S,
    version: Version,
    request: Request<Full<Bytes>>,
    wanted: Wanted<'_>,
    progress: &Progress,
) -> Result<Answer, Problem>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    progress.reaches(Stage::Reply);
    let stream = TokioIo::new(stream);
    let result = match version {
        Version::Http1 => {
            let mut builder = http1::Builder::new();
            builder.max_buf_size(HEADER);
            let (mut sender, connection) =
                builder.handshake(stream).await.map_err(|error| problem(&error))?;
            let answer = async { read(sender.send_request(request).await?, wanted).await };
            drive(connection, answer).await
        }
        Version::Http2 => {
            let tasks = Tasks::default();
            let _end = EndTasks(tasks.clone());
            let mut builder = http2::Builder::new(tasks);
            builder.max_header_list_size(u32::try_from(HEADER).unwrap_or(u32::MAX));
            let (mut sender, connection) =
                builder.handshake(stream).await.map_err(|error| problem(&error))?;
            let answer = async { read(sender.send_request(request).await?, wanted).await };
            drive(connection, answer).await
        }
    };
    result.map_err(|error| problem(&error))
}

/// Lets the connection work until the answer is there. One that has ended may have left an answer.
async fn drive<C: Future, A: Future>(connection: C, answer: A) -> A::Output {
    let mut connection = pin!(connection);
    let mut answer = pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = &mut connection => answer.await,
    }
}

async fn read(response: Response<Incoming>, wanted: Wanted<'_>) -> hyper::Result<Answer> {
    let (parts, mut body) = response.into_parts();
    let mut answer = Answer {
        status: parts.status.as_u16(),
        header: parts.headers,
        body: Vec::new(),
        is_complete: false,
        trailers: None,
    };
    let mut from = 0;
    loop {
        match wanted {
            Wanted::Nothing => return Ok(answer),
            Wanted::Until(expected) if contains(&answer.body, expected, from) => return Ok(answer),
            Wanted::Until(expected) => from = answer.body.len().saturating_sub(expected.len()),
            Wanted::All => {}
        }
        if answer.body.len() >= LIMIT {
            return Ok(answer);
        }
        let Some(frame) = body.frame().await.transpose()? else {
            answer.is_complete = true;
            return Ok(answer);
        };
        match frame.into_data() {
            Ok(data) => {
                let room = LIMIT - answer.body.len();
                answer.body.extend_from_slice(&data[..data.len().min(room)]);
            }
            Err(frame) => answer.trailers = frame.into_trailers().ok(),
        }
    }
}

/// Whose fault an error of hyper is.
fn problem(error: &hyper::Error) -> Problem {
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Problem::of_exchange(error);
        }
        source = error.source();
    }
    if error.is_parse() {
        return Failure::Malformed { what: error_chain(error) }.into();
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return Failure::Closed.into();
    }
    Failure::Connection { error: error_chain(error) }.into()
}

fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// Runs the tasks that HTTP/2 needs beside the exchange.
#[derive(Debug, Clone, Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

/// Ends them. The tasks themselves hold [`Tasks`], so dropping that would not.
struct EndTasks(Tasks);

impl<F> Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.spawn(async {
            task.await;
        });
    }
}

impl Drop for EndTasks {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}
