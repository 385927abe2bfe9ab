//! G1 with a static neighbour entry on the router. Nothing keeps the real servers from answering ARP requests
//! for the VIP, and the router's packets reach the director nevertheless.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use evenkeel_lab::net::Machine;
use evenkeel_lab_tests::frames::ArpRequester;

use super::*;
use crate::watch::within;

const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 201);
const SERVICE: &str = "192.168.1.201:80";
const CLIENT: &str = "10.0.0.2";
/// The guide's command on the router, with the hardware address of `director eth0`.
const ENTRY: &str =
    "ip neighbour replace 192.168.1.201 lladdr 02:00:00:00:02:00 dev eth1 nud permanent";
/// What a real server has: the VIP, and no setting that keeps it silent.
const REAL_SERVER: &str = "ip address add 192.168.1.201/32 dev lo label lo:1";
/// Lets a real server ask for its router again: without a setting, it asks with the VIP as the sender.
const FORGET: &str = "ip neighbour flush to 192.168.1.1 dev eth0";
const ATTEMPTS: usize = 20;

const SPEC: &str = r#"
version: 1
directors:
  - { name: ds1, addresses: [192.168.1.10], mac: "02:00:00:00:02:00" }
gateways:
  - { name: router, addresses: [192.168.1.1] }
vips:
  - { address: 192.168.1.201, interface: lo, label: "lo:1" }
services:
  - name: web
    vip: 192.168.1.201
    port: 80
    scheduler: rr
    forward: dr
    real_servers:
      - { address: 192.168.1.20 }
      - { address: 192.168.1.30 }
"#;

/// The cluster of G1 with real servers that are not silent, and a neighbour that asks for the VIP.
fn build(way: Way) -> Site {
    let mut guide = g1::guide();
    guide.machines.push(Machine::new("neighbour").on("lan", "eth0", &["192.168.1.2/24"]));
    let [on_director, _] = guide.commands else { panic!("the director and the real servers") };
    let site = Site::build(&guide, way);
    on_real_servers(&site, REAL_SERVER);
    match way {
        Way::Commands => {
            site.run("router", ENTRY);
            site.run("director", on_director.script);
        }
        Way::Evenkeel => {
            ["router", "director"].iter().for_each(|host| site.apply(host, SPEC));
            // That the real servers are not silent does no harm.
            ["router", "director"].iter().for_each(|host| site.assert_no_findings_on(host, SPEC));
        }
    }
    site
}

fn on_real_servers(site: &Site, script: &str) {
    ["rs1", "rs2"].iter().for_each(|host| drop(site.run(host, script)));
}

/// The states of the director, the real servers and the router, with its permanent entries.
fn state_of(site: &Site) -> State {
    let mut state = site.state();
    state.extend(state::of("router", &site.machines["router"]));
    let entries = site.run("router", "ip -d neighbour show nud permanent");
    state.extend(entries.lines().map(|line| format!("router: neighbour {}", line.trim_end())));
    state
}

/// Returns which machines claimed to have the VIP since the last call, in messages that this machine got.
fn claimed(wire: &Wire<'_>, by_receiver: &str) -> BTreeSet<String> {
    let received = wire.arp().into_iter();
    let of_vip = received.filter(|it| it.receiver == by_receiver && it.message.sender == VIP);
    of_vip.map(|it| it.sender).collect()
}

#[test]
fn g1_the_entry_of_the_router_alone_keeps_traffic_on_the_director() {
    let [by_hand, by_evenkeel] = [Way::Commands, Way::Evenkeel].map(|way| {
        let site = build(way);
        check(&site);
        let state = state_of(&site);
        assert_is_needed(&site);
        state
    });
    assert_agree(&by_hand, &by_evenkeel, DIFFERENCES);
}

fn check(site: &Site) {
    let wire = Wire::watch(&site.machines, CLIENT);
    // Real servers answer requests of any host.
    let mut owners = BTreeSet::new();
    let is_claimed = within(Duration::from_secs(5), || {
        let ask = || ArpRequester::new("eth0", Ipv4Addr::new(192, 168, 1, 2), VIP).ask();
        site.machines["neighbour"].run(ask).unwrap();
        owners.extend(claimed(&wire, "neighbour"));
        owners.len() == 3
    });
    assert!(is_claimed, "{owners:?}");
    // The router believes none of them: each request goes to the director.
    g1::check(site);
    let mut claims = BTreeSet::new();
    for _ in 0..ATTEMPTS {
        on_real_servers(site, FORGET);
        wire.arp();
        assert_alternating(&site.ask(SERVICE, 4));
        claims.extend(claimed(&wire, "router"));
    }
    assert_eq!(
        claims,
        ["rs1 eth0", "rs2 eth0"].map(str::to_owned).into(),
        "they reached the router"
    );
    wire.arp();
    g1::check(site);
}

/// Removes the entry, and asserts that the router then believes a real server.
fn assert_is_needed(site: &Site) {
    match site.way {
        Way::Commands => drop(site.run("router", "ip neighbour del 192.168.1.201 dev eth1")),
        Way::Evenkeel => site.tear_down("router"),
    }
    let mut seen = Vec::new();
    let is_stolen = (0..ATTEMPTS).any(|_| {
        on_real_servers(site, FORGET);
        site.ask(SERVICE, 2);
        seen.push(site.run("router", "ip neighbour show 192.168.1.201 dev eth1"));
        let owner = seen.last().unwrap();
        !owner.contains("02:00:00:00:02:00") && owner.contains("lladdr")
    });
    assert!(is_stolen, "{seen:?}");
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        hosts: &["director"],
        by_commands: &[],
        by_evenkeel: &["address 192.168.1.201/32 dev lo: noprefixroute true"],
        because: "a VIP is no way to a network, which a /32 has none of anyway",
    },
    Difference {
        hosts: &["router"],
        by_commands: &["neighbour 192.168.1.201 dev eth1 lladdr 02:00:00:00:02:00 PERMANENT"],
        by_evenkeel: &[
            "neighbour 192.168.1.201 dev eth1 lladdr 02:00:00:00:02:00 PERMANENT proto 101",
        ],
        because: "evenkeel marks what it added, and removes nothing else",
    },
];

/// The same cluster in both families, set up by evenkeel on every host. No host answers for a VIP on `lo` in
/// IPv6, so that the router needs the entry.
pub(super) const BOTH_FAMILIES: &str = r#"
version: 1
directors:
  - { name: ds1, addresses: [192.168.1.10, "fd00:2::10"], mac: "02:00:00:00:02:00" }
gateways:
  - { name: router, addresses: [192.168.1.1, "fd00:2::1"] }
vips:
  - { address: 192.168.1.201, interface: lo }
  - { address: "fd00:2::201", interface: lo }
services:
  - name: web
    vips: [192.168.1.201, "fd00:2::201"]
    port: 80
    scheduler: rr
    forward: dr
    real_servers:
      - { address: 192.168.1.20 }
      - { address: 192.168.1.30 }
      - { address: "fd00:2::20" }
      - { address: "fd00:2::30" }
"#;

pub(super) fn both_families() -> Guide {
    let host = |name: &str, addresses: &[&str]| {
        let machine = Machine::new(name).on("lan", "eth0", addresses);
        machine.gateway("192.168.1.1").gateway("fd00:2::1")
    };
    let client = Machine::new("client").on("outside", "eth0", &["10.0.0.2/24", "fd00:1::2/64"]);
    let machines = vec![
        client.gateway("10.0.0.1").gateway("fd00:1::1"),
        Machine::new("router")
            .on("outside", "eth0", &["10.0.0.1/24", "fd00:1::1/64"])
            .on("lan", "eth1", &["192.168.1.1/24", "fd00:2::1/64"])
            .router(),
        host("director", &["192.168.1.10/24", "fd00:2::10/64"]),
        host("rs1", &["192.168.1.20/24", "fd00:2::20/64"]),
        host("rs2", &["192.168.1.30/24", "fd00:2::30/64"]),
    ];
    Guide { machines, port: 80, commands: &[], spec: BOTH_FAMILIES }
}

#[test]
fn g1_traffic_of_both_families_reaches_a_vip_on_lo_by_the_entries_of_the_gateway() {
    let guide = both_families();
    let site = Site::build(&guide, Way::Evenkeel);
    let before = site.run("router", "ip -d neighbour show nud permanent");
    site.set_up();
    site.error_of("[fd00:2::201]:80");
    site.apply("router", BOTH_FAMILIES);
    site.assert_no_findings_on("router", BOTH_FAMILIES);
    for service in [SERVICE, "[fd00:2::201]:80"] {
        assert_alternating(&site.ask(service, 6));
    }
    site.assert_in_sync();
    site.tear_down("router");
    assert_eq!(site.run("router", "ip -d neighbour show nud permanent"), before);
    site.run("router", "ip neighbour flush dev eth1");
    site.error_of("[fd00:2::201]:80");
}
