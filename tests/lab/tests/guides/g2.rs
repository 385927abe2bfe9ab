//! G2: direct routing on one network, weights changed while running, and a port that direct routing
//! cannot map.

use std::io::ErrorKind;

use evenkeel_lab::net::Machine;

use super::*;

const VIP: &str = "192.168.56.185:80";
const UNMAPPED: &str = "192.168.56.186:8099";

pub(super) fn guide() -> Guide {
    Guide {
        machines: vec![
            Machine::new("client").on("lan", "eth0", &["192.168.56.1/24"]),
            Machine::new("director").on("outside", "eth1", &["192.168.1.181/24"]).on(
                "lan",
                "eth2",
                &["192.168.56.181/24"],
            ),
            Machine::new("rs1").on("lan", "eth0", &["192.168.56.183/24"]),
            Machine::new("rs2").on("lan", "eth0", &["192.168.56.184/24"]),
        ],
        port: 80,
        commands: &[
            // The second VIP is on the real servers, too: without it they would drop the requests
            // in place of refusing them.
            HostCommands {
                hosts: &["rs1", "rs2"],
                script: "sysctl -qw net.ipv4.conf.lo.arp_ignore=1 net.ipv4.conf.lo.arp_announce=2 \
                         net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
                    ip address add 192.168.56.185/32 broadcast 192.168.56.185 dev lo label lo:0
                    ip route add 192.168.56.185 dev lo scope link src 192.168.56.185
                    ip address add 192.168.56.186/32 broadcast 192.168.56.186 dev lo label lo:1
                    ip route add 192.168.56.186 dev lo scope link src 192.168.56.186",
            },
            HostCommands {
                hosts: &["director"],
                script: "sysctl -qw net.ipv4.ip_forward=1
                    ip address add 192.168.56.185/32 broadcast 192.168.56.185 dev eth2 label eth2:0
                    ip route add 192.168.56.185 dev eth2 scope link src 192.168.56.185
                    ipvsadm -A -t 192.168.56.185:80 -s wrr
                    ipvsadm -a -t 192.168.56.185:80 -r 192.168.56.183:80 -g -w 1
                    ipvsadm -a -t 192.168.56.185:80 -r 192.168.56.184:80 -g -w 1
                    ip address add 192.168.56.186/32 broadcast 192.168.56.186 dev eth2 label eth2:1
                    ip route add 192.168.56.186 dev eth2 scope link src 192.168.56.186
                    ipvsadm -A -t 192.168.56.186:8099 -s wrr
                    ipvsadm -a -t 192.168.56.186:8099 -r 192.168.56.183:80 -g -w 1
                    ipvsadm -a -t 192.168.56.186:8099 -r 192.168.56.184:80 -g -w 1",
            },
        ],
        spec: r#"
version: 1
directors:
  - { name: ds1, addresses: [192.168.56.181] }
vips:
  - { address: 192.168.56.185, interface: eth2, label: "eth2:0", route: true }
  - { address: 192.168.56.186, interface: eth2, label: "eth2:1", route: true }
services:
  - name: web
    vip: 192.168.56.185
    port: 80
    scheduler: wrr
    forward: dr
    on_real_servers: { label: "lo:0", route: true }
    real_servers:
      - { address: 192.168.56.183, weight: 1 }
      - { address: 192.168.56.184 }
  - name: unmapped
    vip: 192.168.56.186
    port: 8099
    scheduler: wrr
    forward: dr
    on_real_servers: { label: "lo:1", route: true }
    real_servers:
      - { address: 192.168.56.183 }
      - { address: 192.168.56.184 } # no port map
"#,
    }
}

#[test]
fn g2_weights_change_while_running_and_no_port_is_mapped() {
    compare(&guide(), check, DIFFERENCES);
}

fn check(site: &Site) {
    assert_alternating(&site.ask(VIP, 6));
    match site.way {
        Way::Commands => {
            let edit = "ipvsadm -e -t 192.168.56.185:80 -r 192.168.56.183:80 -g -w 2";
            site.run("director", edit);
        }
        Way::Evenkeel => {
            site.edit("192.168.56.183, weight: 1", "192.168.56.183, weight: 2");
            assert_a_port_map_is_an_error(site);
        }
    }
    let answers = site.ask(VIP, 6);
    assert_eq!(of_rs1(&answers), 4, "{answers:?}");
    // ipvsadm accepts port 80 and stores 8099, on which nothing listens.
    assert_eq!(site.error_of(UNMAPPED), ErrorKind::ConnectionRefused);
}

/// On the host that it is about, an error is found before anything is changed.
fn assert_a_port_map_is_an_error(site: &Site) {
    let mapped = site.edited("192.168.56.184 } # no port map", "192.168.56.184, port: 80 }");
    let before = site.state();
    for host in super::site::HOSTS {
        let output = site.evenkeel(host, &mapped, &["apply", "--yes"]);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{host}");
        assert!(errors.contains("8099") && errors.contains("port: 80"), "{host}: {errors}");
    }
    assert_eq!(site.state(), before);
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        hosts: &["director"],
        by_commands: &[
            "sysctl net.ipv4.ip_forward 1",
            "sysctl net.ipv4.conf.all.accept_redirects 0",
            "sysctl net.ipv4.conf.all.forwarding 1",
            "sysctl net.ipv4.conf.default.forwarding 1",
            "sysctl net.ipv4.conf.eth1.forwarding 1",
            "sysctl net.ipv4.conf.eth2.forwarding 1",
            "sysctl net.ipv4.conf.ip6tnl0.forwarding 1",
            "sysctl net.ipv4.conf.lo.forwarding 1",
            "sysctl net.ipv4.conf.tunl0.forwarding 1",
        ],
        by_evenkeel: &[
            "sysctl net.ipv4.ip_forward 0",
            "sysctl net.ipv4.conf.all.accept_redirects 1",
            "sysctl net.ipv4.conf.all.forwarding 0",
            "sysctl net.ipv4.conf.default.forwarding 0",
            "sysctl net.ipv4.conf.eth1.forwarding 0",
            "sysctl net.ipv4.conf.eth2.forwarding 0",
            "sysctl net.ipv4.conf.ip6tnl0.forwarding 0",
            "sysctl net.ipv4.conf.lo.forwarding 0",
            "sysctl net.ipv4.conf.tunl0.forwarding 0",
        ],
        because: "direct routing forwards nothing by the routing table: ip_forward is not needed",
    },
    Difference {
        hosts: &["director"],
        by_commands: &[],
        by_evenkeel: &[
            "address 192.168.56.185/32 dev eth2: noprefixroute true",
            "address 192.168.56.186/32 dev eth2: noprefixroute true",
        ],
        because: "a VIP is no way to a network, which a /32 has none of anyway",
    },
    Difference {
        hosts: &["rs1", "rs2"],
        by_commands: &[],
        by_evenkeel: &[
            "address 192.168.56.185/32 dev lo: noprefixroute true",
            "address 192.168.56.186/32 dev lo: noprefixroute true",
        ],
        because: "a VIP is no way to a network, which a /32 has none of anyway",
    },
    Difference {
        hosts: &["director"],
        by_commands: &[
            "address 192.168.56.185/32 dev eth2: broadcast 192.168.56.185",
            "route broadcast 192.168.56.185 dev eth2 table local: flags [] prefsrc 192.168.56.185 protocol kernel scope link",
            "address 192.168.56.186/32 dev eth2: broadcast 192.168.56.186",
            "route broadcast 192.168.56.186 dev eth2 table local: flags [] prefsrc 192.168.56.186 protocol kernel scope link",
        ],
        by_evenkeel: &[],
        because: "an address alone in its network has nothing to broadcast to",
    },
    Difference {
        hosts: &["rs1", "rs2"],
        by_commands: &[
            "address 192.168.56.185/32 dev lo: broadcast 192.168.56.185",
            "route broadcast 192.168.56.185 dev lo table local: flags [] prefsrc 192.168.56.185 protocol kernel scope link",
            "address 192.168.56.186/32 dev lo: broadcast 192.168.56.186",
            "route broadcast 192.168.56.186 dev lo table local: flags [] prefsrc 192.168.56.186 protocol kernel scope link",
        ],
        by_evenkeel: &[],
        because: "an address alone in its network has nothing to broadcast to",
    },
    Difference {
        hosts: &["director"],
        by_commands: &[
            "route unicast 192.168.56.185 dev eth2 table main: flags [] prefsrc 192.168.56.185 protocol boot scope link",
            "route unicast 192.168.56.186 dev eth2 table main: flags [] prefsrc 192.168.56.186 protocol boot scope link",
        ],
        by_evenkeel: &[
            "route unicast 192.168.56.185 dev eth2 table main: flags [] prefsrc 192.168.56.185 protocol 101 scope link",
            "route unicast 192.168.56.186 dev eth2 table main: flags [] prefsrc 192.168.56.186 protocol 101 scope link",
        ],
        because: "evenkeel marks its routes as its own",
    },
    Difference {
        hosts: &["rs1", "rs2"],
        by_commands: &[
            "route unicast 192.168.56.185 dev lo table main: flags [] prefsrc 192.168.56.185 protocol boot scope link",
            "route unicast 192.168.56.186 dev lo table main: flags [] prefsrc 192.168.56.186 protocol boot scope link",
        ],
        by_evenkeel: &[
            "route unicast 192.168.56.185 dev lo table main: flags [] prefsrc 192.168.56.185 protocol 101 scope link",
            "route unicast 192.168.56.186 dev lo table main: flags [] prefsrc 192.168.56.186 protocol 101 scope link",
        ],
        because: "evenkeel marks its routes as its own",
    },
];
