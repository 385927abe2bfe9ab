//! `tcp`: a connection, what is sent over it, and what the reply contains.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;

use crate::outcome::Stage;
use evenkeel_model::check::Check;
use evenkeel_model::check::TcpOptions;

use super::problem::Problem;
use super::{Progress, connect, reply};

pub(crate) async fn probe(
    options: &TcpOptions,
    destination: SocketAddr,
    check: &Check,
    progress: &Progress,
) -> Result<(), Problem> {
    let mut stream = connect::tcp(destination, check).await?;
    if !options.send.is_empty() {
        progress.reaches(Stage::Send);
        stream.write_all(&options.send).await.map_err(|error| Problem::of_exchange(&error))?;
    }
    if let Some(expected) = &options.expect {
        progress.reaches(Stage::Reply);
        reply::read_until(&mut stream, expected).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::thread;
    use std::time::Duration;

    use crate::checker::test_servers::{LOOPBACKS, closed_port, made, quick, tcp_server};
    use crate::outcome::{Failure, Fault, Outcome};
    use evenkeel_model::check::{Close, Kind};

    use super::*;

    fn check(send: &[u8], expect: Option<&[u8]>) -> Check {
        quick(Kind::Tcp(TcpOptions { send: send.to_vec(), expect: expect.map(<[u8]>::to_vec) }))
    }

    fn timeout(stage: Stage) -> Outcome {
        Failure::Timeout { stage, after: Duration::from_millis(200) }.into()
    }

    #[test]
    fn a_connection_is_enough_where_nothing_else_is_asked() {
        for loopback in LOOPBACKS {
            let server = tcp_server(loopback, |_| ());
            assert_eq!(made(server, &check(b"", None)), Outcome::Passed);
            let closed = closed_port(loopback);
            assert_eq!(made(closed, &check(b"", None)), Failure::Refused.into());
        }
    }

    #[test]
    fn what_is_sent_is_answered_as_expected() {
        let redis = |mut stream: TcpStream| {
            let mut request = [0; 6];
            stream.read_exact(&mut request).unwrap();
            stream
                .write_all(if &request == b"PING\r\n" { b"+PONG\r\n" } else { b"-ERR\r\n" })
                .unwrap();
        };
        for loopback in LOOPBACKS {
            let server = tcp_server(loopback, redis);
            assert_eq!(made(server, &check(b"PING\r\n", Some(b"+PONG"))), Outcome::Passed);
            let wrong = Failure::Unexpected { reply: "-ERR".to_owned() };
            assert_eq!(made(server, &check(b"ECHO\r\n", Some(b"+PONG"))), wrong.into());
        }
    }

    #[test]
    fn a_server_that_says_nothing_fails_at_the_deadline() {
        let silent = |stream: TcpStream| {
            thread::sleep(Duration::from_millis(400));
            drop(stream);
        };
        for loopback in LOOPBACKS {
            let server = tcp_server(loopback, silent);
            assert_eq!(made(server, &check(b"", Some(b"220"))), timeout(Stage::Reply));
        }
    }

    #[test]
    fn a_reply_that_drips_fails_at_the_deadline() {
        let drips = |mut stream: TcpStream| {
            while stream.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
        };
        let server = tcp_server(LOOPBACKS[0], drips);
        assert_eq!(made(server, &check(b"", Some(b"220"))), timeout(Stage::Reply));
    }

    #[test]
    fn a_reply_without_end_fails_at_the_limit() {
        let floods = |mut stream: TcpStream| while stream.write_all(&[b'x'; 8192]).is_ok() {};
        let server = tcp_server(LOOPBACKS[1], floods);
        let outcome = made(server, &check(b"", Some(b"220")));
        assert_eq!(outcome, Failure::TooLong { limit: reply::LIMIT }.into());
    }

    #[test]
    fn a_request_that_is_not_taken_fails_at_the_deadline() {
        let deaf = |stream: TcpStream| {
            thread::sleep(Duration::from_millis(400));
            drop(stream);
        };
        let server = tcp_server(LOOPBACKS[0], deaf);
        let huge = vec![b'x'; 16 * 1024 * 1024];
        assert_eq!(made(server, &check(&huge, Some(b"220"))), timeout(Stage::Send));
    }

    #[test]
    fn a_server_that_closes_or_resets_fails() {
        for loopback in LOOPBACKS {
            let server = tcp_server(loopback, drop);
            assert_eq!(made(server, &check(b"", Some(b"220"))), Failure::Closed.into());
            let resets = |stream: TcpStream| {
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            };
            let server = tcp_server(loopback, resets);
            assert_eq!(made(server, &check(b"", Some(b"220"))), Failure::Reset.into());
        }
    }

    #[test]
    fn a_probe_ends_its_connection_as_the_check_says() {
        for (close, ends_with_reset) in [(Close::Rst, true), (Close::Fin, false)] {
            let (sender, receiver) = std::sync::mpsc::channel();
            let server = tcp_server(LOOPBACKS[0], move |mut stream: TcpStream| {
                sender.send(stream.read(&mut [0; 10])).unwrap();
            });
            let check = Check { close: Some(close), ..check(b"", None) };
            assert_eq!(made(server, &check), Outcome::Passed);
            let read = receiver.recv_timeout(Duration::from_secs(5)).unwrap();
            match read {
                Ok(read) => assert!(read == 0 && !ends_with_reset),
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
                    assert!(ends_with_reset);
                }
            }
        }
    }

    #[test]
    fn the_source_is_that_of_the_check() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let server = tcp_server(LOOPBACKS[0], move |stream: TcpStream| {
            sender.send(stream.peer_addr().unwrap().ip()).unwrap();
        });
        let source = "127.0.0.9".parse().unwrap();
        let from =
            |source| Check { source: Some(source), close: Some(Close::Fin), ..check(b"", None) };
        assert_eq!(made(server, &from(source)), Outcome::Passed);
        assert_eq!(receiver.recv_timeout(Duration::from_secs(5)).unwrap(), source);
        // An address that is not here says nothing of the target.
        let elsewhere = "192.0.2.77".parse().unwrap();
        assert_eq!(made(server, &from(elsewhere)), Fault::Source.into());
    }
}
