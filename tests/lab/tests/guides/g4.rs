//! G4: what direct routing needs. All hosts share one network, the VIP is on the real servers' `lo`,
//! they do not answer ARP for it, their gateway is the router and not the director, and they listen
//! on the service's port.

use evenkeel_lab::net::Machine;

use super::*;

const VIP: &str = "10.4.0.100:8080";
const CLIENT: &str = "10.9.0.2";

pub(super) fn guide() -> Guide {
    let host = |name: &str, address: &str| {
        Machine::new(name).on("lan", "eth0", &[address]).gateway("10.4.0.1")
    };
    Guide {
        machines: vec![
            Machine::new("client").on("outside", "eth0", &["10.9.0.2/24"]).gateway("10.9.0.1"),
            Machine::new("router")
                .on("outside", "eth0", &["10.9.0.1/24"])
                .on("lan", "eth1", &["10.4.0.1/24"])
                .router(),
            host("director", "10.4.0.10/24"),
            host("rs1", "10.4.0.11/24"),
            host("rs2", "10.4.0.12/24"),
        ],
        port: 8080,
        commands: &[
            HostCommands {
                hosts: &["director"],
                script: "ip address add 10.4.0.100/32 dev eth0
                    ipvsadm -A -t 10.4.0.100:8080 -s rr
                    ipvsadm -a -t 10.4.0.100:8080 -r 10.4.0.11:8080 -g
                    ipvsadm -a -t 10.4.0.100:8080 -r 10.4.0.12:8080 -g",
            },
            HostCommands {
                hosts: &["rs1", "rs2"],
                script: "sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.lo.arp_ignore=1 \
                         net.ipv4.conf.all.arp_announce=2 net.ipv4.conf.lo.arp_announce=2
                    ip address add 10.4.0.100/32 dev lo",
            },
        ],
        // Without the keys that are for appearance only.
        spec: "
version: 1
directors:
  - { name: ds1, addresses: [10.4.0.10] }
vips:
  - { address: 10.4.0.100, interface: eth0 }
services:
  - name: web
    vip: 10.4.0.100
    port: 8080
    scheduler: rr
    forward: dr
    real_servers:
      - { address: 10.4.0.11 }
      - { address: 10.4.0.12 }
",
    }
}

#[test]
fn g4_answers_leave_by_the_router_that_is_the_real_servers_gateway() {
    compare(&guide(), check, DIFFERENCES);
}

fn check(site: &Site) {
    assert_alternating(&site.ask(VIP, 6));
    let wire = Wire::watch(&site.machines, CLIENT);
    let real_server = &site.ask(VIP, 1)[0];
    let there = format!("{CLIENT}:PORT -> {VIP}");
    let back = format!("{VIP} -> {CLIENT}:PORT");
    let expected = [
        format!("client eth0 -> router eth0: {there}"),
        format!("router eth1 -> director eth0: {there}"),
        format!("director eth0 -> {real_server} eth0: {there}"),
        format!("{real_server} eth0 -> router eth1: {back}"),
        format!("router eth0 -> client eth0: {back}"),
    ];
    assert_eq!(wire.stretches(), expected.into());
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        hosts: &["director"],
        by_commands: &[],
        by_evenkeel: &["address 10.4.0.100/32 dev eth0: noprefixroute true"],
        because: "a VIP is no way to a network, which a /32 has none of anyway",
    },
    Difference {
        hosts: &["rs1", "rs2"],
        by_commands: &[],
        by_evenkeel: &["address 10.4.0.100/32 dev lo: noprefixroute true"],
        because: "a VIP is no way to a network, which a /32 has none of anyway",
    },
];
