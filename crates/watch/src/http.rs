//! The HTTP endpoint: `/metrics`, `/healthz`, `/readyz`, `/status`. It is read-only: no request
//! changes anything, and the reconciler does not depend on it.
//!
//! A peer is anyone who can connect, so it gets no text of the spec. On a loopback listener, a Host header that
//! is no loopback name is refused ([`host_header`]).
//!
//! Each connection serves one request. The number of connections, the time for the head of a request
//! and the total time are limited. Idle connections delay no other client ([`places`]).

mod host_header;
mod places;

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt::Write;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use evenkeel_control::Status;
use evenkeel_model::printable;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::http::host_header::AllowedHosts;
use crate::http::places::{Place, Places};
use crate::liveness::Liveness;
use crate::metrics::{Format, Metrics};

/// The data that the endpoint serves.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// For `/metrics`.
    pub(crate) metrics: Metrics,
    /// For `/readyz` and `/status`.
    pub(crate) status: watch::Receiver<Arc<Status>>,
    /// For `/healthz`.
    pub(crate) liveness: Arc<Liveness>,
    /// How long the reconciler may show no progress and still count as healthy.
    pub(crate) patience: Duration,
    /// Host names that a loopback listener answers beside loopback names.
    pub(crate) allowed_hosts: Vec<String>,
}

/// The limits for clients.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// The number of concurrent connections; for a further one, the oldest idle one ends.
    connections: usize,
    /// The time for the head of the request.
    head: Duration,
    /// The time for everything, including sending the answer.
    whole: Duration,
}

const LIMITS: Limits =
    Limits { connections: 64, head: Duration::from_secs(5), whole: Duration::from_secs(60) };

/// How long to wait after a connection could not be accepted, for example because the process has no
/// file descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves requests until it is dropped.
///
/// # Errors
/// The listener cannot be used at all.
pub(crate) async fn serve(listener: TcpListener, endpoint: Endpoint) -> io::Result<Infallible> {
    serve_within(listener, endpoint, LIMITS).await
}

async fn serve_within(
    listener: TcpListener,
    endpoint: Endpoint,
    limits: Limits,
) -> io::Result<Infallible> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let allowed = AllowedHosts::new(listener.local_addr().ok(), &endpoint.allowed_hosts);
    let router = router(endpoint, allowed);
    let places = Places::new(limits.connections);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let serve = |place| {
                    let turn = Turn { places: Arc::clone(&places), place };
                    let router = router.clone().layer(from_fn_with_state(turn, await_turn));
                    connection(stream, router, limits)
                };
                places.spawn(serve).await;
            }
            Err(error) => {
                tracing::debug!(%error, "a connection to the endpoint could not be accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router, limits: Limits) {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(limits.head).keep_alive(false);
    let served = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match timeout(limits.whole, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a request to the endpoint failed"),
        Err(_) => tracing::debug!("a request to the endpoint took too long"),
    }
}

/// What a request needs before it is answered.
#[derive(Debug, Clone)]
struct Turn {
    places: Arc<Places>,
    place: Arc<Place>,
}

async fn await_turn(State(turn): State<Turn>, request: Request, next: Next) -> Response {
    let is_health = ["/healthz", "/readyz"].contains(&request.uri().path());
    if !is_health {
        turn.places.turn(&turn.place).await;
    }
    next.run(request).await
}

fn router(endpoint: Endpoint, allowed: AllowedHosts) -> Router {
    let shared = Shared { endpoint, scrape: Arc::new(Semaphore::new(1)) };
    Router::new()
        .route("/", get(index))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .layer(from_fn_with_state(Arc::new(allowed), refuse_other_hosts))
        .with_state(shared)
}

async fn refuse_other_hosts(
    State(allowed): State<Arc<AllowedHosts>>,
    request: Request,
    next: Next,
) -> Response {
    if allowed.allow(request.uri(), request.headers()) {
        return next.run(request).await;
    }
    let text = "this Host is not served on a loopback address; `--allow-host NAME` allows a name\n";
    (StatusCode::MISDIRECTED_REQUEST, [(CONTENT_TYPE, TEXT)], text).into_response()
}

#[derive(Debug, Clone)]
struct Shared {
    endpoint: Endpoint,
    /// Only one request at a time writes the metrics, so that one thread suffices.
    scrape: Arc<Semaphore>,
}

const TEXT: &str = "text/plain; charset=utf-8";

async fn index(State(shared): State<Shared>) -> Response {
    let version = shared.endpoint.status.borrow().version.clone();
    let mut page = format!("<!DOCTYPE html><title>evenkeel</title>evenkeel {version}:");
    for path in ["/metrics", "/healthz", "/readyz", "/status"] {
        // Writing to a string does not fail.
        let _ = write!(page, " <a href=\"{path}\">{path}</a>");
    }
    page.push('\n');
    (StatusCode::OK, [(CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}

async fn metrics(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let format = Format::accepted(headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()));
    let metrics = shared.endpoint.metrics.clone();
    let Ok(permit) = shared.scrape.acquire_owned().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    // The thread holds the permit: if the kernel does not answer, no second thread waits for it too.
    let written = spawn_blocking(move || {
        let text = metrics.text(format);
        drop(permit);
        text
    });
    let Ok(pieces) = written.await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    // In two pieces, since all requests within a moment share the larger one.
    let body = Body::from_stream(futures_util::stream::iter(pieces.map(Ok::<_, Infallible>)));
    ([(CONTENT_TYPE, format.content_type())], body).into_response()
}

async fn healthz(State(shared): State<Shared>) -> Response {
    let age = shared.endpoint.liveness.age();
    let (code, text) = if age <= shared.endpoint.patience {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        let text = format!("the reconciler has made no progress for {} s\n", age.as_secs());
        (StatusCode::SERVICE_UNAVAILABLE, text)
    };
    (code, [(CONTENT_TYPE, TEXT)], text).into_response()
}

/// The status without the text of what is wrong with the spec, which has excerpts of it.
fn without_excerpts(status: &Status) -> Cow<'_, Status> {
    let Some(problem) = &status.spec.problem else { return Cow::Borrowed(status) };
    let mut shown = status.clone();
    let text = problem.text.trim();
    for reason in shown.reasons.iter_mut().filter(|_| !text.is_empty()) {
        *reason = reason.replace(text, ELSEWHERE);
    }
    if let Some(problem) = &mut shown.spec.problem {
        problem.text = ELSEWHERE.to_owned();
    }
    Cow::Owned(shown)
}

/// In place of what is wrong with the spec.
const ELSEWHERE: &str = "`evenkeel status` on the host shows why";

async fn readyz(State(shared): State<Shared>) -> Response {
    let status = shared.endpoint.status.borrow().clone();
    let status = without_excerpts(&status);
    let code = if status.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut text = format!("{}\n", status.state.as_str());
    for reason in &status.reasons {
        text.push_str(&printable(reason));
        text.push('\n');
    }
    (code, [(CONTENT_TYPE, TEXT)], text).into_response()
}

async fn status(State(shared): State<Shared>) -> Response {
    let status = shared.endpoint.status.borrow().at_present();
    match serde_json::to_string_pretty(&*without_excerpts(&status)) {
        Ok(text) => ([(CONTENT_TYPE, "application/json")], (printable(&text) + "\n").into_owned())
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests;
