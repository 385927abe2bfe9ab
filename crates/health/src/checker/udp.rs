//! `udp`: a packet, and what the answer contains.

use std::net::SocketAddr;

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::outcome::Failure;
use evenkeel_model::check::Check;
use evenkeel_model::check::UdpOptions;

use super::problem::Problem;
use super::{connect, reply};

pub(crate) async fn probe(
    options: &UdpOptions,
    destination: SocketAddr,
    check: &Check,
) -> Result<(), Problem> {
    let socket = connect::udp(destination, check).await?;
    socket.send(&options.send).await.map_err(|error| Problem::of_exchange(&error))?;
    let packet = receive(&socket, reply::LIMIT).await?;
    match &options.expect {
        Some(expected) if !reply::contains(&packet, expected, 0) => {
            Err(Failure::Unexpected { reply: reply::shown(&packet) }.into())
        }
        _ => Ok(()),
    }
}

/// Receives one packet, cut at the limit, or an error: "port unreachable" makes the socket not readable, but
/// ready with an error. A probe that waits has no buffer yet: many may.
pub(crate) async fn receive(socket: &UdpSocket, limit: usize) -> Result<Vec<u8>, Problem> {
    let receive = || {
        let mut packet = vec![0; limit];
        let (length, _) = recv(socket, &mut packet[..], RecvFlags::DONTWAIT)?;
        packet.truncate(length);
        Ok(packet)
    };
    let packet = socket.async_io(Interest::READABLE | Interest::ERROR, receive).await;
    packet.map_err(|error| Problem::of_exchange(&error))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::checker::test_servers::{LOOPBACKS, closed_port, made, quick, udp_server};
    use crate::outcome::{Outcome, Stage};
    use evenkeel_model::check::Kind;

    fn check(expect: Option<&[u8]>) -> Check {
        let options = UdpOptions { send: b"ping".to_vec(), expect: expect.map(<[u8]>::to_vec) };
        quick(Kind::Udp(options))
    }

    #[test]
    fn an_answer_contains_what_is_expected() {
        for loopback in LOOPBACKS {
            let server = udp_server(loopback, |it| Some([b"echo ", it].concat()));
            assert_eq!(made(server, &check(Some(b"ping"))), Outcome::Passed);
            assert_eq!(made(server, &check(Some(b""))), Outcome::Passed);
            assert_eq!(made(server, &check(None)), Outcome::Passed);
            let other = Failure::Unexpected { reply: "echo ping".to_owned() };
            assert_eq!(made(server, &check(Some(b"pong"))), other.into());
        }
    }

    #[test]
    fn port_unreachable_is_a_failure_whatever_is_expected() {
        for loopback in LOOPBACKS {
            for expect in [None, Some(&b""[..])] {
                let outcome = made(closed_port(loopback), &check(expect));
                assert_eq!(outcome, Failure::Refused.into());
            }
        }
    }

    #[test]
    fn silence_fails_only_where_an_answer_is_expected() {
        for loopback in LOOPBACKS {
            let server = udp_server(loopback, |_| None);
            assert_eq!(made(server, &check(None)), Outcome::Passed);
            let after = Duration::from_millis(200);
            let timeout = Failure::Timeout { stage: Stage::Reply, after };
            assert_eq!(made(server, &check(Some(b""))), timeout.into());
        }
    }
}
