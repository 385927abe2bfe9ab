//! A director that is its own clients and real servers: a VIP on `lo`, real servers at 127.0.0.x
//! behind address translation, clients at 127.1.x.x. No packet leaves the host, and the kernel has
//! processed each packet when the call returns.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};

use evenkeel_ipvs::{Client, Command, Connections, Destination, Service, forward, protocol};
use evenkeel_lab_tests::{fresh_namespace, run};
use rustix::net::{AddressFamily, SocketType, sockopt};

use super::{destination, done, service};

/// The address of the service.
pub(super) const VIP: &str = "192.0.2.1:53";

pub(super) struct Director {
    pub(super) client: Client,
}

/// Returns the real server of that number.
pub(super) fn server(number: u8) -> Destination {
    destination(&format!("127.0.0.{number}:9"), forward::MASQ)
}

/// Returns the UDP service with that scheduler.
pub(super) fn scheduled(scheduler: &str) -> Service {
    service(VIP, protocol::UDP, scheduler)
}

impl Director {
    /// Creates a namespace with the VIP and the service with these real servers, added in this
    /// order.
    pub(super) fn new(service: Service, servers: impl IntoIterator<Item = Destination>) -> Self {
        fresh_namespace();
        run("ip address add 192.0.2.1/32 dev lo");
        let mut director = Self { client: Client::connect().unwrap() };
        director.done([Command::NewService(service)]);
        director
            .done(servers.into_iter().map(|server| Command::NewDestination(service.key, server)));
        director
    }

    pub(super) fn done(&mut self, commands: impl IntoIterator<Item = Command>) {
        done(&mut self.client, commands);
    }

    /// Returns the connections of each real server of the UDP service, by its last number.
    pub(super) fn connections(&mut self) -> BTreeMap<u8, Connections> {
        let entries = self.client.destinations(&scheduled("rr").key).unwrap();
        let number = |address: std::net::IpAddr| match address {
            std::net::IpAddr::V4(address) => address.octets()[3],
            other => panic!("{other}"),
        };
        entries
            .into_iter()
            .map(|entry| (number(entry.destination.address), entry.connections))
            .collect()
    }

    /// Returns the number of connections of each real server, in order of their numbers.
    pub(super) fn counts(&mut self) -> Vec<u32> {
        self.connections().values().map(|it| it.active + it.inactive).collect()
    }
}

/// Opens a client's socket.
pub(super) fn visitor(number: u16) -> UdpSocket {
    let [high, low] = number.to_be_bytes();
    let socket = UdpSocket::bind((Ipv4Addr::new(127, 1, high, low), 0)).unwrap();
    socket.connect(VIP).unwrap();
    socket
}

/// Sends one packet from a new port of a client. Returns false if IPVS took the packet and had no
/// real server for it: a packet that is dropped on the way out makes the sender's call fail.
pub(super) fn visit(number: u16) -> bool {
    is_taken(&visitor(number))
}

/// Sends one more packet.
pub(super) fn is_taken(visitor: &UdpSocket) -> bool {
    match visitor.send(b"?") {
        Ok(_) => true,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => false,
        // The unread error of an earlier packet.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => is_taken(visitor),
        Err(error) => panic!("{error}"),
    }
}

/// Opens a TCP connection to port 80 of the VIP, from a port of the first client; 0 for any.
pub(super) fn connect(port: u16) -> io::Result<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &SocketAddr::from(([127, 1, 0, 1], port)))?;
    rustix::net::connect(&socket, &SocketAddr::from(([192, 0, 2, 1], 80)))?;
    Ok(socket.into())
}

/// Returns the real server of each client in the connection table, both by their last numbers.
pub(super) fn choices() -> BTreeMap<u16, u8> {
    let table = std::fs::read_to_string("/proc/thread-self/net/ip_vs_conn").unwrap();
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let client = |hex: &str| u16::from_str_radix(&hex[4..], 16).unwrap();
    let server = |hex: &str| u8::from_str_radix(&hex[6..], 16).unwrap();
    rows.map(|words| (client(words[1]), server(words[5]))).collect()
}

/// Sends one packet from each of this many clients and returns the real server of each. Refused
/// clients are absent.
pub(super) fn choices_of(clients: u16) -> BTreeMap<u16, u8> {
    let served = (1..=clients).filter(|number| visit(*number)).count();
    let choices = choices();
    assert_eq!(choices.len(), served);
    choices
}
