//! G3, tunnels: requests arrive inside IP packets from the director, and answers leave directly.

use evenkeel_lab::net::Machine;

use super::*;

const VIP: &str = "192.168.80.120:8080";
const CLIENT: &str = "192.168.80.1";
const DIRECTOR: &str = "192.168.80.130";

/// The real servers' script with `stop`; the interface that it takes down loses its route.
const STOP: &str = "ip address del 192.168.80.120/32 dev tunl0
    ip link set tunl0 down
    sysctl -qw net.ipv4.conf.tunl0.arp_ignore=0 net.ipv4.conf.tunl0.arp_announce=0 \
     net.ipv4.conf.all.arp_ignore=0 net.ipv4.conf.all.arp_announce=0 \
     net.ipv4.conf.tunl0.rp_filter=1 net.ipv4.conf.all.rp_filter=1";

pub(super) fn guide() -> Guide {
    // Distributions of the guide's time filter by the return path, which the packets inside fail.
    let real_server = |name: &str, address: &str| {
        ["all", "default", "eth0", "tunl0"]
            .into_iter()
            .fold(Machine::new(name).on("lan", "eth0", &[address]), |machine, device| {
                machine.sysctl(&format!("ipv4/conf/{device}/rp_filter"), "1")
            })
    };
    Guide {
        machines: vec![
            Machine::new("client").on("lan", "eth0", &["192.168.80.1/24"]),
            Machine::new("director").on("lan", "eth0", &["192.168.80.130/24"]),
            real_server("rs1", "192.168.80.135/24"),
            real_server("rs2", "192.168.80.136/24"),
        ],
        port: 8080,
        commands: &[
            HostCommands {
                hosts: &["director"],
                script:
                    "ip address add 192.168.80.120/32 broadcast 192.168.80.120 dev eth0 label eth0:0
                    ip route add 192.168.80.120 dev eth0 scope link src 192.168.80.120
                    sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.all.send_redirects=1 \
                     net.ipv4.conf.default.send_redirects=1 net.ipv4.conf.eth0.send_redirects=1
                    ipvsadm -A -t 192.168.80.120:8080 -s rr
                    ipvsadm -a -t 192.168.80.120:8080 -r 192.168.80.135 -i
                    ipvsadm -a -t 192.168.80.120:8080 -r 192.168.80.136 -i",
            },
            HostCommands {
                hosts: &["rs1", "rs2"],
                script: "modprobe ipip
                    ip link set tunl0 up
                    ip address add 192.168.80.120/32 broadcast 192.168.80.120 dev tunl0
                    ip route add 192.168.80.120 dev tunl0 scope link src 192.168.80.120
                    sysctl -qw net.ipv4.ip_forward=0 \
                     net.ipv4.conf.tunl0.arp_ignore=1 net.ipv4.conf.tunl0.arp_announce=2 \
                     net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2 \
                     net.ipv4.conf.tunl0.rp_filter=0 net.ipv4.conf.all.rp_filter=0",
            },
        ],
        spec: r#"
version: 1
directors:
  - { name: ds1, addresses: [192.168.80.130] }
vips:
  - { address: 192.168.80.120, interface: eth0, label: "eth0:0", route: true }
services:
  - name: web
    vip: 192.168.80.120
    port: 8080
    scheduler: rr
    forward: tun
    on_real_servers: { route: true }
    real_servers:
      - { address: 192.168.80.135 }
      - { address: 192.168.80.136 }
"#,
    }
}

#[test]
fn g3_tun_requests_arrive_in_tunnels_and_answers_bypass_the_director() {
    compare(&guide(), check, DIFFERENCES);
}

#[test]
fn g3_tun_stopping_a_real_server_restores_what_was_before() {
    // The kernel gives a device a queue when it is first up, and keeps that.
    let without_queue = |state: State| -> State {
        state.into_iter().filter(|line| !line.contains("link tunl0: qdisc ")).collect()
    };
    for BeforeAndAfter { before, after } in stop_real_servers(&guide(), STOP) {
        assert_eq!(without_queue(before), without_queue(after));
    }
}

fn check(site: &Site) {
    assert_alternating(&site.ask(VIP, 6));
    let wire = Wire::watch(&site.machines, CLIENT);
    let real_server = &site.ask(VIP, 1)[0];
    let address = if real_server == "rs1" { "192.168.80.135" } else { "192.168.80.136" };
    let there = format!("{CLIENT}:PORT -> {VIP}");
    let expected = [
        format!("client eth0 -> director eth0: {there}"),
        format!("director eth0 -> {real_server} eth0: {DIRECTOR} -> {address} ({there})"),
        format!("{real_server} eth0 -> client eth0: {VIP} -> {CLIENT}:PORT"),
    ];
    assert_eq!(wire.stretches(), expected.into());
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        hosts: &["director"],
        by_commands: &[],
        by_evenkeel: &["address 192.168.80.120/32 dev eth0: noprefixroute true"],
        because: "a VIP is no way to a network, which a /32 has none of anyway",
    },
    Difference {
        hosts: &["rs1", "rs2"],
        by_commands: &[],
        by_evenkeel: &["address 192.168.80.120/32 dev tunl0: noprefixroute true"],
        because: "a VIP is no way to a network, which a /32 has none of anyway",
    },
    Difference {
        hosts: &["director"],
        by_commands: &[
            "address 192.168.80.120/32 dev eth0: broadcast 192.168.80.120",
            "route broadcast 192.168.80.120 dev eth0 table local: flags [] prefsrc 192.168.80.120 protocol kernel scope link",
        ],
        by_evenkeel: &[],
        because: "an address alone in its network has nothing to broadcast to",
    },
    Difference {
        hosts: &["rs1", "rs2"],
        by_commands: &[
            "address 192.168.80.120/32 dev tunl0: broadcast 192.168.80.120",
            "route broadcast 192.168.80.120 dev tunl0 table local: flags [] prefsrc 192.168.80.120 protocol kernel scope link",
        ],
        by_evenkeel: &[],
        because: "an address alone in its network has nothing to broadcast to",
    },
    Difference {
        hosts: &["director"],
        by_commands: &[
            "route unicast 192.168.80.120 dev eth0 table main: flags [] prefsrc 192.168.80.120 protocol boot scope link",
        ],
        by_evenkeel: &[
            "route unicast 192.168.80.120 dev eth0 table main: flags [] prefsrc 192.168.80.120 protocol 101 scope link",
        ],
        because: "evenkeel marks its routes as its own",
    },
    Difference {
        hosts: &["rs1", "rs2"],
        by_commands: &[
            "route unicast 192.168.80.120 dev tunl0 table main: flags [] prefsrc 192.168.80.120 protocol boot scope link",
        ],
        by_evenkeel: &[
            "route unicast 192.168.80.120 dev tunl0 table main: flags [] prefsrc 192.168.80.120 protocol 101 scope link",
        ],
        because: "evenkeel marks its routes as its own",
    },
    Difference {
        hosts: &["rs1", "rs2"],
        by_commands: &[],
        by_evenkeel: &["link tunl0: ifalias evenkeel"],
        because: "evenkeel marks the devices that it brings up",
    },
];
