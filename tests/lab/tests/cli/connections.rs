//! Compares the connection table of `evenkeel show` with that of `ipvsadm -Lnc`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use evenkeel_lab::net::Forward;
use nix::sys::socket::{setsockopt, sockopt::Mark};

use super::*;
use crate::networks::dual_stack_cluster;

/// Protocol, client, service, real server and state, with the seconds until the entry expires.
type Table = BTreeMap<[String; 5], u64>;

/// Returns the table of `ipvsadm`.
fn listed() -> Table {
    let text = run("ipvsadm -Lnc");
    let rows = text.lines().skip(2).map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.map(|words| {
        let (minutes, seconds) = words[1].split_once(':').unwrap();
        let number = |text: &str| text.parse::<u64>().unwrap();
        let [protocol, state, client, service, real_server] =
            [words[0], words[2], words[3], words[4], words[5]].map(str::to_owned);
        let protocol = protocol.to_lowercase();
        let key = [protocol, client, service, real_server, state];
        (key, number(minutes) * 60 + number(seconds))
    })
    .collect()
}

/// Returns the table of `evenkeel show --connections --output json`, and the service of each entry.
fn documented(text: &str) -> (Table, BTreeMap<String, Option<String>>) {
    let document: serde_json::Value = serde_json::from_str(text).unwrap();
    let (mut table, mut services) = (Table::new(), BTreeMap::new());
    for entry in document["connections"].as_array().unwrap() {
        let word = |name: &str| entry[name].as_str().unwrap().to_owned();
        // A template of a fwmark service has its mark in place of an address.
        let to = entry["to"].as_str().map_or_else(|| "0.0.0.7:0".to_owned(), str::to_owned);
        let protocol = word("protocol").replace("any", "ip");
        let key = [protocol, word("client"), to, word("real_server"), word("state")];
        table.insert(key, entry["expires"].as_u64().unwrap());
        let label = match (entry["name"].as_str(), entry["service"].as_str()) {
            (Some(name), Some(key)) => Some(format!("{name}/{key}")),
            (_, key) => key.map(str::to_owned),
        };
        services.insert(word("client"), label);
    }
    (table, services)
}

/// Asserts that both tables, read at nearly the same time, have the same entries.
fn assert_same(shown: &Table, listed: &Table) {
    let keys = |table: &Table| table.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(keys(shown), keys(listed));
    for (key, seconds) in shown {
        assert!(seconds.abs_diff(listed[key]) <= 3, "{key:?}: {seconds}, {}", listed[key]);
    }
}

/// Tests a cluster of both families with finished and open connections, and with IPv6 clients whose
/// service is persistent.
fn check(forward: Forward, word: &str, port: u16) {
    let network = dual_stack_cluster(forward, port);
    let fixture = Fixture::here();
    let spec = format!(
        "version: 1
vips:
  - {{ address: 10.0.0.100, interface: eth0 }}
  - {{ address: \"fd00::100\", interface: eth0 }}
defaults: {{ forward: {word}, scheduler: rr }}
services:
  - name: web
    vip: 10.0.0.100
    port: 80
    real_servers: [ {{ address: 10.0.0.11, port: {port} }}, {{ address: 10.0.0.12, port: {port} }} ]
  - name: six
    vip: fd00::100
    port: 80
    persistence: 5m
    real_servers: [ {{ address: \"fd00::11\", port: {port} }}, {{ address: \"fd00::12\", port: {port} }} ]
"
    );
    network.director.run(|| fixture.apply(&spec)).unwrap();
    let vips = ["10.0.0.100:80", "[fd00::100]:80"].map(|vip| vip.parse::<SocketAddr>().unwrap());
    let connect =
        |vip: &SocketAddr| TcpStream::connect_timeout(vip, Duration::from_secs(3)).unwrap();
    let open =
        network.client.run(|| vips.each_ref().map(|vip| [connect(vip), connect(vip)])).unwrap();
    for vip in vips {
        network.ask(vip, 3).unwrap();
    }
    let (text, document, table, web, none) = network
        .director
        .run(|| {
            (
                fixture.done("show spec.yaml --connections"),
                fixture.done("show spec.yaml --connections --output json"),
                listed(),
                fixture.done("show spec.yaml --connections --target web"),
                fixture.evenkeel("show spec.yaml --connections --target wbe"),
            )
        })
        .unwrap();
    drop(open);

    // Two open and three finished connections in each family, and a template in one of them.
    assert_eq!(table.len(), 11, "{table:?}");
    let (shown, services) = documented(&document);
    assert_same(&shown, &table);
    for (client, service) in &services {
        let expected = if client.starts_with('[') {
            "six/[fd00::100]:80/tcp"
        } else {
            "web/10.0.0.100:80/tcp"
        };
        assert_eq!(service.as_deref(), Some(expected), "{client}");
    }
    // The text output has the same values.
    let of = |text: &str| {
        let rows = text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.map(|words| {
            let to = words[2].split('/').nth(1).unwrap();
            [words[0], words[1], to, words[3], words[4]].map(str::to_owned)
        })
        .collect::<BTreeSet<_>>()
    };
    assert_eq!(of(&text), table.keys().cloned().collect());
    assert!(text.starts_with("PROTOCOL  CLIENT  "), "{text}");
    let of_web = table.keys().filter(|key| key[2] == "10.0.0.100:80").cloned();
    assert_eq!(of(&web), of_web.collect());
    assert_eq!((none.status, none.stdout.as_str()), (64, ""));
    assert!(
        none.stderr.contains("no service of this host is called `wbe`; there is `web`"),
        "{none:?}"
    );
}

#[test]
fn connections_over_direct_routing_are_those_that_ipvsadm_lists() {
    check(Forward::Dr, "dr", 80);
}

#[test]
fn connections_over_address_translation_are_those_that_ipvsadm_lists() {
    check(Forward::Nat, "nat", 8080);
}

#[test]
fn connections_of_a_fwmark_service_are_listed_by_mark_and_real_server() {
    let fixture = Fixture::new(
        "-A -f 7 -s rr -p 60
        -a -f 7 -r 127.0.0.1:9 -m
        -A -u 192.0.2.2:0 -s rr -p 60
        -a -u 192.0.2.2:0 -r 127.0.0.2 -m",
    );
    for vip in ["192.0.2.1", "192.0.2.2"] {
        run(&format!("ip address add {vip}/32 dev lo"));
    }
    let send = |from: IpAddr, to: &str, mark| {
        let socket = UdpSocket::bind((from, 0)).unwrap();
        setsockopt(&socket, Mark, &mark).unwrap();
        socket.send_to(b"?", to).unwrap();
        socket.local_addr().unwrap().to_string()
    };
    let marked = send([127, 1, 0, 1].into(), "192.0.2.1:53", 7);
    let plain = send([127, 1, 0, 2].into(), "192.0.2.2:4000", 0);
    let (shown, services) = documented(&fixture.done("show --connections --output json"));
    assert_same(&shown, &listed());
    let owner = |client: &str| services[client].as_deref();
    assert_eq!(owner(&marked), Some("fwmark-7/ipv4"));
    assert_eq!(owner("127.1.0.1:0"), Some("fwmark-7/ipv4"), "its template");
    assert_eq!(owner(&plain), Some("192.0.2.2:0/udp"));
    let only = fixture.done("show --connections --target fwmark-7/ipv4");
    assert_eq!(only.lines().count(), 3, "{only}");
    assert_eq!(documented(&fixture.done("show --connections --output json")).0.len(), 4);
}

#[test]
fn a_host_without_connections_has_an_empty_table() {
    let fixture = Fixture::new("-A -t 192.0.2.1:80 -s rr");
    assert_eq!(fixture.done("show --connections").lines().count(), 1, "a heading and nothing else");
    assert_eq!(documented(&fixture.done("show --connections --output json")).0.len(), 0);
    let shown = fixture.done("show --target 192.0.2.1:80/tcp");
    assert_eq!(shown.lines().count(), 2, "{shown}");
    assert_eq!(fixture.evenkeel("show --target 192.0.2.9:80/tcp").status, 64);
}
