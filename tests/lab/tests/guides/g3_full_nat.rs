//! G3, full NAT: real servers answer to the director, whatever their default route is. The guide's kernel is
//! patched; on this one NAT, connection tracking and a rule for exactly these real servers do the same.

use evenkeel_lab::net::Machine;
use evenkeel_lab_tests::packet_rules;

use super::*;

const VIP: &str = "172.16.254.200:80";
const CLIENT: &str = "172.16.254.10";

fn guide() -> Guide {
    // Its router leads elsewhere.
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
        port: 8080,
        commands: &[HostCommands {
            hosts: &["director"],
            script:
                "sysctl -qw net.ipv4.ip_forward=1
                ip address add 172.16.254.200/32 dev eth0
                ipvsadm -A -t 172.16.254.200:80 -s wrr
                sysctl -qw net.ipv4.vs.conntrack=1
                ipvsadm -a -t 172.16.254.200:80 -r 10.10.120.210:8080 -m -w 1
                ipvsadm -a -t 172.16.254.200:80 -r 10.10.120.220:8080 -m -w 1
                nft add table ip lvs
                nft add chain ip lvs out '{ type nat hook postrouting priority srcnat; }'
                nft add rule ip lvs out ct original ip daddr 172.16.254.200 meta l4proto tcp \
                    ct original proto-dst 80 ip daddr '{ 10.10.120.210, 10.10.120.220 }' masquerade",
        }],
        spec: r#"
version: 1
directors:
  - { name: ds1, addresses: [172.16.254.1, 10.10.120.1] }
vips:
  - { address: 172.16.254.200, interface: eth0 }
services:
  - name: web
    vip: 172.16.254.200
    port: 80
    scheduler: wrr
    forward: fullnat
    real_servers:
      - { address: 10.10.120.210, port: 8080, weight: 1 }
      - { address: 10.10.120.220, port: 8080, weight: 1 }
"#,
    }
}

#[test]
fn g3_full_nat_answers_return_to_the_director_whatever_the_default_route_is() {
    if packet_rules::has_nftables() {
        compare(&guide(), check, DIFFERENCES);
        return;
    }
    // A kernel without the tables: nothing is half done.
    let site = Site::build(&guide(), Way::Evenkeel);
    let before = site.state();
    let output = site.evenkeel("director", guide().spec, &["apply", "--yes"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{stderr}");
    let expected = "source nat cannot be managed on this host: the kernel has no nftables for these rules in the family ip";
    assert!(stderr.contains(expected), "{stderr}");
    assert_eq!(site.state(), before);
}

fn check(site: &Site) {
    assert_alternating(&site.ask(VIP, 6));
    let outside = Wire::watch(&site.machines, CLIENT);
    site.ask(VIP, 1);
    let expected = [
        format!("client eth0 -> director eth0: {CLIENT}:PORT -> {VIP}"),
        format!("director eth0 -> client eth0: {VIP} -> {CLIENT}:PORT"),
    ];
    assert_eq!(outside.stretches(), expected.into());
    let inside = Wire::watch(&site.machines, "10.10.120.1");
    let real_server = &site.ask(VIP, 1)[0];
    let address = if real_server == "rs1" { "10.10.120.210:8080" } else { "10.10.120.220:8080" };
    let expected = [
        format!("director eth1 -> {real_server} eth0: 10.10.120.1:PORT -> {address}"),
        format!("{real_server} eth0 -> director eth1: {address} -> 10.10.120.1:PORT"),
    ];
    assert_eq!(inside.stretches(), expected.into());
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        hosts: &["director"],
        by_commands: &[],
        by_evenkeel: &["address 172.16.254.200/32 dev eth0: noprefixroute true"],
        because: "a VIP is no way to a network, which a /32 has none of anyway",
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
