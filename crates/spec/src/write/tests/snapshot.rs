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
