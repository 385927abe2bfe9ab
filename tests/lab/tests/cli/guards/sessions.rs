//! Tests that the guard `unbind-in-use` sees the sessions of programs on the host over a VIP.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use evenkeel_lab_tests::modules;
use evenkeel_lab_tests::netns::NamedNamespace;
use rustix::net::sockopt::set_socket_linger;

use super::*;

const SPEC: &str = "version: 1
scope: all
vips:
  - { address: 192.0.2.1, interface: eth0 }
  - { address: 192.0.2.2, interface: eth0 }
  - { address: '2001:db8::1', interface: eth0 }
services:
  - { name: kept, vip: 198.51.100.9, port: 80, real_servers: [ { address: 10.0.0.9 } ] }
";

/// Joins the calling thread's namespace to that of another machine, which reaches the VIPs.
fn other_machine() -> NamedNamespace {
    let peer = NamedNamespace::new("peer");
    run(&format!("ip link add eth1 type veth peer name eth1 netns {}", peer.name));
    run("ip addr add 10.1.0.1/24 dev eth1");
    run("ip addr add fd01::1/64 dev eth1 nodad");
    run("ip link set eth1 up");
    for command in [
        "addr add 10.1.0.2/24 dev eth1",
        "addr add fd01::2/64 dev eth1 nodad",
        "link set eth1 up",
        "route add 192.0.2.0/24 via 10.1.0.1",
        "route add 2001:db8::/64 via fd01::1",
    ] {
        run(&format!("ip -n {} {command}", peer.name));
    }
    peer
}

/// Runs something on the other machine.
fn over_there<T: Send>(peer: &NamedNamespace, act: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let there = scope.spawn(|| {
            peer.enter();
            act()
        });
        there.join().unwrap()
    })
}

/// Connects from the other machine, and returns both ends. They leave no state behind, which would keep this
/// namespace in use.
fn session(peer: &NamedNamespace, listener: &TcpListener, to: &str) -> [TcpStream; 2] {
    let client = over_there(peer, || {
        // The neighbours of a new interface take a moment.
        let address = to.parse().unwrap();
        TcpStream::connect_timeout(&address, Duration::from_secs(10)).unwrap()
    });
    let ends = [client, listener.accept().unwrap().0];
    ends.iter().for_each(|end| set_socket_linger(end, Some(Duration::ZERO)).unwrap());
    ends
}

/// Asserts that the plan without this VIP is refused for these connections, and no longer once they have
/// ended.
fn assert_keeps<T>(fixture: &Fixture, vip: &str, connections: &str, open: T) {
    let without: String =
        SPEC.lines().filter(|line| !line.contains(vip)).fold(String::new(), |mut spec, line| {
            spec.push_str(line);
            spec.push('\n');
            spec
        });
    fixture.write("spec.yaml", without);
    assert_holds(
        fixture,
        "unbind-in-use",
        &format!(
            "unbinding {vip} would break {connections} (unbind_in_use: 0); end them, or keep the VIP under \
             `vips` until they have ended"
        ),
    );
    drop(open);
    let answer = fixture.evenkeel("plan --detailed-exitcode spec.yaml");
    assert_eq!(answer.status, 2, "{answer:?}");
    assert!(!answer.stderr.contains("would refuse this plan"), "{answer:?}");
}

#[test]
fn a_vip_with_a_tcp_session_to_this_host_is_kept() {
    let fixture = Fixture::expiring("");
    let peer = other_machine();
    fixture.apply(SPEC);
    // Like sshd: one socket for both families, so that those of IPv4 have mapped addresses.
    let both = TcpListener::bind("[::]:22").unwrap();
    let ipv4 = TcpListener::bind("0.0.0.0:2222").unwrap();
    let mapped = session(&peer, &both, "192.0.2.1:22");
    assert_keeps(
        &fixture,
        "192.0.2.1",
        "1 connection of a program on this host, at port 22/tcp",
        mapped,
    );
    let two = [session(&peer, &both, "192.0.2.1:22"), session(&peer, &ipv4, "192.0.2.1:2222")];
    assert_keeps(
        &fixture,
        "192.0.2.1",
        "2 connections of programs on this host, at ports 22/tcp and 2222/tcp",
        two,
    );
    let ipv6 = session(&peer, &both, "[2001:db8::1]:22");
    let text = "1 connection of a program on this host, at port 22/tcp";
    assert_keeps(&fixture, "2001:db8::1", text, ipv6);
    // A session over another address of the host is of no concern, nor is a socket that only listens.
    let _other = session(&peer, &both, "10.1.0.1:22");
    fixture.write("spec.yaml", SPEC.replace("  - { address: 192.0.2.1, interface: eth0 }\n", ""));
    fixture.done("apply --yes spec.yaml");
}

#[test]
fn a_vip_of_a_connected_udp_socket_is_kept() {
    let fixture = Fixture::expiring("");
    let _peer = other_machine();
    fixture.apply(SPEC);
    let socket = UdpSocket::bind("192.0.2.1:5000").unwrap();
    let _unconnected = UdpSocket::bind("192.0.2.2:5000").unwrap();
    socket.connect("10.1.0.2:5000").unwrap();
    let text = "1 connection of a program on this host, at port 5000/udp";
    assert_keeps(&fixture, "192.0.2.1", text, socket);
    fixture.write("spec.yaml", SPEC.replace("  - { address: 192.0.2.2, interface: eth0 }\n", ""));
    fixture.done("apply --yes spec.yaml");
}

#[test]
fn a_teardown_keeps_a_vip_with_a_session() {
    let fixture = Fixture::expiring("");
    let peer = other_machine();
    fixture.apply(SPEC);
    let listener = TcpListener::bind("[::]:22").unwrap();
    let open = session(&peer, &listener, "192.0.2.1:22");
    let answer = fixture.evenkeel("teardown --yes");
    assert_eq!(answer.status, 3, "{answer:?}");
    let message = "refused: guard unbind-in-use: unbinding 192.0.2.1 would break 1 connection of a program \
                   on this host, at port 22/tcp (unbind_in_use: 0); wait until the connections have ended";
    assert!(answer.stderr.contains(message), "{answer:?}");
    fixture.done("teardown --yes --allow unbind-in-use");
    drop(open);
}

/// A local node: the service's connections end at this host's own sockets, and are counted as the service's.
#[test]
fn the_connections_of_a_service_to_this_host_are_counted_once() {
    let fixture = Fixture::expiring("");
    let peer = other_machine();
    let local = format!(
        "{}  - {{ name: local, vip: 192.0.2.1, port: 80, forward: dr, real_servers: [ {{ address: 10.1.0.1 }} ] }}\n",
        SPEC.replace("scope: all\n", "scope: all\ndefaults: { drain: 0s }\n")
    );
    fixture.apply(&local);
    let listener = TcpListener::bind("0.0.0.0:80").unwrap();
    let open = session(&peer, &listener, "192.0.2.1:80");
    fixture.write("spec.yaml", SPEC.replace("  - { address: 192.0.2.1, interface: eth0 }\n", ""));
    assert_holds(
        &fixture,
        "unbind-in-use",
        "unbinding 192.0.2.1 would break 1 connection to local/192.0.2.1:80/tcp (unbind_in_use: 0); give the \
         service a `drain` and apply that before you remove it",
    );
    drop(open);
}

/// The module that shows UDP sockets cannot be loaded: the plan says so, and is made.
#[test]
fn a_kernel_without_diagnostics_of_udp_is_warned_of() {
    let fixture = Fixture::expiring("");
    fixture.apply(SPEC);
    modules::unload("udp_diag");
    fixture.write("spec.yaml", SPEC.replace("  - { address: 192.0.2.2, interface: eth0 }\n", ""));
    let answer = modules::without_modprobe(|| fixture.evenkeel("apply --yes spec.yaml"));
    assert_eq!(answer.status, 0, "{answer:?}");
    let warning = "it is not known whether unbinding 192.0.2.2 breaks connections of programs on this host: \
                   cannot list the sockets of UDP: the kernel has no socket diagnostics for them";
    assert!(answer.stderr.contains(warning), "{answer:?}");
    assert!(!addresses().contains("192.0.2.2/32 eth0"));
}
