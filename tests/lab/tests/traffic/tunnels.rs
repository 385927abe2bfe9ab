//! Tunnels of every kind, with either family in packets of either family. One real server is on the
//! director's network, the other one behind a router.

use std::fmt::Write as _;

use evenkeel_lab::net::Machine;
use evenkeel_lab_tests::frames::GUE_PORT;

use super::*;

/// The ends of a family.
struct Ends {
    name: &'static str,
    client: &'static str,
    director: &'static str,
    vip: &'static str,
    real_servers: [&'static str; 2],
}

const FAMILIES: [Ends; 2] = [
    Ends {
        name: "ipv4",
        client: "10.0.0.9",
        director: "10.0.0.1",
        vip: "10.0.0.100",
        real_servers: ["10.0.0.11", "10.5.0.12"],
    },
    Ends {
        name: "ipv6",
        client: "fd00::9",
        director: "fd00::1",
        vip: "fd00::100",
        real_servers: ["fd00::11", "fd05::12"],
    },
];
const KINDS: [&str; 3] = ["ipip", "gre", "gue"];
const FIRST_PORT: u16 = 8000;

/// A service for one kind of tunnel and its two families.
struct Tunnelled {
    kind: &'static str,
    inner: &'static Ends,
    outer: &'static Ends,
    port: u16,
}

fn services() -> Vec<Tunnelled> {
    let mut services = Vec::new();
    for kind in KINDS {
        for inner in &FAMILIES {
            for outer in &FAMILIES {
                let port = FIRST_PORT + u16::try_from(services.len()).unwrap();
                services.push(Tunnelled { kind, inner, outer, port });
            }
        }
    }
    services
}

fn spec(services: &[Tunnelled]) -> String {
    let mut text = r#"
version: 1
directors:
  - { name: ds1, addresses: [10.0.0.1, "fd00::1"] }
vips:
  - { address: 10.0.0.100, interface: eth0 }
  - { address: "fd00::100", interface: eth0 }
services:
"#
    .to_owned();
    for Tunnelled { kind, inner, outer, port } in services {
        let tunnel = match *kind {
            "gue" => format!("{{ type: gue, port: {GUE_PORT} }}"),
            other => format!("{{ type: {other} }}"),
        };
        let [rs1, rs2] = outer.real_servers;
        writeln!(
            text,
            "  - name: {kind}-{}-in-{}
    vip: \"{}\"
    port: {port}
    scheduler: rr
    forward: tun
    tunnel: {tunnel}
    real_servers: [{{ address: \"{rs1}\" }}, {{ address: \"{rs2}\" }}]",
            inner.name, outer.name, inner.vip
        )
        .unwrap();
    }
    text
}

#[test]
fn every_tunnel_reaches_real_servers_here_and_behind_a_router() {
    let lan = |name: &str, addresses: &[&str]| {
        Machine::new(name).on("lan", "eth0", addresses).gateway("10.0.0.254").gateway("fd00::fe")
    };
    let machines = [
        lan("client", &["10.0.0.9/24", "fd00::9/64"]),
        lan("director", &["10.0.0.1/24", "fd00::1/64"]),
        Machine::new("router")
            .on("lan", "eth0", &["10.0.0.254/24", "fd00::fe/64"])
            .on("far", "eth1", &["10.5.0.254/24", "fd05::fe/64"])
            .router(),
        lan("rs1", &["10.0.0.11/24", "fd00::11/64"]),
        Machine::new("rs2")
            .on("far", "eth0", &["10.5.0.12/24", "fd05::12/64"])
            .gateway("10.5.0.254")
            .gateway("fd05::fe"),
    ];
    let services = services();
    let ports: Vec<u16> = services.iter().map(|service| service.port).collect();
    let mut site = Site::build(&machines, &["rs1", "rs2", "director"]);
    for real_server in ["rs1", "rs2"] {
        site.serve(real_server, &ports);
    }
    site.set_up(&spec(&services));
    for family in &FAMILIES {
        let wire = Wire::watch(&site.machines, family.client);
        for service in services.iter().filter(|service| service.inner.name == family.name) {
            service.check(&site, &wire);
        }
    }
}

impl Tunnelled {
    /// Sends two requests, of which each real server gets one.
    fn check(&self, site: &Site, wire: &Wire<'_>) {
        let Self { kind, inner, outer, port } = self;
        let vip = match inner.vip.contains(':') {
            true => format!("[{}]:{port}", inner.vip),
            false => format!("{}:{port}", inner.vip),
        };
        let there = format!("{}:PORT -> {vip}", inner.client);
        let back = format!("{vip} -> {}:PORT", inner.client);
        let mark = if *kind == "ipip" { String::new() } else { format!("{kind} ") };
        let packed =
            |real_server: &str| format!("{mark}{} -> {real_server} ({there})", outer.director);
        let [here, behind] = outer.real_servers.map(packed);
        let mut answers = Vec::new();
        for _ in 0..2 {
            let answer = site.ask(&vip, 1).remove(0);
            let mut expected = BTreeSet::from([format!("client eth0 -> director eth0: {there}")]);
            expected.extend(match answer.starts_with("rs1:") {
                true => vec![
                    format!("director eth0 -> rs1 eth0: {here}"),
                    format!("rs1 eth0 -> client eth0: {back}"),
                ],
                false => vec![
                    format!("director eth0 -> router eth0: {behind}"),
                    format!("router eth1 -> rs2 eth0: {behind}"),
                    format!("rs2 eth0 -> router eth1: {back}"),
                    format!("router eth0 -> client eth0: {back}"),
                ],
            });
            assert_eq!(wire.stretches(), expected, "{kind} {} in {}", inner.name, outer.name);
            answers.push(answer);
        }
        assert_in_turn(&answers, &[&format!("rs1:{port}"), &format!("rs2:{port}")]);
    }
}
