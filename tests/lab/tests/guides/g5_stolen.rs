//! G5: real servers with a public and a private interface. One that answers clients from the VIP asks for its
//! router with the VIP as the sender, and the router then believes that it has the VIP. This is shown first,
//! as it is with `arp_ignore` alone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use evenkeel_lab::net::Machine;

use super::*;
use crate::watch::within;

/// The VIP of the real server with a public and a private address, and the service there.
const PUBLIC_VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 201);
const PUBLIC_SERVICE: &str = "192.168.1.201:80";
const OUTSIDE: &str = "10.0.0.2";

/// Real servers that requests reach on a private network, and whose gateway is on the public one.
fn two_networks() -> Guide {
    let host = |name: &str, public: &str, private: &str| {
        let machine = Machine::new(name).on("public", "eth0", &[public]);
        machine.on("private", "eth1", &[private]).gateway("192.168.1.1")
    };
    Guide {
        machines: vec![
            Machine::new("client").on("outside", "eth0", &["10.0.0.2/24"]).gateway("10.0.0.1"),
            Machine::new("router")
                .on("outside", "eth0", &["10.0.0.1/24"])
                .on("public", "eth1", &["192.168.1.1/24"])
                .router(),
            host("director", "192.168.1.10/24", "10.5.0.10/24"),
            host("rs1", "192.168.1.20/24", "10.5.0.20/24"),
            host("rs2", "192.168.1.30/24", "10.5.0.30/24"),
        ],
        port: 80,
        commands: &[
            HostCommands {
                hosts: &["director"],
                script: "ip address add 192.168.1.201/32 dev eth0
                    ipvsadm -A -t 192.168.1.201:80 -s rr
                    ipvsadm -a -t 192.168.1.201:80 -r 10.5.0.20 -g
                    ipvsadm -a -t 192.168.1.201:80 -r 10.5.0.30 -g",
            },
            HostCommands {
                hosts: &["rs1", "rs2"],
                script: "sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.lo.arp_ignore=1 \
                         net.ipv4.conf.all.arp_announce=2 net.ipv4.conf.lo.arp_announce=2
                    ip address add 192.168.1.201/32 dev lo",
            },
        ],
        spec: "
version: 1
directors:
  - { name: ds1, addresses: [10.5.0.10] }
vips:
  - { address: 192.168.1.201, interface: eth0 }
services:
  - name: web
    vip: 192.168.1.201
    port: 80
    scheduler: rr
    forward: dr
    real_servers:
      - { address: 10.5.0.20 }
      - { address: 10.5.0.30 }
",
    }
}

/// Lets the real servers answer when they do not know where their router is, and returns the sender that
/// each of them names when it asks for the router, by its interface.
fn senders(site: &Site, wire: &Wire<'_>) -> BTreeMap<String, BTreeSet<Ipv4Addr>> {
    let mut senders: BTreeMap<String, BTreeSet<Ipv4Addr>> = BTreeMap::new();
    let is_asked = within(Duration::from_secs(20), || {
        for real_server in ["rs1", "rs2"] {
            site.run(real_server, "ip neighbour flush to 192.168.1.1 dev eth0");
        }
        // Of a request that reaches a real server in the director's place, IPVS knows nothing.
        site.ask(PUBLIC_SERVICE, 2);
        for asked in wire.arp() {
            let is_of_router = asked.message.target == Ipv4Addr::new(192, 168, 1, 1);
            if asked.receiver == "router" && !asked.message.is_reply && is_of_router {
                senders.entry(asked.sender).or_default().insert(asked.message.sender);
            }
        }
        ["rs1 eth0", "rs2 eth0"].iter().any(|name| senders.contains_key(*name))
    });
    assert!(is_asked, "{senders:?}");
    senders
}

/// Returns the hardware address of the VIP in the router's cache.
fn entry(site: &Site) -> String {
    site.run("router", "ip neighbour show 192.168.1.201 dev eth1")
}

/// The failure that `arp_announce` prevents: arp_ignore alone keeps the real servers from answering, but not
/// from asking.
#[test]
fn g5_the_vip_is_stolen_by_a_real_server_that_asks_for_its_router() {
    let site = Site::build(&two_networks(), Way::Commands);
    let wire = Wire::watch(&site.machines, OUTSIDE);
    let [on_director, on_real_servers] = two_networks().commands else { panic!("two scripts") };
    site.run("director", on_director.script);
    for host in on_real_servers.hosts {
        site.run(host, "sysctl -qw net.ipv4.conf.all.arp_ignore=1");
        site.run(host, "ip address add 192.168.1.201/32 dev lo");
    }
    let found = senders(&site, &wire);
    assert!(found.values().all(|senders| senders.contains(&PUBLIC_VIP)), "{found:?}");
    let thief = site.machines.interfaces().iter().find(|(_, name)| found.contains_key(*name));
    let (mac, _) = thief.unwrap();
    let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
    assert!(found.len() > 1 || entry(&site).contains(&mac), "{found:?}: {}", entry(&site));
}

#[test]
fn g5_with_arp_announce_a_real_server_asks_from_its_own_address() {
    compare(
        &two_networks(),
        |site| {
            let wire = Wire::watch(&site.machines, OUTSIDE);
            assert_alternating(&site.ask(PUBLIC_SERVICE, 6));
            let own = BTreeMap::from([
                ("director eth0", Ipv4Addr::new(192, 168, 1, 10)),
                ("rs1 eth0", Ipv4Addr::new(192, 168, 1, 20)),
                ("rs2 eth0", Ipv4Addr::new(192, 168, 1, 30)),
            ]);
            for (interface, senders) in senders(site, &wire) {
                assert_eq!(senders, BTreeSet::from([own[&*interface]]), "{interface}");
            }
            assert!(entry(site).contains("02:00:00:00:02:00"), "{}", entry(site));
            wire.arp();
            let real_server = &site.ask(PUBLIC_SERVICE, 1)[0];
            let there = format!("{OUTSIDE}:PORT -> {PUBLIC_SERVICE}");
            let back = format!("{PUBLIC_SERVICE} -> {OUTSIDE}:PORT");
            let expected = [
                format!("client eth0 -> router eth0: {there}"),
                format!("router eth1 -> director eth0: {there}"),
                format!("director eth1 -> {real_server} eth1: {there}"),
                format!("{real_server} eth0 -> router eth1: {back}"),
                format!("router eth0 -> client eth0: {back}"),
            ];
            assert_eq!(wire.stretches(), expected.into());
        },
        &[
            Difference {
                hosts: &["director"],
                by_commands: &[],
                by_evenkeel: &["address 192.168.1.201/32 dev eth0: noprefixroute true"],
                because: "a VIP is no way to a network, which a /32 has none of anyway",
            },
            Difference {
                hosts: &["rs1", "rs2"],
                by_commands: &[],
                by_evenkeel: &["address 192.168.1.201/32 dev lo: noprefixroute true"],
                because: "a VIP is no way to a network, which a /32 has none of anyway",
            },
        ],
    );
}
