//! A wrong host configuration of each guide is found by `doctor` before requests fail, and nothing is found once
//! it is right again.

use super::*;

/// Something wrong on a host.
struct Mistake {
    code: &'static str,
    host: &'static str,
    /// A shell script that makes the mistake.
    script: &'static str,
    /// A shell script after which an apply makes the host right again.
    mend: &'static str,
}

const fn mistake(code: &'static str, host: &'static str, script: &'static str) -> Mistake {
    Mistake { code, host, script, mend: "true" }
}

/// Makes each mistake on a cluster that evenkeel set up. Half of the requests go to each of two real servers.
fn check(site: &Site, spec: &str, address: &str, mistakes: &[Mistake]) {
    // Among the other tests one mistake of a list is made; `cargo xtask sweep --doctor` makes all.
    let is_full = std::env::var_os("EVENKEEL_SWEEP").is_some_and(|value| value == "full");
    let count = if is_full { mistakes.len() } else { 1 };
    for Mistake { code, host, script, mend } in &mistakes[..count] {
        site.run(host, script);
        let found = site.findings(host, spec);
        let is_found = found.iter().any(|line| line.starts_with(&format!("{code} ")));
        assert!(is_found, "{code} on {host}: {script}: {found:#?}");
        assert_ne!(site.failures(address, 2), 0, "{code} on {host}: {script}: {address}");
        site.run(host, mend);
        site.apply(host, spec);
        site.assert_no_findings_on(host, spec);
        assert_eq!(site.failures(address, 2), 0, "{code} on {host}: after {mend}");
    }
}

/// Sets up a guide by evenkeel, and makes the mistakes.
fn check_guide(guide: &Guide, address: &str, mistakes: &[Mistake]) {
    let site = Site::build(guide, Way::Evenkeel);
    site.set_up();
    check(&site, guide.spec, address, mistakes);
}

#[test]
fn what_is_wrong_in_g1_is_found() {
    let mistakes = [
        mistake("EK005", "rs1", "ip address del 192.168.1.201/32 dev lo"),
        mistake("EK005", "director", "ip address del 192.168.1.201/32 dev lo"),
        Mistake {
            code: "EK012",
            host: "director",
            script: "ip route add 192.168.1.20 via 192.168.1.1",
            mend: "ip route del 192.168.1.20",
        },
    ];
    check_guide(&g1::guide(), "192.168.1.201:80", &mistakes);
}

#[test]
fn what_is_wrong_on_the_gateway_of_g1_is_found() {
    let site = Site::build(&g1_entry::both_families(), Way::Evenkeel);
    site.set_up();
    let spec = g1_entry::BOTH_FAMILIES;
    site.apply("router", spec);
    let mistakes = [
        Mistake {
            code: "EK051",
            host: "router",
            script: "ip neighbour del 192.168.1.201 dev eth1; ip neighbour add 192.168.1.201 lladdr \
                02:00:00:00:0f:0f dev eth1 nud permanent",
            mend: "ip neighbour del 192.168.1.201 dev eth1",
        },
        mistake(
            "EK004",
            "router",
            "ip neighbour replace 192.168.1.201 lladdr 02:00:00:00:0f:0f dev eth1 nud permanent",
        ),
        Mistake {
            code: "EK050",
            host: "router",
            script: "ip route add 192.168.1.201 via 192.168.1.2",
            mend: "ip route del 192.168.1.201",
        },
        Mistake {
            code: "EK050",
            host: "router",
            script: "ip route add unreachable 192.168.1.201",
            mend: "ip route del unreachable 192.168.1.201",
        },
        Mistake {
            code: "EK053",
            host: "router",
            script: "sysctl -qw net.ipv4.ip_forward=0",
            mend: "sysctl -qw net.ipv4.ip_forward=1",
        },
        mistake(
            "EK004",
            "router",
            "ip neighbour del 192.168.1.201 dev eth1; ip neighbour add \
            192.168.1.201 lladdr 02:00:00:00:0f:0f dev eth1 nud permanent protocol 101",
        ),
    ];
    check(&site, spec, "192.168.1.201:80", &mistakes);
    let mistakes = [
        mistake("EK004", "router", "ip neighbour del fd00:2::201 dev eth1"),
        Mistake {
            code: "EK050",
            host: "router",
            script: "ip route add fd00:2::201 via fd00:2::2 dev eth1",
            mend: "ip route del fd00:2::201",
        },
        Mistake {
            code: "EK053",
            host: "router",
            script: "sysctl -qw net.ipv6.conf.all.forwarding=0",
            mend: "sysctl -qw net.ipv6.conf.all.forwarding=1",
        },
    ];
    check(&site, spec, "[fd00:2::201]:80", &mistakes);
    // Another network card than the spec says.
    let wrong = spec.replace("02:00:00:00:02:00", "02:00:00:00:0f:0f");
    site.apply("router", &wrong);
    let found = site.findings("router", &wrong);
    assert!(matches!(&*found, [one] if one.starts_with("EK052 ")), "{found:#?}");
    for address in ["192.168.1.201:80", "[fd00:2::201]:80"] {
        assert_eq!(site.failures(address, 1), 1, "{address}");
    }
    site.apply("router", spec);
    site.assert_no_findings_on("router", spec);
    // The director is gone.
    site.run("director", "ip link set eth0 down");
    let found = site.findings("router", spec);
    assert!(matches!(&*found, [one] if one.starts_with("EK022 ")), "{found:#?}");
    assert_eq!(site.failures("192.168.1.201:80", 1), 1);
}

#[test]
fn what_is_wrong_in_g2_is_found() {
    let mistakes = [
        mistake("EK005", "rs2", "ip address del 192.168.56.185/32 dev lo"),
        mistake("EK005", "director", "ip address del 192.168.56.185/32 dev eth2"),
        Mistake {
            code: "EK013",
            host: "director",
            script: "ip route add unreachable 192.168.56.183",
            mend: "ip route del unreachable 192.168.56.183",
        },
    ];
    check_guide(&g2::guide(), "192.168.56.185:80", &mistakes);
}

#[test]
fn what_is_wrong_in_g3_under_direct_routing_is_found() {
    let mistakes = [
        mistake("EK005", "rs1", "ip address del 192.168.0.38/32 dev lo"),
        mistake(
            "EK016",
            "director",
            "ipvsadm -e -t 192.168.0.38:80 -r 192.168.0.18 -g -w 0
            ipvsadm -e -t 192.168.0.38:80 -r 192.168.0.28 -g -w 0",
        ),
    ];
    check_guide(&g3_dr::guide(), "192.168.0.38:80", &mistakes);
}

#[test]
fn what_is_wrong_in_g3_under_nat_is_found() {
    let mistakes = [
        Mistake {
            code: "EK010",
            host: "director",
            script: "sysctl -qw net.ipv4.conf.eth1.forwarding=0",
            mend: "sysctl -qw net.ipv4.conf.eth1.forwarding=1",
        },
        mistake("EK034", "rs2", "ip route replace default via 10.10.120.254"),
        mistake("EK034", "rs1", "ip route del default"),
        Mistake {
            code: "EK021",
            host: "director",
            script: "iptables-legacy -A FORWARD -m conntrack --ctstate INVALID -j DROP",
            mend: "iptables-legacy -F FORWARD",
        },
    ];
    check_guide(&g3_nat::guide(), "172.16.254.200:80", &mistakes);
}

#[test]
fn what_is_wrong_in_g3_behind_tunnels_is_found() {
    let mistakes = [
        mistake("EK032", "rs1", "sysctl -qw net.ipv4.conf.all.rp_filter=1"),
        mistake("EK002", "rs2", "ip link set tunl0 down"),
        mistake("EK005", "rs2", "ip address del 192.168.80.120/32 dev tunl0"),
        Mistake {
            code: "EK015",
            host: "director",
            script: "ip link set eth0 mtu 80",
            mend: "ip link set eth0 mtu 1500",
        },
    ];
    check_guide(&g3_tun::guide(), "192.168.80.120:8080", &mistakes);
}

#[test]
fn what_is_wrong_in_g4_is_found() {
    let mistakes = [
        mistake("EK005", "rs1", "ip address del 10.4.0.100/32 dev lo"),
        Mistake {
            code: "EK035",
            host: "rs2",
            script: "ip route replace default via 10.4.0.10",
            mend: "ip route replace default via 10.4.0.1",
        },
        Mistake {
            code: "EK003",
            host: "director",
            script: "ip -n bridges link set port2-0 down",
            mend: "ip -n bridges link set port2-0 up; sleep 0.2",
        },
    ];
    check_guide(&g4::guide(), "10.4.0.100:8080", &mistakes);
}

/// What is wrong shows on the network, before clients that believe it lose packets.
#[test]
fn what_is_wrong_in_g5_is_found() {
    let guide = g5::guide();
    let site = Site::build(&guide, Way::Evenkeel);
    site.set_up();
    let wire = Wire::watch(&site.machines, g5::CLIENT);
    let vip = "192.168.18.100";
    assert_eq!(g5::owners(&site, &wire, vip).len(), 1);
    site.run(
        "director",
        "sysctl -qw net.ipv4.conf.all.arp_ignore=0 net.ipv4.conf.all.arp_filter=0",
    );
    let found = site.findings("director", guide.spec);
    assert!(found.iter().any(|line| line.starts_with("EK040 ")), "{found:#?}");
    assert_eq!(g5::owners(&site, &wire, vip), g5::all_of("director"));
    site.apply("director", guide.spec);
    site.assert_no_findings_on("director", guide.spec);
    site.run("rs1", "sysctl -qw net.ipv4.conf.all.arp_ignore=0");
    for (host, code) in [("rs1", "EK030 "), ("rs1", "EK040 "), ("director", "EK023 ")] {
        let found = site.findings(host, guide.spec);
        assert!(found.iter().any(|line| line.starts_with(code)), "{host}: {code}: {found:#?}");
    }
    let owners = g5::owners(&site, &wire, vip);
    assert!(owners.len() > 1 && owners.iter().any(|name| name.starts_with("rs1 ")), "{owners:?}");
}
