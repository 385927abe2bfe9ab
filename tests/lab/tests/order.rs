//! Compares two directors with one spec and opposite histories by the real server that each
//! client's packets reach.
//!
//! A director here is its own clients and real servers: clients at 127.1.x.x, the VIP and the real
//! servers on `lo`, behind address translation that leaves the client's address unchanged.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use evenkeel_lab_tests::{fresh_namespace, run_with};

use crate::apply::apply;

/// The number of clients; each sends one packet.
const CLIENTS: u16 = 1_000;

const VIP: &str = "192.0.2.1:53";

/// The real server of each client, by its last number.
type Choices = BTreeMap<IpAddr, u8>;

/// Histories of one service before the spec is applied.
const HISTORIES: [&str; 3] = [
    // An empty director.
    "",
    // In the order of the spec, with old weights and a real server that is to be deleted.
    "-A -u 192.0.2.1:53 -s SCHEDULER
-a -u 192.0.2.1:53 -r 10.0.0.9:53 -m -w 1
-a -u 192.0.2.1:53 -r 10.0.0.1:53 -m -w 1
-a -u 192.0.2.1:53 -r 10.0.0.2:53 -m -w 1
-a -u 192.0.2.1:53 -r 10.0.0.3:53 -m -w 1
-a -u 192.0.2.1:53 -r 10.0.0.4:53 -m -w 1
",
    // In the opposite order.
    "-A -u 192.0.2.1:53 -s rr
-a -u 192.0.2.1:53 -r 10.0.0.4:53 -m -w 3
-a -u 192.0.2.1:53 -r 10.0.0.3:53 -m -w 1
-a -u 192.0.2.1:53 -r 10.0.0.2:53 -m -w 2
-a -u 192.0.2.1:53 -r 10.0.0.1:53 -m -w 1
",
];

fn spec(scheduler: &str, canonical: bool) -> String {
    format!(
        "services:
  - name: dns
    vip: 192.0.2.1
    port: 53
    protocol: udp
    scheduler: {scheduler}
    canonical_order: {canonical}
    forward: nat
    real_servers:
      - {{ address: 10.0.0.1 }}
      - {{ address: 10.0.0.2, weight: 2 }}
      - {{ address: 10.0.0.3 }}
      - {{ address: 10.0.0.4, weight: 3 }}
"
    )
}

/// Returns the real server of each client once the spec is applied on a director with that history.
fn choices(history: &str, scheduler: &str, canonical: bool) -> Choices {
    fresh_namespace();
    run_with("ip -batch -", "address add 192.0.2.1/32 dev lo\naddress add 10.0.0.0/24 dev lo");
    if !history.is_empty() {
        run_with("ipvsadm -R", &history.replace("SCHEDULER", scheduler));
    }
    apply(&spec(scheduler, canonical));
    let servers = (1..=9).map(|number| (number, server(number)));
    let servers: Vec<(u8, UdpSocket)> = servers.collect();

    let mut choices = Choices::new();
    for client in 1..=CLIENTS {
        let [high, low] = client.to_be_bytes();
        let socket = UdpSocket::bind((Ipv4Addr::new(127, 1, high, low), 0)).unwrap();
        socket.send_to(b"?", VIP).unwrap();
        // On `lo` a packet has arrived when the send returns.
        for (number, server) in &servers {
            if let Some(client) = received(server) {
                assert_eq!(choices.insert(client, *number), None, "each is sent to one");
            }
        }
    }
    assert_eq!(choices.len(), usize::from(CLIENTS), "all arrive");
    let used: BTreeSet<u8> = choices.values().copied().collect();
    assert_eq!(used, [1, 2, 3, 4].into(), "{scheduler} uses all of them");
    choices
}

fn server(number: u8) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::new(10, 0, 0, number), 53)).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// Returns the client whose packet arrived, if one did.
fn received(server: &UdpSocket) -> Option<IpAddr> {
    match server.recv_from(&mut [0]) {
        Ok((_, client)) => Some(client.ip()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn directors_with_opposite_histories_choose_alike_with_canonical_order() {
    for scheduler in ["sh", "mh"] {
        let [fresh, same, opposite] = HISTORIES.map(|history| choices(history, scheduler, true));
        assert_eq!(fresh, same, "{scheduler}");
        assert_eq!(fresh, opposite, "{scheduler}");
    }
}

#[test]
fn directors_with_opposite_histories_choose_differently_without_canonical_order() {
    for scheduler in ["sh", "mh"] {
        let [fresh, same, opposite] = HISTORIES.map(|history| choices(history, scheduler, false));
        assert_eq!(fresh, same, "{scheduler}: they were added in the same order");
        assert_ne!(fresh, opposite, "{scheduler}");
    }
}
