use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use super::*;
use crate::checker::test_servers::{
    Authority, LOOPBACKS, NAME, Speaks, closed_port, http_server, made, made_in, patient, quick,
    response, server_config, tcp_server,
};
use crate::outcome::Outcome;
use evenkeel_model::check::Kind;
use evenkeel_model::check::{ClientCertificate, Header, StatusRange, TlsOptions};

fn check(options: HttpOptions) -> Check {
    patient(Kind::Http(options))
}

fn with_body(body: &str) -> HttpOptions {
    HttpOptions { body: Some(body.to_owned()), ..HttpOptions::default() }
}

fn timeout() -> Outcome {
    Failure::Timeout { stage: Stage::Reply, after: Duration::from_millis(200) }.into()
}

/// A server that reads a request and answers with these bytes.
fn answers(answer: impl Into<Vec<u8>>) -> SocketAddr {
    let answer = answer.into();
    tcp_server(LOOPBACKS[0], move |mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(&answer);
    })
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        request.push(byte[0]);
    }
    String::from_utf8(request).unwrap()
}

#[test]
fn the_status_decides() {
    for loopback in LOOPBACKS {
        for speaks in [Speaks::Http1, Speaks::Http2] {
            let version = match speaks {
                Speaks::Http1 => HttpVersion::Http1,
                _ => HttpVersion::Http2,
            };
            let server = http_server(loopback, speaks, |request| {
                let status = request.uri().path().trim_start_matches('/').parse().unwrap();
                response(status, b"body")
            });
            let made = |status: u16, ranges: &[(u16, u16)]| {
                let range = |(first, last): &(u16, u16)| StatusRange { first: *first, last: *last };
                let status_ranges = ranges.iter().map(range).collect();
                let path = format!("/{status}");
                let options =
                    HttpOptions { version, path, status: status_ranges, ..HttpOptions::default() };
                made(server, &check(options))
            };
            let ok = &[(200, 299)];
            assert_eq!(made(200, ok), Outcome::Passed);
            assert_eq!(made(204, ok), Outcome::Passed);
            assert_eq!(made(503, ok), Failure::Status { status: 503 }.into());
            assert_eq!(made(301, ok), Failure::Status { status: 301 }.into());
            assert_eq!(made(401, &[(200, 299), (401, 401)]), Outcome::Passed);
            assert_eq!(
                made(402, &[(200, 299), (401, 401)]),
                Failure::Status { status: 402 }.into()
            );
        }
    }
}

#[test]
fn the_request_is_that_of_the_check() {
    let (sender, receiver) = channel();
    let server = tcp_server(LOOPBACKS[1], move |mut stream| {
        sender.send(read_request(&mut stream)).unwrap();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    });
    let options = HttpOptions {
        method: "HEAD".to_owned(),
        path: "/healthz?full=1".to_owned(),
        headers: vec![Header { name: "X-Check".to_owned(), value: "yes".to_owned() }],
        ..HttpOptions::default()
    };
    assert_eq!(made(server, &check(options.clone())), Outcome::Passed);
    let request = receiver.recv().unwrap().to_ascii_lowercase();
    assert!(request.starts_with("head /healthz?full=1 http/1.1\r\n"), "{request}");
    for line in [
        format!("host: [::1]:{}", server.port()),
        "connection: close".to_owned(),
        format!("user-agent: {AGENT}"),
        "x-check: yes".to_owned(),
    ] {
        assert!(request.lines().any(|it| it == line), "{line} in {request}");
    }
    // A host of its own, and headers in place of the usual ones.
    let agent = Header { name: "user-agent".to_owned(), value: "probe".to_owned() };
    let host = Some("www.example.org".to_owned());
    let options = HttpOptions { host, headers: vec![agent], ..HttpOptions::default() };
    assert_eq!(made(server, &check(options)), Outcome::Passed);
    let request = receiver.recv().unwrap().to_ascii_lowercase();
    assert!(request.contains("\r\nhost: www.example.org\r\n"), "{request}");
    assert_eq!(request.matches("user-agent").count(), 1, "{request}");
}

#[test]
fn a_request_that_cannot_be_made_says_nothing_of_the_target() {
    let server = closed_port(LOOPBACKS[0]);
    for options in [
        HttpOptions { path: "no path".to_owned(), ..HttpOptions::default() },
        HttpOptions { method: "G T".to_owned(), ..HttpOptions::default() },
        HttpOptions {
            headers: vec![Header { name: "a".to_owned(), value: "b\r\nc: d".to_owned() }],
            ..HttpOptions::default()
        },
    ] {
        assert!(matches!(made(server, &check(options)), Outcome::Unknown(Fault::Setup { .. })));
    }
}

#[test]
fn the_body_contains_what_is_expected() {
    let chunks = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nall\r\n5\r\n is w\r\n3\r\nell\r\n0\r\n\r\n";
    let server = answers(chunks);
    assert_eq!(made(server, &check(with_body("is well"))), Outcome::Passed);
    let other = Failure::Unexpected { reply: "all is well".to_owned() };
    assert_eq!(made(server, &check(with_body("is bad"))), other.into());
    // A body that ends with the connection.
    let server = answers("HTTP/1.0 200 OK\r\n\r\nok");
    assert_eq!(made(server, &check(with_body("ok"))), Outcome::Passed);
    // The status counts first.
    let server = answers("HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nok");
    assert_eq!(made(server, &check(with_body("ok"))), Failure::Status { status: 500 }.into());
    let server = http_server(LOOPBACKS[1], Speaks::Http2, |_| response(200, b"all is well"));
    let http2 = |body| HttpOptions { version: HttpVersion::Http2, ..with_body(body) };
    assert_eq!(made(server, &check(http2("is well"))), Outcome::Passed);
    let other = Failure::Unexpected { reply: "all is well".to_owned() };
    assert_eq!(made(server, &check(http2("is bad"))), other.into());
}

#[test]
fn a_body_without_end_is_read_to_the_limit_only() {
    let endless = |mut stream: TcpStream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 8192]).is_ok() {}
    };
    let server = tcp_server(LOOPBACKS[0], endless);
    assert_eq!(made(server, &check(with_body("ok"))), Failure::TooLong { limit: LIMIT }.into());
    // Where the body does not matter, it is not read.
    assert_eq!(made(server, &check(HttpOptions::default())), Outcome::Passed);
}

#[test]
fn what_drips_fails_at_the_deadline() {
    let dripping = |before: &'static [u8]| {
        tcp_server(LOOPBACKS[0], move |mut stream| {
            read_request(&mut stream);
            let _ = stream.write_all(before);
            while stream.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
        })
    };
    let quick = |options| quick(Kind::Http(options));
    let header = dripping(b"HTTP/1.1 200 OK\r\nx-long: ");
    assert_eq!(made(header, &quick(HttpOptions::default())), timeout());
    let body = dripping(b"HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n");
    assert_eq!(made(body, &quick(with_body("ok"))), timeout());
    let silent = tcp_server(LOOPBACKS[1], |mut stream| {
        read_request(&mut stream);
        thread::sleep(Duration::from_millis(400));
    });
    assert_eq!(made(silent, &quick(HttpOptions::default())), timeout());
    let http2 = HttpOptions { version: HttpVersion::Http2, ..HttpOptions::default() };
    assert_eq!(made(silent, &quick(http2)), timeout());
}

#[test]
fn what_is_no_http_fails() {
    let malformed = |answer: &[u8]| {
        let outcome = made(answers(answer), &check(HttpOptions::default()));
        assert!(matches!(outcome, Outcome::Failed(Failure::Malformed { .. })), "{outcome:?}");
    };
    malformed(b"220 mail.example.org ESMTP\r\n");
    malformed(b"HTTP/1.1 abc OK\r\n\r\n");
    let long = [b"HTTP/1.1 200 OK\r\na: ".as_slice(), &vec![b'a'; 100_000], b"\r\n\r\n"].concat();
    malformed(&long);
    let closed = Outcome::from(Failure::Closed);
    assert_eq!(made(answers(""), &check(HttpOptions::default())), closed);
    assert_eq!(made(answers("HTTP/1.1 200"), &check(HttpOptions::default())), closed);
    let cut = answers("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx");
    assert_eq!(made(cut, &check(with_body("ok"))), closed);
    let refused = made(closed_port(LOOPBACKS[1]), &check(HttpOptions::default()));
    assert_eq!(refused, Failure::Refused.into());
    // HTTP/2 with a server that speaks HTTP/1.1 only.
    let http2 = HttpOptions { version: HttpVersion::Http2, ..HttpOptions::default() };
    let old = http_server(LOOPBACKS[0], Speaks::Http1, |_| response(200, b""));
    assert!(matches!(made(old, &check(http2)), Outcome::Failed(_)));
}

fn https(version: HttpVersion) -> HttpOptions {
    let tls = TlsOptions { ca: Some("ca.pem".to_owned()), ..TlsOptions::default() };
    HttpOptions { tls: Some(tls), version, host: Some(NAME.to_owned()), ..HttpOptions::default() }
}

#[test]
fn https_negotiates_the_version() {
    let authority = Authority::new();
    for loopback in LOOPBACKS {
        let server = |alpn: &[&str]| {
            let config = server_config(authority.server(&[NAME], 30), None, alpn);
            http_server(loopback, Speaks::Tls(config), |request| {
                let is_http2 = request.version() == hyper::Version::HTTP_2;
                response(if is_http2 { 222 } else { 211 }, b"")
            })
        };
        let status = |server, version| {
            let none = vec![StatusRange { first: 299, last: 299 }];
            let options = HttpOptions { status: none, ..https(version) };
            match made_in(authority.environment(), server, &check(options)) {
                Outcome::Failed(Failure::Status { status }) => Ok(status),
                other => Err(other.to_string()),
            }
        };
        let (both, old, bare) = (server(&["h2", "http/1.1"]), server(&["http/1.1"]), server(&[]));
        assert_eq!(status(both, HttpVersion::Negotiated), Ok(222));
        assert_eq!(status(both, HttpVersion::Http1), Ok(211));
        assert_eq!(status(both, HttpVersion::Http2), Ok(222));
        assert_eq!(status(old, HttpVersion::Negotiated), Ok(211));
        assert_eq!(status(bare, HttpVersion::Negotiated), Ok(211));
        assert_eq!(status(bare, HttpVersion::Http1), Ok(211));
        assert!(status(old, HttpVersion::Http2).unwrap_err().starts_with("tls: "));
        let none = status(bare, HttpVersion::Http2).unwrap_err();
        assert_eq!(none, "tls: the server does not offer HTTP/2 (ALPN h2)");
    }
}

#[test]
fn https_names_the_host_or_what_sni_says() {
    let authority = Authority::new();
    let config = server_config(authority.server(&[NAME, "b.test"], 30), None, &[]);
    let server = http_server(LOOPBACKS[0], Speaks::Tls(config), |_| response(200, b"ok"));
    let made = |options| made_in(authority.environment(), server, &check(options));
    assert_eq!(made(https(HttpVersion::Http1)), Outcome::Passed);
    let other = HttpOptions { host: Some("c.test".to_owned()), ..https(HttpVersion::Http1) };
    assert!(matches!(made(other.clone()), Outcome::Failed(Failure::Tls { .. })));
    let tls = other.tls.clone().map(|it| TlsOptions { sni: Some("b.test".to_owned()), ..it });
    assert_eq!(made(HttpOptions { tls, ..other }), Outcome::Passed);
}

#[test]
fn a_server_that_wants_a_client_certificate_gets_one() {
    let authority = Authority::new();
    let config = server_config(authority.server(&[NAME], 30), Some(&authority), &["h2"]);
    let server = http_server(LOOPBACKS[1], Speaks::Tls(config), |_| response(200, b"ok"));
    let made = |client| {
        let options = https(HttpVersion::Negotiated);
        let tls = options.tls.clone().map(|it| TlsOptions { client, ..it });
        made_in(authority.environment(), server, &check(HttpOptions { tls, ..options }))
    };
    let client =
        ClientCertificate { certificate: "client.pem".to_owned(), key: "client.key".to_owned() };
    assert_eq!(made(Some(client)), Outcome::Passed);
    // The server says why and closes: the request that is on its way then may be answered with a reset first.
    match made(None) {
        Outcome::Failed(Failure::Tls { error }) => {
            assert!(error.to_lowercase().contains("certificate"), "{error}");
        }
        outcome => assert_eq!(outcome, Failure::Reset.into()),
    }
}

#[test]
fn a_probe_that_its_deadline_ends_leaves_no_connection() {
    let (sender, receiver) = channel();
    let server = tcp_server(LOOPBACKS[0], move |mut stream| {
        // Neither reads nor writes until the probe has given up.
        thread::sleep(Duration::from_millis(300));
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        sender.send(rest.len()).unwrap();
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let checkers = crate::checker::Checkers::new(crate::checker::test_servers::environment());
        for version in [HttpVersion::Http1, HttpVersion::Http2] {
            let path = format!("/{}", "a".repeat(8000));
            let check = quick(Kind::Http(HttpOptions { version, path, ..HttpOptions::default() }));
            assert!(!checkers.probe(server.into(), &check).await.outcome.is_pass());
            // The event loop continues.
            let closed = async {
                while receiver.try_recv().is_err() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(5), closed).await.unwrap();
        }
    });
}

#[test]
fn a_file_that_changes_is_read_again() {
    let (authority, next) = (Authority::new(), Authority::new());
    let config = server_config(next.server(&[NAME], 30), None, &[]);
    let server = http_server(LOOPBACKS[0], Speaks::Tls(config), |_| response(200, b"ok"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let checkers = crate::checker::Checkers::new(authority.environment());
        let check = check(https(HttpVersion::Http1));
        let before = checkers.probe(server.into(), &check).await.outcome;
        assert!(matches!(before, Outcome::Failed(Failure::Tls { .. })));
        let (from, to) = (next.directory().join("ca.pem"), authority.directory().join("ca.pem"));
        std::fs::copy(from, to).unwrap();
        assert_eq!(checkers.probe(server.into(), &check).await.outcome, Outcome::Passed);
    });
}
