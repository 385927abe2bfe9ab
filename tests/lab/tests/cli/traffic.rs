//! Tests traffic through a director that `evenkeel apply` configured.

use std::net::{IpAddr, SocketAddr};

use evenkeel_lab::net::{Forward, Network};

use super::*;
use crate::networks::{VIPS, dual_stack_cluster};

/// Returns the spec of that cluster, with one service for each family, this port on the real
/// servers and this weight on the first of each family.
fn spec(forward: &str, port: u16, weight: u32) -> String {
    let service = |family: &str, vip: &str, net: &str| {
        format!(
            "  - name: web{family}
    vip: {vip}
    port: 80
    scheduler: wrr
    forward: {forward}
    real_servers:
      - {{ address: \"{net}11\", port: {port}, weight: {weight} }}
      - {{ address: \"{net}12\", port: {port} }}
"
        )
    };
    let [four, six] = VIPS;
    format!(
        "version: 1
scope: all
vips:
  - {{ address: {four}, interface: eth0 }}
  - {{ address: \"{six}\", interface: eth0 }}
services:
{}{}",
        service("4", four, "10.0.0."),
        service("6", six, "fd00::"),
    )
}

fn vips() -> impl Iterator<Item = SocketAddr> {
    VIPS.into_iter().map(|vip| SocketAddr::new(vip.parse::<IpAddr>().unwrap(), 80))
}

/// Sends four requests to each VIP and asserts that the two real servers alternate.
fn assert_they_alternate(network: &Network) {
    for vip in vips() {
        let answers = network.ask(vip, 4).unwrap();
        let other = if answers[0] == "rs1" { "rs2" } else { "rs1" };
        assert_eq!(answers, [&answers[0], other, &answers[0], other], "{vip}");
    }
}

/// Applies on the director, checks the traffic, changes a weight, and checks that.
fn check(forward: Forward, word: &str, port: u16) {
    let network = dual_stack_cluster(forward, port);
    let fixture = Fixture::here();
    let on_director = |spec: &str| network.director.run(|| fixture.apply(spec)).unwrap();
    for vip in vips() {
        assert!(network.ask(vip, 1).is_err(), "{vip} is not bound yet");
    }
    on_director(&spec(word, port, 1));
    assert_they_alternate(&network);
    let (bound, in_sync) = network
        .director
        .run(|| (addresses(), fixture.evenkeel("plan --detailed-exitcode spec.yaml").status))
        .unwrap();
    for vip in ["10.0.0.100/32 eth0", "fd00::100/128 eth0"] {
        assert!(bound.contains(vip), "{bound:?}");
    }
    assert_eq!(in_sync, 0);

    on_director(&spec(word, port, 3));
    for vip in vips() {
        let answers = network.ask(vip, 8).unwrap();
        assert_eq!(answers.iter().filter(|name| *name == "rs1").count(), 6, "{vip}: {answers:?}");
    }
    on_director(&spec(word, port, 0));
    for vip in vips() {
        assert_eq!(network.ask(vip, 3).unwrap(), ["rs2"; 3], "{vip}");
    }
    on_director(&spec(word, port, 1));
    assert_they_alternate(&network);
}

#[test]
fn direct_routing_alternates_in_both_families() {
    check(Forward::Dr, "dr", 80);
}

#[test]
fn address_translation_reaches_another_port_in_both_families() {
    check(Forward::Nat, "nat", 8080);
}

#[test]
fn tunnels_alternate_in_both_families() {
    check(Forward::Tun, "tun", 80);
}

#[test]
fn neighbours_with_another_machine_cached_for_a_vip_learn_the_director() {
    let network = dual_stack_cluster(Forward::Dr, 80);
    let fixture = Fixture::here();
    let link = network.director.output("ip", &["-j", "link", "show", "eth0"]).unwrap();
    let link: serde_json::Value = serde_json::from_str(&link).unwrap();
    let own = link[0]["address"].as_str().unwrap();
    for vip in VIPS {
        let stale = format!("neigh replace {vip} lladdr 02:00:00:00:00:99 dev eth0 nud stale");
        network.client.output("ip", &stale.split(' ').collect::<Vec<_>>()).unwrap();
    }
    network.director.run(|| fixture.apply(&spec("dr", 80, 1))).unwrap();
    for vip in VIPS {
        let shown = network.client.output("ip", &["neigh", "show", vip]).unwrap();
        assert!(shown.contains(own), "{vip}: {shown}, not {own}");
    }
    assert_they_alternate(&network);
}

#[test]
fn a_removed_vip_no_longer_serves() {
    let network = dual_stack_cluster(Forward::Dr, 80);
    let fixture = Fixture::here();
    network.director.run(expire_connections).unwrap();
    network.director.run(|| fixture.apply(&spec("dr", 80, 1))).unwrap();
    assert_they_alternate(&network);
    let whole = spec("dr", 80, 1);
    let without_six = whole.find("  - name: web6").map(|at| &whole[..at]).unwrap();
    let shorter = without_six.replace("  - { address: \"fd00::100\", interface: eth0 }\n", "");
    network.director.run(|| fixture.apply(&shorter)).unwrap();
    assert_eq!(network.ask(vips().next().unwrap(), 2).unwrap().len(), 2);
    assert!(network.ask(vips().nth(1).unwrap(), 1).is_err());
    let left = network.director.run(|| (addresses(), ipvsadm::save())).unwrap();
    assert!(!left.0.contains("fd00::100/128 eth0") && left.0.contains("10.0.0.100/32 eth0"));
    assert!(!left.1.iter().any(|line| line.contains("fd00")), "{left:?}");
}
