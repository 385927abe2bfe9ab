//! G5: hosts with several network interfaces on one network. Such a host answers ARP requests for each of its
//! addresses from all of its interfaces, which is shown first, as it is without any setting.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::time::Duration;

use evenkeel_lab::net::Machine;
use evenkeel_lab_tests::frames::{ArpRequester, FrameCapture};

use super::*;

pub(super) const CLIENT: &str = "192.168.18.2";
const VIP: &str = "192.168.18.100:80";
/// Requests for one address. Each is answered at once or never.
const REQUESTS: usize = 5;
/// The time in which answers arrive that should not.
const PAUSE: Duration = Duration::from_millis(100);

/// A director and a real server with three interfaces each on the network of the client.
pub(super) fn guide() -> Guide {
    let with_three = |name: &str, addresses: [&str; 3]| {
        let [first, second, third] = addresses;
        let machine = Machine::new(name).on("lan", "eth0", &[first]).on("lan", "eth4", &[second]);
        machine.on("lan", "eth5", &[third])
    };
    Guide {
        machines: vec![
            Machine::new("client").on("lan", "eth0", &["192.168.18.2/24", "fd00:18::2/64"]),
            with_three("director", ["192.168.18.10/24", "192.168.18.11/24", "192.168.18.12/24"]),
            with_three("rs1", ["192.168.18.20/24", "192.168.18.21/24", "192.168.18.22/24"]),
            Machine::new("rs2").on("lan", "eth0", &["192.168.18.30/24"]),
        ],
        port: 80,
        commands: &[
            HostCommands {
                hosts: &["director"],
                script: "sysctl -qw net.ipv4.conf.all.arp_filter=1 \
                         net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
                    ip address add 192.168.18.100/32 dev eth0
                    ipvsadm -A -t 192.168.18.100:80 -s rr
                    ipvsadm -a -t 192.168.18.100:80 -r 192.168.18.20 -g
                    ipvsadm -a -t 192.168.18.100:80 -r 192.168.18.30 -g",
            },
            HostCommands {
                hosts: &["rs1", "rs2"],
                script: "sysctl -qw net.ipv4.conf.all.arp_filter=1 \
                         net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.lo.arp_ignore=1 \
                         net.ipv4.conf.all.arp_announce=2 net.ipv4.conf.lo.arp_announce=2
                    ip address add 192.168.18.100/32 dev lo",
            },
        ],
        spec: "
version: 1
directors:
  - { name: ds1, addresses: [192.168.18.10] }
vips:
  - { address: 192.168.18.100, interface: eth0 }
services:
  - name: web
    vip: 192.168.18.100
    port: 80
    scheduler: rr
    forward: dr
    real_servers:
      - { address: 192.168.18.20 }
      - { address: 192.168.18.30 }
sysctls:
  net.ipv4.conf.all.arp_filter: 1
  net.ipv4.conf.all.arp_ignore: 1
  net.ipv4.conf.all.arp_announce: 2
",
    }
}

/// The addresses that hosts with three interfaces have.
const ADDRESSES: [&str; 6] = [
    "192.168.18.10",
    "192.168.18.11",
    "192.168.18.12",
    "192.168.18.20",
    "192.168.18.21",
    "192.168.18.22",
];

/// Sends ARP requests for an address from the client, and returns the interfaces that answer.
pub(super) fn owners(site: &Site, wire: &Wire<'_>, address: &str) -> BTreeSet<String> {
    let address: Ipv4Addr = address.parse().unwrap();
    wire.arp();
    let ask = || {
        let requester = ArpRequester::new("eth0", CLIENT.parse().unwrap(), address);
        (0..REQUESTS).for_each(|_| requester.ask());
    };
    site.machines["client"].run(ask).unwrap();
    std::thread::sleep(PAUSE);
    let answers = wire.arp().into_iter().filter(|it| {
        it.receiver == "client" && it.message.is_reply && it.message.sender == address
    });
    answers.map(|it| it.sender).collect()
}

/// The interfaces of a host with three of them.
pub(super) fn all_of(host: &str) -> BTreeSet<String> {
    ["eth0", "eth4", "eth5"].map(|device| format!("{host} {device}")).into()
}

/// The failure that the settings prevent.
#[test]
fn g5_without_settings_every_interface_answers_for_every_address() {
    let site = Site::build(&guide(), Way::Commands);
    let wire = Wire::watch(&site.machines, CLIENT);
    for address in ADDRESSES {
        let host = if address < "192.168.18.20" { "director" } else { "rs1" };
        assert_eq!(owners(&site, &wire, address), all_of(host), "{address}");
    }
}

/// In IPv6 the kernel itself answers only on the interface of the address.
#[test]
fn g5_in_ipv6_only_the_interface_of_an_address_answers_without_settings() {
    let site = Site::build(&guide(), Way::Commands);
    site.run("director", "ip address add fd00:18::10/64 dev eth0 nodad");
    let capture = site.machines["client"].run(FrameCapture::start).unwrap();
    for _ in 0..REQUESTS {
        site.run("client", "ip -6 neighbour flush dev eth0");
        assert_eq!(site.error_of("[fd00:18::10]:81"), ErrorKind::ConnectionRefused);
    }
    let interfaces = site.machines.interfaces();
    let to_client = capture.received().into_iter().filter(|frame| {
        interfaces.get(&frame.destination).is_some_and(|name| name == "client eth0")
    });
    let senders: BTreeSet<&String> = to_client.map(|frame| &interfaces[&frame.source]).collect();
    assert_eq!(senders, BTreeSet::from([&"director eth0".to_owned()]));
}

#[test]
fn g5_only_the_interface_that_has_an_address_answers_for_it() {
    compare(&guide(), check, DIFFERENCES);
}

fn check(site: &Site) {
    let wire = Wire::watch(&site.machines, CLIENT);
    let found: BTreeMap<&str, BTreeSet<String>> =
        ADDRESSES.map(|address| (address, owners(site, &wire, address))).into();
    let of = |interface: &str| BTreeSet::from([interface.to_owned()]);
    // arp_filter also asks for the interface that leads to the client: of several on one network the first.
    // The other addresses then have no answer at all, without routes for each source.
    let others_of_rs1 = match site.way {
        Way::Commands => [BTreeSet::new(), BTreeSet::new()],
        Way::Evenkeel => [of("rs1 eth4"), of("rs1 eth5")],
    };
    let [second, third] = others_of_rs1;
    let expected = BTreeMap::from([
        ("192.168.18.10", of("director eth0")),
        ("192.168.18.11", BTreeSet::new()),
        ("192.168.18.12", BTreeSet::new()),
        ("192.168.18.20", of("rs1 eth0")),
        ("192.168.18.21", second),
        ("192.168.18.22", third),
    ]);
    assert_eq!(found, expected);
    assert_eq!(owners(site, &wire, "192.168.18.100"), of("director eth0"));

    assert_alternating(&site.ask(VIP, 6));
    // The director remembers each connection.
    let connections = site.run("director", "ipvsadm -L -n -c");
    for real_server in ["192.168.18.20:80", "192.168.18.30:80"] {
        assert_eq!(connections.matches(real_server).count(), 3, "{connections}");
    }
    wire.arp();
    let real_server = &site.ask(VIP, 1)[0];
    let there = format!("{CLIENT}:PORT -> {VIP}");
    let expected = [
        format!("client eth0 -> director eth0: {there}"),
        format!("director eth0 -> {real_server} eth0: {there}"),
        format!("{real_server} eth0 -> client eth0: {VIP} -> {CLIENT}:PORT"),
    ];
    assert_eq!(wire.stretches(), expected.into());
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        hosts: &["director"],
        by_commands: &[],
        by_evenkeel: &["address 192.168.18.100/32 dev eth0: noprefixroute true"],
        because: "a VIP is no way to a network, which a /32 has none of anyway",
    },
    Difference {
        hosts: &["rs1", "rs2"],
        by_commands: &[],
        by_evenkeel: &["address 192.168.18.100/32 dev lo: noprefixroute true"],
        because: "a VIP is no way to a network, which a /32 has none of anyway",
    },
    Difference {
        hosts: &["rs1", "rs2"],
        by_commands: &["sysctl net.ipv4.conf.all.arp_filter 1"],
        by_evenkeel: &["sysctl net.ipv4.conf.all.arp_filter 0"],
        because: "arp_ignore, which real servers get, already keeps the other interfaces silent, and \
                  arp_filter would leave their own addresses without an answer",
    },
];
