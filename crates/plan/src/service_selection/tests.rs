//! Laws of targeted plans.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use evenkeel_model::arbitrary::{Pair, pair};
use evenkeel_model::{
    Binding, Drain, Forward, NamedService, Protocol, RealServer, RealServerKey, Scheduler, Service,
    ServiceConfig, Timeouts, Vip,
};
use proptest::prelude::*;

use super::*;
use crate::{Inputs, Op, Plan, PriorState, plan, simulate};

mod real_server;

fn on(last: u8, port: u16) -> ServiceKey {
    ServiceKey::Address { address: vip(last), port, protocol: Protocol::Tcp }
}

fn vip(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

fn bound(last: u8) -> Binding {
    Binding::host(vip(last), "eth0")
}

fn service(weight: u32) -> Service {
    let key = RealServerKey { address: [198, 51, 100, 1].into(), port: 80 };
    let value = RealServer::new(Forward::Dr, weight);
    Service {
        config: ServiceConfig::new(Scheduler::wlc()),
        real_servers: [(key, value)].into_iter().collect(),
    }
}

fn named(name: &str, service: Service) -> NamedService {
    NamedService::new(name, service)
}

/// `web` on two VIPs, `api` on the first of them, both VIPs bound.
fn example() -> Desired {
    let services = [
        (on(1, 80), named("web", service(1))),
        (on(2, 80), named("web", service(1))),
        (on(1, 443), named("api", service(1))),
    ];
    Desired {
        services: services.into(),
        vips: [1, 2].map(|last| (bound(last), Vip::default())).into(),
        drain: Drain::NONE,
        ..Desired::default()
    }
}

/// The host with that spec applied.
fn live_in_sync(desired: &Desired) -> Live {
    let services = desired.services.iter();
    Live {
        services: services.map(|(key, named)| (*key, named.service.clone())).collect(),
        addresses: desired.vips.keys().map(|it| (it.clone(), Owner::Evenkeel)).collect(),
        ..Live::default()
    }
}

fn targeted(selectors: &[&str], desired: &Desired, last: Option<&Desired>, live: &Live) -> Plan {
    let target = ServiceSelection::new(selectors, desired, last).expect("it names a service");
    let live = target.narrow_live(live.clone(), &RealServerRecords::default());
    let desired = target.narrow_desired(desired.clone());
    let mut plan = plan(Inputs::new(&desired, &live, &PriorState::for_snapshot()));
    plan.refusals.retain(|refusal| !target.exempts(refusal.guard));
    plan
}

#[test]
fn a_service_is_selected_by_its_name_its_key_or_both() {
    let desired = example();
    let keys =
        |selector: &str| ServiceSelection::new(&[selector], &desired, None).map(|it| it.keys);
    assert_eq!(keys("web"), Ok([on(1, 80), on(2, 80)].into()));
    assert_eq!(keys("192.0.2.2:80/tcp"), Ok([on(2, 80)].into()));
    assert_eq!(keys("web/192.0.2.2:80/tcp"), Ok([on(2, 80)].into()));
    assert!(keys("api/192.0.2.2:80/tcp").is_err());
    assert!(keys("192.0.2.2:80").is_err());
    let both = ServiceSelection::new(&["api", "192.0.2.2:80/tcp"], &desired, None);
    assert_eq!(both.map(|it| it.keys), Ok([on(1, 443), on(2, 80)].into()));
}

#[test]
fn a_service_that_was_taken_out_of_the_spec_is_known_from_the_last_one() {
    let last = example();
    let mut desired = example();
    desired.services.remove(&on(1, 443));
    assert!(ServiceSelection::new(&["api"], &desired, None).is_err());
    let steps = targeted(&["api"], &desired, Some(&last), &live_in_sync(&last)).steps;
    assert!(matches!(&steps[..], [Op::DeleteService { key, .. }] if *key == on(1, 443)));
}

#[test]
fn an_unknown_selector_is_answered_with_similar_names() {
    let desired = example();
    let unknown = ServiceSelection::new(&["wbe"], &desired, None).expect_err("there is none");
    assert_eq!(unknown.to_string(), "no service of this host is called `wbe`; there is `web`");
    let unknown = ServiceSelection::new(&["zzz"], &desired, None).expect_err("there is none");
    assert_eq!(unknown.near, ["api", "web"]);
    let none =
        ServiceSelection::new(&["web"], &Desired::default(), None).expect_err("there is none");
    assert_eq!(none.to_string(), "no service of this host is called `web`");
}

#[test]
fn a_service_whose_name_is_its_key_is_suggested_once() {
    let mut desired = example();
    for (key, named) in &mut desired.services {
        named.name = key.to_string().into();
    }
    let unknown = ServiceSelection::new(&["192.0.2.1:44/tcp"], &desired, None);
    let near = unknown.expect_err("there is none").near;
    let each: BTreeSet<_> = near.iter().collect();
    assert!(near[0] == "192.0.2.1:443/tcp" && near.len() == each.len(), "{near:?}");
}

#[test]
fn drift_of_other_services_is_not_repaired() {
    let desired = example();
    let mut live = live_in_sync(&desired);
    live.services.insert(on(1, 443), service(9));
    live.services.insert(on(2, 80), service(9));
    live.services.insert(on(3, 80), service(1));
    live.addresses.remove(&bound(2));
    live.addresses.insert(bound(3), Owner::Evenkeel);
    assert_eq!(targeted(&["192.0.2.1:80/tcp"], &desired, None, &live).steps, []);
    let steps = targeted(&["api"], &desired, None, &live).steps;
    assert!(matches!(&steps[..], [Op::EditRealServer { service, .. }] if *service == on(1, 443)));
    let steps = targeted(&["192.0.2.2:80/tcp"], &desired, None, &live).steps;
    let [Op::Bind { binding, .. }, Op::EditRealServer { service, .. }] = &steps[..] else {
        panic!("{steps:?}");
    };
    assert_eq!((*service, binding), (on(2, 80), &bound(2)));
}

#[test]
fn objects_that_services_share_are_not_changed() {
    let mut desired = example();
    desired.timeouts.tcp = Some(100);
    desired.sync = Some(BTreeMap::new());
    desired.sysctls.insert("net.ipv4.ip_forward".into(), "1".into());
    let mut live = live_in_sync(&desired);
    live.timeouts = Some(Timeouts::INITIAL);
    live.sysctls.insert("net.ipv4.ip_forward".into(), "0".into());
    live.sysctls.insert("net.ipv4.vs.sloppy_tcp".into(), "1".into());
    let target = ServiceSelection::new(&["web"], &desired, None).expect("it names a service");
    let mut record = PriorState { applied: true, ..PriorState::default() };
    record.sysctls.insert("net.ipv4.vs.sloppy_tcp".into(), "0".into());
    record.timeouts.udp = Some(300);
    let live = target.narrow_live(live, &record.real_server);
    let desired = target.narrow_desired(desired);
    let record = target.narrow_record(&record);
    let plan = plan(Inputs::new(&desired, &live, &record));
    assert_eq!((plan.steps, plan.warnings), (vec![], vec![]));
}

#[test]
fn a_vip_is_unbound_with_its_last_service_and_not_before() {
    let last = example();
    let (mut desired, mut live) = (example(), live_in_sync(&last));
    desired.services.clear();
    desired.vips.clear();
    desired.services.insert(on(2, 80), named("web", service(1)));
    let unbound = |selector, live: &Live| {
        let plan = targeted(&[selector], &desired, Some(&last), live);
        let unbound = plan.steps.iter().filter(|op| matches!(op, Op::Unbind { .. })).count();
        (unbound, simulate(live, &plan.steps))
    };
    let (number, after) = unbound("api", &live);
    assert_eq!(number, 0, "web is live on it");
    live = after;
    let (number, after) = unbound("192.0.2.1:80/tcp", &live);
    assert_eq!(number, 1);
    assert_eq!(after.addresses.into_keys().collect::<Vec<_>>(), [bound(2)]);

    desired.services.insert(on(1, 443), named("api", service(1)));
    let plan = targeted(&["192.0.2.1:80/tcp"], &desired, Some(&last), &live);
    assert_eq!(plan.counts().unbind, 0, "the spec lists api on it");
}

#[test]
fn a_shared_vip_that_the_spec_binds_elsewhere_moves() {
    let (mut desired, live) = (example(), live_in_sync(&example()));
    desired.vips.clear();
    let moved = Binding { interface: "eth1".into(), ..bound(1) };
    desired.vips.insert(moved.clone(), Vip::default());
    let steps = targeted(&["api"], &desired, None, &live).steps;
    assert_eq!(
        steps,
        [Op::Bind { binding: moved, label: None }, Op::Unbind { binding: bound(1), label: None }]
    );
}

#[test]
fn an_address_of_another_program_is_used_and_never_unbound() {
    let desired = example();
    let mut live = live_in_sync(&desired);
    live.addresses.insert(bound(2), Owner::Other);
    let mut without = desired.clone();
    without.services.remove(&on(2, 80));
    without.vips.remove(&bound(2));
    assert_eq!(targeted(&["192.0.2.2:80/tcp"], &desired, None, &live).steps, []);
    let plan = targeted(&["192.0.2.2:80/tcp"], &without, Some(&desired), &live);
    assert_eq!((plan.counts().unbind, plan.counts().delete), (0, 1));
}

#[test]
fn a_selected_service_may_be_deleted_whatever_its_share_but_not_with_an_empty_spec() {
    let many = |name| {
        let mut service = service(1);
        for last in 2..9 {
            let key = RealServerKey { address: [198, 51, 100, last].into(), port: 80 };
            let (_, value) = service.real_servers.iter().next().expect("there is one");
            service.real_servers.insert(key, *value);
        }
        named(name, service)
    };
    let mut last = example();
    last.services.insert(on(3, 80), many("old"));
    let live = live_in_sync(&last);
    let guards = |desired: &Desired| {
        let plan = targeted(&["old"], desired, Some(&last), &live);
        plan.refusals.into_iter().map(|refusal| refusal.guard).collect::<Vec<_>>()
    };
    assert_eq!(guards(&example()), []);
    assert!(guards(&Desired::default()).contains(&Guard::Empty));
}

/// The live state as the last applied spec.
fn last_of(pair: &Pair) -> Desired {
    let name: Arc<str> = "old".into();
    let services = pair.live.services.iter();
    Desired {
        services: services
            .map(|(key, service)| {
                (*key, NamedService { name: name.clone(), ..named("", service.clone()) })
            })
            .collect(),
        ..pair.desired.clone()
    }
}

/// Every address of the pair's services is bound in the spec, on the host, or both.
fn with_vips(mut pair: Pair, places: &[u8]) -> Pair {
    let keys = pair.desired.services.keys().chain(pair.live.services.keys());
    let vips: BTreeSet<IpAddr> = keys.filter_map(ServiceKey::vip).collect();
    for (address, place) in vips.into_iter().zip(places.iter().cycle()) {
        let binding = Binding::host(address, "eth0");
        if place & 1 != 0 {
            pair.desired.vips.insert(binding.clone(), Vip::default());
        }
        if place & 2 != 0 {
            let owner = if place & 4 != 0 { Owner::Other } else { Owner::Evenkeel };
            pair.live.addresses.insert(binding, owner);
        }
    }
    pair
}

fn any_pair() -> impl Strategy<Value = Pair> {
    (pair(8), prop::collection::vec(0..8_u8, 1..8))
        .prop_map(|(pair, places)| with_vips(pair, &places))
}

proptest! {
    #[test]
    fn a_targeted_plan_changes_only_its_target(pair in any_pair()) {
        let last = last_of(&pair);
        let keys: BTreeSet<_> =
            pair.desired.services.keys().chain(last.services.keys()).copied().collect();
        for key in keys {
            let selector = key.to_string();
            let plan = targeted(&[&selector], &pair.desired, Some(&last), &pair.live);
            for op in &plan.steps {
                match op {
                    Op::Bind { binding, .. } => prop_assert_eq!(Some(binding.address), key.vip()),
                    Op::Unbind { binding, .. } => {
                        prop_assert_eq!(Some(binding.address), key.vip());
                        let is_other = |it: &&ServiceKey| **it != key && it.vip() == key.vip();
                        let stays = pair.desired.services.keys().find(is_other);
                        let is_moved =
                            pair.desired.vips.keys().any(|it| it.address == binding.address);
                        prop_assert!(is_moved || stays.is_none());
                    }
                    Op::AddModule { .. } => {}
                    _ => prop_assert_eq!(op.service(), Some(key), "{:?}", op),
                }
            }
            let after = simulate(&pair.live, &plan.steps);
            for (other, service) in &pair.live.services {
                prop_assert!(*other == key || after.services.get(other) == Some(service));
            }
            let wanted = pair.desired.services.get(&key).map(|named| &named.service);
            let again = targeted(&[&selector], &pair.desired, Some(&last), &after);
            prop_assert_eq!(again.steps, vec![]);
            prop_assert_eq!(after.services.contains_key(&key), wanted.is_some());
        }
    }

    #[test]
    fn targeting_every_service_in_turn_gives_the_result_of_the_whole_plan(pair in any_pair()) {
        let last = last_of(&pair);
        let mut live = pair.live.clone();
        let keys: BTreeSet<_> =
            pair.desired.services.keys().chain(last.services.keys()).copied().collect();
        for key in keys {
            let selector = key.to_string();
            let steps = targeted(&[&selector], &pair.desired, Some(&last), &live).steps;
            live = simulate(&live, &steps);
        }
        let whole = plan(Inputs::new(&pair.desired, &pair.live, &PriorState::for_snapshot()));
        let whole = simulate(&pair.live, &whole.steps);
        prop_assert_eq!(live.services, whole.services);
        // A VIP that services share and that the spec no longer binds is only unbound by the whole
        // plan.
        for (binding, owner) in &whole.addresses {
            prop_assert_eq!(live.addresses.get(binding), Some(owner));
        }
        let used: BTreeSet<_> = pair.desired.services.keys().filter_map(ServiceKey::vip).collect();
        let mut left = live.addresses.keys().filter(|it| !whole.addresses.contains_key(it));
        prop_assert!(left.all(|it| used.contains(&it.address)));
    }
}
