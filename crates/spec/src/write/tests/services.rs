//! Tests how services are written.

use std::net::{IpAddr, Ipv4Addr};

use evenkeel_model::{
    Checksum, Drain, Family, Guards, IgnoredField, Limits, Netmask, Persistence, SchedulerFlags,
    Tunnel, TunnelKind,
};

use super::*;

#[test]
fn the_text_is_as_a_person_would_write_it() {
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
    for (address, last) in [("192.0.2.1", 1), ("2001:db8::1", 0xaa)] {
        let address = address.parse().expect("an address");
        let neighbour = evenkeel_model::Neighbour { address, interface: "eth1".into() };
        let mac = evenkeel_model::MacAddress([2, 0, 0, 0, 0, last]);
        all.host_objects.insert(neighbour.into(), mac.into());
    }
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

neighbours:
  - { address: 192.0.2.1, interface: eth1, mac: "02:00:00:00:00:01" }
  - { address: 2001:db8::1, interface: eth1, mac: "02:00:00:00:00:aa" }

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
fn drains_and_thresholds_are_written_where_they_differ_from_the_defaults() {
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
    let end = "\ndefaults: { drain: 1m30s }\n\nguards: { mass_delete: 80%, mass_delete_from: 10, unbind_in_use: 7 }\n";
    assert!(text.ends_with(end), "{text}");
    all.services.retain(|_, named| &*named.name != "odd");
    assert_written(&all);
    all.guards = Guards { mass_delete: 0, ..Guards::default() };
    all.drain = Drain::default();
    assert_written(&all);
    assert!(write(&WriteInput::of_desired(&all)).ends_with("\nguards: { mass_delete: off }\n"));
}

#[test]
fn values_of_other_tools_are_marked_unchecked_and_read_back_unchanged() {
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
fn values_that_no_spec_can_express_are_left_out_with_a_comment() {
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
fn real_servers_that_services_share_become_a_pool_named_after_the_first_service() {
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
