//! Tests the positions at which objects of a desired state were written.

use std::net::IpAddr;

use evenkeel_model::{Binding, Family, Protocol, RealServerKey, ServiceKey, SyncState};
use evenkeel_spec::{Parameter, Parameters, Position, Source, load_with};

/// Resolves the address of every interface.
struct Host;

impl Parameters for Host {
    fn value(&self, parameter: Parameter<'_>) -> Result<Option<String>, String> {
        Ok(matches!(parameter, Parameter::Host { .. }).then(|| "192.0.2.9".to_owned()))
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn tcp(address: &str, port: u16) -> ServiceKey {
    ServiceKey::Address { address: ip(address), port, protocol: Protocol::Tcp }
}

fn shown(place: Option<&Position>) -> String {
    place.map_or_else(|| "nowhere".to_owned(), ToString::to_string)
}

const ONE: &str = "version: 1 # the first of two
vips:
  - { address: 192.0.2.1, interface: eth0 }
  - address: \"2001:db8::1/64\"
    interface: eth0
services:
  - name: web
    vips: [192.0.2.1, \"2001:db8::1\"]
    ports: [80, 443]
    real_servers:
      - { address: 10.0.0.1 }
      - address: \"2001:db8:1::1\"
        weight: 3
  -
    # the name comes last
    vip: ${host:eth0}
    port: 8080
    pool: app
    name: api
timeouts: { tcp: 1h }
sysctls:
  net.ipv4.ip_forward: 1
";

const OTHER: &str = "pools:
  - name: app
    real_servers: [ { address: 10.0.0.2 }, { address: 10.0.0.3 } ]
services:
  - { name: marked, fwmark: 7, family: ipv4, pool: app }
timeouts:
  udp: 1m
sync:
  - { state: backup, interface: eth1 }
sysctls: { net.core.somaxconn: 1024 }
guards: { mass_delete: 80% }
";

#[test]
fn every_object_has_the_position_at_which_it_was_written() {
    let sources = [Source::new("1.yaml", ONE), Source::new("2.yaml", OTHER)];
    let loaded = load_with(&sources, &Host).unwrap_or_else(|problems| panic!("{problems}"));
    let found = loaded.provenance(&sources);
    let service = |key| shown(found.service(&key));
    let mark = ServiceKey::Fwmark { family: Family::Ipv4, fwmark: 7 };
    assert_eq!(service(tcp("192.0.2.1", 80)), "1.yaml:7:5");
    assert_eq!(service(tcp("2001:db8::1", 443)), "1.yaml:7:5");
    assert_eq!(service(tcp("192.0.2.9", 8080)), "1.yaml:16:5");
    assert_eq!(service(mark), "2.yaml:5:5");
    assert_eq!(service(tcp("192.0.2.1", 81)), "nowhere");
    let server = |service, address: &str, port| {
        shown(found.real_server(&service, &RealServerKey { address: ip(address), port }))
    };
    assert_eq!(server(tcp("192.0.2.1", 443), "10.0.0.1", 443), "1.yaml:11:9");
    assert_eq!(server(tcp("2001:db8::1", 80), "2001:db8:1::1", 80), "1.yaml:12:9");
    assert_eq!(server(tcp("2001:db8::1", 80), "10.0.0.1", 80), "nowhere");
    assert_eq!(server(tcp("192.0.2.9", 8080), "10.0.0.3", 8080), "2.yaml:3:44");
    assert_eq!(server(mark, "10.0.0.2", 0), "2.yaml:3:21");
    let vip = |address: &str, prefix| {
        let binding = Binding { prefix, ..Binding::host(ip(address), "eth0") };
        shown(found.vip(&binding))
    };
    assert_eq!(vip("192.0.2.1", 32), "1.yaml:3:5");
    assert_eq!(vip("2001:db8::1", 64), "1.yaml:4:5");
    assert_eq!(vip("2001:db8::1", 128), "nowhere");
    assert_eq!(shown(found.timeout("tcp")), "1.yaml:20:18");
    assert_eq!(shown(found.timeout("udp")), "2.yaml:7:8");
    assert_eq!(shown(found.timeout("tcp_fin")), "nowhere");
    assert_eq!(shown(found.guard("mass_delete")), "2.yaml:11:24");
    assert_eq!(shown(found.guard("unbind_in_use")), "nowhere");
    assert_eq!(shown(found.sync(SyncState::Backup)), "2.yaml:9:5");
    assert_eq!(shown(found.sync(SyncState::Master)), "nowhere");
    assert_eq!(shown(found.sysctl("net.ipv4.ip_forward")), "1.yaml:22:24");
    assert_eq!(shown(found.sysctl("net.core.somaxconn")), "2.yaml:10:32");
}

#[test]
fn every_object_of_every_example_has_a_position() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read(&path).expect("a file");
        let sources = [Source::new(path.display().to_string(), text)];
        let loaded = load_with(&sources, &Host).unwrap_or_else(|problems| panic!("{problems}"));
        let found = loaded.provenance(&sources);
        for (key, named) in &loaded.desired.services {
            assert!(found.service(key).is_some(), "{key}");
            for (server, _) in &named.service.real_servers {
                assert!(found.real_server(key, server).is_some(), "{key} {server}");
                count += 1;
            }
        }
        for binding in loaded.desired.vips.keys() {
            assert!(found.vip(binding).is_some(), "{binding}");
        }
    }
    assert!(count > 10, "{count}");
}

#[test]
fn sources_that_were_not_loaded_have_no_positions() {
    let sources = [Source::new("1.yaml", ONE), Source::new("2.yaml", OTHER)];
    let loaded = load_with(&sources, &Host).expect("it is good");
    let found = loaded.provenance(&[Source::new("x", "[")]);
    assert_eq!(found.service(&tcp("192.0.2.1", 80)), None);
}
