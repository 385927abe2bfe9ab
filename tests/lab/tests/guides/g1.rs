//! G1: direct routing with a router between the client and the cluster. The VIP is on the director's
//! `lo`, so that nothing but the real servers' silence leads the router's packets to the director.

use evenkeel_lab::net::Machine;

use super::*;

const VIP: &str = "192.168.1.201:80";
const CLIENT: &str = "10.0.0.2";

pub(super) fn guide() -> Guide {
    let host = |name: &str, address: &str| {
        Machine::new(name).on("lan", "eth0", &[address]).gateway("192.168.1.1")
    };
    Guide {
        machines: vec![
            Machine::new("client").on("outside", "eth0", &["10.0.0.2/24"]).gateway("10.0.0.1"),
            Machine::new("router")
                .on("outside", "eth0", &["10.0.0.1/24"])
                .on("lan", "eth1", &["192.168.1.1/24"])
                .router(),
            host("director", "192.168.1.10/24"),
            host("rs1", "192.168.1.20/24"),
            host("rs2", "192.168.1.30/24"),
        ],
        port: 80,
        commands: &[
            HostCommands {
                hosts: &["director"],
                script: "ip address add 192.168.1.201/32 dev lo label lo:1
                    ipvsadm -A -t 192.168.1.201:80 -s rr
                    ipvsadm -a -t 192.168.1.201:80 -r 192.168.1.20 -g
                    ipvsadm -a -t 192.168.1.201:80 -r 192.168.1.30 -g",
            },
            HostCommands {
                hosts: &["rs1", "rs2"],
                script: "sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.lo.arp_ignore=1 \
                         net.ipv4.conf.all.arp_announce=2 net.ipv4.conf.lo.arp_announce=2
                    ip address add 192.168.1.201/32 dev lo label lo:1",
            },
        ],
        spec: r#"
version: 1
directors:
  - { name: ds1, addresses: [192.168.1.10] }
vips:
  - { address: 192.168.1.201, interface: lo, label: "lo:1" }
services:
  - name: web
    vip: 192.168.1.201
    port: 80
    scheduler: rr
    forward: dr
    real_servers:
      - { address: 192.168.1.20 }
      - { address: 192.168.1.30 }
    on_real_servers: { label: "lo:1" }
"#,
    }
}

#[test]
fn g1_requests_alternate_and_only_hardware_addresses_change_on_their_way() {
    compare(&guide(), check, DIFFERENCES);
}

pub(super) fn check(site: &Site) {
    assert_alternating(&site.ask(VIP, 6));
    let wire = Wire::watch(&site.machines, CLIENT);
    for _ in 0..2 {
        let real_server = &site.ask(VIP, 1)[0];
        let there = format!("{CLIENT}:PORT -> {VIP}");
        let back = format!("{VIP} -> {CLIENT}:PORT");
        let expected = [
            format!("client eth0 -> router eth0: {there}"),
            format!("router eth1 -> director eth0: {there}"),
            format!("director eth0 -> {real_server} eth0: {there}"),
            // Past the director.
            format!("{real_server} eth0 -> router eth1: {back}"),
            format!("router eth0 -> client eth0: {back}"),
        ];
        assert_eq!(wire.stretches(), expected.into());
    }
}

pub(super) const DIFFERENCES: &[Difference] = &[Difference {
    hosts: &["director", "rs1", "rs2"],
    by_commands: &[],
    by_evenkeel: &["address 192.168.1.201/32 dev lo: noprefixroute true"],
    because: "a VIP is no way to a network, which a /32 has none of anyway",
}];
