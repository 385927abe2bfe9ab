//! An HTTP server of the tests: HTTP/1.1 and HTTP/2, with TLS or without.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

/// A body of frames that are there.
pub(crate) struct Frames(pub(crate) VecDeque<Frame<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

/// A response with a body.
pub(crate) fn response(status: u16, body: &'static [u8]) -> Response<Frames> {
    let frames = VecDeque::from([Frame::data(Bytes::from_static(body))]);
    Response::builder().status(status).body(Frames(frames)).unwrap()
}

type Handler = Arc<dyn Fn(Request<Bytes>) -> Response<Frames> + Send + Sync>;

/// What a server speaks.
#[derive(Clone)]
pub(crate) enum Speaks {
    Http1,
    Http2,
    /// What was negotiated.
    Tls(Arc<ServerConfig>),
}

/// A server in a thread of its own.
pub(crate) fn http_server(
    address: IpAddr,
    speaks: Speaks,
    handler: impl Fn(Request<Bytes>) -> Response<Frames> + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind((address, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let at = listener.local_addr().unwrap();
    let handler: Handler = Arc::new(handler);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (speaks, handler) = (speaks.clone(), handler.clone());
                tokio::spawn(async move {
                    match speaks {
                        Speaks::Http1 => serve(stream, false, handler).await,
                        Speaks::Http2 => serve(stream, true, handler).await,
                        Speaks::Tls(config) => {
                            let Ok(stream) = TlsAcceptor::from(config).accept(stream).await else {
                                return;
                            };
                            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                            serve(stream, is_http2, handler).await;
                        }
                    }
                });
            }
        });
    });
    at
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    is_http2: bool,
    handler: Handler,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let handler = handler.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok::<_, hyper::Error>(handler(Request::from_parts(parts, body)))
        }
    });
    let stream = TokioIo::new(stream);
    // Clients that end early are no concern of the server.
    if is_http2 {
        let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await;
    } else {
        let _ = http1::Builder::new().serve_connection(stream, service).await;
    }
}
