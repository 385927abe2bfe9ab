//! Two directors, each with a VIP of its own in front of the same real servers.

use evenkeel_lab::net::Machine;

use super::*;

const SPEC: &str = r#"
version: 1
directors:
  - { name: lb1, addresses: [10.0.0.1, "fd00::1"] }
  - { name: lb2, addresses: [10.0.0.2, "fd00::2"] }
vips:
  - { address: 10.0.0.101, interface: eth0, on: lb1 }
  - { address: "fd00::101", interface: eth0, on: lb1 }
  - { address: 10.0.0.102, interface: eth0, on: lb2 }
  - { address: "fd00::102", interface: eth0, on: lb2 }
defaults: { scheduler: rr, forward: dr }
services:
  - { name: one, vip: 10.0.0.101, port: 80, real_servers: [{ address: 10.0.0.11 }, { address: 10.0.0.12 }] }
  - { name: one6, vip: "fd00::101", port: 80, real_servers: [{ address: "fd00::11" }, { address: "fd00::12" }] }
  - { name: two, vip: 10.0.0.102, port: 80, real_servers: [{ address: 10.0.0.11 }, { address: 10.0.0.12 }] }
  - { name: two6, vip: "fd00::102", port: 80, real_servers: [{ address: "fd00::11" }, { address: "fd00::12" }] }
"#;

#[test]
fn each_of_two_directors_serves_its_own_vips() {
    let machine = |name: &str, last: &str| {
        let addresses = [format!("10.0.0.{last}/24"), format!("fd00::{last}/64")];
        Machine::new(name).on("lan", "eth0", &addresses.each_ref().map(String::as_str))
    };
    let machines = [
        machine("client", "9"),
        machine("lb1", "1"),
        machine("lb2", "2"),
        machine("rs1", "11"),
        machine("rs2", "12"),
    ];
    let mut site = Site::build(&machines, &["rs1", "rs2", "lb1", "lb2"]);
    for real_server in ["rs1", "rs2"] {
        site.serve(real_server, &[80]);
    }
    site.set_up(SPEC);
    for (director, vips) in
        [("lb1", ["10.0.0.101:80", "[fd00::101]:80"]), ("lb2", ["10.0.0.102:80", "[fd00::102]:80"])]
    {
        for vip in vips {
            assert_in_turn(&site.ask(vip, 4), &["rs1:80", "rs2:80"]);
        }
        let table = site.run(director, "ipvsadm -Sn | grep '^-A' | cut -d ' ' -f 3");
        assert_eq!(table.lines().collect::<BTreeSet<_>>(), BTreeSet::from(vips));
    }
}
