//! `doctor` on clusters that work and then do not: every break is found on the host that has it, with its
//! code, and nothing is found once it is mended.

use std::net::{TcpListener, UdpSocket};
use std::process::Command;

use evenkeel_lab::net::Machine;

use super::*;

/// Something that breaks a host, and what mends it.
struct Break {
    code: &'static str,
    host: &'static str,
    /// A shell script.
    script: &'static str,
    mend: &'static str,
    /// A request that is not answered meanwhile.
    loses: Option<&'static str>,
}

/// Asserts that each break is found, and that nothing is found after it.
fn check(site: &Site, spec: &str, breaks: &[Break]) {
    for Break { code, host, script, mend, loses } in breaks {
        site.run(host, script);
        let found = site.findings(host, spec);
        assert!(found.iter().any(|it| it.code == *code), "{code} on {host}: {script}: {found:?}");
        if let Some(request) = loses {
            let answers: Vec<bool> = (0..2).map(|_| site.is_answered(request)).collect();
            assert!(answers.contains(&false), "{code} on {host}: {script}: {request}");
        }
        site.run(host, mend);
        let found = site.findings(host, spec);
        assert_eq!(found, [], "{code} on {host} after {mend}");
    }
}

pub(super) const DIRECT: &str = r#"
version: 1
directors:
  - { name: ds1, addresses: [10.0.0.1, "fd00::1"] }
vips:
  - { address: 10.0.0.100, interface: eth0 }
  - { address: "fd00::100", interface: eth0 }
defaults: { scheduler: rr, forward: dr }
services:
  - { name: web, vip: 10.0.0.100, port: 80, real_servers: [{ address: 10.0.0.11 }, { address: 10.0.0.12 }] }
  - { name: web6, vip: "fd00::100", port: 80, real_servers: [{ address: "fd00::11" }, { address: "fd00::12" }] }
"#;
pub(super) const WEB: Option<&str> = Some("10.0.0.100:80");
pub(super) const WEB6: Option<&str> = Some("[fd00::100]:80");

#[rustfmt::skip]
const OF_DIRECT: &[Break] = &[
    Break { code: "EK001", host: "director", script: "ip link set lo down", mend: "ip link set lo up", loses: None },
    Break { code: "EK003", host: "director", script: "ip -n bridges link set port1-0 down",
        mend: "ip -n bridges link set port1-0 up; sleep 0.2", loses: WEB },
    Break { code: "EK004", host: "director", script: "ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.11 -g -w 5",
        mend: "ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.11 -g -w 1", loses: None },
    Break { code: "EK012", host: "director", script: "ip route add 10.0.0.11 via 10.0.0.9",
        mend: "ip route del 10.0.0.11 via 10.0.0.9", loses: WEB },
    Break { code: "EK012", host: "director", script: "ip route add fd00::11 via fd00::9",
        mend: "ip route del fd00::11 via fd00::9", loses: WEB6 },
    Break { code: "EK013", host: "director", script: "ip route add unreachable 10.0.0.11",
        mend: "ip route del unreachable 10.0.0.11", loses: WEB },
    Break { code: "EK013", host: "director", script: "ip route add blackhole fd00::12",
        mend: "ip route del blackhole fd00::12", loses: WEB6 },
    Break { code: "EK016", host: "director",
        script: "ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.11 -g -w 0; ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.12 -g -w 0",
        mend: "ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.11 -g -w 1; ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.12 -g -w 1",
        loses: WEB },
    Break { code: "EK017", host: "director",
        script: "ipvsadm -E -t 10.0.0.100:80 -s dh; ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.11 -g -w 0",
        mend: "ipvsadm -E -t 10.0.0.100:80 -s rr; ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.11 -g -w 1", loses: None },
    Break { code: "EK018", host: "director",
        script: "ipvsadm -E -t 10.0.0.100:80 -s rr -p 60; ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.11 -g -w 0",
        mend: "ipvsadm -E -t 10.0.0.100:80 -s rr; ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.11 -g -w 1", loses: None },
    Break { code: "EK019", host: "director", script: "ipvsadm -a -t 10.0.0.100:80 -r 10.0.0.13 -g",
        mend: "ipvsadm -d -t 10.0.0.100:80 -r 10.0.0.13", loses: None },
    Break { code: "EK030", host: "rs1", script: "sysctl -qw net.ipv4.conf.all.arp_ignore=0",
        mend: "sysctl -qw net.ipv4.conf.all.arp_ignore=1", loses: None },
    Break { code: "EK031", host: "rs1", script: "sysctl -qw net.ipv4.conf.all.arp_announce=0",
        mend: "sysctl -qw net.ipv4.conf.all.arp_announce=2", loses: None },
    Break { code: "EK033", host: "rs1", script: "ip address add 10.0.0.100/32 dev eth0",
        mend: "ip address del 10.0.0.100/32 dev eth0", loses: None },
    Break { code: "EK002", host: "rs2", script: "ip link set eth0 down",
        mend: "ip link set eth0 up; ip address add fd00::12/48 dev eth0 nodad; sleep 0.2", loses: WEB },
];

/// Shows what an apply could change.
const STATE: &str = "ip -d -o address show
    ip route show table all
    ip -6 route show table all
    ip neigh show nud permanent
    ipvsadm -Sn
    cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/*/arp_* /proc/sys/net/ipv4/conf/*/rp_filter";

#[test]
fn what_breaks_direct_routing_is_found() {
    let mut site = Site::build(&lan(), &["rs1", "rs2", "director"]);
    for real_server in ["rs1", "rs2"] {
        site.serve(real_server, &[80]);
    }
    site.set_up(DIRECT);
    for host in ["director", "rs1"] {
        let before = site.run(host, STATE);
        site.findings(host, DIRECT);
        assert_eq!(site.run(host, STATE), before, "{host}: nothing is changed");
    }
    check(&site, DIRECT, OF_DIRECT);
    // A VIP that is gone, and a suspect.
    site.run("director", "ip address del 10.0.0.100/32 dev eth0");
    let codes = |site: &Site| -> Vec<String> {
        site.findings("director", DIRECT).into_iter().map(|it| it.code).collect()
    };
    assert_eq!(codes(&site), ["EK004", "EK005"]);
    let suspect = "cp /bin/sleep /tmp/keepalived; /tmp/keepalived 60 >/dev/null 2>&1 & echo $!";
    let process = site.run("director", suspect);
    assert_eq!(codes(&site), ["EK004", "EK005", "EK007"]);
    site.run("director", &format!("kill {process}"));
    site.apply("director", DIRECT);
    // A program of the director itself.
    let listen = || TcpListener::bind("0.0.0.0:2222").unwrap();
    let listener = site.machines["director"].run(listen).unwrap();
    assert_eq!(codes(&site), ["EK020"]);
    drop(listener);
    let listen = || UdpSocket::bind("[::]:2222").unwrap();
    let listener = site.machines["director"].run(listen).unwrap();
    assert_eq!(codes(&site), ["EK020"]);
    drop(listener);
    assert_eq!(codes(&site), Vec::<String>::new());
}

const TUNNELLED: &str = r#"
version: 1
directors:
  - { name: ds1, addresses: [10.0.0.1, "fd00::1"] }
vips:
  - { address: 10.0.0.100, interface: eth0 }
  - { address: "fd00::100", interface: eth0 }
defaults: { scheduler: rr, forward: tun }
services:
  - { name: web, vip: 10.0.0.100, port: 80, real_servers: [{ address: 10.0.0.11 }, { address: 10.0.0.12 }] }
  - { name: web6, vip: "fd00::100", port: 80, real_servers: [{ address: 10.0.0.11 }, { address: 10.0.0.12 }] }
  - { name: six, vip: "fd00::100", port: 81, real_servers: [{ address: "fd00::11" }, { address: "fd00::12" }] }
"#;

#[rustfmt::skip]
const OF_TUNNELLED: &[Break] = &[
    Break { code: "EK015", host: "director", script: "ip link set eth0 mtu 1310", mend: "ip link set eth0 mtu 1500",
        loses: Some("[fd00::100]:81") },
    Break { code: "EK015", host: "director", script: "ip route add fd00::11 dev eth0 mtu 1310",
        mend: "ip route del fd00::11 dev eth0", loses: Some("[fd00::100]:81") },
    // Only packets that are larger than fit are lost.
    Break { code: "EK015", host: "director", script: "ip route add 10.0.0.11 dev eth0 mtu 1290",
        mend: "ip route del 10.0.0.11 dev eth0", loses: None },
    Break { code: "EK032", host: "rs1", script: "sysctl -qw net.ipv4.conf.all.rp_filter=1",
        mend: "sysctl -qw net.ipv4.conf.all.rp_filter=0", loses: WEB },
    Break { code: "EK032", host: "rs2", script: "sysctl -qw net.ipv4.conf.tunl0.rp_filter=1",
        mend: "sysctl -qw net.ipv4.conf.tunl0.rp_filter=0", loses: WEB },
];

#[test]
fn what_breaks_tunnels_is_found() {
    let mut site = Site::build(&lan(), &["rs1", "rs2", "director"]);
    for real_server in ["rs1", "rs2"] {
        site.serve(real_server, &[80, 81]);
    }
    site.set_up(TUNNELLED);
    check(&site, TUNNELLED, OF_TUNNELLED);
}

const TRANSLATED: &str = r#"
version: 1
directors:
  - { name: ds1, addresses: [10.0.0.1, "fd00::1"] }
vips:
  - { address: 10.9.0.100, interface: eth0 }
  - { address: "fd09::100", interface: eth0 }
defaults: { scheduler: rr, forward: nat }
services:
  - { name: web, vip: 10.9.0.100, port: 80, gateway: director, real_servers: [{ address: 10.0.0.11, port: 8080 }] }
  - { name: web6, vip: "fd09::100", port: 80, gateway: director, real_servers: [{ address: "fd00::11", port: 8080 }] }
"#;
pub(super) const NAT: Option<&str> = Some("10.9.0.100:80");
pub(super) const NAT6: Option<&str> = Some("[fd09::100]:80");

#[rustfmt::skip]
const OF_TRANSLATED: &[Break] = &[
    Break { code: "EK010", host: "director", script: "sysctl -qw net.ipv4.conf.eth1.forwarding=0",
        mend: "sysctl -qw net.ipv4.conf.eth1.forwarding=1", loses: NAT },
    Break { code: "EK010", host: "director", script: "sysctl -qw net.ipv6.conf.all.forwarding=0",
        mend: "sysctl -qw net.ipv6.conf.all.forwarding=1", loses: NAT6 },
    Break { code: "EK021", host: "director", script: "iptables-legacy -A FORWARD -m conntrack --ctstate INVALID -j DROP",
        mend: "iptables-legacy -F FORWARD", loses: NAT },
    Break { code: "EK021", host: "director",
        script: "ip6tables-legacy -P FORWARD DROP; ip6tables-legacy -A FORWARD -m state --state ESTABLISHED -j ACCEPT",
        mend: "ip6tables-legacy -P FORWARD ACCEPT; ip6tables-legacy -F FORWARD", loses: NAT6 },
    Break { code: "EK034", host: "rs1", script: "ip route replace default via 10.0.0.254",
        mend: "ip route del default; ip route add default via 10.0.0.1", loses: NAT },
    Break { code: "EK034", host: "rs1", script: "ip -6 route del default",
        mend: "ip -6 route add default via fd00::1", loses: NAT6 },
];

/// A director between clients and a real server.
pub(super) fn two_networks() -> Vec<Machine> {
    vec![
        Machine::new("client").on("outside", "eth0", &["10.9.0.9/24", "fd09::9/64"]),
        Machine::new("director").on("outside", "eth0", &["10.9.0.1/24", "fd09::1/64"]).on(
            "inner",
            "eth1",
            &["10.0.0.1/24", "fd00::1/64"],
        ),
        Machine::new("rs1").on("inner", "eth0", &["10.0.0.11/24", "fd00::11/64"]),
    ]
}

#[test]
fn what_breaks_nat_is_found() {
    let mut site = Site::build(&two_networks(), &["rs1", "director"]);
    site.serve("rs1", &[8080]);
    site.set_up(TRANSLATED);
    check(&site, TRANSLATED, OF_TRANSLATED);
    // The tables of both families stay, and rules that cannot be read may be such ones.
    assert_eq!(site.examine("director", TRANSLATED, &["--probe"]), Examined::default());
    let inner = site.command("director", &["doctor", "--probe"]);
    // Where the programs are is hidden from this process and those that it starts.
    let hidden = "mount -t tmpfs none /usr/sbin; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-e", "-c", hidden, "sh"]).arg(inner.get_program());
    command.args(inner.get_args()).arg(site.spec_path());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "not checked: EK021: there are tables of iptables, and ip6tables-legacy-save is not installed\n\
         not checked: EK021: there are tables of iptables, and iptables-legacy-save is not installed\n\
         No findings.\n"
    );
}

/// Full NAT by hand: a source rule for what IPVS forwards, and real servers whose default route leads elsewhere.
#[test]
fn a_source_rule_that_needs_tracked_connections_is_found() {
    let mut site = Site::build(&two_networks(), &["rs1", "director"]);
    site.serve("rs1", &[8080]);
    site.set_up(TRANSLATED);
    site.run("rs1", "ip route del default; ip -6 route del default");
    for (program, request) in [("iptables-legacy", NAT), ("ip6tables-legacy", NAT6)] {
        let request = request.unwrap();
        let rule = "-t nat -A POSTROUTING -m ipvs --ipvs -j MASQUERADE";
        site.run("director", &format!("{program} {rule}"));
        let found = site.findings("director", TRANSLATED);
        assert!(matches!(&*found, [one] if one.code == "EK021"), "{found:?}");
        assert!(!site.is_answered(request), "{request}");
        site.run("director", "sysctl -qw net.ipv4.vs.conntrack=1");
        assert_eq!(site.findings("director", TRANSLATED), []);
        assert!(site.is_answered(request), "{request}");
        site.run("director", "sysctl -qw net.ipv4.vs.conntrack=0");
        site.run("director", &format!("{program} -t nat -F"));
    }
}

/// NAT with clients and real servers on one network, whose answers pass the director by their default route.
const ONE_ARMED: &str = r#"
version: 1
directors:
  - { name: ds1, addresses: [10.0.0.1] }
vips:
  - { address: 10.0.0.100, interface: eth0 }
services:
  - name: web
    vip: 10.0.0.100
    port: 80
    forward: nat
    gateway: director
    real_servers: [{ address: 10.0.0.11 }]
"#;

#[test]
fn redirects_and_several_interfaces_on_one_network_are_found() {
    let machines = [
        Machine::new("client").on("lan", "eth0", &["10.0.0.9/24"]),
        Machine::new("director").on("lan", "eth0", &["10.0.0.1/24"]).on("spare", "eth1", &[]),
        Machine::new("rs1").on("lan", "eth0", &["10.0.0.11/24"]),
    ];
    let site = Site::build(&machines, &["rs1", "director"]);
    site.set_up(ONE_ARMED);
    #[rustfmt::skip]
    let breaks = [
        Break { code: "EK011", host: "director", script: "sysctl -qw net.ipv4.conf.all.send_redirects=1",
            mend: "sysctl -qw net.ipv4.conf.all.send_redirects=0", loses: None },
        Break { code: "EK040", host: "director", script: "ip address add 10.0.0.2/24 dev eth1 noprefixroute",
            mend: "ip address del 10.0.0.2/24 dev eth1", loses: None },
    ];
    check(&site, ONE_ARMED, &breaks);
}

/// A VIP in the subnet of the director's own address goes with that address.
#[test]
fn a_vip_that_goes_with_another_address_is_found() {
    let site = Site::build(&lan(), &["rs1", "rs2"]);
    let spec = DIRECT.replace("address: 10.0.0.100,", "address: 10.0.0.100/16,");
    site.apply("director", &spec);
    let found = site.findings("director", &spec);
    assert_eq!(found.iter().map(|it| &*it.code).collect::<Vec<_>>(), ["EK041"], "{found:?}");
    site.run("director", "sysctl -qw net.ipv4.conf.eth0.promote_secondaries=1");
    assert_eq!(site.findings("director", &spec), []);
    site.run(
        "director",
        "sysctl -qw net.ipv4.conf.eth0.promote_secondaries=0; ip address del 10.0.0.1/16 dev eth0",
    );
    let has_vip = || site.run("director", "ip -4 -o address show dev eth0").contains("10.0.0.100");
    assert!(!has_vip());
    // The other way round, the VIP was there first.
    site.apply("director", &spec);
    site.run("director", "ip address add 10.0.0.1/16 dev eth0");
    assert_eq!(site.findings("director", &spec), []);
    site.run("director", "ip address del 10.0.0.1/16 dev eth0");
    assert!(has_vip());
}
