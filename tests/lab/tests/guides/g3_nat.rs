//! G3, address translation: the real servers' return path leads through the director.

use evenkeel_lab::net::Machine;

use super::*;

const VIP: &str = "172.16.254.200:80";
const CLIENT: &str = "172.16.254.10";

pub(super) fn guide() -> Guide {
    // The inner network has a router that leads elsewhere.
    let real_server = |name: &str, address: &str| {
        Machine::new(name).on("inner", "eth0", &[address]).gateway("10.10.120.254")
    };
    Guide {
        machines: vec![
            Machine::new("client").on("outside", "eth0", &["172.16.254.10/24"]),
            Machine::new("director").on("outside", "eth0", &["172.16.254.1/24"]).on(
                "inner",
                "eth1",
                &["10.10.120.1/24"],
            ),
            real_server("rs1", "10.10.120.210/24"),
            real_server("rs2", "10.10.120.220/24"),
        ],
        port: 80,
        commands: &[
            HostCommands {
                hosts: &["director"],
                script: "sysctl -qw net.ipv4.ip_forward=1
                    ip address add 172.16.254.200/32 dev eth0 label eth0:0
                    ipvsadm -A -t 172.16.254.200:80 -s wrr
                    ipvsadm -a -t 172.16.254.200:80 -r 10.10.120.210:80 -m -w 1
                    ipvsadm -a -t 172.16.254.200:80 -r 10.10.120.220:80 -m -w 1",
            },
            HostCommands {
                hosts: &["rs1", "rs2"],
                script: "ip route del default
                    ip route add default via 10.10.120.1",
            },
        ],
        spec: r#"
version: 1
directors:
  - { name: ds1, addresses: [172.16.254.1, 10.10.120.1] }
vips:
  - { address: 172.16.254.200, interface: eth0, label: "eth0:0" }
services:
  - name: web
    vip: 172.16.254.200
    port: 80
    scheduler: wrr
    forward: nat
    gateway: director
    real_servers:
      - { address: 10.10.120.210, weight: 1 }
      - { address: 10.10.120.220, weight: 1 }
"#,
    }
}

#[test]
fn g3_nat_answers_return_through_the_director() {
    compare(&guide(), check, DIFFERENCES);
}

fn check(site: &Site) {
    assert_alternating(&site.ask(VIP, 6));
    let wire = Wire::watch(&site.machines, CLIENT);
    let real_server = &site.ask(VIP, 1)[0];
    let address = if real_server == "rs1" { "10.10.120.210:80" } else { "10.10.120.220:80" };
    let expected = [
        format!("client eth0 -> director eth0: {CLIENT}:PORT -> {VIP}"),
        format!("director eth1 -> {real_server} eth0: {CLIENT}:PORT -> {address}"),
        format!("{real_server} eth0 -> director eth1: {address} -> {CLIENT}:PORT"),
        format!("director eth0 -> client eth0: {VIP} -> {CLIENT}:PORT"),
    ];
    assert_eq!(wire.stretches(), expected.into());
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        hosts: &["director"],
        by_commands: &[],
        by_evenkeel: &["address 172.16.254.200/32 dev eth0: noprefixroute true"],
        because: "a VIP is no way to a network, which a /32 has none of anyway",
    },
    Difference {
        hosts: &["rs1", "rs2"],
        by_commands: &[
            "route unicast default dev eth0 table main: flags [] gateway 10.10.120.1 protocol boot scope global",
        ],
        by_evenkeel: &[
            "route unicast default dev eth0 table main: flags [] gateway 10.10.120.1 protocol 101 scope global",
        ],
        because: "evenkeel marks its routes as its own",
    },
    Difference {
        hosts: &["director"],
        by_commands: &[
            "sysctl net.ipv4.conf.all.send_redirects 1",
            "sysctl net.ipv4.conf.eth1.send_redirects 1",
        ],
        by_evenkeel: &[
            "sysctl net.ipv4.conf.all.send_redirects 0",
            "sysctl net.ipv4.conf.eth1.send_redirects 0",
        ],
        because: "real servers must not learn a shorter way, past the director",
    },
];
