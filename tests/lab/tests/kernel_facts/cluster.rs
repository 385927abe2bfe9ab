//! P20, P22, P45, P46 and P49: TCP across a cluster in direct routing, where the director sees the
//! packets of clients only. Silence is tested by waiting, as no event marks it; answers are not
//! timed.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use evenkeel_ipvs::{forward, protocol};
use evenkeel_lab::net::Network;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, sockopt};

use super::*;
use crate::networks::ipv4_cluster;

const VIP: &str = "10.0.0.100:80";
const CLIENT: &str = "10.0.0.9";
/// The time without an answer that counts as silence.
const SILENCE: Duration = Duration::from_millis(1200);
/// The longest wait for an answer, retransmissions included.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client, a director with the VIP and a service, and the service's real servers `rs1` and `rs2`.
struct Cluster {
    network: Network,
    ipvs: Client,
}

fn web() -> Service {
    service(VIP, protocol::TCP, "rr")
}

/// Returns the destination of `rs1` or `rs2`.
fn real_server(name: &str, weight: u32) -> Destination {
    let text = name.replace("rs", "10.0.0.1") + ":80";
    Destination { weight, ..destination(&text, forward::DROUTE) }
}

impl Cluster {
    fn new(settings: &[(&str, &str)]) -> Self {
        let network = ipv4_cluster();
        let ipvs = network.director.run(|| Client::connect().unwrap()).unwrap();
        let mut cluster = Self { network, ipvs };
        cluster.bind();
        let settings: Vec<(String, &str)> =
            settings.iter().map(|(name, value)| (format!("ipv4/vs/{name}"), *value)).collect();
        let settings: Vec<(&str, &str)> =
            settings.iter().map(|(name, value)| (&**name, *value)).collect();
        cluster.network.director.sysctls(&settings).unwrap();
        cluster.done([Command::NewService(web()), add("rs1"), add("rs2")]);
        cluster
    }

    fn done(&mut self, commands: impl IntoIterator<Item = Command>) {
        done(&mut self.ipvs, commands);
    }

    fn bind(&self) {
        self.network.director.ip("address add 10.0.0.100/32 dev eth0\n").unwrap();
    }

    fn unbind(&self) {
        self.network.director.ip("address del 10.0.0.100/32 dev eth0\n").unwrap();
    }

    /// Connects from a port of the client, 0 for any.
    fn connect(&self, port: u16) -> io::Result<TcpStream> {
        self.network.client.run(|| connect(port)).unwrap()
    }

    /// Connects from a port, sends a request and returns the name of the real server that answered.
    fn ask(&self, port: u16) -> io::Result<String> {
        let mut stream = self.connect(port)?;
        request(&mut stream);
        answer(&mut stream, PATIENCE)
    }

    /// Returns the active and inactive connections of both real servers.
    fn counts(&mut self) -> (u32, u32) {
        let entries = self.ipvs.destinations(&web().key).unwrap();
        let connections = entries.iter().map(|entry| entry.connections);
        connections
            .fold((0, 0), |(active, inactive), it| (active + it.active, inactive + it.inactive))
    }

    /// Waits until the kernel counts no active connection.
    fn settle(&mut self) {
        let end = Instant::now() + PATIENCE;
        while self.counts().0 > 0 {
            assert!(Instant::now() < end, "they stay active");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn add(name: &str) -> Command {
    Command::NewDestination(web().key, real_server(name, 1))
}

fn rest(name: &str) -> Command {
    Command::SetDestination(web().key, real_server(name, 0))
}

fn delete(name: &str) -> Command {
    Command::DeleteDestination(web().key, real_server(name, 1).key())
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    // This timeout also applies to connecting.
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(SILENCE))?;
    rustix::net::bind(&socket, &SocketAddr::new(CLIENT.parse().unwrap(), port))?;
    match rustix::net::connect(&socket, &VIP.parse::<SocketAddr>().unwrap()) {
        // The connection timed out.
        Err(Errno::INPROGRESS) => Err(ErrorKind::TimedOut.into()),
        outcome => Ok(outcome.map(|()| socket.into())?),
    }
}

fn request(stream: &mut TcpStream) {
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
}

/// Returns the body of an answer.
fn answer(stream: &mut TcpStream, limit: Duration) -> io::Result<String> {
    stream.set_read_timeout(Some(limit))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text.lines().last().unwrap_or_default().to_owned())
}

/// Asserts that a connection receives nothing: no answer, no end, no reset.
fn assert_silent(stream: &mut TcpStream) {
    let kind = answer(stream, SILENCE).map_err(|error| error.kind());
    assert_eq!(kind, Err(ErrorKind::WouldBlock));
}

/// Opens a connection, and returns it with the name of its real server.
fn open(cluster: &mut Cluster) -> (TcpStream, &'static str) {
    let stream = cluster.connect(0).unwrap();
    let entries = cluster.ipvs.destinations(&web().key).unwrap();
    let of = |entry: &&evenkeel_ipvs::DestinationEntry| entry.connections.active > 0;
    let entry = entries.iter().find(of).unwrap();
    let first = entry.destination.key() == real_server("rs1", 1).key();
    (stream, if first { "rs1" } else { "rs2" })
}

#[test]
fn p20_a_connection_to_a_deleted_real_server_hangs_and_continues_when_the_server_is_added_again() {
    let mut cluster = Cluster::new(&[("expire_nodest_conn", "0")]);
    let (mut stream, name) = open(&mut cluster);
    cluster.done([delete(name)]);
    request(&mut stream);
    assert_silent(&mut stream);
    cluster.done([add(name)]);
    assert_eq!(answer(&mut stream, PATIENCE).unwrap(), name);
}

#[test]
fn p20_with_expire_nodest_conn_its_client_is_reset_at_the_next_packet() {
    let mut cluster = Cluster::new(&[("expire_nodest_conn", "1")]);
    let (mut stream, name) = open(&mut cluster);
    cluster.done([delete(name)]);
    request(&mut stream);
    let error_kind = answer(&mut stream, PATIENCE).map_err(|error| error.kind());
    assert_eq!(error_kind, Err(ErrorKind::ConnectionReset));
}

/// Sends a request from a port, gives weight 0 to the real server that answered, and sends another
/// from the same port. Returns whether the same real server answered.
fn is_reached_at_weight_0(settings: &[(&str, &str)]) -> bool {
    let mut cluster = Cluster::new(settings);
    let first = cluster.ask(4000).unwrap();
    cluster.settle();
    cluster.done([rest(&first)]);
    cluster.ask(4000).unwrap() == first
}

/// `expire_nodest_conn` decides here (on older kernels `conn_reuse_mode` decided this too).
/// `conn_reuse_mode` depends on a connection state that the director sees only if it forwards the
/// answers, too.
#[test]
fn p22_in_dr_a_reused_port_reaches_a_real_server_of_weight_0_in_either_reuse_mode() {
    for conn_reuse_mode in ["0", "1"] {
        let is_reached = |expire_nodest_conn| {
            let reuse = ("conn_reuse_mode", conn_reuse_mode);
            is_reached_at_weight_0(&[reuse, ("expire_nodest_conn", expire_nodest_conn)])
        };
        assert!(is_reached("0"), "{conn_reuse_mode}");
        assert!(!is_reached("1"), "{conn_reuse_mode}");
    }
}

/// Sends a request from a port, deletes the real server that answered once no connection is active,
/// and connects from the same port again.
fn again_after_deletion(expire_nodest_conn: &str) -> Result<String, ErrorKind> {
    let mut cluster = Cluster::new(&[("expire_nodest_conn", expire_nodest_conn)]);
    let first = cluster.ask(4000).unwrap();
    cluster.settle();
    cluster.done([delete(&first)]);
    let second = cluster.ask(4000).map_err(|error| error.kind());
    assert_ne!(second, Ok(first));
    assert!(cluster.ask(4001).is_ok(), "another port is served");
    second
}

#[test]
fn p46_after_a_deletion_without_active_connections_a_reused_port_is_dropped_silently() {
    assert_eq!(again_after_deletion("0"), Err(ErrorKind::TimedOut));
}

#[test]
fn p46_with_expire_nodest_conn_a_reused_port_is_served_by_another() {
    again_after_deletion("1").unwrap();
}

#[test]
fn p45_in_dr_finished_connections_stay_inactive_as_the_servers_packets_are_not_seen() {
    let mut cluster = Cluster::new(&[]);
    cluster.network.ask(VIP.parse().unwrap(), 6).unwrap();
    cluster.settle();
    assert_eq!(cluster.counts(), (0, 6));
    let table = cluster.network.director.output("cat", &["/proc/net/ip_vs_conn"]).unwrap();
    let states: Vec<&str> =
        table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(7)).collect();
    // They remain for two minutes, although they end sooner.
    assert_eq!(states, ["FIN_WAIT"; 6], "{table}");
}

#[test]
fn p49_unbinding_a_vip_stops_connections_and_binding_it_again_lets_them_continue() {
    let mut cluster = Cluster::new(&[]);
    let (mut stream, name) = open(&mut cluster);
    cluster.unbind();
    request(&mut stream);
    assert_silent(&mut stream);
    cluster.bind();
    assert_eq!(answer(&mut stream, PATIENCE).unwrap(), name);
}

#[test]
fn p49_weight_0_lets_a_connection_finish_and_refuses_new_ones_at_once() {
    let mut cluster = Cluster::new(&[]);
    let (mut stream, name) = open(&mut cluster);
    cluster.done(["rs1", "rs2"].map(rest));
    let refused = cluster.connect(0).map_err(|error| error.kind());
    assert_eq!(refused.map(drop), Err(ErrorKind::ConnectionRefused));
    request(&mut stream);
    assert_eq!(answer(&mut stream, PATIENCE).unwrap(), name);
}
