//! `http` and `https`: a request, the status of its response, and what the body contains.

use std::net::SocketAddr;

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, HOST, USER_AGENT};

use crate::outcome::{Failure, Fault, Stage};
use evenkeel_model::check::Check;
use evenkeel_model::check::{HttpOptions, HttpVersion};

use super::http_exchange::{Answer, Version, Wanted, exchange};
use super::problem::Problem;
use super::reply::{LIMIT, contains, shown};
use super::tls_config::{Alpn, TlsConfigs, server_name};
use super::{Progress, connect};

pub(crate) const AGENT: &str = concat!("evenkeel/", env!("CARGO_PKG_VERSION"));

pub(crate) async fn probe(
    options: &HttpOptions,
    destination: SocketAddr,
    check: &Check,
    configs: &TlsConfigs,
    progress: &Progress,
) -> Result<(), Problem> {
    let wanted = options.body.as_ref().map_or(Wanted::Nothing, |it| Wanted::Until(it.as_bytes()));
    let answer = match &options.tls {
        None => {
            let version = match options.version {
                HttpVersion::Http1 | HttpVersion::Negotiated => Version::Http1,
                HttpVersion::Http2 => Version::Http2,
            };
            let request = request(options, destination, version)?;
            let stream = connect::tcp(destination, check).await?;
            exchange(stream, version, request, wanted, progress).await?
        }
        Some(tls) => {
            let name = server_name(tls, options.host.as_deref(), destination.ip())?;
            let alpn = match options.version {
                HttpVersion::Http1 => Alpn::Http1,
                HttpVersion::Http2 => Alpn::Http2,
                HttpVersion::Negotiated => Alpn::Both,
            };
            let stream = connect::tcp(destination, check).await?;
            progress.reaches(Stage::Handshake);
            let stream = configs.open(tls, alpn, name, stream).await?;
            let version = match (options.version, stream.get_ref().1.alpn_protocol()) {
                (_, Some(b"h2")) => Version::Http2,
                (HttpVersion::Http2, _) => {
                    let error = "the server does not offer HTTP/2 (ALPN h2)".to_owned();
                    return Err(Failure::Tls { error }.into());
                }
                _ => Version::Http1,
            };
            let request = request(options, destination, version)?;
            exchange(stream, version, request, wanted, progress).await?
        }
    };
    judge(options, &answer)
}

fn judge(options: &HttpOptions, answer: &Answer) -> Result<(), Problem> {
    let status = answer.status;
    if !options.status.iter().any(|it| (it.first..=it.last).contains(&status)) {
        return Err(Failure::Status { status }.into());
    }
    match &options.body {
        Some(body) if !contains(&answer.body, body.as_bytes(), 0) => Err(if answer.is_complete {
            Failure::Unexpected { reply: shown(&answer.body) }
        } else {
            Failure::TooLong { limit: LIMIT }
        }
        .into()),
        _ => Ok(()),
    }
}

fn request(
    options: &HttpOptions,
    destination: SocketAddr,
    version: Version,
) -> Result<Request<Full<Bytes>>, Fault> {
    let (scheme, port) = if options.tls.is_some() { ("https", 443) } else { ("http", 80) };
    let host = match &options.host {
        Some(host) => host.clone(),
        None if destination.port() != port => destination.to_string(),
        None if destination.is_ipv6() => format!("[{}]", destination.ip()),
        None => destination.ip().to_string(),
    };
    let mut builder = Request::builder().method(options.method.as_str());
    let names = |name: &str| options.headers.iter().any(|it| it.name.eq_ignore_ascii_case(name));
    builder = match version {
        Version::Http2 => builder.uri(format!("{scheme}://{host}{}", options.path)),
        Version::Http1 => {
            let builder = builder.uri(options.path.as_str()).header(CONNECTION, "close");
            if names(HOST.as_str()) { builder } else { builder.header(HOST, host) }
        }
    };
    if !names(USER_AGENT.as_str()) {
        builder = builder.header(USER_AGENT, AGENT);
    }
    for header in &options.headers {
        builder = builder.header(&header.name, &header.value);
    }
    builder
        .body(Full::default())
        .map_err(|error| Fault::Setup { error: format!("no request can be made: {error}") })
}

#[cfg(test)]
#[path = "http/tests.rs"]
mod tests;
