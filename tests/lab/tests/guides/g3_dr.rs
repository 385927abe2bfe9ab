//! G3, direct routing: weights 3 and 1, and scripts that start and stop the real servers' part.

use evenkeel_lab::net::Machine;

use super::*;

const VIP: &str = "192.168.0.38:80";
const CLIENT: &str = "192.168.0.1";
/// The real servers' script with `stop`.
const STOP: &str = "ip route del 192.168.0.38 dev lo
    ip address del 192.168.0.38/32 dev lo
    sysctl -qw net.ipv4.conf.lo.arp_ignore=0 net.ipv4.conf.lo.arp_announce=0 \
     net.ipv4.conf.all.arp_ignore=0 net.ipv4.conf.all.arp_announce=0";

pub(super) fn guide() -> Guide {
    Guide {
        machines: vec![
            Machine::new("client").on("lan", "eth0", &["192.168.0.1/24"]),
            Machine::new("director").on("lan", "eth0", &["192.168.0.8/24"]),
            Machine::new("rs1").on("lan", "eth0", &["192.168.0.18/24"]),
            Machine::new("rs2").on("lan", "eth0", &["192.168.0.28/24"]),
        ],
        port: 80,
        commands: &[
            HostCommands {
                hosts: &["director"],
                script: "sysctl -qw net.ipv4.ip_forward=1
                    ip address add 192.168.0.38/32 broadcast 192.168.0.38 dev eth0 label eth0:0
                    ip route add 192.168.0.38 dev eth0 scope link src 192.168.0.38
                    ipvsadm -A -t 192.168.0.38:80 -s wrr
                    ipvsadm -a -t 192.168.0.38:80 -r 192.168.0.18:80 -g -w 3
                    ipvsadm -a -t 192.168.0.38:80 -r 192.168.0.28:80 -g -w 1",
            },
            HostCommands {
                hosts: &["rs1", "rs2"],
                script: "ip address add 192.168.0.38/32 broadcast 192.168.0.38 dev lo label lo:0
                    ip route add 192.168.0.38 dev lo scope link src 192.168.0.38
                    sysctl -qw net.ipv4.conf.lo.arp_ignore=1 net.ipv4.conf.lo.arp_announce=2 \
                     net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2",
            },
        ],
        spec: r#"
version: 1
directors:
  - { name: ds1, addresses: [192.168.0.8] }
vips:
  - { address: 192.168.0.38, interface: eth0, label: "eth0:0", route: true }
services:
  - name: web
    vip: 192.168.0.38
    port: 80
    scheduler: wrr
    forward: dr
    on_real_servers: { label: "lo:0", route: true }
    real_servers:
      - { address: 192.168.0.18, weight: 3 }
      - { address: 192.168.0.28, weight: 1 }
"#,
    }
}

#[test]
fn g3_dr_requests_are_distributed_three_to_one_and_answers_bypass_the_director() {
    compare(&guide(), check, DIFFERENCES);
}

#[test]
fn g3_dr_stopping_a_real_server_restores_what_was_before() {
    for BeforeAndAfter { before, after } in stop_real_servers(&guide(), STOP) {
        assert_eq!(before, after);
    }
}

fn check(site: &Site) {
    let answers = site.ask(VIP, 12);
    assert_eq!(of_rs1(&answers), 9, "{answers:?}");
    let wire = Wire::watch(&site.machines, CLIENT);
    let real_server = &site.ask(VIP, 1)[0];
    let expected = [
        format!("client eth0 -> director eth0: {CLIENT}:PORT -> {VIP}"),
        format!("director eth0 -> {real_server} eth0: {CLIENT}:PORT -> {VIP}"),
        format!("{real_server} eth0 -> client eth0: {VIP} -> {CLIENT}:PORT"),
    ];
    assert_eq!(wire.stretches(), expected.into());
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        hosts: &["director"],
        by_commands: &[
            "sysctl net.ipv4.ip_forward 1",
            "sysctl net.ipv4.conf.all.accept_redirects 0",
            "sysctl net.ipv4.conf.all.forwarding 1",
            "sysctl net.ipv4.conf.default.forwarding 1",
            "sysctl net.ipv4.conf.eth0.forwarding 1",
            "sysctl net.ipv4.conf.ip6tnl0.forwarding 1",
            "sysctl net.ipv4.conf.lo.forwarding 1",
            "sysctl net.ipv4.conf.tunl0.forwarding 1",
        ],
        by_evenkeel: &[
            "sysctl net.ipv4.ip_forward 0",
            "sysctl net.ipv4.conf.all.accept_redirects 1",
            "sysctl net.ipv4.conf.all.forwarding 0",
            "sysctl net.ipv4.conf.default.forwarding 0",
            "sysctl net.ipv4.conf.eth0.forwarding 0",
            "sysctl net.ipv4.conf.ip6tnl0.forwarding 0",
            "sysctl net.ipv4.conf.lo.forwarding 0",
            "sysctl net.ipv4.conf.tunl0.forwarding 0",
        ],
        because: "direct routing forwards nothing by the routing table: ip_forward is not needed",
    },
    Difference {
        hosts: &["director"],
        by_commands: &[],
        by_evenkeel: &["address 192.168.0.38/32 dev eth0: noprefixroute true"],
        because: "a VIP is no way to a network, which a /32 has none of anyway",
    },
    Difference {
        hosts: &["rs1", "rs2"],
        by_commands: &[],
        by_evenkeel: &["address 192.168.0.38/32 dev lo: noprefixroute true"],
        because: "a VIP is no way to a network, which a /32 has none of anyway",
    },
    Difference {
        hosts: &["director"],
        by_commands: &[
            "address 192.168.0.38/32 dev eth0: broadcast 192.168.0.38",
            "route broadcast 192.168.0.38 dev eth0 table local: flags [] prefsrc 192.168.0.38 protocol kernel scope link",
        ],
        by_evenkeel: &[],
        because: "an address alone in its network has nothing to broadcast to",
    },
    Difference {
        hosts: &["rs1", "rs2"],
        by_commands: &[
            "address 192.168.0.38/32 dev lo: broadcast 192.168.0.38",
            "route broadcast 192.168.0.38 dev lo table local: flags [] prefsrc 192.168.0.38 protocol kernel scope link",
        ],
        by_evenkeel: &[],
        because: "an address alone in its network has nothing to broadcast to",
    },
    Difference {
        hosts: &["director"],
        by_commands: &[
            "route unicast 192.168.0.38 dev eth0 table main: flags [] prefsrc 192.168.0.38 protocol boot scope link",
        ],
        by_evenkeel: &[
            "route unicast 192.168.0.38 dev eth0 table main: flags [] prefsrc 192.168.0.38 protocol 101 scope link",
        ],
        because: "evenkeel marks its routes as its own",
    },
    Difference {
        hosts: &["rs1", "rs2"],
        by_commands: &[
            "route unicast 192.168.0.38 dev lo table main: flags [] prefsrc 192.168.0.38 protocol boot scope link",
        ],
        by_evenkeel: &[
            "route unicast 192.168.0.38 dev lo table main: flags [] prefsrc 192.168.0.38 protocol 101 scope link",
        ],
        because: "evenkeel marks its routes as its own",
    },
];
