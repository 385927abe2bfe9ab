//! A spec of before, without `directors`, means what it did before.

use evenkeel_lab_tests::run;

use super::cases::DIRECTOR;
use super::host::Host;
use super::state::State;

/// Without the role, this host would forward packets and be a real server.
const SPEC: &str = "version: 1
scope: all
defaults: { drain: 0s }
vips:
  - { address: 192.0.2.1, interface: eth0 }
  - { address: '2001:db8::1', interface: eth0 }
services:
  - name: web
    vips: [ 192.0.2.1, '2001:db8::1' ]
    port: 80
    forward: dr
    real_servers: [ { address: 192.0.2.2 }, { address: 192.0.2.11 }, { address: '2001:db8::2' } ]
  - { name: nat, vip: 192.0.2.1, port: 81, forward: nat, real_servers: [ { address: 10.0.0.11 } ] }
  - { name: elsewhere, vip: 192.0.2.4, port: 80, forward: dr, real_servers: [ { address: 192.0.2.2 } ] }
  - { name: tunnel, vip: 192.0.2.5, port: 80, forward: tun, real_servers: [ { address: 192.0.2.2 } ] }
";

#[test]
fn a_spec_without_directors_makes_a_host_a_director_and_nothing_else() {
    let host = Host::new(DIRECTOR.host);
    // The addresses that the spec does not bind are local, so that no plan warns of them.
    for address in ["192.0.2.4", "192.0.2.5"] {
        run(&format!("ip route add local {address} dev lo"));
    }
    let before = State::read();
    host.apply(SPEC);
    let applied = State::read();
    let changes = applied.changes_since(&before);
    // The table, the VIPs, and the kernel's own routes to them.
    for line in changes.lines().filter(|line| !line.is_empty()) {
        let is_of_vip = line.contains("\"192.0.2.1\"") || line.contains("\"2001:db8::1\"");
        assert!(
            line.starts_with("+ ipvs ")
                || is_of_vip && line.contains("\"eth0\"")
                || is_of_vip && line.contains("local"),
            "{line}"
        );
    }
    for role in ["", "--role director"] {
        let answer = host.evenkeel(&format!("plan --detailed-exitcode spec.yaml {role}"));
        assert_eq!(answer.status, 0, "{role}: {answer:?}");
    }
    assert_eq!(State::read(), applied);
}

#[test]
fn listing_the_directors_changes_nothing_where_no_service_needs_it() {
    let host = Host::new(DIRECTOR.host);
    let spec: String = SPEC
        .lines()
        .filter(|line| !["nat,", "elsewhere,", "tunnel,"].iter().any(|it| line.contains(it)))
        .map(|line| format!("{line}\n"))
        .collect();
    host.apply(&spec);
    let applied = State::read();
    let listed = spec.replace(
        "scope: all\n",
        "scope: all\ndirectors: [ { name: lb1, addresses: [192.0.2.2, '2001:db8::2'] } ]\n",
    );
    host.write(&listed);
    let answer = host.evenkeel("plan --detailed-exitcode spec.yaml");
    assert_eq!(answer.status, 0, "{answer:?}");
    host.apply(&listed);
    assert_eq!(State::read(), applied);
}
