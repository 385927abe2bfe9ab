//! Tests how a live state is written.

use evenkeel_model::statistics::{RealServerStatistics, ServiceStatistics, Statistics, Traffic};
use evenkeel_model::{
    Binding, Checksum, Drain, HostObject, HostRoute, Limits, Link, Live, LiveHostObject, Owner,
    RouteValue, Scope, Tunnel, TunnelKind,
};

use super::*;

#[test]
fn a_live_state_is_written_with_the_drains_of_its_spec_where_its_scheduler_permits_them() {
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
fn a_snapshot_drops_parameters_that_a_tunnel_does_not_have_and_keeps_its_real_server() {
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
fn one_route_of_an_address_is_written_however_many_there_are() {
    for address in ["192.0.2.1", "2001:db8::1"] {
        let mut live = Live::default();
        let vips = ["eth0", "eth1", "eth2"]
            .map(|interface| Binding::host(address.parse().expect("an address"), interface));
        for binding in &vips {
            live.addresses.insert(binding.clone(), Owner::Evenkeel);
            let route = HostRoute::of(binding);
            let source = (&*binding.interface != "eth0").then_some(binding.address);
            let found = LiveHostObject::of_evenkeel(RouteValue { source }.into());
            live.host_objects.objects.insert(route.into(), found);
        }
        let whole = Desired { scope: Scope::All, ..Desired::default() };
        let text = write(&WriteInput::of_live(&live, &whole));
        let desired = read(&text).desired;
        let routes: Vec<_> = desired.host_objects.keys().collect();
        assert_eq!(routes, [&HostObject::from(HostRoute::of(&vips[1]))], "{text}");
        assert_eq!(desired.vips.len(), 3);
    }
}

#[test]
fn members_of_a_service_that_differ_after_drift_get_names_of_their_own() {
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
fn a_snapshot_is_read_back_as_the_same_live_state() {
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
fn a_snapshot_ends_with_time_and_counters_which_a_spec_ignores() {
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
  # Of a service: connections, packets in, packets out, bytes in, bytes out. Of a real server, before these:
  # active, inactive and persistent connections. Zeros at the end are left out.
  counters:
    - service: 192.0.2.1:80/tcp
      traffic: "5 40 0 2000"
      real_servers:
        - "10.0.0.1:80 1 4 0 5 40 0 2000"
"#
    );
    let loaded = read(&text);
    assert_eq!(loaded.statistics(), Some(&Statistics { services: [in_scope].into() }));
    assert_eq!(loaded.into_live(), live);
}

/// A live state with its counters: so many services with the same real servers.
fn counted(services: u8, real_servers: u8) -> (Live, Statistics) {
    let (mut live, mut statistics) = (Live::default(), Statistics::default());
    let traffic = Traffic {
        connections: 100_000,
        packets_in: 9_000_000,
        packets_out: 9_000_000,
        bytes_in: 7_000_000_000,
        bytes_out: 70_000_000_000,
        ..Traffic::default()
    };
    let counted = RealServerStatistics {
        active_connections: 250,
        inactive_connections: 30,
        persistent_connections: 7,
        traffic,
    };
    for last in 1..=services {
        let key = tcp(&format!("192.0.2.{last}"), 80);
        let all = (1..=real_servers).map(|it| server(&format!("10.0.0.{it}"), 80, Forward::Dr));
        let service = service(wlc(), all.collect::<Vec<_>>());
        let numbers = service.real_servers.iter().map(|(it, _)| (*it, counted)).collect();
        let numbers = ServiceStatistics { traffic, real_servers: numbers };
        statistics.services.insert(key, numbers);
        live.services.insert(key, service);
    }
    (live, statistics)
}

#[test]
fn counters_are_no_more_than_the_services_themselves() {
    let (live, statistics) = counted(50, 10);
    let mut input = WriteInput::of_live(&live, &Desired::default());
    let whole = write(&input).len();
    input.observe_statistics(&statistics);
    let text = write(&input);
    assert!(text.len() <= 3 * whole, "{} bytes with counters, {whole} without", text.len());
    assert_eq!(read(&text).statistics(), Some(&statistics));
    // A host without any traffic.
    statistics.services.values().for_each(|it| assert_eq!(it.real_servers.len(), 10));
    let mut idle = statistics;
    for service in idle.services.values_mut() {
        service.traffic = Traffic::default();
        service.real_servers.values_mut().for_each(|it| *it = RealServerStatistics::default());
    }
    input.observe_statistics(&idle);
    let text = write(&input);
    assert!(text.len() <= 2 * whole, "{} bytes with counters, {whole} without", text.len());
    assert_eq!(read(&text).statistics(), Some(&idle));
}

#[test]
fn the_counters_of_shared_real_servers_are_few_values_to_read() {
    let (live, statistics) = counted(50, 10);
    let mut input = WriteInput::of_live(&live, &Desired::default()).pooled();
    let values = |text: &str| crate::spanned::build(text).expect("YAML").len();
    let alone = values(&write(&input));
    input.observe_statistics(&statistics);
    let all = values(&write(&input));
    assert!(all <= 3 * alone, "{all} values with counters, {alone} without");
}

#[test]
fn the_counters_of_an_ipv6_real_server_are_read_back() {
    let key = tcp("2001:db8::1", 80);
    let one = server("2001:db8::2", 80, Forward::Nat);
    let live = Live { services: [(key, service(wlc(), [one]))].into(), ..Live::default() };
    let traffic = Traffic { bytes_out: u64::MAX, ..Traffic::default() };
    let counted = RealServerStatistics { persistent_connections: 4, traffic, ..Default::default() };
    let counted = ServiceStatistics { traffic, real_servers: [(one.0, counted)].into() };
    let statistics = Statistics { services: [(key, counted)].into() };
    let mut input = WriteInput::of_live(&live, &Desired::default());
    input.observe_statistics(&statistics);
    let text = write(&input);
    assert_eq!(read(&text).statistics(), Some(&statistics), "{text}");
}
