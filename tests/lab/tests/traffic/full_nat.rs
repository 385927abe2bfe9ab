//! Full NAT: real servers without any way to the clients, in both families and for every protocol.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use evenkeel_lab::net::Machine;
use evenkeel_lab_tests::packet_rules;

use super::*;

const SPEC: &str = r#"
version: 1
directors:
  - { name: ds1, addresses: [10.0.0.1, "fd00::1"] }
defaults: { scheduler: rr, forward: fullnat }
vips:
  - { address: 10.9.0.100, interface: eth0 }
  - { address: "fd09::100", interface: eth0 }
services:
  - name: web
    vips: [10.9.0.100, "fd09::100"]
    port: 80
    real_servers:
      - { address: 10.0.0.11, port: 8080 }
      - { address: 10.0.0.12, port: 8099 }
      - { address: "fd00::11", port: 8080 }
      - { address: "fd00::12", port: 8099 }
  - name: from-another-address
    vip: 10.9.0.100
    port: 81
    source: 10.0.0.2
    real_servers: [{ address: 10.0.0.11, port: 7000 }]
  - name: from-another-address6
    vip: "fd09::100"
    port: 81
    source: "fd00::2"
    real_servers: [{ address: "fd00::11", port: 7000 }]
  - name: datagrams
    vips: [10.9.0.100, "fd09::100"]
    port: 53
    protocol: udp
    real_servers: [{ address: 10.0.0.11, port: 5300 }, { address: "fd00::11", port: 5300 }]
  - name: marked
    fwmark: 7
    family: ipv4
    real_servers: [{ address: 10.0.0.12 }]
  - name: marked6
    fwmark: 7
    family: ipv6
    real_servers: [{ address: "fd00::12" }]
"#;

/// The marks, which are not evenkeel's.
const MARKS: &str = "
iptables-legacy -t mangle -A PREROUTING -d 10.9.0.100 -p tcp --dport 7001 -j MARK --set-mark 7
ip6tables-legacy -t mangle -A PREROUTING -d fd09::100 -p tcp --dport 7001 -j MARK --set-mark 7";

/// The real servers have a default route that leads elsewhere, or none at all; those of the networks of clients
/// that are only routed lead to the director.
fn machines() -> [Machine; 4] {
    [
        Machine::new("client")
            .on("outside", "eth0", &["10.9.0.9/24", "fd09::9/64"])
            .gateway("10.9.0.1")
            .gateway("fd09::1"),
        Machine::new("director").on("outside", "eth0", &["10.9.0.1/24", "fd09::1/64"]).on(
            "inner",
            "eth1",
            &["10.0.0.1/24", "10.0.0.2/24", "fd00::1/64", "fd00::2/64"],
        ),
        Machine::new("rs1")
            .on("inner", "eth0", &["10.0.0.11/24", "fd00::11/64"])
            .gateway("10.0.0.254")
            .gateway("fd00::fe"),
        Machine::new("rs2").on("inner", "eth0", &["10.0.0.12/24", "fd00::12/64"]),
    ]
}

/// Answers each connection to that address of a machine with the address of its client.
fn serve_peers(site: &Site, machine: &str, address: &str) {
    let address: SocketAddr = address.parse().unwrap();
    let listener = site.machines[machine].run(|| TcpListener::bind(address).unwrap()).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let peer = stream.peer_addr().map(|it| it.ip().to_string()).unwrap_or_default();
            let _closed = stream.write_all(peer.as_bytes());
        }
    });
}

/// Returns the address that a server of [`serve_peers`] sees.
fn seen_from_client(site: &Site, address: &str) -> IpAddr {
    let address: SocketAddr = address.parse().unwrap();
    let patience = Duration::from_secs(3);
    let connect = || TcpStream::connect_timeout(&address, patience);
    let mut stream = site.machines["client"]
        .run(connect)
        .unwrap()
        .unwrap_or_else(|error| panic!("{address}: {error}"));
    stream.set_read_timeout(Some(patience)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.parse().unwrap()
}

#[test]
fn full_nat_needs_nothing_of_real_servers_and_changes_no_routed_connection() {
    if !packet_rules::has_nftables() {
        // `g3_full_nat` shows that such a kernel refuses it.
        return;
    }
    let mut site = Site::build(&machines(), &["rs1", "rs2", "director"]);
    site.serve("rs1", &[8080]);
    site.serve("rs2", &[8099]);
    for (machine, address) in [
        ("rs1", "10.0.0.11:7000"),
        ("rs1", "[fd00::11]:7000"),
        ("rs2", "10.0.0.12:7001"),
        ("rs2", "[fd00::12]:7001"),
    ] {
        serve_peers(&site, machine, address);
    }
    site.run("director", MARKS);
    site.set_up(SPEC);
    for vip in ["10.9.0.100:80", "[fd09::100]:80"] {
        assert_in_turn(&site.ask(vip, 4), &["rs1:8080", "rs2:8099"]);
    }
    for (vip, source) in [
        ("10.9.0.100:81", "10.0.0.2"),
        ("[fd09::100]:81", "fd00::2"),
        // On a firewall mark; masquerading chooses among the addresses of the interface.
        ("10.9.0.100:7001", "10.0.0.1"),
    ] {
        assert_eq!(seen_from_client(&site, vip).to_string(), source, "{vip}");
    }
    assert_ne!(seen_from_client(&site, "[fd09::100]:7001").to_string(), "fd09::9");
    datagrams(&site);
    // A connection that the director only routes keeps the client's address, also to these real servers.
    site.run("rs1", "ip route add 10.9.0.0/24 via 10.0.0.1; ip -6 route add fd09::/64 via fd00::1");
    for (real_server, client) in [("10.0.0.11:7000", "10.9.0.9"), ("[fd00::11]:7000", "fd09::9")] {
        assert_eq!(seen_from_client(&site, real_server).to_string(), client);
    }
    // Without the rules no answer finds its way.
    site.run("director", "nft flush chain ip evenkeel source_nat");
    let vip: SocketAddr = "10.9.0.100:80".parse().unwrap();
    let lost = site.machines["client"]
        .run(|| evenkeel_lab::net::get(vip, Duration::from_secs(1)))
        .unwrap();
    lost.expect_err("no return path");
    site.apply("director", SPEC);
    assert_in_turn(&site.ask("10.9.0.100:80", 4), &["rs1:8080", "rs2:8099"]);
}

/// Sends datagrams of both families, and asserts that the real server answers, to the director.
fn datagrams(site: &Site) {
    for (vip, own, client, seen) in [
        ("10.9.0.100:53", "10.0.0.11:5300", "10.9.0.9:0", "10.0.0.1"),
        ("[fd09::100]:53", "[fd00::11]:5300", "[fd09::9]:0", "fd00::"),
    ] {
        let bind = |address: &str| {
            let socket = UdpSocket::bind(address).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
            socket
        };
        let server = site.machines["rs1"].run(|| bind(own)).unwrap();
        let client = site.machines["client"].run(|| bind(client)).unwrap();
        client.send_to(b"question", vip).unwrap();
        let mut buffer = [0; 16];
        let (size, peer) = server.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..size], b"question");
        assert!(peer.ip().to_string().starts_with(seen), "{peer}");
        server.send_to(b"answer", peer).unwrap();
        let (size, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..size], from.to_string()), (&b"answer"[..], vip.to_owned()));
    }
}
