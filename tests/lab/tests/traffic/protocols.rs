//! UDP, with each datagram scheduled separately or not, and SCTP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::{
    AddressFamily, Protocol, SocketFlags, SocketType, bind, connect, listen, socket_with, sockopt,
};

use super::*;

const SPEC: &str = r#"
version: 1
directors:
  - { name: ds1, addresses: [10.0.0.1, "fd00::1"] }
vips:
  - { address: 10.0.0.100, interface: eth0 }
  - { address: "fd00::100", interface: eth0 }
defaults: { scheduler: rr, forward: dr }
services:
  - name: flow
    vip: 10.0.0.100
    port: 5300
    protocol: udp
    real_servers: [{ address: 10.0.0.11 }, { address: 10.0.0.12 }]
  - name: datagram
    vip: 10.0.0.100
    port: 5301
    protocol: udp
    one_packet: true
    real_servers: [{ address: 10.0.0.11 }, { address: 10.0.0.12 }]
  - name: association
    vip: 10.0.0.100
    port: 80
    protocol: sctp
    real_servers: [{ address: 10.0.0.11 }, { address: 10.0.0.12 }]
  - name: flow6
    vip: "fd00::100"
    port: 5300
    protocol: udp
    real_servers: [{ address: "fd00::11" }, { address: "fd00::12" }]
  - name: datagram6
    vip: "fd00::100"
    port: 5301
    protocol: udp
    one_packet: true
    real_servers: [{ address: "fd00::11" }, { address: "fd00::12" }]
  - name: association6
    vip: "fd00::100"
    port: 80
    protocol: sctp
    real_servers: [{ address: "fd00::11" }, { address: "fd00::12" }]
"#;

/// `IPPROTO_SCTP`
const SCTP: NonZeroU32 = NonZeroU32::new(132).unwrap();
const REAL_SERVERS: [&str; 2] = ["rs1", "rs2"];
/// The client's addresses.
const CLIENTS: [&str; 2] = ["10.0.0.9:0", "[fd00::9]:0"];
const VIPS: [&str; 2] = ["10.0.0.100", "[fd00::100]"];
/// The time limit for each packet.
const PATIENCE: Duration = Duration::from_secs(3);

#[test]
fn datagrams_and_associations_reach_real_servers_in_turn() {
    let site = Site::build(&lan(), &["rs1", "rs2", "director"]);
    site.set_up(SPEC);
    for (client, vip) in CLIENTS.into_iter().zip(VIPS) {
        let flow = datagrams(&site, client, &format!("{vip}:5300"));
        assert!(flow.iter().all(|name| *name == flow[0]), "{flow:?}");
        assert_in_turn(&datagrams(&site, client, &format!("{vip}:5301")), &REAL_SERVERS);
        assert_in_turn(&associations(&site, client, &format!("{vip}:80")), &REAL_SERVERS);
    }
}

/// Sends six datagrams from one socket and returns the names of the real servers that answered.
fn datagrams(site: &Site, client: &str, vip: &str) -> Vec<String> {
    let servers = REAL_SERVERS.map(|name| {
        // Answers come from the address that a socket is bound to.
        let server = site.machines[name].run(|| UdpSocket::bind(vip).unwrap()).unwrap();
        server.set_nonblocking(true).unwrap();
        server
    });
    let client = site.machines["client"].run(|| UdpSocket::bind(client).unwrap()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.connect(vip).unwrap();
    let exchange = |_| {
        client.send(b"who?").unwrap();
        let mut buffer = [0; 8];
        let (name, from) = first(|name| {
            let (_, from) = servers[name].recv_from(&mut buffer).ok()?;
            Some((name, from))
        });
        servers[name].send_to(REAL_SERVERS[name].as_bytes(), from).unwrap();
        let length = client.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    (0..6).map(exchange).collect()
}

/// Opens four SCTP associations and returns the names of the real servers that answered.
fn associations(site: &Site, client: &str, vip: &str) -> Vec<String> {
    let vip: SocketAddr = vip.parse().unwrap();
    let client: SocketAddr = client.parse().unwrap();
    let servers = REAL_SERVERS.map(|name| {
        let server = site.machines[name].run(|| sctp(vip)).unwrap();
        listen(&server, 8).unwrap();
        let server = TcpListener::from(server);
        server.set_nonblocking(true).unwrap();
        server
    });
    let open = |_| {
        let socket = site.machines["client"].run(|| sctp(client)).unwrap();
        connect(&socket, &vip).unwrap_or_else(|error| panic!("{vip}: {error}"));
        let mut client = TcpStream::from(socket);
        let (name, mut server) =
            first(|name| servers[name].accept().ok().map(|(server, _)| (name, server)));
        server.write_all(REAL_SERVERS[name].as_bytes()).unwrap();
        let mut buffer = [0; 8];
        let length = client.read(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    (0..4).map(open).collect()
}

/// A socket with this one address: otherwise each end offers the other one all that it has.
fn sctp(address: SocketAddr) -> OwnedFd {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let protocol = Some(Protocol::from_raw(SCTP));
    let socket =
        socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, protocol).expect("SCTP");
    for limit in [sockopt::Timeout::Send, sockopt::Timeout::Recv] {
        sockopt::set_socket_timeout(&socket, limit, Some(PATIENCE)).unwrap();
    }
    bind(&socket, &address).unwrap();
    socket
}

/// Tries both real servers until one of them has something.
fn first<T>(mut of: impl FnMut(usize) -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = (0..REAL_SERVERS.len()).find_map(&mut of) {
            return found;
        }
        assert!(Instant::now() < end, "no real server was reached");
        std::thread::sleep(Duration::from_millis(1));
    }
}
