//! `grpc`: gRPC's health protocol, version 1, over HTTP/2.
//!
//! A call is one request with a message of one field, and a response with another. Both are short enough
//! to be written here (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).

use std::net::SocketAddr;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, TE, USER_AGENT};
use hyper::{HeaderMap, Method, Request};

use crate::outcome::{Failure, Fault, Stage};
use evenkeel_model::check::Check;
use evenkeel_model::check::GrpcOptions;

use super::http::AGENT;
use super::http_exchange::{Answer, Version, Wanted, exchange};
use super::problem::Problem;
use super::tls_config::{Alpn, TlsConfigs, server_name};
use super::{Progress, connect};

const METHOD: &str = "/grpc.health.v1.Health/Check";

/// `HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: u64 = 1;

/// The fields of the messages: `service` of the request, `status` of the response.
const FIELD: u64 = 1;

pub(crate) async fn probe(
    options: &GrpcOptions,
    destination: SocketAddr,
    check: &Check,
    configs: &TlsConfigs,
    progress: &Progress,
) -> Result<(), Problem> {
    let request = request(options, destination)?;
    let answer = match &options.tls {
        None => {
            let stream = connect::tcp(destination, check).await?;
            exchange(stream, Version::Http2, request, Wanted::All, progress).await?
        }
        Some(tls) => {
            let name = server_name(tls, options.authority.as_deref(), destination.ip())?;
            let stream = connect::tcp(destination, check).await?;
            progress.reaches(Stage::Handshake);
            let stream = configs.open(tls, Alpn::Http2, name, stream).await?;
            exchange(stream, Version::Http2, request, Wanted::All, progress).await?
        }
    };
    Ok(judge(&answer)?)
}

fn request(options: &GrpcOptions, destination: SocketAddr) -> Result<Request<Full<Bytes>>, Fault> {
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    let sni = options.tls.as_ref().and_then(|it| it.sni.clone());
    let authority = options.authority.clone().or(sni).unwrap_or_else(|| destination.to_string());
    Request::builder()
        .method(Method::POST)
        .uri(format!("{scheme}://{authority}{METHOD}"))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(USER_AGENT, AGENT)
        .body(Full::from(framed(&message(&options.service))))
        .map_err(|error| Fault::Setup { error: format!("no request can be made: {error}") })
}

fn judge(answer: &Answer) -> Result<(), Failure> {
    if answer.status != 200 {
        return Err(Failure::Status { status: answer.status });
    }
    // An error may come without a body, its status in the header.
    let trailers = answer.trailers.as_ref().unwrap_or(&answer.header);
    let code = field(trailers, "grpc-status")
        .ok_or_else(|| malformed("no grpc-status"))?
        .parse()
        .map_err(|_| malformed("grpc-status is no number"))?;
    if code != 0 {
        let message = field(trailers, "grpc-message").unwrap_or_default().to_owned();
        return Err(Failure::GrpcStatus { code, message });
    }
    match serving_status(&answer.body)? {
        SERVING => Ok(()),
        state => Err(Failure::NotServing { state }),
    }
}

fn field<'a>(header: &'a HeaderMap, name: &str) -> Option<&'a str> {
    header.get(name).and_then(|it| it.to_str().ok())
}

/// `HealthCheckRequest`.
fn message(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(u8::try_from(FIELD << 3 | 2).unwrap_or_default());
        let mut length = service.len();
        while length >= 0x80 {
            message.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
            length >>= 7;
        }
        message.push(u8::try_from(length).unwrap_or_default());
        message.extend_from_slice(service.as_bytes());
    }
    message
}

/// A message with its prefix: not compressed, and the length.
fn framed(message: &[u8]) -> Vec<u8> {
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend_from_slice(message);
    framed
}

/// The status in a `HealthCheckResponse`; 0 if it has none, as protocol buffers have it.
fn serving_status(body: &[u8]) -> Result<u64, Failure> {
    let (prefix, rest) = body.split_first_chunk::<5>().ok_or_else(|| malformed("no message"))?;
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
    if prefix[0] != 0 {
        return Err(malformed("a compressed message"));
    }
    if usize::try_from(length) != Ok(rest.len()) {
        return Err(malformed("a message of another length than it says"));
    }
    let mut rest = rest;
    let mut status = 0;
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        // Fields of later versions are skipped.
        match key & 7 {
            0 => {
                let value = varint(&mut rest)?;
                if key >> 3 == FIELD {
                    status = value;
                }
            }
            1 => skip(&mut rest, 8)?,
            2 => {
                let length = varint(&mut rest)?;
                skip(&mut rest, length)?;
            }
            5 => skip(&mut rest, 4)?,
            _ => return Err(malformed("a field of an unknown type")),
        }
    }
    Ok(status)
}

fn varint(rest: &mut &[u8]) -> Result<u64, Failure> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first().ok_or_else(|| malformed("a cut message"))?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(malformed("a number without end"))
}

fn skip(rest: &mut &[u8], length: u64) -> Result<(), Failure> {
    *rest = usize::try_from(length)
        .ok()
        .and_then(|length| rest.get(length..))
        .ok_or_else(|| malformed("a cut message"))?;
    Ok(())
}

fn malformed(what: &str) -> Failure {
    Failure::Malformed { what: what.to_owned() }
}

#[cfg(test)]
#[path = "grpc/tests.rs"]
mod tests;
