//! A local node: the director is one of the real servers.
//!
//! Its IPv6 address is `::1` here. With the address of an interface, Linux 6.1 keeps a reference to that
//! interface from the first connection on, whichever program made the service: deleting the interface,
//! or its network namespace, then waits for ever, and with it every module that is loaded later.

use super::*;

const SPEC: &str = r#"
version: 1
directors:
  - { name: ds1, addresses: [10.0.0.1, "fd00::1"] }
vips:
  - { address: 10.0.0.100, interface: eth0 }
  - { address: "fd00::100", interface: eth0 }
defaults: { scheduler: rr, forward: dr }
services:
  - name: web
    vip: 10.0.0.100
    port: 80
    real_servers: [{ address: 10.0.0.1 }, { address: 10.0.0.11 }, { address: 10.0.0.12 }]
  - name: web6
    vip: "fd00::100"
    port: 80
    real_servers: [{ address: "::1" }, { address: "fd00::11" }, { address: "fd00::12" }]
"#;

#[test]
fn the_director_answers_as_one_of_the_real_servers() {
    let mut site = Site::build(&lan(), &["rs1", "rs2", "director"]);
    for machine in ["director", "rs1", "rs2"] {
        site.serve(machine, &[80]);
    }
    site.set_up(SPEC);
    for vip in ["10.0.0.100:80", "[fd00::100]:80"] {
        assert_in_turn(&site.ask(vip, 6), &["director:80", "rs1:80", "rs2:80"]);
    }
    // What a real server alone would need is not there: the director answers ARP for its VIPs.
    let lo = site.run("director", "ip -o address show dev lo");
    assert!(!lo.contains("10.0.0.100") && !lo.contains("fd00::100"), "{lo}");
    assert_eq!(site.run("director", "cat /proc/sys/net/ipv4/conf/all/arp_ignore"), "0\n");
}
