//! Tests each rule on small states; [`laws`] tests properties on arbitrary states.

mod laws;

use evenkeel_model::{
    ArpRules, ArpRulesValue, CONNECTION_TRACKING, Desired, Drain, Forward, HostValue, Link,
    LiveHostObjects, Owner, RealServer, ServiceConfig, SourceNat, SourceNatValue, SyncState,
    Tunnel, Vip,
};

use std::net::Ipv4Addr;

use super::*;
use crate::test_fixtures::{self, at, on, on_port, scheduled_by, sync_daemon, weighing};
use crate::{Inputs, PriorState, Verb, plan};

fn marked(family: Family) -> ServiceKey {
    ServiceKey::Fwmark { family, fwmark: 7 }
}

/// A service with real servers by the last byte of their addresses, and their weights.
fn service(real_servers: &[(u8, u32)]) -> Service {
    let real_servers = real_servers.iter().map(|(last, weight)| (at(*last), weighing(*weight)));
    Service { config: scheduled_by("wrr"), real_servers: real_servers.collect() }
}

fn vip(last: u8) -> Binding {
    Binding::host([192, 0, 2, last].into(), "eth0")
}

fn host<const N: usize>(services: [(ServiceKey, Service); N], vips: &[Binding]) -> Live {
    Live {
        services: services.into(),
        addresses: vips.iter().map(|binding| (binding.clone(), Owner::Evenkeel)).collect(),
        ..Live::default()
    }
}

fn spec<const N: usize>(services: [(ServiceKey, Service); N], vips: &[Binding]) -> Desired {
    let vips = vips.iter().map(|binding| (binding.clone(), Vip::default())).collect();
    Desired { vips, ..test_fixtures::spec(services) }
}

fn draining(mut desired: Desired) -> Desired {
    desired.drain = Drain(30);
    desired.services.values_mut().for_each(|named| named.drain = Drain(30));
    desired
}

fn steps_of(desired: &Desired, live: &Live) -> Vec<Op> {
    plan(Inputs::new(desired, live, &PriorState::for_snapshot())).steps
}

/// The remaining steps of a plan, as verbs and objects.
fn rest<const N: usize>(
    desired: &Desired,
    live: &Live,
    held_back: [Object; N],
) -> Vec<(Verb, Object)> {
    let rest = hold_back(steps_of(desired, live), live, &held_back.into());
    rest.iter().map(|op| (op.verb(), op.object())).collect()
}

fn real_server(last: u8) -> Object {
    Object::RealServer(on(1), at(last))
}

use Object::{Dummy, Module, Vip as AVip};
use Verb::{Add, Bind, Delete, Drain as DrainStep, Edit, Unbind};

#[test]
fn a_service_that_is_not_added_has_no_real_servers_and_its_vip_is_not_bound() {
    let live = host([], &[]);
    let desired =
        spec([(on(1), service(&[(1, 1)])), (on(2), service(&[(1, 1)]))], &[vip(1), vip(2)]);
    let other = Object::RealServer(on(2), at(1));
    assert_eq!(
        rest(&desired, &live, [Object::Service(on(1))]),
        [(Add, Object::Service(on(2))), (Add, other), (Bind, AVip(vip(2)))]
    );
}

#[test]
fn a_service_whose_scheduler_or_engine_is_not_loaded_is_neither_added_nor_edited() {
    let mut live = host([(on(2), service(&[(1, 1)])), (on(3), service(&[(1, 1)]))], &[]);
    live.modules = Some(BTreeSet::new());
    let with = |config| Service { config, ..service(&[(1, 1)]) };
    let sip = ServiceConfig { engine: Some("sip".into()), ..scheduled_by("wrr") };
    let desired = spec(
        [(on(1), with(scheduled_by("sh"))), (on(2), with(scheduled_by("sh"))), (on(3), with(sip))],
        &[],
    );
    let module = |name: &str| Module(name.into());
    assert_eq!(
        rest(&desired, &live, [module("ip_vs_sh")]),
        [(Add, module("ip_vs_pe_sip")), (Edit, Object::Service(on(3)))]
    );
    assert_eq!(rest(&desired, &live, [module("ip_vs_pe_sip"), module("ip_vs_sh")]), []);
}

#[test]
fn capacity_is_not_reduced_while_an_additive_step_is_missing() {
    let live = host([(on(1), service(&[(1, 5), (2, 1), (3, 5), (4, 1)]))], &[]);
    let mut wanted = service(&[(1, 1), (2, 5), (4, 1), (5, 1), (6, 1)]);
    wanted.config = scheduled_by("wlc");
    let desired = draining(spec([(on(1), wanted)], &[]));
    let giving = [
        (Add, real_server(5)),
        (Add, real_server(6)),
        (Edit, Object::Service(on(1))),
        (Edit, real_server(2)),
    ];
    let taking = [(Edit, real_server(1)), (DrainStep, real_server(3)), (Delete, real_server(3))];
    assert_eq!(rest(&desired, &live, []), [&giving[..], &taking[..]].concat());
    for (place, (_, object)) in giving.iter().enumerate() {
        let mut others = giving.to_vec();
        others.remove(place);
        assert_eq!(rest(&desired, &live, [object.clone()]), others, "{object:?}");
    }
}

#[test]
fn steps_that_only_reduce_capacity_block_nothing() {
    let live = host([(on(1), service(&[(1, 5), (2, 5), (3, 5)]))], &[]);
    let desired = spec([(on(1), service(&[(1, 1), (4, 1)]))], &[]);
    let [added, lowered] = [(Add, real_server(4)), (Edit, real_server(1))];
    let [two, three] = [2, 3].map(|last| (Delete, real_server(last)));
    assert_eq!(
        rest(&desired, &live, [real_server(1)]),
        [added.clone(), two.clone(), three.clone()]
    );
    assert_eq!(rest(&desired, &live, [real_server(2)]), [added, lowered, three]);
}

#[test]
fn other_services_do_not_wait() {
    let live = host([(on(1), service(&[(1, 1)])), (on(2), service(&[(1, 1)]))], &[]);
    let desired = spec([(on(1), service(&[(2, 1)])), (on(2), service(&[(2, 1)]))], &[]);
    assert_eq!(
        rest(&desired, &live, [real_server(2)]),
        [(Add, Object::RealServer(on(2), at(2))), (Delete, Object::RealServer(on(2), at(1)))]
    );
}

#[test]
fn a_service_is_not_added_without_a_real_server_for_its_clients() {
    let desired = |weight| spec([(on(1), service(&[(1, 1), (2, weight)]))], &[]);
    let live = host([], &[]);
    assert_eq!(rest(&desired(0), &live, [real_server(1)]), []);
    assert_eq!(
        rest(&desired(1), &live, [real_server(1)]),
        [(Add, Object::Service(on(1))), (Add, real_server(2))]
    );
    // The spec itself lists no real server that serves it.
    let idle = spec([(on(1), service(&[(1, 0), (2, 0)]))], &[]);
    assert_eq!(
        rest(&idle, &live, [real_server(1)]),
        [(Add, Object::Service(on(1))), (Add, real_server(2))]
    );
}

#[test]
fn a_vip_is_bound_if_one_service_on_it_is_ready_or_none_is_expected_to_be() {
    let [web, tls] = [on(1), on_port(1, 443)];
    let live = host([], &[]);
    let both = spec([(web, service(&[(1, 1)])), (tls, service(&[(1, 1)]))], &[vip(1)]);
    let bind = (Bind, AVip(vip(1)));
    assert!(rest(&both, &live, [Object::Service(web)]).contains(&bind));
    assert_eq!(rest(&both, &live, [Object::Service(web), Object::Service(tls)]), []);

    let idle =
        spec([(web, service(&[(1, 0)])), (marked(Family::Ipv4), service(&[(1, 1)]))], &[vip(1)]);
    let mark = Object::Service(marked(Family::Ipv4));
    assert_eq!(
        rest(&idle, &live, [mark, real_server(1)]),
        [(Add, Object::Service(web)), bind.clone()]
    );

    // A live service on it is enough.
    let there = host([(tls, service(&[(1, 1)]))], &[]);
    assert_eq!(rest(&both, &there, [Object::Service(web)]), std::slice::from_ref(&bind));
    // It is ready only because the step that would delete its last real server waits too.
    let replaced = spec([(web, service(&[(2, 1)]))], &[vip(1)]);
    let there = host([(web, service(&[(1, 1)]))], &[]);
    assert_eq!(rest(&replaced, &there, [real_server(2)]), [bind]);
}

#[test]
fn a_vip_that_is_not_bound_in_its_new_place_stays_in_the_old_one() {
    let elsewhere = Binding { interface: "eth1".into(), ..vip(1) };
    let services = || [(on(1), service(&[(1, 1)]))];
    let live = host(services(), &[vip(1), vip(2)]);
    let desired = spec(services(), std::slice::from_ref(&elsewhere));
    assert_eq!(rest(&desired, &live, [AVip(elsewhere.clone())]), [(Unbind, AVip(vip(2)))]);
    assert_eq!(
        rest(&desired, &live, [AVip(vip(1))]),
        [(Bind, AVip(elsewhere)), (Unbind, AVip(vip(2)))]
    );
}

#[test]
fn a_vip_of_ipv6_with_another_prefix_length_waits_until_the_old_one_is_gone() {
    let address = "2001:db8::1".parse().expect("an address");
    let [narrow, wide] =
        [128, 64].map(|prefix| Binding { address, interface: "eth0".into(), prefix });
    let live = host([], std::slice::from_ref(&wide));
    let desired = spec([], std::slice::from_ref(&narrow));
    for held in [narrow, wide] {
        assert_eq!(rest(&desired, &live, [AVip(held)]), []);
    }
}

#[test]
fn nothing_is_bound_on_a_device_that_is_not_created_and_no_daemon_started() {
    let on_dummy = Binding { interface: "vips".into(), ..vip(1) };
    let services = || [(on(1), service(&[(1, 1)]))];
    let mut live = host(services(), &[vip(1)]);
    live.links =
        Some([("eth0".into(), Link { up: true, dummy: false, owner: Owner::Other })].into());
    let mut desired = spec(services(), &[]);
    desired.vips.insert(on_dummy, Vip { dummy: true, ..Vip::default() });
    desired.vips.insert(vip(2), Vip::default());
    desired.sync = Some([(SyncState::Master, sync_daemon("vips", 1))].into());
    assert_eq!(rest(&desired, &live, [Dummy("vips".into())]), [(Bind, AVip(vip(2)))]);
}

#[test]
fn nothing_is_bound_on_a_device_that_stays_down_nor_moved_to_it() {
    let services = || [(on(1), service(&[(1, 1)]))];
    let mut live = host(services(), &[vip(1)]);
    let link = |up| Link { up, dummy: true, owner: Owner::Evenkeel };
    live.links = Some([("eth0".into(), link(true)), ("vips".into(), link(false))].into());
    let mut desired = spec(services(), &[]);
    desired.vips.insert(Binding { interface: "vips".into(), ..vip(1) }, Vip::default());
    assert_eq!(rest(&desired, &live, []).len(), 3, "up, bind, unbind");
    assert_eq!(rest(&desired, &live, [Dummy("vips".into())]), []);
}

#[test]
fn a_device_is_not_deleted_while_a_vip_stays_on_it() {
    let live = host([], &[vip(1), vip(2)]);
    let delete = || Op::DeleteDummy { interface: "eth0".into() };
    let unbind = |last| Op::Unbind { binding: vip(last), label: None };
    let steps = || vec![unbind(1), unbind(2), delete()];
    assert_eq!(hold_back(steps(), &live, &[AVip(vip(2))].into()), [unbind(1)]);
    // Not even a VIP that the plan does not contain.
    assert_eq!(hold_back(steps(), &live, &[AVip(vip(3))].into()), [unbind(1), unbind(2)]);
}

#[test]
fn a_vip_and_its_services_leave_together_or_not_at_all() {
    let [web, tls] = [on(1), on_port(1, 443)];
    let live = host(
        [(web, service(&[(1, 1)])), (tls, service(&[(1, 1)])), (on(2), service(&[(1, 1)]))],
        &[vip(1), vip(2)],
    );
    let desired = draining(spec([], &[]));
    let other = Object::RealServer(on(2), at(1));
    let others = [(DrainStep, other), (Unbind, AVip(vip(2))), (Delete, Object::Service(on(2)))];
    for held in [Object::Service(web), AVip(vip(1)), real_server(1)] {
        assert_eq!(rest(&desired, &live, [held.clone()]), others, "{held:?}");
    }
    // A VIP that stays on some interface does not prevent the deletion of a service.
    let mut kept = live.clone();
    kept.addresses.insert(Binding { interface: "eth1".into(), ..vip(1) }, Owner::Other);
    let left = rest(&desired, &kept, [AVip(vip(1))]);
    assert!(left.contains(&(Delete, Object::Service(web))), "{left:?}");
}

#[test]
fn a_fwmark_service_may_be_reached_by_any_vip_of_its_family() {
    let mark = marked(Family::Ipv4);
    let live = host([(mark, service(&[(1, 1)]))], &[vip(1)]);
    let desired = spec([], &[]);
    assert_eq!(rest(&desired, &live, [AVip(vip(1))]), []);
    assert_eq!(rest(&desired, &live, [Object::Service(mark)]), []);
    let other = marked(Family::Ipv6);
    let live = host([(other, service(&[(1, 1)]))], &[vip(1)]);
    assert_eq!(rest(&desired, &live, [AVip(vip(1))]), [(Delete, Object::Service(other))]);
}

#[test]
fn a_service_is_not_deleted_before_the_new_one_on_its_vip_exists() {
    let (all_ports, web) = (on_port(1, 0), on(1));
    let live = host([(all_ports, service(&[(1, 1)])), (on(2), service(&[(1, 1)]))], &[]);
    let desired = spec([(web, service(&[(1, 1)]))], &[]);
    let gone = (Delete, Object::Service(on(2)));
    assert_eq!(rest(&desired, &live, [Object::Service(web)]), std::slice::from_ref(&gone));
    assert_eq!(rest(&desired, &live, [real_server(1)]), [gone]);
}

#[test]
fn a_real_server_that_moves_in_the_list_is_not_deleted_unless_it_is_added_again() {
    let live = host([(on(1), service(&[(1, 1), (2, 1)]))], &[]);
    let listed = [(at(2), weighing(1)), (at(1), weighing(1)), (at(3), weighing(1))];
    let moved = Service { config: scheduled_by("wrr"), real_servers: listed.into_iter().collect() };
    let mut desired = spec([(on(1), moved)], &[]);
    desired.services.values_mut().for_each(|named| named.canonical_order = true);
    assert_eq!(
        rest(&desired, &live, []),
        [(Delete, real_server(1)), (Add, real_server(1)), (Add, real_server(3)),]
    );
    assert_eq!(rest(&desired, &live, [real_server(1)]), [(Add, real_server(3))]);
    assert_eq!(rest(&desired, &live, [real_server(3)]), []);
}

#[test]
fn real_servers_of_the_other_family_and_sync_daemons_wait_for_each_other() {
    let address = "2001:db8::1".parse().expect("an address");
    let six = RealServerKey { address, port: 80 };
    let tunnelled = RealServer { forward: Forward::Tun(Tunnel::IPIP), ..weighing(1) };
    let mixed = || {
        let mut mixed = service(&[(1, 1)]);
        mixed.real_servers.insert(six, tunnelled);
        mixed
    };
    let daemons = || [(SyncState::Master, sync_daemon("eth0", 1))].into();
    let master = Object::Sync(SyncState::Master);

    let live = Live { sync: daemons(), ..host([(on(1), service(&[(1, 1), (2, 1)]))], &[]) };
    let desired = Desired { sync: Some([].into()), ..spec([(on(1), mixed())], &[]) };
    assert_eq!(rest(&desired, &live, [master.clone()]), []);

    let live = host([(on(1), mixed())], &[]);
    let desired = Desired { sync: Some(daemons()), ..spec([(on(1), service(&[(1, 1)]))], &[]) };
    let started = (Add, master);
    assert!(rest(&desired, &live, [real_server(1)]).contains(&started));
    assert_eq!(rest(&desired, &live, [Object::RealServer(on(1), six)]), []);
}

#[test]
fn sysctls_and_timeouts_block_nothing() {
    let mut live = host([(on(1), service(&[(1, 1)]))], &[]);
    live.sysctls.insert("net.ipv4.vs.expire_nodest_conn".into(), "0".into());
    let mut desired = spec([(on(1), service(&[(2, 1)]))], &[]);
    desired.sysctls.insert("net.ipv4.vs.expire_nodest_conn".into(), "1".into());
    desired.timeouts.tcp = Some(60);
    let all = rest(&desired, &live, []);
    assert_eq!(all.len(), 4);
    for (_, object) in &all[..2] {
        let left: Vec<_> = all.iter().filter(|(_, other)| other != object).cloned().collect();
        assert_eq!(rest(&desired, &live, [object.clone()]), left);
    }
}

const ARP: &str = "net.ipv4.conf.lo.arp_ignore";

fn on_lo(address: &str) -> Binding {
    Binding::host(address.parse().expect("an address"), "lo")
}

#[test]
fn a_vip_that_other_hosts_have_too_is_bound_only_with_its_arp_sysctls() {
    let tunnel = Binding::host([192, 0, 2, 2].into(), "tunl0");
    let vips = [on_lo("192.0.2.1"), on_lo("2001:db8::1"), tunnel.clone(), vip(3)];
    let mut desired = spec([], &vips);
    let keys = [ARP, "net.ipv4.conf.all.arp_announce", "net.ipv4.conf.tunl0.rp_filter"];
    let mut live = host([], &[]);
    for key in keys {
        desired.sysctls.insert(key.into(), "1".into());
        live.sysctls.insert(key.into(), "0".into());
    }
    let [lo, lo_ipv6, _, eth0] = vips;
    let bound = |failing: &str| {
        let rest = rest(&desired, &live, [Object::Sysctl(failing.into())]);
        let bound = rest.into_iter().filter(|(verb, _)| *verb == Bind).map(|(_, object)| object);
        bound.collect::<BTreeSet<_>>()
    };
    let all = |bindings: &[&Binding]| bindings.iter().map(|it| AVip((*it).clone())).collect();
    assert_eq!(bound(keys[0]), all(&[&lo_ipv6, &tunnel, &eth0]));
    assert_eq!(bound(keys[1]), all(&[&lo_ipv6, &eth0]));
    assert_eq!(bound(keys[2]), all(&[&lo, &lo_ipv6, &eth0]));
}

#[test]
fn a_sysctl_is_not_restored_while_a_vip_or_a_service_that_relies_on_it_stays() {
    let nodest = "net.ipv4.vs.expire_nodest_conn";
    let mut live = host([(on(9), service(&[(1, 1)]))], &[on_lo("192.0.2.1")]);
    let mut record = PriorState::for_snapshot();
    for key in [ARP, nodest] {
        live.sysctls.insert(key.into(), "1".into());
        record.sysctls.insert(key.into(), "0".into());
    }
    let desired = spec([], &[]);
    let steps = plan(Inputs::new(&desired, &live, &record)).steps;
    let restored = |held_back: Object| {
        let rest = hold_back(steps.clone(), &live, &[held_back].into());
        let restored = rest.into_iter().filter_map(|op| match op {
            Op::RestoreSysctl { key, .. } => Some(key),
            _ => None,
        });
        restored.collect::<Vec<_>>()
    };
    assert_eq!(restored(AVip(on_lo("192.0.2.1"))), [nodest.into()]);
    assert_eq!(restored(Object::Service(on(9))), []);
    assert_eq!(restored(Object::Sysctl(nodest.into())), [ARP.into()]);
}

#[test]
fn a_rewritten_sysctl_is_not_restored_before_its_master() {
    let (master, other) = ("net.ipv4.ip_forward", "net.ipv4.conf.eth0.forwarding");
    let mut live = host([], &[]);
    let mut record = PriorState::for_snapshot();
    live.sysctls = [(master.into(), "1".into()), (other.into(), "1".into())].into();
    record.sysctls.insert(master.into(), "0".into());
    record.side_effects.insert(master.into(), [(other.into(), "2".into())].into());
    let steps = plan(Inputs::new(&spec([], &[]), &live, &record)).steps;
    assert_eq!(steps.len(), 2);
    assert_eq!(hold_back(steps, &live, &[Object::Sysctl(master.into())].into()), []);
}

#[test]
fn a_vip_is_not_bound_without_its_arp_rules() {
    let rules = HostObject::from(ArpRules { address: Ipv4Addr::new(192, 0, 2, 1) });
    let mut desired = spec([], &[on_lo("192.0.2.1"), on_lo("192.0.2.2")]);
    let value = ArpRulesValue::with_source(Ipv4Addr::new(10, 0, 0, 1));
    desired.host_objects.insert(rules.clone(), value.into());
    let rest = rest(&desired, &host([], &[]), [Object::Host(rules)]);
    assert_eq!(rest, [(Verb::Bind, AVip(on_lo("192.0.2.2")))]);
}

#[test]
fn a_vip_is_hidden_from_arp_at_any_time_while_sysctls_and_rules_take_turns() {
    let rules = HostObject::from(ArpRules { address: Ipv4Addr::new(192, 0, 2, 1) });
    let value = HostValue::from(ArpRulesValue::with_source(Ipv4Addr::new(10, 0, 0, 1)));
    let vip = on_lo("192.0.2.1");
    // Sysctls give way to rules.
    let mut live = host([], std::slice::from_ref(&vip));
    live.sysctls.insert(ARP.into(), "1".into());
    let mut record = PriorState::for_snapshot();
    record.sysctls.insert(ARP.into(), "0".into());
    let mut desired = spec([], std::slice::from_ref(&vip));
    desired.host_objects.insert(rules.clone(), value.clone());
    let steps = plan(Inputs::new(&desired, &live, &record)).steps;
    assert_eq!(steps.len(), 2);
    assert_eq!(hold_back(steps, &live, &[Object::Host(rules.clone())].into()), []);
    // Rules give way to sysctls.
    let mut live = host([], std::slice::from_ref(&vip));
    live.sysctls.insert(ARP.into(), "0".into());
    live.host_objects = LiveHostObjects::of_evenkeel([(rules, value)].into());
    let mut desired = spec([], &[vip]);
    desired.sysctls.insert(ARP.into(), "1".into());
    assert_eq!(steps_of(&desired, &live).len(), 2);
    assert_eq!(rest(&desired, &live, [Object::Sysctl(ARP.into())]), []);
}

#[test]
fn a_real_server_gets_under_full_nat_only_with_its_source_nat_and_connection_tracking() {
    let under = |forward| {
        let real_servers = [(at(1), RealServer::new(forward, 1))].into_iter().collect();
        (on(1), Service { config: scheduled_by("wrr"), real_servers })
    };
    let mut live = host([under(Forward::Dr)], &[]);
    live.sysctls.insert(CONNECTION_TRACKING.into(), "0".into());
    let mut desired = spec([under(Forward::Nat)], &[]);
    let source_nat = HostObject::from(SourceNat { service: on(1), real_server: at(1) });
    desired.host_objects.insert(source_nat.clone(), SourceNatValue::Masquerade.into());
    desired.sysctls.insert(CONNECTION_TRACKING.into(), "1".into());
    assert_eq!(steps_of(&desired, &live).len(), 3);
    let tracking = Object::Sysctl(CONNECTION_TRACKING.into());
    let expected = [(Verb::Edit, tracking.clone())];
    assert_eq!(rest(&desired, &live, [Object::Host(source_nat)]), expected);
    assert_eq!(rest(&desired, &live, [tracking]), []);
}

#[test]
fn a_real_server_under_full_nat_is_not_added_without_its_source_nat() {
    let mut desired = spec([(on(1), service(&[(1, 1), (2, 1)]))], &[]);
    let [first, second] = [1, 2].map(|last| {
        let source_nat = SourceNat { service: on(1), real_server: at(last) };
        let object = HostObject::from(source_nat);
        desired.host_objects.insert(object.clone(), SourceNatValue::Masquerade.into());
        object
    });
    let rest = rest(&desired, &host([], &[]), [Object::Host(first)]);
    let expected = [
        (Verb::Add, Object::Host(second)),
        (Verb::Add, Object::Service(on(1))),
        (Verb::Add, Object::RealServer(on(1), at(2))),
    ];
    assert_eq!(rest, expected);
}

#[test]
fn a_primary_address_stays_while_one_of_its_secondaries_is_held_back() {
    let wide = |last| Binding { prefix: 24, ..vip(last) };
    let mut live = host([], &[wide(1), wide(2), wide(3)]);
    let unbind = |last| (Unbind, AVip(wide(last)));
    let desired = spec([], &[]);
    assert_eq!(rest(&desired, &live, [AVip(wide(2))]), [unbind(1), unbind(3)]);
    live.secondaries = [2, 3].map(|last| (wide(last), wide(1))).into();
    assert_eq!(rest(&desired, &live, [AVip(wide(2))]), [unbind(3)]);
}

#[test]
fn a_vip_whose_former_label_stays_is_not_bound_again() {
    let wide = |last| Binding { prefix: 24, ..vip(last) };
    let mut live = host([], &[wide(1), wide(2), wide(3)]);
    live.secondaries = [2, 3].map(|last| (wide(last), wide(1))).into();
    let mut desired = spec([], &[wide(1), wide(2), wide(3)]);
    for vip in desired.vips.values_mut() {
        vip.label = Some("eth0:1".into());
    }
    // The primary stays with the one that is held back, and so does its label.
    let moved = [(Unbind, AVip(wide(3))), (Bind, AVip(wide(3)))];
    assert_eq!(rest(&desired, &live, [AVip(wide(2))]), moved);
}
