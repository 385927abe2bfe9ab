//! NAT with mapped ports: the real servers' default routes lead to the director.

use evenkeel_lab::net::Machine;

use super::*;

const SPEC: &str = r#"
version: 1
directors:
  - { name: ds1, addresses: [10.0.0.1, "fd00::1"] }
vips:
  - { address: 10.9.0.100, interface: eth0 }
  - { address: "fd09::100", interface: eth0 }
services:
  - name: web
    vip: 10.9.0.100
    port: 80
    scheduler: rr
    forward: nat
    gateway: director
    real_servers: [{ address: 10.0.0.11, port: 8080 }, { address: 10.0.0.12, port: 8099 }]
  - name: web6
    vip: "fd09::100"
    port: 80
    scheduler: rr
    forward: nat
    gateway: director
    real_servers: [{ address: "fd00::11", port: 8080 }, { address: "fd00::12", port: 8099 }]
"#;

#[test]
fn nat_of_both_families_maps_ports_and_answers_through_the_director() {
    let machines = [
        Machine::new("client").on("outside", "eth0", &["10.9.0.9/24", "fd09::9/64"]),
        Machine::new("director").on("outside", "eth0", &["10.9.0.1/24", "fd09::1/64"]).on(
            "inner",
            "eth1",
            &["10.0.0.1/24", "fd00::1/64"],
        ),
        // Their routes lead elsewhere, or nowhere.
        Machine::new("rs1")
            .on("inner", "eth0", &["10.0.0.11/24", "fd00::11/64"])
            .gateway("10.0.0.254")
            .gateway("fd00::fe"),
        Machine::new("rs2").on("inner", "eth0", &["10.0.0.12/24", "fd00::12/64"]),
    ];
    let mut site = Site::build(&machines, &["rs1", "rs2", "director"]);
    site.serve("rs1", &[8080]);
    site.serve("rs2", &[8099]);
    site.set_up(SPEC);
    for (client, vip, rs1, rs2) in [
        ("10.9.0.9", "10.9.0.100:80", "10.0.0.11:8080", "10.0.0.12:8099"),
        ("fd09::9", "[fd09::100]:80", "[fd00::11]:8080", "[fd00::12]:8099"),
    ] {
        assert_in_turn(&site.ask(vip, 4), &["rs1:8080", "rs2:8099"]);
        let wire = Wire::watch(&site.machines, client);
        for _ in 0..2 {
            let (name, address) = match site.ask(vip, 1)[0].as_str() {
                "rs1:8080" => ("rs1", rs1),
                _ => ("rs2", rs2),
            };
            let expected = [
                format!("client eth0 -> director eth0: {client}:PORT -> {vip}"),
                format!("director eth1 -> {name} eth0: {client}:PORT -> {address}"),
                format!("{name} eth0 -> director eth1: {address} -> {client}:PORT"),
                format!("director eth0 -> client eth0: {vip} -> {client}:PORT"),
            ];
            assert_eq!(wire.stretches(), BTreeSet::from(expected));
        }
    }
}
