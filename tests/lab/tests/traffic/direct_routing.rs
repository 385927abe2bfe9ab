//! Direct routing of both families, with a router between the client and the cluster.

use evenkeel_lab::net::Machine;

use super::*;

const SPEC: &str = r#"
version: 1
directors:
  - { name: ds1, addresses: [10.0.0.1, "fd00::1"] }
vips:
  - { address: 10.0.0.100, interface: eth0 }
  - { address: "fd00::100", interface: eth0 }
services:
  - name: web
    vip: 10.0.0.100
    port: 80
    scheduler: rr
    forward: dr
    real_servers: [{ address: 10.0.0.11 }, { address: 10.0.0.12 }]
  - name: web6
    vip: "fd00::100"
    port: 80
    scheduler: rr
    forward: dr
    real_servers: [{ address: "fd00::11" }, { address: "fd00::12" }]
"#;

#[test]
fn direct_routing_of_both_families_answers_past_the_director() {
    let host = |name: &str, addresses: &[&str]| {
        Machine::new(name).on("lan", "eth0", addresses).gateway("10.0.0.254").gateway("fd00::fe")
    };
    let machines = [
        Machine::new("client")
            .on("outside", "eth0", &["10.9.0.9/24", "fd09::9/64"])
            .gateway("10.9.0.1")
            .gateway("fd09::1"),
        Machine::new("router")
            .on("outside", "eth0", &["10.9.0.1/24", "fd09::1/64"])
            .on("lan", "eth1", &["10.0.0.254/24", "fd00::fe/64"])
            .router(),
        host("director", &["10.0.0.1/24", "fd00::1/64"]),
        host("rs1", &["10.0.0.11/24", "fd00::11/64"]),
        host("rs2", &["10.0.0.12/24", "fd00::12/64"]),
    ];
    let mut site = Site::build(&machines, &["rs1", "rs2", "director"]);
    for real_server in ["rs1", "rs2"] {
        site.serve(real_server, &[80]);
    }
    site.set_up(SPEC);
    for (client, vip) in [("10.9.0.9", "10.0.0.100:80"), ("fd09::9", "[fd00::100]:80")] {
        assert_in_turn(&site.ask(vip, 4), &["rs1:80", "rs2:80"]);
        let wire = Wire::watch(&site.machines, client);
        let answer = &site.ask(vip, 1)[0];
        let real_server = answer.strip_suffix(":80").unwrap();
        let there = format!("{client}:PORT -> {vip}");
        let back = format!("{vip} -> {client}:PORT");
        let expected = [
            format!("client eth0 -> router eth0: {there}"),
            format!("router eth1 -> director eth0: {there}"),
            format!("director eth0 -> {real_server} eth0: {there}"),
            format!("{real_server} eth0 -> router eth1: {back}"),
            format!("router eth0 -> client eth0: {back}"),
        ];
        assert_eq!(wire.stretches(), BTreeSet::from(expected));
    }
}
