//! The daemon on a real server: everything that is taken away by hand is back.

use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use evenkeel_host::Binding;
use evenkeel_lab_tests::{fresh_namespace, is_emulated, run, say};

use super::host;
use super::state::State;
use crate::watch::{Host, within};

const INTERVAL: Duration = Duration::from_secs(1);
/// Reading the state and starting a program take some time as well.
const LOOK: Duration = Duration::from_millis(1_000);

/// A real server of every kind of forwarding, with a default route of another program.
const HOST: &str = "address add 192.0.2.11/24 dev eth0
    address add 2001:db8::11/64 dev eth0 nodad
    route add default via 192.0.2.254 dev eth0
    sysctl net/ipv4/conf/all/rp_filter=1
    sysctl net/ipv4/conf/all/arp_announce=1";

const SPEC: &str = "version: 1
directors: [ { name: lb1, addresses: [192.0.2.2, '2001:db8::2'] } ]
defaults: { drain: 0s }
services:
  - name: web
    vips: [ 192.0.2.1, '2001:db8::1' ]
    port: 80
    forward: dr
    on_real_servers: { label: 'lo:0', route: true }
    real_servers: [ { address: 192.0.2.11 }, { address: '2001:db8::11' } ]
  - name: tunnelled
    vip: 192.0.2.3
    port: 80
    forward: tun
    tunnel: { type: gue, port: 6080 }
    real_servers: [ { address: 192.0.2.11 } ]
  - name: four-in-six
    vip: 192.0.2.4
    port: 80
    forward: tun
    real_servers: [ { address: '2001:db8::11' } ]
  - name: inner
    vips: [ 203.0.113.1, '2001:db8:1::1' ]
    port: 80
    forward: nat
    gateway: director
    real_servers: [ { address: 192.0.2.11 }, { address: '2001:db8::11' } ]
";

/// What is taken away, a line of commands each.
const CHANGES: &[&str] = &[
    "ip link set tunl0 down",
    "ip link set ip6tnl0 down",
    "ip fou del port 6080",
    "ip address del 192.0.2.1/32 dev lo",
    "ip -6 address del 2001:db8::1/128 dev lo",
    "ip address del 192.0.2.3/32 dev tunl0",
    "ip address del 192.0.2.4/32 dev ip6tnl0",
    "sysctl -qw net.ipv4.conf.all.arp_ignore=0",
    "sysctl -qw net.ipv4.conf.lo.arp_announce=0",
    "sysctl -qw net.ipv4.conf.tunl0.arp_ignore=0",
    "sysctl -qw net.ipv4.conf.all.rp_filter=1",
    "sysctl -qw net.ipv4.conf.tunl0.rp_filter=2",
    "ip route del default via 192.0.2.2",
    "ip route replace default via 192.0.2.9 dev eth0",
    "ip -6 route del default via 2001:db8::2",
    "ip route del 192.0.2.1 dev lo table main",
    "ip -6 route del 2001:db8::1 dev lo table main proto 101",
];

fn watched(spec: &str) -> (Host, crate::watch::Daemon) {
    fresh_namespace();
    host::build(HOST);
    let host = Host::here();
    let daemon = host.watching(spec, "--interval 1s");
    (host, daemon)
}

#[test]
fn what_is_taken_from_a_real_server_is_back_within_an_interval() {
    let (host, _daemon) = watched(SPEC);
    let before = State::read();
    for words in [
        "\"dev\":\"lo\",\"family\":\"inet\",\"label\":\"lo:0\",\"local\":\"192.0.2.1\"",
        "\"gateway\":\"192.0.2.2\"",
        "fou port 6080 gue",
    ] {
        assert!(before.contains(words), "{words}");
    }
    let mut worst = Duration::ZERO;
    for change in CHANGES {
        let begin = Instant::now();
        run(change);
        let mut now = State::default();
        let is_repaired = within(INTERVAL + LOOK, || {
            now = State::read();
            now == before
        });
        assert!(is_repaired, "{change}: {}", now.changes_since(&before));
        worst = worst.max(begin.elapsed());
    }
    say(&format!(
        "{} objects of a real server are back, the slowest after {worst:?}",
        CHANGES.len()
    ));
    host.wait_for_state("ok");
    // Nothing is repaired again and again.
    let mut monitor = Command::new("timeout");
    monitor.args(["4", "ip", "monitor", "address", "link", "route"]).stderr(Stdio::null());
    let shown = monitor.output().unwrap().stdout;
    assert_eq!(String::from_utf8(shown).unwrap(), "");
    let status = host.status();
    assert_eq!((&status["state"], host.reasons().as_str()), (&"ok".into(), ""), "{status:#}");
    before.assert_is_reached("after a while");
}

#[test]
fn a_vip_on_a_real_server_is_back_within_a_tenth_of_a_second() {
    // The kernel deletes a route with its VIP, and a route that goes again and again is a conflict.
    let (host, _daemon) = watched(&SPEC.replace(", route: true", ""));
    for (address, interface) in [("192.0.2.1", "lo"), ("2001:db8::1", "lo"), ("192.0.2.3", "tunl0")]
    {
        let address = address.parse().unwrap();
        let binding = Binding::host(address, interface);
        let kernel = evenkeel_host::Host::connect().unwrap();
        // A socket can be bound only to an address of the host.
        let is_here = || UdpSocket::bind((address, 0)).is_ok();
        let mut times: Vec<Duration> = (0..10)
            .map(|number| {
                std::thread::sleep(Duration::from_millis(number % 5 * 15));
                assert!(is_here());
                kernel.unbind(&binding).unwrap();
                let begin = Instant::now();
                while !is_here() && begin.elapsed() < Duration::from_secs(5) {
                    std::thread::sleep(Duration::from_micros(500));
                }
                begin.elapsed()
            })
            .collect();
        times.sort();
        say(&format!("{address} on {interface} is back after {:?} at worst", times[9]));
        let mut most = Duration::from_millis(100);
        if is_emulated() {
            most = most.max(2 * start_of_a_program());
        }
        assert!(times[9] < most, "{address}, {most:?}: {times:?}");
    }
    host.wait_for_state("ok");
}

/// Returns how long this machine takes to start a program and read its answer.
fn start_of_a_program() -> Duration {
    let begin = Instant::now();
    run("ip link show lo");
    begin.elapsed()
}
