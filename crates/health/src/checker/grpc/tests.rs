use std::collections::VecDeque;

use hyper::Response;
use hyper::body::Frame;
use proptest::prelude::*;

use super::*;
use crate::checker::test_servers::{
    Authority, Frames, LOOPBACKS, NAME, Speaks, closed_port, http_server, made, made_in, patient,
    response, server_config,
};
use crate::outcome::Outcome;
use evenkeel_model::check::Kind;
use evenkeel_model::check::TlsOptions;

fn check(service: &str, tls: Option<TlsOptions>) -> Check {
    let options = GrpcOptions { service: service.to_owned(), tls, authority: None };
    patient(Kind::Grpc(options))
}

/// What a server of gRPC answers: `a` serves, `b` does not, others it does not know.
fn health(request: Request<Bytes>) -> Response<Frames> {
    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
    assert_eq!(request.headers()["content-type"], "application/grpc");
    assert_eq!(request.headers()["te"], "trailers");
    let response = Response::builder().header("content-type", "application/grpc");
    let state = match request.body().as_ref() {
        b"\0\0\0\0\0" | b"\0\0\0\0\x03\x0a\x01a" => 1,
        b"\0\0\0\0\x03\x0a\x01b" => 2,
        _ => {
            let response = response.header("grpc-status", "5").header("grpc-message", "unknown");
            return response.body(Frames(VecDeque::new())).unwrap();
        }
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let message = Bytes::from(framed(&[8, state]));
    response.body(Frames([Frame::data(message), Frame::trailers(trailers)].into())).unwrap()
}

#[test]
fn a_service_that_serves_passes() {
    for loopback in LOOPBACKS {
        let server = http_server(loopback, Speaks::Http2, health);
        let made = |service| made(server, &check(service, None));
        assert_eq!(made(""), Outcome::Passed);
        assert_eq!(made("a"), Outcome::Passed);
        assert_eq!(made("b"), Failure::NotServing { state: 2 }.into());
        let unknown = Failure::GrpcStatus { code: 5, message: "unknown".to_owned() };
        assert_eq!(made("c"), unknown.into());
    }
}

#[test]
fn it_may_be_behind_tls() {
    let authority = Authority::new();
    let config = server_config(authority.server(&[NAME], 30), None, &["h2"]);
    let server = http_server(LOOPBACKS[1], Speaks::Tls(config), health);
    let ca = Some("ca.pem".to_owned());
    let tls = TlsOptions { sni: Some(NAME.to_owned()), ca, ..TlsOptions::default() };
    let made = |tls| made_in(authority.environment(), server, &check("a", Some(tls)));
    assert_eq!(made(tls.clone()), Outcome::Passed);
    let other = TlsOptions { sni: Some("b.test".to_owned()), ..tls };
    assert!(matches!(made(other), Outcome::Failed(Failure::Tls { .. })));
}

#[test]
fn what_is_no_grpc_fails() {
    let status = http_server(LOOPBACKS[0], Speaks::Http2, |_| response(404, b""));
    assert_eq!(made(status, &check("", None)), Failure::Status { status: 404 }.into());
    let web = http_server(LOOPBACKS[0], Speaks::Http2, |_| response(200, b"<html>"));
    assert_eq!(made(web, &check("", None)), malformed("no grpc-status").into());
    let old = http_server(LOOPBACKS[0], Speaks::Http1, |_| response(200, b""));
    assert!(matches!(made(old, &check("", None)), Outcome::Failed(_)));
    let closed = closed_port(LOOPBACKS[1]);
    assert_eq!(made(closed, &check("", None)), Failure::Refused.into());
}

#[test]
fn messages_are_as_protocol_buffers_have_them() {
    assert_eq!(message(""), b"");
    assert_eq!(message("ab"), b"\x0a\x02ab");
    let long = message(&"a".repeat(300));
    assert_eq!(&long[..4], b"\x0a\xac\x02a");
    assert_eq!(serving_status(&framed(&[])), Ok(0));
    assert_eq!(serving_status(&framed(&[8, 1])), Ok(1));
    assert_eq!(serving_status(&framed(&[8, 0x81, 0x01])), Ok(129));
    // A field that this version does not know, of each type.
    let unknown =
        [&[0x10, 5, 0x19][..], &[0; 8], &[0x22, 2, 1, 2, 0x2d, 0, 0, 0, 0, 8, 1]].concat();
    assert_eq!(serving_status(&framed(&unknown)), Ok(1));
    for bad in [&[8][..], &[8, 0x80], &[0x22, 5, 1], &[0x1b], &[0x19, 1], &[0x80; 11]] {
        assert!(serving_status(&framed(bad)).is_err(), "{bad:?}");
    }
    for bad in [&[][..], &[0, 0, 0, 0], &[1, 0, 0, 0, 0], &[0, 0, 0, 0, 1], &[0, 0, 0, 0, 0, 8]] {
        assert!(serving_status(bad).is_err(), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn arbitrary_messages_are_read_to_an_end(
        bytes in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let _ = serving_status(&bytes);
        let _ = serving_status(&framed(&bytes));
    }
}
