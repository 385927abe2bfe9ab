mod laws;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use evenkeel_model::statistics::{RealServerStatistics, ServiceStatistics, Statistics, Traffic};
use evenkeel_model::{
    Checksum, Desired, DesiredTimeouts, Drain, Family, Forward, Guards, IgnoredField, Limits, Link,
    Live, NamedService, Netmask, Owner, Persistence, Protocol, RealServer, RealServerKey,
    RealServers, Scheduler, SchedulerFlags, Service, ServiceConfig, ServiceKey, SyncDaemon,
    SyncState, Timeouts, Tunnel, TunnelKind,
};

use super::*;
use crate::{Source, load};

fn read(text: &str) -> crate::Loaded {
    let source = Source::new("written.yaml", text);
    load(std::slice::from_ref(&source)).unwrap_or_else(|problems| {
        panic!("{}\n\n{text}", problems.render(&[source], false));
    })
}

fn assert_written(desired: &Desired) {
    let text = write(&WriteInput::of_desired(desired));
    let loaded = read(&text);
    assert_eq!(&loaded.desired, desired, "\n{text}");
    for (key, named) in &desired.services {
        let order = |named: &NamedService| {
            named.service.real_servers.in_order().map(|(key, _)| *key).collect::<Vec<_>>()
        };
        assert_eq!(order(&loaded.desired.services[key]), order(named), "\n{text}");
    }
    assert_eq!(write(&WriteInput::of_desired(&loaded.desired)), text, "it is canonical");
}

fn desired(services: impl IntoIterator<Item = (ServiceKey, NamedService)>) -> Desired {
    Desired { services: services.into_iter().collect(), ..Desired::default() }
}

fn tcp(address: &str, port: u16) -> ServiceKey {
    let address = address.parse().expect("an address");
    ServiceKey::Address { address, port, protocol: Protocol::Tcp }
}

fn service(
    config: ServiceConfig,
    servers: impl IntoIterator<Item = (RealServerKey, RealServer)>,
) -> Service {
    Service { config, real_servers: servers.into_iter().collect::<RealServers>() }
}

fn wlc() -> ServiceConfig {
    ServiceConfig::new(Scheduler::wlc())
}

fn server(address: &str, port: u16, forward: Forward) -> (RealServerKey, RealServer) {
    let address = address.parse().expect("an address");
    let real_server = RealServer::new(forward, 1);
    (RealServerKey { address, port }, real_server)
}

fn named(name: &str, service: Service) -> NamedService {
    NamedService {
        drain: service.config.usual_drain(Drain::default()),
        ..NamedService::new(name, service)
    }
}

#[test]
fn the_text_is_what_a_person_would_write() {
    let gue = Tunnel { kind: TunnelKind::Gue, port: 6080, checksum: Checksum::Remote };
    let web = service(
        ServiceConfig { scheduler: Scheduler::new("wrr").expect("a name"), ..wlc() },
        [server("10.0.0.1", 80, Forward::Dr), server("10.0.0.2", 80, Forward::Tun(gue))],
    );
    let config = ServiceConfig {
        scheduler: Scheduler::new("sh").expect("a name"),
        scheduler_flags: SchedulerFlags::from_bits(0b11),
        persistence: Some(Persistence {
            timeout: 300,
            netmask: Netmask::V4(Ipv4Addr::new(255, 255, 255, 0)),
        }),
        engine: Some("sip".into()),
        one_packet: true,
    };
    let mark = ServiceKey::Fwmark { family: Family::Ipv4, fwmark: 7 };
    let marked = NamedService {
        ignore: [IgnoredField::Weight].into_iter().collect(),
        ..named("marked", service(config, [server("10.0.0.3", 0, Forward::Tun(gue))]))
    };
    let api = service(wlc(), [server("2001:db8:1::1", 8080, Forward::Nat)]);
    let mut all = desired([
        (tcp("192.0.2.1", 80), named("web", web)),
        (tcp("2001:db8::", 443), named("api", api.clone())),
        (tcp("2001:db8::", 444), named("api", api)),
        (mark, marked),
    ]);
    let host: IpAddr = [192, 0, 2, 1].into();
    let label = Some("eth0:1".into());
    let binding = Binding::host(host, "eth0");
    let route = evenkeel_model::HostRoute::of(&binding);
    all.host_objects.insert(route.clone().into(), route.value());
    all.vips.insert(binding, Vip { label, ..Vip::default() });
    let wide = Binding { prefix: 64, ..Binding::host("2001:db8::1".parse().expect("one"), "web0") };
    all.vips.insert(wide, Vip { dummy: true, ..Vip::default() });
    all.scope = Scope::Limited(Limits {
        vips: vec!["192.0.2.1/32".parse().expect("a net"), "2001:db8::/32".parse().expect("a net")],
        fwmarks: vec![7..=7, 10..=19],
        services: [ServiceKey::parse("[2001:db9::1]:53/udp").expect("a service")].into(),
    });
    assert_eq!(
        write(&WriteInput::of_desired(&all)),
        r#"version: 1

scope:
  vips: [192.0.2.1, 2001:db8::/32]
  fwmarks: [7, 10-19]
  services:
    - "[2001:db9::1]:53/udp"

vips:
  - { address: 192.0.2.1, interface: eth0, label: eth0:1, route: true }
  - { address: 2001:db8::1/64, interface: web0, dummy: true }

services:
  - name: web
    vip: 192.0.2.1
    port: 80
    scheduler: wrr
    real_servers:
      - { address: 10.0.0.1, weight: 1, forward: dr }
      - { address: 10.0.0.2, weight: 1, forward: tun, tunnel: { type: gue, port: 6080, checksum: remote } }
  - name: api
    vip: "2001:db8::"
    ports: [443, 444]
    scheduler: wlc
    forward: nat
    real_servers:
      - { address: 2001:db8:1::1, port: 8080, weight: 1 }
  - name: marked
    fwmark: 7
    family: ipv4
    scheduler: sh
    scheduler_flags: [sh-fallback, sh-port]
    persistence: { timeout: 300, netmask: 24, engine: sip }
    one_packet: true
    ignore: [weight]
    forward: tun
    tunnel: { type: gue, port: 6080, checksum: remote }
    real_servers:
      - { address: 10.0.0.3, weight: 1 }
"#
    );
    assert_written(&all);
}

#[test]
fn drains_and_thresholds_are_written_where_they_are_not_the_usual_ones() {
    let scheduled = |scheduler, flags| ServiceConfig {
        scheduler: Scheduler::new(scheduler).expect("a name"),
        scheduler_flags: SchedulerFlags::from_bits(flags),
        ..wlc()
    };
    let draining =
        |name: &str, config, drain| NamedService { drain, ..named(name, service(config, [])) };
    let mut all = desired([
        (tcp("192.0.2.1", 80), draining("usual", wlc(), Drain(90))),
        (tcp("192.0.2.2", 80), draining("long", wlc(), Drain(7200))),
        (tcp("192.0.2.3", 80), draining("none", wlc(), Drain::NONE)),
        (tcp("192.0.2.4", 80), draining("tied", scheduled("sh", 0), Drain::NONE)),
        (tcp("192.0.2.5", 80), draining("moving", scheduled("sh", 1), Drain(90))),
        (tcp("192.0.2.6", 80), draining("pair", wlc(), Drain(45))),
        (tcp("192.0.2.6", 81), draining("pair", wlc(), Drain(45))),
        (tcp("192.0.2.7", 80), draining("odd", wlc(), Drain(45))),
        (tcp("192.0.2.7", 81), draining("odd", wlc(), Drain(46))),
    ]);
    all.drain = Drain(90);
    all.guards = Guards { mass_delete: 80, mass_delete_from: 10, unbind_in_use: 7 };
    let text = write(&WriteInput::of_desired(&all));
    let drains = |name: &str| {
        let section = text.split("  - name: ").find(|section| section.starts_with(name));
        section.expect(name).lines().find(|line| line.contains("drain:")).map(str::trim)
    };
    assert_eq!(["usual", "tied", "moving"].map(drains), [None; 3]);
    assert_eq!(drains("long\n"), Some("drain: 2h"));
    assert_eq!(drains("none\n"), Some("drain: 0s"));
    assert_eq!(drains("pair\n"), Some("drain: 45s"));
    assert_eq!(drains("odd-192.0.2.7-81"), Some("drain: 46s"));
    let end = "\ndefaults: { drain: 90s }\n\nguards: { mass_delete: 80%, mass_delete_from: 10, unbind_in_use: 7 }\n";
    assert!(text.ends_with(end), "{text}");
    all.services.retain(|_, named| &*named.name != "odd");
    assert_written(&all);
    all.guards = Guards { mass_delete: 0, ..Guards::default() };
    all.drain = Drain::default();
    assert_written(&all);
    assert!(write(&WriteInput::of_desired(&all)).ends_with("\nguards: { mass_delete: off }\n"));
}

#[test]
fn a_live_state_is_written_with_the_drains_of_its_spec_where_its_scheduler_lets_them() {
    let sh = ServiceConfig { scheduler: Scheduler::new("sh").expect("a name"), ..wlc() };
    let drains = |desired: ServiceConfig, drain, live: &ServiceConfig| {
        let wanted = NamedService { drain, ..named("web", service(desired, [])) };
        let mut spec = self::desired([(tcp("192.0.2.1", 80), wanted)]);
        spec.guards.unbind_in_use = 3;
        let there = service(live.clone(), []);
        let services =
            [(tcp("192.0.2.1", 80), there.clone()), (tcp("192.0.2.9", 80), there)].into();
        let text = write(&WriteInput::of_live(&Live { services, ..Live::default() }, &spec));
        let desired = read(&text).desired;
        assert_eq!((desired.guards, desired.drain), (spec.guards, spec.drain));
        desired.services.values().map(|named| named.drain).collect::<Vec<_>>()
    };
    assert_eq!(drains(wlc(), Drain(5), &wlc()), [Drain(5), Drain(30)]);
    assert_eq!(drains(wlc(), Drain(30), &wlc()), [Drain(30), Drain(30)]);
    assert_eq!(drains(wlc(), Drain(5), &sh), [Drain::NONE; 2]);
    assert_eq!(drains(sh.clone(), Drain::NONE, &wlc()), [Drain(30), Drain(30)]);
    assert_eq!(drains(sh.clone(), Drain::NONE, &sh), [Drain::NONE; 2]);
}

#[test]
fn what_only_other_tools_write_is_unchecked_and_read_as_the_same() {
    let wild = ServiceConfig {
        scheduler: Scheduler::none(),
        persistence: Some(Persistence {
            timeout: u32::MAX,
            netmask: Netmask::V4(Ipv4Addr::UNSPECIFIED),
        }),
        one_packet: true,
        ..wlc()
    };
    let other = ServiceKey::Address {
        address: [192, 0, 2, 3].into(),
        port: 0,
        protocol: Protocol::Other(47),
    };
    let all = desired([
        (
            tcp("192.0.2.1", 80),
            named(
                "mapped",
                service(
                    wlc(),
                    [
                        server("10.0.0.1", 8080, Forward::Dr),
                        server("10.0.0.2", 80, Forward::Local),
                        server("10.0.0.3", 80, Forward::Bypass),
                    ],
                ),
            ),
        ),
        (tcp("192.0.2.2", 80), named("wild", service(wild, []))),
        (tcp("224.0.0.9", 0), named("multicast", service(wlc(), []))),
        (
            tcp("2001:db8::1", 80),
            named("near", service(wlc(), [server("fe80::1", 80, Forward::Dr)])),
        ),
        (other, named("other", service(wlc(), []))),
        (
            tcp("192.0.2.4", 80),
            named("engine", service(ServiceConfig { engine: Some("sip".into()), ..wlc() }, [])),
        ),
    ]);
    let text = write(&WriteInput::of_desired(&all));
    assert_eq!(text.matches("unchecked: true").count(), 8, "{text}");
    assert_written(&all);
    assert_eq!(read(&text).warnings.len(), 8);
}

#[test]
fn a_snapshot_drops_what_a_tunnel_does_not_have_and_keeps_its_real_server() {
    let stored = Tunnel { kind: TunnelKind::Ipip, port: 6080, checksum: Checksum::Full };
    let key = tcp("192.0.2.1", 80);
    let found = service(wlc(), [server("10.0.0.1", 80, Forward::Tun(stored))]);
    let live = Live { services: [(key, found)].into(), ..Live::default() };
    let text = write(&WriteInput::of_live(&live, &Desired::default()));
    let kept = &read(&text).desired.services[&key].service.real_servers;
    let forwards: Vec<Forward> = kept.iter().map(|(_, it)| it.forward).collect();
    assert_eq!(forwards, [Forward::Tun(Tunnel::IPIP)], "{text}");
}

#[test]
fn what_no_spec_can_say_is_left_out_with_a_comment() {
    let unknown = Tunnel { kind: TunnelKind::Other(9), port: 0, checksum: Checksum::None };
    let config = ServiceConfig { engine: Some("pis".into()), ..wlc() };
    let all = desired([(
        tcp("192.0.2.1", 80),
        named(
            "odd",
            service(
                config,
                [
                    server("10.0.0.1", 80, Forward::Tun(unknown)),
                    server("10.0.0.2", 80, Forward::Other(6)),
                ],
            ),
        ),
    )]);
    let text = write(&WriteInput::of_desired(&all));
    assert!(text.contains("# left out: the persistence engine pis"), "{text}");
    assert!(text.contains("# left out: 10.0.0.1, forward tun(unknown-9)"), "{text}");
    assert!(text.contains("# left out: 10.0.0.2, forward unknown(6)"), "{text}");
    assert!(read(&text).desired.services[&tcp("192.0.2.1", 80)].service.real_servers.is_empty());
}

#[test]
fn members_of_a_service_that_drifted_apart_get_names_of_their_own() {
    let one = service(wlc(), [server("10.0.0.1", 80, Forward::Dr)]);
    let wanted = desired([
        (tcp("192.0.2.1", 80), named("web", one.clone())),
        (tcp("192.0.2.2", 80), named("web", one.clone())),
    ]);
    let mut live = Live::default();
    let mut drifted = one.clone();
    drifted.real_servers.for_each_mut(|_, server| server.weight = 7);
    live.services.insert(tcp("192.0.2.1", 80), one.clone());
    live.services.insert(tcp("192.0.2.2", 80), drifted);
    live.services.insert(tcp("192.0.2.3", 80), one);
    let text = write(&WriteInput::of_live(&live, &wanted));
    for name in ["web-192.0.2.1-80-tcp", "web-192.0.2.2-80-tcp", "192.0.2.3-80-tcp"] {
        assert!(text.contains(&format!("  - name: {name}\n")), "{text}");
    }
    assert_eq!(read(&text).desired.services.len(), 3);
    let expanded = write(&WriteInput::of_desired(&wanted).expanded());
    assert!(expanded.contains("  - name: web-192.0.2.2-80-tcp\n"), "{expanded}");
}

#[test]
fn a_snapshot_is_read_back_as_the_live_state_it_was() {
    let mut live = Live::default();
    let one = service(wlc(), [server("10.0.0.1", 80, Forward::Dr)]);
    live.services.insert(tcp("192.0.2.1", 80), one);
    let host =
        |address: &str, interface| Binding::host(address.parse().expect("an address"), interface);
    live.addresses.insert(host("192.0.2.1", "vip0"), Owner::Evenkeel);
    live.addresses.insert(Binding { prefix: 24, ..host("10.0.0.5", "eth0") }, Owner::Other);
    live.addresses.insert(host("::1", "lo"), Owner::Other);
    live.host_objects.read = evenkeel_model::HostObjectKind::ALL.into();
    live.links = Some(
        [("lo", false), ("vip0", true), ("we\"ird", false)]
            .map(|(name, dummy)| {
                let owner = if dummy { Owner::Evenkeel } else { Owner::Other };
                (name.into(), Link { up: true, dummy, owner })
            })
            .into_iter()
            .collect(),
    );
    let mut input =
        WriteInput::of_live(&live, &Desired { scope: Scope::All, ..Desired::default() });
    input.observe(&live);
    let loaded = read(&write(&input));
    let bound: Vec<_> = loaded.desired.vips.iter().collect();
    assert_eq!(bound, [(&host("192.0.2.1", "vip0"), &Vip { dummy: true, ..Vip::default() })]);
    assert_eq!(loaded.into_live(), live);
}

#[test]
fn a_live_state_out_of_scope_is_not_written() {
    let mut live = Live::default();
    live.services.insert(tcp("192.0.2.1", 80), service(wlc(), []));
    live.addresses.insert(Binding::host([192, 0, 2, 1].into(), "eth0"), Owner::Evenkeel);
    let vips = vec!["198.51.100.0/24".parse().expect("a net")];
    let scope = Scope::Limited(Limits { vips, ..Limits::default() });
    let text = write(&WriteInput::of_live(&live, &Desired { scope, ..Desired::default() }));
    assert!(!text.contains("192.0.2.1"), "{text}");
}

#[test]
fn what_is_beside_the_services_is_written_as_a_person_would() {
    let daemon = SyncDaemon {
        interface: "eth1".into(),
        id: 7,
        max_length: Some(1472),
        group: Some([224, 0, 0, 81].into()),
        port: Some(8848),
        ttl: Some(1),
    };
    let short =
        SyncDaemon { max_length: None, group: None, port: None, ttl: None, ..daemon.clone() };
    let sysctls = [
        ("net.ipv4.ip_forward", "1"),
        ("net.ipv4.tcp_congestion_control", "bbr"),
        ("net.ipv4.vs.sync_threshold", "3 50"),
    ];
    let all = Desired {
        timeouts: DesiredTimeouts { tcp: Some(900), tcp_fin: None, udp: Some(300) },
        sync: Some([(SyncState::Master, daemon), (SyncState::Backup, short)].into()),
        sysctls: sysctls.map(|(key, value)| (key.into(), value.into())).into(),
        ..Desired::default()
    };
    assert_eq!(
        write(&WriteInput::of_desired(&all)),
        "version: 1

services: []

timeouts: { tcp: 900, udp: 300 }

sync:
  - { state: master, interface: eth1, id: 7, max_length: 1472, group: 224.0.0.81, port: 8848, ttl: 1 }
  - { state: backup, interface: eth1, id: 7 }

sysctls:
  net.ipv4.ip_forward: 1
  net.ipv4.tcp_congestion_control: bbr
  net.ipv4.vs.sync_threshold: \"3 50\"
"
    );
    assert_written(&all);
    let none = Desired { sync: Some(BTreeMap::new()), ..Desired::default() };
    assert!(write(&WriteInput::of_desired(&none)).ends_with("\nsync: []\n"));
    assert_written(&none);
}

#[test]
fn a_timeout_that_no_spec_can_say_is_left_out_with_a_comment() {
    let longest = DesiredTimeouts::MAX;
    let timeouts = Timeouts { tcp: longest + 1, tcp_fin: longest, udp: 0 };
    let live = Live { timeouts: Some(timeouts), ..Live::default() };
    let text = write(&WriteInput::of_live(&live, &Desired::default()));
    assert!(text.contains("\ntimeouts: { tcp_fin: 2147483 }\n"), "{text}");
    assert!(text.contains("# left out: the timeout tcp, 2147484 s\n"), "{text}");
    assert!(text.contains("# left out: the timeout udp, 0 s\n"), "{text}");
    let read = read(&text).into_live().timeouts;
    assert_eq!(read, Some(Timeouts { tcp: 900, tcp_fin: longest, udp: 300 }));
}

#[test]
fn that_no_sync_daemon_runs_is_said_only_where_the_spec_has_a_word_about_them() {
    let live = Live::default();
    let silent = write(&WriteInput::of_live(&live, &Desired::default()));
    assert!(!silent.contains("sync"), "{silent}");
    let asked = Desired { sync: Some(BTreeMap::new()), ..Desired::default() };
    assert!(write(&WriteInput::of_live(&live, &asked)).contains("\nsync: []\n"));
}

#[test]
fn real_servers_that_several_services_share_are_a_pool_by_the_name_of_the_first() {
    let (nat, gue) =
        (Forward::Nat, Tunnel { kind: TunnelKind::Gue, port: 1, checksum: Checksum::None });
    let apps = |port, forward| {
        service(wlc(), [server("10.0.0.2", port, forward), server("10.0.0.1", port, forward)])
    };
    let other = service(wlc(), [server("10.0.0.1", 80, nat), server("10.0.0.2", 80, nat)]);
    let all = desired([
        (tcp("192.0.2.1", 80), named("web", apps(80, nat))),
        (tcp("192.0.2.1", 443), named("tls", apps(443, Forward::Tun(gue)))),
        (tcp("192.0.2.2", 80), named("order", other)),
        (tcp("192.0.2.3", 80), named("mapped", apps(8080, nat))),
        (tcp("192.0.2.4", 80), named("mapped-too", apps(8080, nat))),
        (tcp("192.0.2.5", 80), named("none", service(wlc(), []))),
        (tcp("192.0.2.6", 80), named("none-too", service(wlc(), []))),
    ]);
    let text = write(&WriteInput::of_desired(&all).pooled());
    let (services, pools) = text.split_once("\npools:\n").expect("there are some");
    assert_eq!(
        pools,
        "  - name: web
    real_servers:
      - { address: 10.0.0.2, weight: 1 }
      - { address: 10.0.0.1, weight: 1 }
  - name: mapped
    real_servers:
      - { address: 10.0.0.2, port: 8080, weight: 1 }
      - { address: 10.0.0.1, port: 8080, weight: 1 }
"
    );
    assert_eq!(services.matches("    pool: web\n").count(), 2, "{services}");
    assert_eq!(services.matches("    pool: mapped\n").count(), 2, "{services}");
    assert_eq!(services.matches("    real_servers: []\n").count(), 2, "{services}");
    assert_eq!(read(&text).desired, all);
    for (key, named) in &read(&text).desired.services {
        let order = named.service.real_servers.in_order();
        assert!(order.eq(all.services[key].service.real_servers.in_order()), "{key}");
    }
}

#[test]
fn a_snapshot_ends_with_the_moment_and_the_counters_which_a_spec_ignores() {
    let mut live = Live::default();
    let key = tcp("192.0.2.1", 80);
    live.services.insert(key, service(wlc(), [server("10.0.0.1", 80, Forward::Dr)]));
    let traffic = Traffic { connections: 5, packets_in: 40, bytes_in: 2000, ..Traffic::default() };
    let counted = RealServerStatistics {
        active_connections: 1,
        inactive_connections: 4,
        persistent_connections: 0,
        traffic,
    };
    let (one, _) = server("10.0.0.1", 80, Forward::Dr);
    let real_servers = [(one, counted)].into();
    let in_scope = (key, ServiceStatistics { traffic, real_servers });
    let out_of_scope = (tcp("192.0.2.9", 80), ServiceStatistics::default());
    let services = [in_scope.clone(), out_of_scope].into();
    let mut input = WriteInput::of_live(&live, &Desired::default());
    input.observe_moment("2026-03-01T12:00:00Z", "6.1.0-\n${x}");
    input.observe_statistics(&Statistics { services });
    let text = write(&input);
    let (_, observed) = text.split_once("\nobserved:\n").expect("it is there");
    assert_eq!(
        observed,
        r#"  time: 2026-03-01T12:00:00Z
  kernel: "6.1.0-\U0000000A$${x}"
  counters:
    - service: 192.0.2.1:80/tcp
      traffic: { connections: 5, packets_in: 40, packets_out: 0, bytes_in: 2000, bytes_out: 0 }
      real_servers:
        - { address: 10.0.0.1, port: 80, active: 1, inactive: 4, persistent: 0, connections: 5, packets_in: 40, packets_out: 0, bytes_in: 2000, bytes_out: 0 }
"#
    );
    let loaded = read(&text);
    assert_eq!(loaded.statistics(), Some(&Statistics { services: [in_scope].into() }));
    assert_eq!(loaded.into_live(), live);
}
