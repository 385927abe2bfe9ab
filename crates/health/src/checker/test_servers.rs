//! Servers of the tests, on loopback, and a probe of one.

mod authority;
mod http_server;

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::environment::{Environment, ExecEnvironment};
use crate::outcome::{Fault, Outcome};
use evenkeel_model::check::{Check, Kind};

use super::Checkers;

pub(crate) use authority::{Authority, Identity, server_config};
pub(crate) use http_server::{Frames, Speaks, http_server, response};

/// The name in certificates.
pub(crate) const NAME: &str = "a.test";

/// The addresses that a test tries.
pub(crate) const LOOPBACKS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// A check with a short timeout.
pub(crate) fn quick(kind: Kind) -> Check {
    Check { timeout: Duration::from_millis(200), ..Check::new(kind) }
}

/// A check with a timeout that is not reached.
pub(crate) fn patient(kind: Kind) -> Check {
    Check { timeout: Duration::from_secs(10), ..Check::new(kind) }
}

/// An environment in which nothing is configured.
pub(crate) fn environment() -> Environment {
    Environment {
        tls_directory: "/nonexistent".into(),
        ca_bundle: "/nonexistent/ca.pem".into(),
        file_directory: "/nonexistent".into(),
        exec: ExecEnvironment {
            directory: "/nonexistent".into(),
            owner: 0,
            default_user: "nobody".to_owned(),
            supervisor: vec![PathBuf::from("/nonexistent")],
        },
    }
}

/// The outcome of a probe.
pub(crate) fn made(target: SocketAddr, check: &Check) -> Outcome {
    made_in(environment(), target, check)
}

/// The same in an environment.
pub(crate) fn made_in(environment: Environment, target: SocketAddr, check: &Check) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let checkers = Checkers::new(environment);
        // A machine with much else to do may notice a short deadline late: that finds nothing out.
        for _ in 0..20 {
            match checkers.probe(target.into(), check).await.outcome {
                Outcome::Unknown(Fault::Late { .. }) => {}
                outcome => return outcome,
            }
        }
        panic!("this machine is too busy");
    })
}

/// A server that does the same with each connection, in a thread of its own.
pub(crate) fn tcp_server(
    address: IpAddr,
    serve: impl Fn(TcpStream) + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let at = listener.local_addr().unwrap();
    let serve = std::sync::Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (serve, stream) = (serve.clone(), stream.unwrap());
            thread::spawn(move || serve(stream));
        }
    });
    at
}

/// A server that answers packets with what it returns for them.
pub(crate) fn udp_server(
    address: IpAddr,
    answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static,
) -> SocketAddr {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    let at = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            if let Some(answer) = answer(&buffer[..length]) {
                socket.send_to(&answer, from).unwrap();
            }
        }
    });
    at
}

/// An address where nothing listens.
pub(crate) fn closed_port(address: IpAddr) -> SocketAddr {
    TcpListener::bind((address, 0)).unwrap().local_addr().unwrap()
}

/// A server that completes a TLS handshake and then reads.
pub(crate) fn tls_server(
    address: IpAddr,
    identity: Identity,
    clients: Option<&Authority>,
) -> SocketAddr {
    let config = server_config(identity, clients, &[]);
    tcp_server(address, move |stream| {
        let session = rustls::ServerConnection::new(config.clone()).unwrap();
        let _ = rustls::StreamOwned::new(session, stream).read(&mut [0]);
    })
}
