//! `doctor` on full NAT, and on real servers with ARP rules: what is missing is found before requests fail, or
//! go astray.

use evenkeel_lab_tests::packet_rules;

use super::doctor::{DIRECT, NAT, NAT6, WEB, two_networks};
use super::doctor_probe::owners;
use super::*;

const FULL_NAT: &str = r#"
version: 1
directors:
  - { name: ds1, addresses: [10.0.0.1, "fd00::1"] }
vips:
  - { address: 10.9.0.100, interface: eth0 }
  - { address: "fd09::100", interface: eth0 }
defaults: { scheduler: rr, forward: fullnat }
services:
  - { name: web, vip: 10.9.0.100, port: 80, real_servers: [{ address: 10.0.0.11, port: 8080 }] }
  - { name: web6, vip: "fd09::100", port: 80, real_servers: [{ address: "fd00::11", port: 8080 }] }
"#;

#[test]
fn what_breaks_full_nat_is_found() {
    if !packet_rules::has_nftables() {
        // `guides::g3_full_nat` shows that such a kernel refuses it.
        return;
    }
    let mut site = Site::build(&two_networks(), &["rs1", "director"]);
    site.serve("rs1", &[8080]);
    site.set_up(FULL_NAT);
    for (code, script, request) in [
        ("EK004", "nft flush chain ip evenkeel source_nat", NAT),
        ("EK004", "nft delete table ip6 evenkeel", NAT6),
        ("EK021", "sysctl -qw net.ipv4.vs.conntrack=0", NAT),
        ("EK010", "sysctl -qw net.ipv4.conf.eth1.forwarding=0", NAT),
        ("EK010", "sysctl -qw net.ipv6.conf.all.forwarding=0", NAT6),
    ] {
        site.run("director", script);
        let found = site.findings("director", FULL_NAT);
        assert!(found.iter().any(|it| it.code == code), "{script}: {found:?}");
        assert!(!site.is_answered(request.unwrap()), "{script}");
        site.run("director", "sysctl -qw net.ipv4.conf.eth1.forwarding=1");
        site.apply("director", FULL_NAT);
        assert_eq!(site.findings("director", FULL_NAT), [], "{script}");
        assert!(site.is_answered(request.unwrap()), "{script}");
    }
}

#[test]
fn missing_arp_rules_are_found_on_every_host() {
    let mut site = Site::build(&lan(), &["rs1", "rs2", "director"]);
    for real_server in ["rs1", "rs2"] {
        site.serve(real_server, &[80]);
    }
    let spec = DIRECT.replace("scheduler: rr,", "scheduler: rr, arp: arptables,");
    site.set_up(&spec);
    assert_eq!(owners(&site, "10.0.0.100"), 1);
    assert_in_turn(&site.ask(WEB.unwrap(), 4), &["rs1:80", "rs2:80"]);
    let script = match packet_rules::has_nftables() {
        true => "nft flush table arp evenkeel",
        // With one of them alone, answers do not come, or name the real server's own address.
        false => "arptables-legacy -F evenkeel-input; arptables-legacy -F evenkeel-output",
    };
    site.run("rs1", script);
    let codes = |host: &str| -> Vec<String> {
        let found = site.examine(host, &spec, &["--probe"]).findings;
        found.into_iter().map(|it| it.code).collect()
    };
    assert_eq!(codes("rs1"), ["EK004", "EK030", "EK031"]);
    assert_eq!((codes("rs2"), codes("director")), (vec!["EK023".into()], vec!["EK023".into()]));
    assert_eq!(owners(&site, "10.0.0.100"), 2);
    site.apply("rs1", &spec);
    assert_eq!(owners(&site, "10.0.0.100"), 1);
    ["rs1", "rs2", "director"].iter().for_each(|host| assert_eq!(codes(host), [""; 0]));
}
